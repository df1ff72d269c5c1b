"""iq1_s_r4: the grid of iq1_s in blocks of 32, four rows interleaved, a half per row (1.5 bpw). Not a repacked iq1_s.

Group of 4 rows: half d[4], then 24 bytes for each 32 columns: uint8 index[4][4 rows], one for each 8 columns; uint16
high[4 rows]: 3 more bits for each index, a 3-bit scale, and a bit that moves all four down.
weight = d * (2 scale + 1) * (grid +- 1/8).
"""

import numpy as np

from .. import jit
from ..simd import *
from ._grid_look import points_of_8
from ._grid_rows4 import bytes_of_rows, halves_of_rows
from ._grid_search import GROUP, ROW, SCALES, multiples
from ._grids import IQ1
from ._iq1 import choose_both, fill_part, four_rows, moved, put_four_rows, put_part, row_top, row_unit, search_both
from ._lanes import reciprocal
from .base import Code
from .gather import copy, join4x8, peek16

_KEPT = 4 * GROUP + 128  # candidates, best scales, which of them move down
_LOW, _HIGH = shuffle([8, 10, 12, 14] * 4), shuffle([9, 11, 13, 15] * 4)
_SHIFT = constant("u32", [0] * 4 + [3] * 4 + [6] * 4 + [9] * 4)


@jit
def decode(src, dst, n_rows, n_cols):
    row = 2 + n_cols // 32 * 6
    for r in range(0, n_rows, 4):
        g = r * row
        d0, d1 = load_f16(src, g) * np.float32(0.125), load_f16(src, g + 2) * np.float32(0.125)
        d2, d3 = load_f16(src, g + 4) * np.float32(0.125), load_f16(src, g + 6) * np.float32(0.125)
        for b in range(n_cols // 32):
            o = g + 8 + b * 24
            tail = load_u8x16(src, o + 8)
            high = to_u32x16(_LOW(tail)) | to_u32x16(_HIGH(tail)) << 8
            four = four_rows(to_u32x16(load_u8x16(src, o)) | (high >> _SHIFT() & 7) << 8, high >> 15)
            s0, s1 = d0 * _odd(peek16(src, o + 16)), d1 * _odd(peek16(src, o + 18))
            s2, s3 = d2 * _odd(peek16(src, o + 20)), d3 * _odd(peek16(src, o + 22))
            s = (s0, s1, s2, s3)
            put_four_rows(dst, (r * n_cols + b * 32) * 4, n_cols, four, s, s)


@jit(forceinline=True)
def _odd(high):
    return np.float32((high >> 12 & 7) * 2 + 1)


@jit
def encode(x, w, dst, n_rows, n_cols, work):
    parts, row, kept = n_cols // 32, 2 + n_cols // 32 * 6, work + ROW
    groups = (parts + 15) // 16
    for r in range(n_rows):
        k = r % 4
        o, first, last = (r - k) * row, r * parts, (r + 1) * parts
        top = row_top(x, w, n_cols, 32, first, parts, work)
        for g in range(groups):
            fill_part(x, w, n_cols, 32, first + g * 16, last, reciprocal(top), work)
            wanted, minus = search_both(work, kept + g * _KEPT)
            store_f32x16(kept, g * _KEPT + 4 * GROUP, wanted)
            store_f32x16(kept, g * _KEPT + 4 * GROUP + 64, minus)
        bits, unit = row_unit(kept, groups, _KEPT, 4, 2, 1, 7, top)
        store_i32x16(work, SCALES, bits)
        copy(dst, o + k * 2, work, SCALES, 2)
        for g in range(groups):
            fill_part(x, w, n_cols, 32, first + g * 16, last, reciprocal(top), work)
            at = kept + g * _KEPT
            i, _, _, s = multiples(at, 4, 2, 1, 7, unit, load_f32x16(at, 4 * GROUP))
            choose_both(work, s, load_f32x16(at, 4 * GROUP + 64))
            store_i32x16(work, SCALES, to_i32x16(i))
            for l in range(min(16, parts - g * 16)):
                to = o + 8 + (g * 16 + l) * 24
                put_part(work, l, dst, to + k, 4, to + 16 + k * 2)


def unpack(q, w, base, stride, b):
    o, step = base + 8 + b * 24, stride * 4
    high = to_u32x16(as_u16x16(join4x8(w, o + 16, step)))
    s = halves_of_rows(w, base, step) * to_f32x16(as_i32x16((high >> 12 & 7) * 2 + 1)) * 0.125
    codes = points_of_8(
        IQ1,
        as_u32x16(bytes_of_rows(w, o, step)) | (high & 7) << 8,
        as_u32x16(bytes_of_rows(w, o + 4, step)) | (high & 0x38) << 5,
        as_u32x16(bytes_of_rows(w, o + 8, step)) | (high & 0x1C0) << 2,
        as_u32x16(bytes_of_rows(w, o + 12, step)) | (high & 0xE00) >> 1,
    )
    zero, down = splat_f32x16(0), high >> 15
    return s, s, zero, zero, moved(codes, down, down, down, down)


CODE = Code(decode=decode, encode=encode, unpack=unpack, bias=10)
