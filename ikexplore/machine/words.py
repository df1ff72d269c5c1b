"""A machine from what people write about theirs: "EPYC 9355, 12-channel DDR5-6400, RTX 5090 + RTX 4090"."""

import re
from collections.abc import Sequence
from typing import Any

from .machine import Machine
from .parts import UNKNOWN_CPU, find_cpu, find_gpu

COUNTS = {"one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "eight": 8, "dual": 2}
#: share of the channels' bandwidth that a benchmark of reads finds
READ = 0.85
#: MiB of a card's memory that a desktop and the driver leave
_FREE = 0.97
_CPU_WORD = re.compile(r"ryzen|epyc|xeon|threadripper pro \d")


def machine_of(
    text: str,
    gpus: Sequence[str] | None = None,
    *,
    sockets: int | None = None,
    commit_date: str | None = None,
    sched_max_copies: int = 1,
    name: str = "",
) -> Machine:
    """A described machine from a line of text.

    gpus: labels of the cards as a log prints them, where it does; else they are read from the text too. sockets: how
    many of a board's sockets are used. What the text does not say comes from the datasheets in parts.toml.
    """
    low = text.lower()
    cpu, host = _cpu(low, sockets), find_cpu(low) or UNKNOWN_CPU
    cards = list(gpus) if gpus is not None else _gpus(low)
    described = []
    for i, label in enumerate(cards):
        part = find_gpu(label)
        mib = int((part.gib if part else 24) * 1024 * _FREE)
        cc = part.cc if part and part.cc else 860
        link = min(part.pcie_gbs if part else 25, host.pcie_gbs) * _lanes(low) / 16
        described.append({"name": f"CUDA{i}", "label": label, "free_mib": mib, "cc": cc, "pcie_gbs": link})
    return Machine.described(
        described, bool(described), sched_max_copies, cpu={"label": text[:80], **cpu}, commit_date=commit_date, name=name
    )


def _lanes(low: str) -> int:
    """Lanes of a PCIe slot, where the text tells of narrow ones: the widest of them, for that one is used most."""
    found = re.search(r"pcie[^,;)]*?\bx(\d+)(?:[-/]x?(\d+))?", low)
    lanes = max((int(n) for n in found.groups() if n), default=16) if found else 16
    return min(16, max(1, lanes))


def _number(pattern: str, text: str) -> float | None:
    found = re.search(pattern, text)
    return float(found[1]) if found else None


def _cpu(low: str, used: int | None) -> dict[str, Any]:
    named = find_cpu(low)
    part = named or UNKNOWN_CPU
    dual = re.search(r"dual[- ](socket|intel|xeon|amd|epyc)|2x (xeon|epyc|intel|amd)", low)
    sockets = used or (1 if "one socket" in low or not dual else 2)
    said = _number(r"\((\d+) cores", low) or _number(r"\b(\d+)[- ]cores?\b", low)
    cores = int(said or part.cores)
    channels = _number(r"(\d+)[- ]channel", low) or part.channels
    plain = low.replace("-", " ")
    channels = 2 if "dual channel" in plain else 4 if "quad channel" in plain else channels
    mts = _number(r"ddr[45][- ](\d{4})", low) or part.mts
    gbs = channels * mts * 8e-3 * sockets
    if "measured" in low or "~" in low:
        measured = _number(r"~(?:\d+-)?(\d+) ?gb/s", low)
        if measured:
            gbs = measured / (1.0 if "per socket" in low else READ)
            gbs /= 2 if dual and sockets == 1 and "per socket" not in low else 1
    gbs = _number(r"(\d+) gb/s total", low) or gbs
    memory = re.search(r"ddr|channel|gb/s", low)
    facts: dict[str, Any] = {"sockets": sockets}
    if named or said:
        facts["cores"] = cores * sockets
    if named or memory:
        facts["bandwidth_gbs"] = round(gbs, 1)
    ram = _number(r"(\d+) gb (?:of \d+ gb )?(?:ddr|dual|quad|\d+-channel)", low)
    if ram:
        facts["ram_mib"] = int(ram * 1024)
    return facts | ({"ghz": part.ghz, "int8_per_cycle": float(part.int8_per_cycle)} if named else {})


def _gpus(low: str) -> list[str]:
    found: list[str] = []
    for part in re.split(r"[,+(;]| and ", low):
        part = part.strip()
        card = find_gpu(part)
        if card is None or not _is_card(part):
            continue
        times = re.search(r"(\d+)(?:-\d+)?x ", part)
        n = int(times[1]) if times else next((v for w, v in COUNTS.items() if re.search(rf"\b{w}\b", part)), 1)
        found += [part] * n
    return found


def _is_card(part: str) -> bool:
    return "rtx" in part or not _CPU_WORD.search(part)
