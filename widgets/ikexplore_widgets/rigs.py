"""The rigs that can be picked: this computer's CPU, the same with described GPUs, or the machine passed in."""

from __future__ import annotations

from typing import Any

SIMULATED = (1, 2)
GPU_MIB = 24_000  # of a simulated GPU, until another number is typed


def choices(given: Any) -> list[tuple[str, str]]:
    """``(id, label)`` of each rig, in the order of the picker."""
    rigs = [("cpu", "CPU only")]
    rigs += [(f"sim{n}", f"CPU + {n} simulated GPU{'s' if n > 1 else ''}") for n in SIMULATED]
    if given is not None:
        rigs.insert(0, ("given", label(given)))
    return rigs


def label(machine: Any) -> str:
    """A machine in a few words: ``2 × 24000 MiB + CPU, simulated``."""
    if machine.name and not machine.name.isspace():
        words = machine.name
    elif machine.gpus:
        sizes = sorted({gpu.free_mib for gpu in machine.gpus if gpu.free_mib})
        size = f"{sizes[0]} MiB" if len(sizes) == 1 else "GPU"
        words = f"CPU + {len(machine.gpus)} × {size}"
    else:
        words = "the machine given"
    return f"{words}{', simulated' if machine.simulated else ''}"


def build(rig: str, present: Any, given: Any, gpu_mib: int) -> Any:
    """The Machine of a rig id; ``gpu_mib`` is the memory of each simulated GPU."""
    if rig == "given" and given is not None:
        return given
    if rig.startswith("sim"):
        count = int(rig.removeprefix("sim"))
        return present.with_gpus([{"name": f"CUDA{i}", "free_mib": gpu_mib, "cc": 860} for i in range(count)])
    return present.with_gpus([])
