"""The rigs of the panel: this computer, the same with described GPUs, rigs that come with the package, and edited ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from ikexplore.errors import IkexploreError
from ikexplore.machine import Device, Machine
from ikexplore.machine.device import described_cpu, described_gpu
from ikexplore.machine.parts import cpu_speeds, find_cpu, find_gpu, gpu_speeds

from .clean import clean

SIMULATED = (1, 2)
GPU_MIB = 24_000  # of a simulated GPU, until another number is typed
MOST_GPUS = 16
_FREE = 0.97  # share of a card's memory that is left by the driver and a desktop

#: (key, label, unit) of what can be edited; the keys are those of rig files
GPU_FIELDS = (("name", "Name", ""), ("label", "Card", ""), ("mib", "Free memory", "MiB"), ("bandwidth_gbs", "Memory", "GB/s"),
              ("pcie_gbs", "PCIe", "GB/s"), ("int8_tops", "Products", "int8 TOPS"), ("cc", "Capability", ""))
CPU_FIELDS = (("label", "CPU", ""), ("mib", "Memory", "MiB"), ("bandwidth_gbs", "Memory", "GB/s"), ("cores", "Cores", ""),
              ("threads", "Threads", ""), ("sockets", "Sockets", ""), ("ghz", "Clock", "GHz"))
_GPU_KEYS = ("name", "label", "free_mib", "total_mib", "cc", "bandwidth_gbs", "int8_tops", "pcie_gbs")
_CPU_KEYS = ("label", "total_mib", "free_mib", "cores", "threads", "sockets", "bandwidth_gbs", "ghz", "int8_per_cycle",
             "core_gbs")
_WORDS = {"name", "label"}
_WHOLE = {"mib", "cores", "threads", "sockets"}


@dataclass(frozen=True)
class Choice:
    """Which rig is chosen; what the pinned side remembers."""

    id: str
    gpu_mib: int = GPU_MIB
    edited: Machine | None = None


class Rigs:
    """What can be chosen, and what is. ``present`` is this computer without GPUs, ``given`` the machine passed in."""

    def __init__(self, present: Machine, given: Machine | None) -> None:
        self.present, self.given = present, given
        self.detected: Machine | None = None
        self.chosen = Choice("given" if given is not None else "cpu")

    def choices(self) -> list[tuple[str, str]]:
        """``(id, label)`` of each rig, in the order of the picker."""
        found = [("given", label(self.given))] if self.given is not None else []
        found.append(("cpu", "CPU only"))
        if self.detected is not None and self.detected.gpus:
            found.append(("detected", f"this computer, {len(self.detected.gpus)} GPU{'s' if self.detected.gpus[1:] else ''}"))
        found += [(f"sim{n}", f"CPU + {n} simulated GPU{'s' if n > 1 else ''}") for n in SIMULATED]
        found += [(f"rig:{name}", clean(name.replace("-", " "), 60)) for name in Machine.rigs()]
        if self.chosen.edited is not None:
            found.append(("edited", f"edited, {label(self.chosen.edited).removeprefix('CPU + ').removesuffix(', simulated')}"))
        return found

    def choose(self, rig: str) -> None:
        """Choose by id. Raises IkexploreError for one that is not in the list, or whose file cannot be read."""
        if rig not in dict(self.choices()):
            raise IkexploreError(f"no rig {clean(rig, 40)}; pick one of the list")
        if rig.startswith("rig:"):
            _load(rig.removeprefix("rig:"))
        self.chosen = replace(self.chosen, id=rig)

    @property
    def machine(self) -> Machine:
        """The chosen rig."""
        chosen = self.chosen
        if chosen.id == "given" and self.given is not None:
            return self.given
        if chosen.id == "edited" and chosen.edited is not None:
            return chosen.edited
        if chosen.id == "detected" and self.detected is not None:
            return self.detected
        if chosen.id.startswith("rig:"):
            return _load(chosen.id.removeprefix("rig:"))
        if chosen.id.startswith("sim"):
            return _with_simulated(self.present, int(chosen.id.removeprefix("sim")), chosen.gpu_mib)
        return self.present

    @property
    def described(self) -> bool:
        """Whether the rig is another machine than this computer: nothing that is timed here is timed on it."""
        machine = self.machine
        if machine.simulated:
            return True
        facts = ("label", "cores", "threads", "sockets", "bandwidth_gbs", "ghz")
        return any(getattr(machine.cpu, f) != getattr(self.present.cpu, f) for f in facts)

    def found(self, machine: Machine) -> None:
        """Take what detection found, and choose it."""
        self.present = machine.with_gpus([])
        self.detected = machine
        self.chosen = replace(self.chosen, id="detected" if machine.gpus else "cpu")

    def edit(self, what: str, text: str) -> None:
        """Change the chosen rig into an edited one. ``what``: "count", "words", "0.mib" (GPU 0), "cpu.cores".

        Raises IkexploreError that names the value and the rule; nothing has changed then.
        """
        machine = self.machine
        if what == "words":
            made = _read(text)
        elif what == "count":
            made = _resized(machine, text)
        else:
            made = _changed(machine, *what.partition(".")[::2], text.strip())
        if made != machine:
            self.chosen = Choice("edited", self.chosen.gpu_mib, made)


@lru_cache(maxsize=32)
def _load(name: str) -> Machine:
    return Machine.load(name)


@lru_cache(maxsize=32)
def _with_simulated(present: Machine, count: int, mib: int) -> Machine:
    return present.with_gpus([{"name": f"CUDA{i}", "free_mib": mib, "cc": 860} for i in range(count)])


def _read(text: str) -> Machine:
    if not text.strip():
        raise IkexploreError("describe the rig in words, such as EPYC 9355, 12-channel DDR5-6400, RTX 5090 + RTX 4090")
    text = clean(text, 300)
    if find_cpu(text.lower()) is None and find_gpu(text.lower()) is None:
        raise IkexploreError(f"no CPU or GPU that is known in {clean(text, 60)!r}; name them, or fill the fields below")
    return Machine.from_text(text)


def _resized(machine: Machine, text: str) -> Machine:
    count = _number("GPUs", text, whole=True)
    if count is None or count > MOST_GPUS:
        raise IkexploreError(f"GPUs {clean(text, 40)}: write a whole number from 0 to {MOST_GPUS}")
    gpus = [_gpu_facts(g) for g in machine.gpus[: int(count)]]
    names = {g["name"] for g in gpus}
    free = (f"CUDA{i}" for i in range(2 * MOST_GPUS) if f"CUDA{i}" not in names)
    like = gpus[-1] if gpus else {"free_mib": GPU_MIB, "cc": 860}
    gpus += [{**like, "name": next(free)} for _ in range(int(count) - len(gpus))]
    return _renewed(machine, gpus, machine.cpu)


def _changed(machine: Machine, device: str, key: str, text: str) -> Machine:
    """``machine`` with one field of a device set; an empty text: what the datasheet says."""
    fields = [f[0] for f in (CPU_FIELDS if device == "cpu" else GPU_FIELDS)]
    if key not in fields or not (device == "cpu" or (device.isdecimal() and int(device) < len(machine.gpus))):
        raise IkexploreError(f"this rig has no {clean(device, 20)} with {clean(key, 20)}; pick a field of the table")
    value: Any = clean(text, 80) if key in _WORDS else _number(key, text, key in _WHOLE)
    gpus = [_gpu_facts(g) for g in machine.gpus]
    facts = _cpu_facts(machine.cpu) if device == "cpu" else gpus[int(device)]
    if key == "mib":
        facts["total_mib"] = facts["free_mib"] = value
    else:
        facts[key] = value
    if key == "label":
        _follow(facts, device == "cpu")
    if device == "cpu":
        made = described_cpu(_given(facts))
        return _renewed(machine, gpus, replace(made, features=machine.cpu.features))
    return _renewed(machine, gpus, machine.cpu)


def _follow(facts: dict[str, Any], cpu: bool) -> None:
    """Another part has other figures: those of the old one go, so that the datasheet's hold."""
    for key in ("bandwidth_gbs", "int8_tops", "pcie_gbs", "ghz", "int8_per_cycle", "core_gbs"):
        facts.pop(key, None)
    card = None if cpu else find_gpu(str(facts["label"]))
    if card is not None:
        facts["total_mib"] = facts["free_mib"] = int(card.gib * 1024 * _FREE)
        facts["cc"] = card.cc or facts.get("cc", 860)


def _renewed(machine: Machine, gpus: list[dict[str, Any]], cpu: Device) -> Machine:
    """An edited machine: its GPUs are described, and what measured runs showed of the old one does not hold."""
    if gpus == [_gpu_facts(g) for g in machine.gpus]:
        made = machine.gpus
    else:
        made = tuple(described_gpu(i, _given(g)) for i, g in enumerate(gpus))
    return replace(machine, gpus=made, cpu=cpu, cuda_build=bool(made) or machine.cuda_build, learned=None, name="")


def _gpu_facts(gpu: Device) -> dict[str, Any]:
    return {key: getattr(gpu, key) for key in _GPU_KEYS}


def _cpu_facts(cpu: Device) -> dict[str, Any]:
    return {key: getattr(cpu, key) for key in _CPU_KEYS}


def _given(facts: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in facts.items() if value is not None}


def _number(key: str, text: str, whole: bool = False) -> float | int | None:
    """A number as it is written, spaces between thousands and all; None for an empty text."""
    plain = "".join(c for c in str(text) if not c.isspace())
    if not plain:
        return None
    try:
        value = float(plain)
        if not 0 <= value < 1e12 or (whole and value != int(value)):
            raise ValueError
    except ValueError:
        kind = "a whole number" if whole else "a number"
        raise IkexploreError(f"{key} {clean(text, 40)}: write {kind}, 0 or more") from None
    return int(value) if whole else value


def fields(machine: Machine) -> list[dict[str, Any]]:
    """Per device, the CPU last: its fields with value and, where nobody said, what the datasheet of its label says."""
    rows = []
    for i, gpu in enumerate(machine.gpus):
        values = {**_gpu_facts(gpu), "mib": gpu.free_mib, "cc": f"{gpu.cc // 100}.{gpu.cc % 100 // 10}" if gpu.cc else ""}
        rows.append(_row(str(i), gpu.name, GPU_FIELDS, values, gpu_speeds(gpu)._asdict()))
    cpu, speeds = machine.cpu, cpu_speeds(machine.cpu)
    part = find_cpu(cpu.label)
    known = {"bandwidth_gbs": speeds.bandwidth / 1e9, "cores": speeds.cores, "threads": cpu.cores or speeds.cores,
             "sockets": speeds.sockets, "ghz": part.ghz if part else None, "mib": "not known"}
    rows.append(_row("cpu", "CPU", CPU_FIELDS, {**_cpu_facts(cpu), "mib": cpu.total_mib}, known))
    return rows


def _row(device: str, title: str, columns: tuple[tuple[str, str, str], ...], values: Mapping[str, Any],
         known: Mapping[str, Any]) -> dict[str, Any]:
    return {"id": device, "title": clean(title, 20), "fields": [
        {"key": key, "label": name, "unit": unit, "value": _text(values.get(key)), "known": _text(known.get(key))}
        for key, name, unit in columns]}


def _text(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:g}" if isinstance(value, float) else clean(value, 80)


def label(machine: Any) -> str:
    """A machine in a few words: ``CPU + 2 × 24000 MiB, simulated``."""
    if machine.name and not machine.name.isspace():
        words = clean(machine.name, 60)
    elif machine.gpus:
        cards = {gpu.label for gpu in machine.gpus}
        sizes = sorted({gpu.free_mib for gpu in machine.gpus if gpu.free_mib})
        size = f"{sizes[0]} MiB" if len(sizes) == 1 else "GPU"
        card = clean(next(iter(cards)), 24) if len(cards) == 1 and "" not in cards else size
        words = f"CPU + {len(machine.gpus)} × {card}"
    else:
        words = clean(machine.cpu.label, 40) or "a CPU"
    return f"{words}{', simulated' if machine.simulated else ''}"
