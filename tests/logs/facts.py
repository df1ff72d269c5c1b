"""Figures that people read off the posted logs, and how they are compared with what the reader finds."""

import gzip
import json
import re
from pathlib import Path
from typing import Any

#: number of the log -> index of its run -> id of the record that people made of it
RECORDS = {
    "01": {0: "d491-L60", 1: "d491-L91"},
    "02": {0: "p315-L284"},
    "03": {0: "d357-L3676"},
    "04": {0: "d357-L1539"},
    "05": {0: "d357-L872"},
    "06": {0: "i398-L1012", 2: "i398-L1012"},
    "07": {0: "i629-L233"},
    "09": {0: "i425-L1567"},
    "10": {0: "p394-L89"},
    "11": {0: "p394-L618"},
    "12": {0: "p386-L480"},
    "13": {0: "i398-L31"},
    "14": {0: "i503-L32"},
    "15": {0: "d562-L202"},
    "16": {0: "i305-L37"},
    "17": {0: "p239-M1", 1: "p239-L966"},
    "18": {0: "p541-L168", 1: "p541-L175", 2: "p541-L183", 3: "p541-L194", 4: "p541-L201", 5: "p541-L209"},
    "19": {0: "p598-L209", 1: "p598-L253", 2: "p598-L297"},
    "20": {0: "p492-L648"},
    "21": {0: "i539-L19"},
    "22": {0: "i500-L38"},
    "23": {0: "d397-L15"},
    "24": {0: "i572-L749"},
}
#: logs that end in the middle of a table
CUT = {"19": 2}
#: runs whose command is printed in the log itself, so that its settings are those of the record
COMMANDS = ("02", "03", "04", "05", "07", "09", "10", "11", "12", "14", "16", "18", "19", "21", "22", "24")
ROW = ("pp", "tg", "n_kv", "t_pp", "s_pp", "t_tg", "s_tg")


def text_of(path: Path) -> str:
    """A log as text, with the line ends that it has."""
    raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    return raw.decode("utf-8", errors="replace")


def load(path: Path) -> dict[str, dict[str, Any]]:
    """Records by id, from a JSON list (plain or gzip)."""
    return {record["id"]: record for record in json.loads(text_of(path))}


def wrong(run: Any, record: dict[str, Any]) -> tuple[list[str], int]:
    """(what differs, number of figures compared) between a run and the record that people made of the same log."""
    found: list[str] = []
    figures = 0
    for key, value in record["log"].items():
        if key == "repack_lines" and "system_info" in value[0]:
            continue  # the word REPACK in a list of CPU features, not a line about repacking
        figures += 1
        if _same_form(key, run.startup.get(key)) != _same_form(key, value):
            found.append(f"{key}: {run.startup.get(key)!r}, not {value!r}")
    model = record["model"]
    for name in ("type_counts", "print_meta"):
        have = run.startup.get(name)
        for key, value in (model.get(name) or {}).items() if have else ():
            figures += 1
            if str(have.get(key)) != str(value):
                found.append(f"{name} {key}: {have.get(key)!r}, not {value!r}")
    metadata = run.startup.get("metadata")
    for key, value in (model.get("hparams") or {}).items() if metadata else ():
        figures += 1
        if _plain(metadata.get(key)) != _plain(value):
            found.append(f"metadata {key}: {metadata.get(key)!r}, not {value!r}")
    if record.get("gpus_logged") and "devices" in run.startup:
        figures += 1
        names = [re.split(r" \(cc | \|", name)[0] for name in record["gpus_logged"].values()]
        if names != [device["name"] for device in run.startup["devices"]]:
            found.append(f"devices: {run.startup['devices']}, not {names}")
    return found, figures


def wrong_rows(run: Any, record: dict[str, Any], cut: bool) -> list[str]:
    """Rows that differ; a log that was cut short may lack the last ones."""
    rows = [tuple(row[key] for key in ROW) for row in record["rows"]]
    have = [tuple(row[key] for key in ROW) for row in run.rows]
    wanted = rows[: len(have)] if cut and have else rows
    return [] if have == wanted else [f"{len(have)} rows, not {len(wanted)}: {set(have) ^ set(wanted)}"]


def _same_form(key: str, value: Any) -> Any:
    """Sizes as a dict of devices, text without blanks, numbers as numbers."""
    if value is None:
        return None
    if key in ("kv_mib", "output_mib", "compute_mib"):
        return dict(value if isinstance(value, list) else value.items())
    if key == "model_mib" and isinstance(value, list):
        found: dict[str, list[float]] = {}
        for name, mib in value:
            found.setdefault(name, []).append(mib)
        return found
    if key == "kv_self_text":
        return re.sub(r"\s", "", value)
    if key in ("freq_base", "freq_scale"):
        return float(str(value).replace(",", "."))
    return value


def _plain(value: Any) -> Any:
    text = str(value)
    return float(text.replace(",", ".")) if re.fullmatch(r"-?\d+[.,]?\d*(e-?\d+)?", text) else text.lower()
