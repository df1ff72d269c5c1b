"""Rows dealt to threads: compiled codecs release the GIL, so plain Python threads are enough."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

_pool: ThreadPoolExecutor | None = None


def _cores() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not Linux
        return os.cpu_count() or 1


def _forget() -> None:
    global _pool
    _pool = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


def by_rows(rows: int, step: int, least: int, work: Callable[[int, int], object]) -> None:
    """Call ``work(first, last)`` over all rows, in parts of whole ``step`` rows and of ``least`` rows or more."""
    global _pool
    units = rows // step
    parts = max(1, min(_cores(), rows // max(least, 1), units))
    edges = [units * i // parts * step for i in range(parts)] + [rows]
    if parts == 1:
        work(0, rows)
        return
    if _pool is None:
        _pool = ThreadPoolExecutor(_cores(), thread_name_prefix="ikexplore-codec")
    for job in [_pool.submit(work, a, b) for a, b in pairwise(edges)]:
        job.result()
