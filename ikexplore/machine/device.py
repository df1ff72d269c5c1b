"""One device: the host's CPU with its memory, or a GPU."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import IkexploreError


@dataclass(frozen=True)
class Device:
    """A place where tensors can live and ops can run.

    ``name`` is the engine's ("CPU", "CUDA0"), ``label`` what people call it. ``total_mib`` and ``free_mib`` are MiB,
    None where nobody said. ``cc`` is the compute capability times 100 (860 is 8.6), 0 for a CPU. A ``simulated``
    device is described but not present.

    The rest says how fast it is, None where nobody said (``parts`` then looks the label up): ``bandwidth_gbs`` of its
    memory, all sockets together; a CPU's ``sockets``, ``ghz`` with all cores busy and ``int8_per_cycle`` operations of
    one core, ``core_gbs`` that one core alone reads; a GPU's ``int8_tops`` and ``pcie_gbs``, one way.
    """

    name: str
    kind: str
    total_mib: int | None = None
    free_mib: int | None = None
    cc: int = 0
    simulated: bool = False
    label: str = ""
    cores: int | None = None
    threads: int | None = None
    features: frozenset[str] = frozenset()
    bandwidth_gbs: float | None = None
    sockets: int | None = None
    ghz: float | None = None
    int8_per_cycle: float | None = None
    core_gbs: float | None = None
    int8_tops: float | None = None
    pcie_gbs: float | None = None

    @property
    def title(self) -> str:
        """Name and label, and that it is simulated where it is."""
        text = f"{self.name} ({self.label})" if self.label else self.name
        return text + (", simulated" if self.simulated else "")


_GPU_SPEEDS = ("bandwidth_gbs", "int8_tops", "pcie_gbs")
_CPU_SPEEDS = ("bandwidth_gbs", "ghz", "int8_per_cycle", "core_gbs")
_GPU_KEYS = {"name", "free_mib", "total_mib", "cc", "label", *_GPU_SPEEDS}
_CPU_KEYS = {"name", "label", "free_mib", "total_mib", "ram_mib", "cores", "threads", "features", "sockets", *_CPU_SPEEDS}


def described_gpu(number: int, given: Mapping[str, Any]) -> Device:
    """A simulated GPU from ``{"name", "free_mib", "total_mib", "cc", "label"}`` and its speeds. Raises IkexploreError."""
    where = f"gpu {number}"
    _known(where, given, _GPU_KEYS)
    name = given.get("name", f"CUDA{number}")
    if not isinstance(name, str) or not name.strip():
        raise IkexploreError(f"{where}: name {name!r} is not a text; write one such as CUDA{number}")
    free, total = _mib(where, given, "free_mib"), _mib(where, given, "total_mib")
    if free is None and total is None:
        raise IkexploreError(f"{where}: say how much memory it has, as free_mib = 24000")
    free, total = free if free is not None else total, total if total is not None else free
    if free is not None and total is not None and free > total:
        raise IkexploreError(f"{where}: free_mib {free} is more than total_mib {total}; lower it")
    return Device(
        name,
        "cuda",
        total,
        free,
        compute_capability(where, given.get("cc", 860)),
        True,
        str(given.get("label", "")),
        **_speeds(where, given, _GPU_SPEEDS),
    )


def described_cpu(given: Mapping[str, Any]) -> Device:
    """The host from ``{"label", "ram_mib", "free_mib", "cores", "threads", "features"}`` and speeds. Raises IkexploreError."""
    _known("cpu", given, _CPU_KEYS)
    total = _mib("cpu", given, "ram_mib")
    total = _mib("cpu", given, "total_mib") if total is None else total
    free = _mib("cpu", given, "free_mib")
    features = given.get("features", ())
    if isinstance(features, str) or not all(isinstance(item, str) for item in features):
        raise IkexploreError(f'cpu: features {features!r} is not a list of names; write one such as ["avx2", "fma"]')
    cores, threads = _count(given, "cores"), _count(given, "threads")
    label = str(given.get("label", given.get("name", "")))
    return Device(
        "CPU",
        "cpu",
        total,
        total if free is None else free,
        0,
        False,
        "" if label == "CPU" else label,
        cores,
        threads if threads is not None else cores,
        frozenset(item.lower() for item in features),
        sockets=_count(given, "sockets"),
        **_speeds("cpu", given, _CPU_SPEEDS),
    )


def compute_capability(where: str, value: Any) -> int:
    """860 from 860, 8.6 or "8.6"."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = 0.0
    if isinstance(value, bool) or not (3 <= number < 20 or 300 <= number < 2000):
        raise IkexploreError(f"{where}: cc {value!r} is no compute capability; write 8.6 or 860")
    return int(number) if number >= 300 else round(number * 100)


def _mib(where: str, given: Mapping[str, Any], key: str) -> int | None:
    value = given.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < 2**40:
        raise IkexploreError(f"{where}: {key} {value!r} is no size; write MiB as a number above 0")
    return int(value)


def _speeds(where: str, given: Mapping[str, Any], keys: tuple[str, ...]) -> dict[str, Any]:
    """The speeds that were given, each a number above 0."""
    found: dict[str, Any] = {}
    for key in keys:
        value = given.get(key)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < 1e6:
            raise IkexploreError(f"{where}: {key} {value!r} is no speed; write a number above 0")
        found[key] = float(value)
    return found


def _count(given: Mapping[str, Any], key: str) -> int | None:
    value = given.get(key)
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
        raise IkexploreError(f"cpu: {key} {value!r} is no count; write a whole number, 1 or more")
    return value


def _known(where: str, given: Any, keys: set[str]) -> None:
    if not isinstance(given, Mapping):
        raise IkexploreError(f"{where}: {given!r} is no table; write {{{', '.join(sorted(keys))}}}")
    strange = sorted(set(given) - keys)
    if strange:
        raise IkexploreError(f"{where}: {strange[0]!r} is not known; the keys are {', '.join(sorted(keys))}")
