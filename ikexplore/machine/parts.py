"""What datasheets say of CPUs and GPUs, found by their labels; the facts are in parts.toml."""

import re
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from .device import Device

FILE = Path(__file__).with_name("parts.toml")


class Cpu(NamedTuple):
    """One socket: GHz with all cores busy, int8 operations per cycle and core, memory channels and their MT/s.

    ``pcie_gbs`` of a slot with 16 lanes, one way; ``core_gbs`` that one core alone reads from memory.
    """

    cores: int
    ghz: float
    int8_per_cycle: float
    channels: int
    mts: int
    pcie_gbs: float
    core_gbs: float

    @property
    def bandwidth_gbs(self) -> float:
        """GB/s (10^9 bytes) that the channels of one socket carry: 8 bytes per transfer."""
        return self.channels * self.mts * 8e-3


class Gpu(NamedTuple):
    """Memory bandwidth (GB/s), dense int8 TOPS, PCIe one way (GB/s), memory (GiB), compute capability times 100."""

    bandwidth_gbs: float
    int8_tops: float
    pcie_gbs: float
    gib: float
    cc: int


#: a label that nothing matches: an ordinary desktop, or the server that so much memory needs; an ordinary card
UNKNOWN_CPU = Cpu(8, 4.0, 80, 2, 4800, 25, 20)
UNKNOWN_SERVER = Cpu(32, 3.2, 80, 8, 3200, 25, 20)
DESKTOP_GIB = 200  #: of memory that a desktop board takes
UNKNOWN_GPU = Gpu(700, 250, 25, 24, 860)


@lru_cache(maxsize=1)
def _tables() -> tuple[list[tuple[re.Pattern, Cpu]], list[tuple[re.Pattern, Gpu]]]:
    from .rig import read_toml

    table = read_toml(FILE)
    cpus = [(re.compile(pattern), Cpu(*facts)) for pattern, *facts in table["cpu"]]
    return cpus, [(re.compile(pattern), Gpu(*facts)) for pattern, *facts in table["gpu"]]


def find_cpu(label: str) -> Cpu | None:
    """The first CPU of the table whose pattern is found in ``label``."""
    return next((cpu for pattern, cpu in _tables()[0] if pattern.search(label.lower())), None)


def find_gpu(label: str) -> Gpu | None:
    return next((gpu for pattern, gpu in _tables()[1] if pattern.search(label.lower())), None)


class Speeds(NamedTuple):
    """Datasheet speeds of a whole CPU (all sockets): operations, bytes and cycles per second."""

    cores: int
    sockets: int
    ops_per_core: float
    bandwidth: float
    core_bandwidth: float
    hz: float


def cpu_speeds(cpu: Device, held_gib: float = 0.0) -> Speeds:
    """What a CPU can do by its own figures, and by its label where they are missing.

    held_gib: memory that it has at least; of a CPU that nobody named it tells the kind.
    """
    server = max(held_gib, (cpu.total_mib or 0) / 1024) > DESKTOP_GIB
    part = find_cpu(cpu.label) or (UNKNOWN_SERVER if server else UNKNOWN_CPU)
    sockets = cpu.sockets or 1
    cores = cpu.cores or part.cores * sockets
    hz = (cpu.ghz or part.ghz) * 1e9
    ops = hz * (cpu.int8_per_cycle or part.int8_per_cycle)
    bandwidth = cpu.bandwidth_gbs if cpu.bandwidth_gbs is not None else part.bandwidth_gbs * sockets
    return Speeds(cores, sockets, ops, bandwidth * 1e9, (cpu.core_gbs or part.core_gbs) * 1e9, hz)


def gpu_speeds(gpu: Device) -> Gpu:
    """What a GPU can do, as ``cpu_speeds``."""
    part = find_gpu(gpu.label) or UNKNOWN_GPU
    return Gpu(
        gpu.bandwidth_gbs or part.bandwidth_gbs,
        gpu.int8_tops or part.int8_tops,
        gpu.pcie_gbs or part.pcie_gbs,
        (gpu.total_mib or part.gib * 1024) / 1024,
        gpu.cc or part.cc,
    )
