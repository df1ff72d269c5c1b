"""Tables: llama-sweep-bench (Markdown, tabs, JSONL), llama-bench (Markdown, JSON, CSV) and llama-batched-bench."""

import csv
import json
import math
import re
from typing import Any

from .numbers import cell, real, value
from .results import timing, trouble
from .run import RATES
from .state import HOLD, KNOWN, LOAD, MAIN, RESULT, TENSORS, UNKNOWN, State

#: column heads, lower case and without blanks, to keys of a row
_COLUMNS = {
    "pp": "pp", "tg": "tg", "b": "b", "n_kv": "n_kv", "nkv": "n_kv", "t_pps": "t_pp", "s_ppt/s": "s_pp",
    "t_tgs": "t_tg",
    "s_tgt/s": "s_tg", "ts": "t", "st/s": "s", "t_pp": "t_pp", "s_pp": "s_pp", "t_tg": "t_tg", "s_tg": "s_tg",
    "s_pp(t/s)": "s_pp", "s_tg(t/s)": "s_tg", "t_pp(s)": "t_pp", "t_tg(s)": "t_tg", "rsshwm": "rss_hwm_mib",
    "vramdelta": "vram_delta_mib",
}  # fmt: skip
_STANDARD = ("pp", "tg", "n_kv", *RATES)
_SEVEN = list(_STANDARD)
_WHOLE_KEYS = frozenset(("pp", "tg", "n_kv", "b"))
_RULE = re.compile(r"[\s|:+=-]*")
_RATE = re.compile(r"\**(-?\d{1,12}(?:[.,]\d{1,9})?)(?: ?± ?(\d{1,12}(?:[.,]\d{1,9})?))?\**")
_TEST = re.compile(r"(?:(pp|tg)(\d{1,9}))(?:([+@])(pp|tg)(\d{1,9}))?(?: ?@ ?d(\d{1,9}))?")
_PAIR = re.compile(r"(\w{1,40}) ?= ?(-?\d{1,12}(?:[.,]\d{1,6})?)(?=,|\s|$)")
#: what the main: line of a sweep holds; the last one is the sign that the line is whole
_LAST = "n_threads_batch"
_MAIN_KEYS = ("n_kv_max", "n_batch", "n_ubatch", "flash_attn", "n_gpu_layers", "n_threads", _LAST)
#: relative and absolute slack of "rate is tokens per time" for figures rounded to 3 and 2 decimals
_SLACK = 0.0006
#: whole numbers from here on are damage, and may be too large for a float
_MOST = 10**12


class Table:
    """A table's columns, as its head names them."""

    def __init__(self, kind: str, columns: list[str], mark: str):
        self.kind, self.columns, self.mark = kind, columns, mark


STANDARD = Table("sweep", list(_STANDARD), "|")


def main_line(state: State, rest: str) -> int:
    """``main: n_kv_max = 32768, n_batch = 4096, ...`` in front of a sweep or a batched bench."""
    pairs = _PAIR.findall(rest)
    if "n_kv_max" not in rest or (not any(k == _LAST for k, _ in pairs) and not state.forced):
        return HOLD if "n_kv_max" in rest else UNKNOWN
    cur = state.cur
    state.want(MAIN, "main", restart=cur is not None and bool(cur.rows or cur.bench))
    return state.put("main", {k: value(v) for k, v in pairs})


def head(text: str) -> Table | None:
    """The table that a line is the head of, or None."""
    mark = "|" if "|" in text else "\t" if "\t" in text else "," if text.count(",") > 3 else " "
    names = [c.strip(' *`"') for c in (_cells(text) if mark == "|" else text.split(None if mark == " " else mark))]
    if mark == " ":
        names = _joined_units(names)
    keys = [_COLUMNS.get(n.lower().replace(" ", ""), n.lower()) for n in names]
    for i, key in enumerate(keys):
        if key in ("±", "+-", "sd") and i:
            keys[i] = keys[i - 1] + "_sd"
    if "n_kv" in keys and any(k in keys for k in RATES) and len(set(keys)) == len(keys):
        return Table("batched" if "b" in keys else "sweep", keys, mark)
    if mark == "|" and "t/s" in keys and "test" in keys and len(set(keys)) == len(keys):
        return Table("bench", keys, mark)
    if mark == "," and "avg_ts" in keys and "n_prompt" in keys:
        return Table("csv", keys, mark)
    return None


def _joined_units(words: list[str]) -> list[str]:
    """ "T_PP", "s" as one name."""
    names: list[str] = []
    for word in words:
        if word in ("s", "t/s") and names:
            names[-1] += word
        else:
            names.append(word)
    return names


def _cells(text: str) -> list[str]:
    parts = text.split("|")
    return parts[1:-1] if len(parts) > 2 and not parts[-1].strip() else parts[1:] if not parts[0].strip() else parts


def is_rule(text: str) -> bool:
    """Whether a line only separates a head from rows."""
    return "-" in text and _RULE.fullmatch(text) is not None


def split_row(text: str, table: Table) -> tuple[str, list[str], str]:
    """(text in front of the table, cells, text behind its last column)."""
    if table.mark == ",":
        return "", next(csv.reader([text]), []), ""
    if table.mark != "|":
        return "", text.split("\t" if table.mark == "\t" else None), ""
    before, _, row = text.partition("|") if "|" in text else ("", "", text)
    if before.strip() and before.strip("* ").isdigit():  # the leading pipe is missing
        before, row = "", text
    cells = row.split("|", len(table.columns))
    behind = cells.pop() if len(cells) > len(table.columns) else ""
    return before.strip(), cells, behind.strip()


def read_row(table: Table, cells: list[str], closed: bool) -> dict[str, Any] | None:
    """A row as a dict, or None where the cells do not fit the columns."""
    if len(cells) != len(table.columns):
        return None
    if table.kind == "bench":
        return _bench_row(table, cells)
    if table.columns == _SEVEN and closed and (fast := _fast_row(cells)):
        return fast
    row: dict[str, Any] = {}
    try:
        for key, text in zip(table.columns, cells):
            if key in _WHOLE_KEYS:
                row[key] = int(_digits(text))
            else:
                number = key[:2] in ("t_", "s_") or key in ("t", "s") or key.endswith("_mib")
                row[key] = cell(text) if number else value(text.strip())
    except ValueError:
        return None
    for key in _STANDARD:
        row.setdefault(key, None)
    return row if closed or _fits(row, "tg") else None


def _fast_row(cells: list[str]) -> dict[str, Any] | None:
    """The seven columns of llama-sweep-bench in plain numbers; None leaves a row to the general way."""
    pp, tg, n_kv, *rest = cells
    if "_" in pp or "_" in tg or "_" in n_kv or "+" in pp:
        return None
    try:
        a, b, c, d = [float(x) for x in rest if "_" not in x and "n" not in x.lower()]
        row = {"pp": int(pp), "tg": int(tg), "n_kv": int(n_kv), "t_pp": a, "s_pp": b, "t_tg": c, "s_tg": d}
    except ValueError:
        return None
    return row if row["pp"] < _MOST and row["tg"] < _MOST and row["n_kv"] < _MOST else None


def _digits(text: str) -> str:
    text = text.strip("* `")
    if not text.isdigit() or len(text) > 12:
        raise ValueError(text)
    return text


def _fits(row: dict[str, Any], name: str) -> bool:
    """Whether the printed rate is tokens over seconds, within the rounding of both."""
    tokens, seconds, rate = row[name], row[f"t_{name}"], row[f"s_{name}"]
    if not tokens or not seconds or not rate:
        return rate is not None and not row[f"t_{name}"]
    return abs(tokens / seconds - rate) <= 0.0051 + rate * (_SLACK / seconds if seconds < 1 else _SLACK)


def misfit(row: dict[str, Any]) -> str | None:
    """A remark on a row whose figures contradict each other, or None."""
    for name in ("pp", "tg"):
        if row[name] and row[f"t_{name}"] and row[f"s_{name}"] and not _fits(row, name):
            rate = row[name] / row[f"t_{name}"]
            return f"S_{name.upper()} {row[f's_{name}']:g} is not {name.upper()} / T_{name.upper()} = {rate:.2f}"
    return None


def _bench_row(table: Table, cells: list[str]) -> dict[str, Any] | None:
    row = {key: value(text.strip(" *`")) for key, text in zip(table.columns, cells)}
    rate = _RATE.fullmatch(cells[table.columns.index("t/s")].strip())
    if not rate:
        return None
    row["s"] = real(rate.group(1))
    if rate.group(2):
        row["s_sd"] = real(rate.group(2))
    test = _TEST.fullmatch(str(row["test"]))
    if test:
        sizes = {"pp": 0, "tg": 0}
        sizes[test.group(1)] += int(test.group(2))
        if test.group(4):
            sizes[test.group(4)] += int(test.group(5))
        row.update(sizes, n_kv=int(test.group(6) or 0))
    return row


def keep(state: State, row: dict[str, Any], kind: str) -> int:
    """Puts a row into the run that it continues, or into a new one."""
    cur = state.cur
    new = cur is None
    if cur is not None and kind == "sweep":
        new = _begins(state, row) if cur.rows else bool(cur.timings or cur.perplexity)
    elif cur is not None and not cur.bench:
        new = bool(cur.rows or cur.timings or cur.perplexity)
    headed = state.head_line and (state.cur is None or state.head_line > state.cur.lines[1])
    run = state.fresh(RESULT, state.head_line if headed else None) if new else state.want(RESULT)
    if kind == "sweep":
        run.rows.append(row)
        run.source["rows"] = state.no
        if said := misfit(row):
            state.note(said)
    else:
        run.bench.append(row)
        run.source["bench"] = state.no
    state.head_line = 0
    return KNOWN


def _begins(state: State, row: dict[str, Any]) -> bool:
    """Whether a row of a sweep begins another run: it starts over, or a head and other settings came before it."""
    assert state.cur is not None
    last = state.cur.rows[-1]
    if row["n_kv"] < last["n_kv"] or row["pp"] != last["pp"]:
        return True
    if state.head_line:
        return bool(state.pending) or row["n_kv"] - last["n_kv"] != last["pp"]
    return False


def csv_row(state: State, table: Table, cells: list[str]) -> int:
    """A row of llama-bench's CSV, which has the fields of its JSON."""
    if len(cells) != len(table.columns):
        return UNKNOWN
    return json_object(state, {key: value(text) for key, text in zip(table.columns, cells)})


def json_row(state: State, text: str) -> int:
    """A JSON object: a row of a sweep, of llama-bench, a server's timings or its log line."""
    try:
        found = json.loads(text[:-1] if text.endswith(",") else text)
    except (ValueError, RecursionError):
        return UNKNOWN
    return json_object(state, found)


def json_object(state: State, found: Any) -> int:
    """Keeps what a decoded JSON object says."""
    if not isinstance(found, dict):
        return UNKNOWN
    if "n_kv" in found and ("t_pp" in found or "t_tg" in found):
        return _json_sweep(state, found)
    if _number(found.get("avg_ts")) and "n_prompt" in found:
        depth = _int(found.get("n_depth")) or 0
        row = {
            **found,
            "pp": _int(found["n_prompt"]),
            "tg": _int(found.get("n_gen")),
            "n_kv": depth,
            "s": found["avg_ts"],
        }
        row["s_sd"] = found.get("stddev_ts")
        return keep(state, row, "bench")
    if isinstance(found.get("msg"), str) and "level" in found:
        return _json_event(state, found)
    timed = found.get("timings", found)
    return _json_timings(state, timed) if isinstance(timed, dict) and "prompt_n" in timed else UNKNOWN


def _json_event(state: State, found: dict[str, Any]) -> int:
    """A line of a server that logs in JSON."""
    if isinstance(found.get("build"), int):
        state.want(LOAD, restart=state.phase >= TENSORS)
        return state.put("build", {"number": found["build"], "commit": str(found.get("commit"))})
    text = f"{found['msg']} id_task={found.get('id_task')}"
    return timing(state, text) or trouble(state, text) or state.noise("server event")


def _json_timings(state: State, timed: dict[str, Any]) -> int:
    """The ``timings`` of a server's answer."""
    group: dict[str, Any] = {}
    for name, key in (("prompt", "prompt"), ("generation", "predicted")):
        n, ms, rate = (timed.get(f"{key}_{part}") for part in ("n", "ms", "per_second"))
        if _int(n) is None or not _number(ms):
            return UNKNOWN
        group[name] = {"ms": ms, "n": n, "s": rate if _number(rate) else None}
    run = state.want(RESULT)
    run.timings.append(group)
    run.source["timings"] = state.no
    return KNOWN


def _number(number: Any) -> bool:
    if isinstance(number, float):
        return math.isfinite(number)
    return _int(number) is not None


def _int(number: Any) -> int | None:
    return number if isinstance(number, int) and not isinstance(number, bool) and abs(number) < 2**63 else None


def _json_sweep(state: State, found: dict[str, Any]) -> int:
    row: dict[str, Any] = {key: _int(found.get(key)) for key in ("pp", "tg", "n_kv")}
    if row["n_kv"] is None or row["pp"] is None:
        return UNKNOWN
    for key in RATES:
        number = found.get(key, found.get(f"speed_{key[2:]}") if key[0] == "s" else None)
        row[key] = number if _number(number) else None
    rest = {k: v for k, v in found.items() if k not in row and k not in ("speed_pp", "speed_tg")}
    main = {k: rest.pop(k) for k in _MAIN_KEYS if k in rest}
    known = keep(state, {**row, **rest}, "sweep")
    if main and state.cur is not None and "main" not in state.cur.startup:
        state.put("main", main)
    return known
