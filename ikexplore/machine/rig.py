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
"""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import IkexploreError

if TYPE_CHECKING:
    from .machine import Machine

_BUILD = {
    "cuda": "cuda_build",
    "sched_max_copies": "sched_max_copies",
    "commit": "commit",
    "commit_date": "commit_date",
}


def load(path: str | Path) -> "Machine":
    """Read a rig file. Raises IkexploreError that names the file and what is wrong with it."""
    from .machine import Machine

    table = _toml(Path(path))
    try:
        strange = sorted(set(table) - {"name", "build", "cpu", "gpu"})
        if strange:
            raise IkexploreError(f"{strange[0]!r} is not known; a rig has name, [build], [cpu] and [[gpu]]")
        build, gpus = table.get("build", {}), table.get("gpu", [])
        if not isinstance(build, dict) or not isinstance(gpus, list):
            raise IkexploreError("write [build] for the build and [[gpu]] for each GPU")
        strange = sorted(set(build) - set(_BUILD))
        if strange:
            raise IkexploreError(f"[build] {strange[0]!r} is not known; the keys are {', '.join(_BUILD)}")
        options = {_BUILD[key]: value for key, value in build.items()}
        return Machine.described(gpus, cpu=table.get("cpu", {}), name=str(table.get("name", "")), **options)
    except IkexploreError as error:
        raise IkexploreError(f"{path}: {error}") from None


def _toml(path: Path) -> dict[str, Any]:
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
                }
            ),
        ]
    return "\n".join(lines) + "\n"


def _pairs(values: dict[str, Any]) -> list[str]:
    """TOML's basic strings, numbers, booleans and lists are written as JSON writes them (DEL excepted)."""
    return [
        f"{key} = {json.dumps(value, ensure_ascii=False)}".replace("\x7f", "\\u007f")
        for key, value in values.items()
        if value is not None
    ]
