"""Rig files: a machine as TOML.

name = "two cards"
[build]
cuda = true
sched_max_copies = 1
[cpu]
label = "AMD Ryzen 9 7950X"
cores = 16
threads = 32
ram_mib = 96000
features = ["avx2", "avx512_bf16"]
[[gpu]]
name = "CUDA0"
label = "RTX 3090"
free_mib = 24000
cc = 860

How fast the parts are comes from datasheets by their labels, or is said: cpu ``sockets``, ``bandwidth_gbs``, ``ghz``,
``int8_per_cycle``, ``core_gbs``; gpu ``bandwidth_gbs``, ``int8_tops``, ``pcie_gbs``. ``[learned]`` holds what measured
runs have shown (see ``Learned``); ``ikx.calibrate`` writes it.
"""

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import IkexploreError
from .learned import learned_of, lines_of

if TYPE_CHECKING:
    from .machine import Machine

_BUILD = {
    "cuda": "cuda_build",
    "sched_max_copies": "sched_max_copies",
    "commit": "commit",
    "commit_date": "commit_date",
}


RIGS = Path(__file__).with_name("rigs")


def names() -> list[str]:
    """Names of the rigs that come with the package."""
    return sorted(path.stem for path in RIGS.glob("*.toml"))


def load(path: str | Path) -> "Machine":
    """Read a rig file, or a rig that comes with the package by its name. Raises IkexploreError that names the file."""
    from .machine import Machine

    if not Path(path).exists() and not Path(path).suffix and Path(path).name == str(path):
        if str(path) not in names():
            raise IkexploreError(f"there is no rig {str(path)!r}; name a file, or one of {', '.join(names())}")
        path = RIGS / f"{path}.toml"
    table = read_toml(Path(path))
    try:
        strange = sorted(set(table) - {"name", "build", "cpu", "gpu", "learned"})
        if strange:
            raise IkexploreError(f"{strange[0]!r} is not known; a rig has name, [build], [cpu], [[gpu]] and [learned]")
        build, gpus = table.get("build", {}), table.get("gpu", [])
        if not isinstance(build, dict) or not isinstance(gpus, list):
            raise IkexploreError("write [build] for the build and [[gpu]] for each GPU")
        strange = sorted(set(build) - set(_BUILD))
        if strange:
            raise IkexploreError(f"[build] {strange[0]!r} is not known; the keys are {', '.join(_BUILD)}")
        options = {_BUILD[key]: value for key, value in build.items()}
        machine = Machine.described(gpus, cpu=table.get("cpu", {}), name=str(table.get("name", "")), **options)
        return replace(machine, learned=learned_of(table.get("learned")))
    except IkexploreError as error:
        raise IkexploreError(f"{path}: {error}") from None


def read_toml(path: Path) -> dict[str, Any]:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except OSError as error:
        raise IkexploreError(f"{path}: cannot be read ({error.strerror}); name a rig file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise IkexploreError(f"{path}: is no TOML file ({error})") from None


def save(machine: "Machine", path: str | Path) -> None:
    """Write ``machine`` as a rig file. Raises IkexploreError where the file cannot be written."""
    try:
        Path(path).write_text(text_of(machine), encoding="utf-8")
    except OSError as error:
        raise IkexploreError(f"{path}: cannot be written ({error.strerror})") from None


def text_of(machine: "Machine") -> str:
    """The TOML text of a rig. GPUs of a detected machine are written like described ones."""
    cpu = machine.cpu
    lines = _pairs({"name": machine.name or None})
    lines += [
        "[build]",
        *_pairs(
            {
                "cuda": machine.cuda_build,
                "sched_max_copies": machine.sched_max_copies,
                "commit": machine.commit,
                "commit_date": machine.commit_date,
            }
        ),
    ]
    lines += [
        "",
        "[cpu]",
        *_pairs(
            {
                "label": cpu.label or None,
                "cores": cpu.cores,
                "threads": cpu.threads,
                "ram_mib": cpu.total_mib,
                "free_mib": cpu.free_mib,
                "features": sorted(cpu.features) or None,
                "sockets": cpu.sockets,
                "bandwidth_gbs": cpu.bandwidth_gbs,
                "ghz": cpu.ghz,
                "int8_per_cycle": cpu.int8_per_cycle,
                "core_gbs": cpu.core_gbs,
            }
        ),
    ]
    for gpu in machine.gpus:
        lines += [
            "",
            "[[gpu]]",
            *_pairs(
                {
                    "name": gpu.name,
                    "label": gpu.label or None,
                    "total_mib": gpu.total_mib,
                    "free_mib": gpu.free_mib,
                    "cc": gpu.cc,
                    "bandwidth_gbs": gpu.bandwidth_gbs,
                    "int8_tops": gpu.int8_tops,
                    "pcie_gbs": gpu.pcie_gbs,
                }
            ),
        ]
    if machine.learned is not None:
        lines += lines_of(machine.learned)
    return "\n".join(lines) + "\n"


def _pairs(values: dict[str, Any]) -> list[str]:
    """TOML's basic strings, numbers, booleans and lists are written as JSON writes them (DEL excepted)."""
    return [
        f"{key} = {json.dumps(value, ensure_ascii=False)}".replace("\x7f", "\\u007f")
        for key, value in values.items()
        if value is not None
    ]
