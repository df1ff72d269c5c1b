"""What the kernel keeps of a model's files in memory, and how memory and threads are laid out.

Dropping pages needs no rights: ``posix_fadvise(POSIX_FADV_DONTNEED)`` gives up clean pages of a file that nobody has
mapped. It is what ``echo 3 > /proc/sys/vm/drop_caches`` does for one file: the next run reads from the disk, and
on a machine with several NUMA nodes places the pages anew.
"""

import mmap
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import IkexploreError

_NODES = Path("/sys/devices/system/node")
_KERNEL = Path("/proc/sys/kernel")
_HUGE = Path("/sys/kernel/mm/transparent_hugepage/enabled")
_PAGE = mmap.PAGESIZE
MIB = 2**20


def files_of(model: Any) -> list[Path]:
    """The files of a model (or a path, or paths) whose pages count. Raises IkexploreError for a model without any."""
    if isinstance(model, (str, os.PathLike)):
        return [Path(model)]
    files = list(getattr(model, "files", None) or (model if isinstance(model, (list, tuple)) else ()))
    if not files:
        raise IkexploreError("this model lies in no file, so there is no cache to drop; open a GGUF file")
    return [Path(path) for path in files]


def drop(model: Any) -> tuple[float, float]:
    """Ask the kernel to forget the files of a model: (MiB in memory before, after).

    Pages that a process has mapped, this one included, and pages not yet written stay. Raises IkexploreError where the
    system has no posix_fadvise or a file cannot be read.
    """
    if not hasattr(os, "posix_fadvise"):
        raise IkexploreError("this system has no posix_fadvise; drop its caches by hand or leave --cold out")
    files = files_of(model)
    before = resident(files)
    for path in files:
        try:
            number = os.open(path, os.O_RDONLY)
        except OSError as error:
            raise IkexploreError(f"{path}: cannot be read ({error.strerror})") from None
        try:
            os.fsync(number)
            os.posix_fadvise(number, 0, 0, os.POSIX_FADV_DONTNEED)
        except OSError:
            pass  # a file system without it: the figures after show that nothing was dropped
        finally:
            os.close(number)
    return before, resident(files)


def resident(model: Any) -> float:
    """MiB of a model's files that are in memory now (mincore(2)); nan where the system does not tell."""
    return sum(map(_resident, files_of(model))) * _PAGE / MIB


def _resident(path: Path) -> float:
    """Pages of one file that are in memory. The file is mapped but not read."""
    import ctypes

    try:
        mincore = ctypes.CDLL(None, use_errno=True).mincore
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as mapped:
            data = np.frombuffer(mapped, np.uint8)
            marks = np.zeros(-(-len(data) // _PAGE), np.uint8)
            failed = mincore(ctypes.c_void_p(data.ctypes.data), ctypes.c_size_t(len(data)), ctypes.c_void_p(marks.ctypes.data))
            del data
            return float("nan") if failed else float((marks & 1).sum())
    except (OSError, ValueError, AttributeError):
        return float("nan")


def numa() -> dict[str, Any]:
    """What decides where pages and threads land: ``nodes``, CPUs of each, ``balancing``, this process's own CPUs and
    ``transparent_huge_pages``. Only what the system tells."""
    found: dict[str, Any] = {}
    nodes = sorted((p for p in _NODES.glob("node[0-9]*")), key=lambda p: int(p.name[4:]))
    if nodes:
        found["numa.nodes"] = len(nodes)
        if len(nodes) > 1:
            found["numa.cpus"] = "; ".join(f"{p.name[4:]}: {_text(p / 'cpulist')}" for p in nodes)
    if (balancing := _text(_KERNEL / "numa_balancing")) is not None:
        found["numa.balancing"] = "off" if balancing == "0" else "on"
    if hasattr(os, "sched_getaffinity"):
        found["cpus"] = ranges(os.sched_getaffinity(0))
    if (huge := _text(_HUGE)) and "[" in huge:
        found["transparent_huge_pages"] = huge.partition("[")[2].partition("]")[0]
    return found


def ranges(numbers: Iterable[int]) -> str:
    """ "0-3,8" for {0, 1, 2, 3, 8}."""
    from ..logs.state import ranges as text

    return text(set(numbers))


def _text(path: Path) -> str | None:
    try:
        return path.read_text().strip()
    except OSError:
        return None
