"""Rows of a KV cache, sixteen numbers at a time, in float32. ``cache_encode`` makes them."""

from numba.extending import overload

from ._cache import inner
from .abi import get_f32, get_i32
from .formats._tables import IQ4
from .formats.base import FormatType, widen
from .simd import *

#: types whose codes have 8 bits: bytes before the first codes of a row, and from 32 codes to the next
CODES = {"q8_0": (2, 34), "q8_kv": (8, 32)}

_LANES = constant("i32", list(range(16)))
_IQ4 = constant("u8", [x & 255 for x in IQ4] * 4)
_first = shuffle(list(range(16)))
_eight, _eight_up = shuffle([*range(8), *range(8)]), constant("u8", [0] * 8 + [4] * 8)


def row16(q, row, i):
    """f32x16: numbers i .. i + 15 of the cache row at address ``row``."""
    raise NotImplementedError("for use inside compiled kernels")


@overload(row16, inline="always")
def _row16(q, row, i):
    if isinstance(q, FormatType) and q.dense:
        return lambda q, row, i: widen(q, row, 0, 0, i)
    if isinstance(q, FormatType):
        return _ROW16.get(q.format)


@inner
def _nibbles(q, i):
    """u8x16: the codes' low four bits for columns i .. i + 15 from the 16 bytes at q: low nibbles come first."""
    return load_u8x16(q, 0) >> (i >> 2 & 4) & 15


@inner
def _fifth(q, i):
    """i32x16: 16 where the bit of a column is set in the 32 bits at q."""
    return (splat_i32x16(get_i32(q, 0)) >> (i & 16) >> _LANES() & 1) << 4


def _q8_0(q, row, i):
    block = row + (i >> 5) * 34
    return to_f32x16(to_i32x16(load_i8x16(block, 2 + (i & 31)))) * load_f16(block, 0)


def _q8_kv(q, row, i):
    return to_f32x16(to_i32x16(load_i8x16(row, 8 + i))) * get_f32(row, 0)


def _q4_0(q, row, i):
    block = row + (i >> 5) * 18
    return to_f32x16(to_i32x16(_nibbles(block + 2, i)) - 8) * load_f16(block, 0)


def _q4_1(q, row, i):
    block = row + (i >> 5) * 20
    return fma(to_f32x16(to_i32x16(_nibbles(block + 4, i))), splat_f32x16(load_f16(block, 0)),
               splat_f32x16(load_f16(block, 2)))


def _q5_0(q, row, i):
    block = row + (i >> 5) * 22
    return to_f32x16(to_i32x16(_nibbles(block + 6, i)) + _fifth(block + 2, i) - 16) * load_f16(block, 0)


def _q5_1(q, row, i):
    block = row + (i >> 5) * 24
    return fma(to_f32x16(to_i32x16(_nibbles(block + 8, i)) + _fifth(block + 4, i)), splat_f32x16(load_f16(block, 0)),
               splat_f32x16(load_f16(block, 2)))


def _q6_0(q, row, i):
    block = row + (i >> 5) * 26
    high = _eight(load_u8x16(block, 2)) >> _eight_up() >> (i >> 3 & 2)
    return to_f32x16(to_i32x16(_nibbles(block + 10, i) | (high & 3) << 4) - 32) * load_f16(block, 0)


def _iq4_nl(q, row, i):
    block = row + (i >> 5) * 18
    v = _nibbles(block + 2, i)
    v = concat(v, v)
    return to_f32x16(to_i32x16(_first(as_i8x64(lookup16(_IQ4(), concat(v, v)))))) * load_f16(block, 0)


_ROW16 = {"q8_0": _q8_0, "q8_kv": _q8_kv, "q4_0": _q4_0, "q4_1": _q4_1, "q5_0": _q5_0, "q5_1": _q5_1, "q6_0": _q6_0,
          "iq4_nl": _iq4_nl}  # fmt: skip
