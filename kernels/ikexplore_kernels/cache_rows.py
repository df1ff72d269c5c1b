"""Rows of a KV cache, sixteen numbers at a time, in float32."""

from numba.extending import overload

from .formats.base import FormatType, widen
from .simd import *


def row16(q, row, i):
    """f32x16: numbers i .. i + 15 of the cache row at address ``row``."""
    raise NotImplementedError("for use inside compiled kernels")


@overload(row16, inline="always")
def _row16(q, row, i):
    if isinstance(q, FormatType) and q.dense:
        return lambda q, row, i: widen(q, row, 0, 0, i)
    if isinstance(q, FormatType) and q.format == "q8_0":
        return _q8_0_row16


def _q8_0_row16(q, row, i):
    block = row + (i >> 5) * 34
    return to_f32x16(to_i32x16(load_i8x16(block, 2 + (i & 31)))) * load_f16(block, 0)
