"""``Machine``: the devices, and what the engine was built with."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from dataclasses import replace as _replace
from pathlib import Path
from typing import Any

from ..errors import IkexploreError
from .device import Device, described_cpu, described_gpu
from .learned import Learned


@dataclass(frozen=True)
class Machine:
    """Devices and build options; a plain value. GPUs come first in ``gpus`` order, the CPU is last in ``devices``.

    ``cuda_build``: the engine was built with CUDA (host weights are then pinned, "CUDA_Host"). ``sched_max_copies``:
    GGML_SCHED_MAX_COPIES. ``commit`` and ``commit_date`` ("2025-06-18") say whose rules hold where they changed
    within a profile; None: those of the profile's own commit. ``simulated`` GPUs are described, not present. ``learned``: what
    measured runs showed; see ``ikx.calibrate``.
    """

    cpu: Device
    gpus: tuple[Device, ...] = ()
    cuda_build: bool = True
    sched_max_copies: int = 1
    commit: str | None = None
    commit_date: str | None = None
    name: str = ""
    learned: Learned | None = None

    def __post_init__(self) -> None:
        seen: set[str] = set()
        for device in self.devices:
            if device.name in seen:
                raise IkexploreError(f"two devices are called {device.name}; give each its own name")
            seen.add(device.name)
        copies = self.sched_max_copies
        if isinstance(copies, bool) or not isinstance(copies, int) or not 1 <= copies <= 16:
            raise IkexploreError(f"sched_max_copies {copies!r} is no number of copies; write 1 (or 4, the old default)")
        if self.commit_date is not None and not re.fullmatch(r"\d{4}-\d{2}-\d{2}", str(self.commit_date)):
            raise IkexploreError(f"commit_date {self.commit_date!r} is no date; write it as 2025-06-18")
        if self.gpus and not self.cuda_build:
            raise IkexploreError("a build without CUDA uses no GPU; leave the GPUs out or set cuda_build")

    @classmethod
    def described(
        cls,
        gpus: Iterable[Mapping[str, Any]] = (),
        cuda_build: bool = True,
        sched_max_copies: int = 1,
        *,
        cpu: Mapping[str, Any] | None = None,
        commit: str | None = None,
        commit_date: str | None = None,
        name: str = "",
    ) -> "Machine":
        """A machine that need not be present. ``gpus``: ``[{"name": "CUDA0", "free_mib": 24000, "cc": 860}]``.

        ``cpu``: ``{"label", "ram_mib", "cores", "threads", "features"}``; nothing is assumed about what is left out.
        ``cuda_build``, ``sched_max_copies``, ``commit``, ``commit_date`` are of the engine's build, as above; ``name``: what
        to call the rig. Raises IkexploreError that names the device and the key.

        >>> import ikexplore as ikx
        >>> rig = ikx.Machine.described([{"name": "CUDA0", "free_mib": 24000, "cc": 860}], cpu={"ram_mib": 128000})
        >>> [(d.name, d.free_mib) for d in rig.devices], rig.simulated
        ([('CUDA0', 24000), ('CPU', 128000)], True)
        """
        devices = tuple(described_gpu(number, gpu) for number, gpu in enumerate(gpus))
        return cls(
            described_cpu(cpu or {}),
            devices,
            bool(cuda_build),
            sched_max_copies,
            commit,
            None if commit_date is None else str(commit_date)[:10],
            name,
        )

    @classmethod
    def load(cls, path: str | Path) -> "Machine":
        """A machine from a rig file (TOML; see ``save``), or by the name of a rig that comes with the package (``rigs``).

        Raises IkexploreError that names the file and the key.
        """
        from .rig import load

        return load(path)

    @classmethod
    def from_text(cls, text: str, gpus: Any = None, **known: Any) -> "Machine":
        """A machine from what people write about theirs, such as "EPYC 9355, 12-channel DDR5-6400, RTX 5090".

        ``gpus``: labels of the cards as a log prints them, else they are read from the ``text`` too. ``known``: ``sockets``,
        ``commit_date``, ``sched_max_copies``, ``name``. What the text does not say comes from datasheets (machine/parts.toml).

        >>> import ikexplore as ikx
        >>> ikx.Machine.from_text("EPYC 9355, 12-channel DDR5-6400, RTX 5090").gpus[0].cc
        1200
        """
        from .words import machine_of

        return machine_of(text, gpus, **known)

    @staticmethod
    def rigs() -> list[str]:
        """Names of the rigs that come with the package."""
        from .rig import names

        return names()

    def save(self, path: str | Path) -> None:
        """Write a rig file that ``load`` reads back."""
        from .rig import save

        save(self, path)

    @classmethod
    def detect(cls) -> "Machine":
        """The present machine: CPU, memory, CPU features, and NVIDIA GPUs if there are any. Nothing is timed."""
        from .detect import detect

        return detect()

    def probe(self, model: Any = None, progress: bool = True) -> Any:
        """Time the present machine (under a minute): memory bandwidth by threads, and products at a ``model``'s shapes.

        Of GPUs that CuPy can use also copies, PCIe, launches and the same products.
        Returns a ``Probe``; its ``.machine`` is this one with what was timed. ``progress`` draws a bar.
        Raises IkexploreError for a machine that is described and not present.
        """
        from .probe import probe

        if self.simulated and not self.cpu.total_mib:
            raise IkexploreError("only the present machine can be timed; use Machine.detect().probe()")
        return probe(self, model, progress)

    def with_gpus(self, gpus: Iterable[Mapping[str, Any]]) -> "Machine":
        """This machine with described (simulated) ``gpus``, as for ``described``, in place of its own."""
        devices = tuple(described_gpu(number, gpu) for number, gpu in enumerate(gpus))
        return _replace(self, gpus=devices, cuda_build=bool(devices) or self.cuda_build)

    @property
    def devices(self) -> tuple[Device, ...]:
        """All devices in the order of their priority: GPUs, then the CPU."""
        return (*self.gpus, self.cpu)

    def device(self, name: str) -> Device:
        """The device called ``name``. Raises IkexploreError."""
        for device in self.devices:
            if device.name == name:
                return device
        raise IkexploreError(f"there is no device {name!r}; there are {', '.join(d.name for d in self.devices)}")

    @property
    def features(self) -> frozenset[str]:
        """Features of the CPU in Linux' spelling; ``avx512_bf16`` decides whether -rtr repacks f16 and bf16."""
        return self.cpu.features

    @property
    def cores(self) -> int | None:
        """Physical cores; None where nobody said."""
        return self.cpu.cores

    @property
    def threads(self) -> int | None:
        """Hardware threads; None where nobody said."""
        return self.cpu.threads

    @property
    def simulated(self) -> bool:
        """Whether any device is described and not present."""
        return any(device.simulated for device in self.devices)

    def __str__(self) -> str:
        lines = []
        for device in self.devices:
            parts = [device.title]
            if device.cores:
                parts.append(f"{device.cores} cores, {device.threads} threads")
            if device.total_mib is not None:
                parts.append(f"{device.free_mib} of {device.total_mib} MiB free")
            if device.cc:
                parts.append(f"compute capability {device.cc // 100}.{device.cc % 100 // 10}")
            lines.append(": ".join([parts[0], "; ".join(parts[1:])]) if parts[1:] else parts[0])
        return "\n".join(lines)
