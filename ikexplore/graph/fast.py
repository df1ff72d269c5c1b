"""Passes over columns are plain Python functions of arrays; large graphs run them compiled by numba."""

import functools
from collections.abc import Callable
from typing import Any

#: below this many rows plain Python is quicker than loading the compiler
SMALL = 1500


@functools.cache
def compiled(fn: Callable) -> Callable:
    """The function compiled by numba, kept in the kernels' cache folder."""
    from ikexplore_kernels import jit

    return jit(fn)


def fast(fn: Callable, rows: int) -> Callable[..., Any]:
    """``fn`` itself for few rows, its compiled twin for many. Both give the same arrays."""
    return compiled(fn) if rows > SMALL else fn
