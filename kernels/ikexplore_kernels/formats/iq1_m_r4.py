"""iq1_m_r4: the grid of iq1_m in blocks of 32, four rows interleaved, a half per row (1.75 bpw). Not a repacked iq1_m.

Group of 4 rows: half d[4], then 28 bytes for each 32 columns: uint8 index[4][4 rows], one for each 8 columns; uint8
high[2][4 rows], a nibble for each 8 columns: 3 more bits of the index, and a bit that moves it down; uint8 scales[4
rows], a nibble for each 16 columns.  weight = d * scale * (grid +- 1/8).
"""

import numpy as np

from .. import jit
from ..simd import *
from ._grid_look import points_of_8
from ._grid_rows4 import bytes_of_rows, halves_of_rows
from ._grid_search import GROUP, NUMBERS, ODDS, ROW, SCALES, choose, multiples, search, spread
from ._grids import IQ1, IQ1_FIT, IQ1_PARTS
from ._iq1 import LOWEST, fill_part, four_rows, moved, put_four_rows, row_top, row_unit
from ._lanes import reciprocal
from .base import Code
from .gather import copy, peek8, peek16, poke8

_KEPT = 2 * GROUP + 64  # candidates, best scales
_HIGH = shuffle([4, 5, 6, 7] * 2 + [8, 9, 10, 11] * 2)
_SHIFT = constant("u32", ([0] * 4 + [4] * 4) * 2)


@jit
def decode(src, dst, n_rows, n_cols):
    row = 2 + n_cols // 32 * 7
    for r in range(0, n_rows, 4):
        g = r * row
        d0, d1 = load_f16(src, g) * np.float32(0.125), load_f16(src, g + 2) * np.float32(0.125)
        d2, d3 = load_f16(src, g + 4) * np.float32(0.125), load_f16(src, g + 6) * np.float32(0.125)
        for b in range(n_cols // 32):
            o = g + 8 + b * 28
            high = to_u32x16(_HIGH(load_u8x16(src, o + 12))) >> _SHIFT()
            four = four_rows(to_u32x16(load_u8x16(src, o)) | (high & 7) << 8, high >> 3 & 1)
            e0, e1, e2, e3 = peek8(src, o + 24), peek8(src, o + 25), peek8(src, o + 26), peek8(src, o + 27)
            s = (_low(d0, e0), _low(d1, e1), _low(d2, e2), _low(d3, e3))
            t = (_high(d0, e0), _high(d1, e1), _high(d2, e2), _high(d3, e3))
            put_four_rows(dst, (r * n_cols + b * 32) * 4, n_cols, four, s, t)


@jit(forceinline=True)
def _low(d, scales):
    return d * np.float32(scales & 15)


@jit(forceinline=True)
def _high(d, scales):
    return d * np.float32(scales >> 4)


@jit(forceinline=True)
def _grid():
    return (IQ1_FIT, IQ1_PARTS, 4096, 0, 4096, 8, False)


@jit
def encode(x, w, dst, n_rows, n_cols, work):
    parts, row, kept = n_cols // 16, 2 + n_cols // 32 * 7, work + ROW
    groups, wt, lx, odds = (parts + 15) // 16, work + 2048, work + 4096, work + ODDS
    for r in range(n_rows):
        k = r % 4
        o, first, last = (r - k) * row, r * parts, (r + 1) * parts
        top = row_top(x, w, n_cols, 16, first, parts, work)
        for g in range(groups):
            fill_part(x, w, n_cols, 16, first + g * 16, last, reciprocal(top), work)
            at, around = kept + g * _KEPT, spread(work, wt, 16) * LOWEST
            wanted, _ = search(_grid(), lx, wt, odds, 16, around, at, work)
            store_f32x16(at, 2 * GROUP, wanted)
        bits, unit = row_unit(kept, groups, _KEPT, 2, 1, 0, 15, top)
        store_i32x16(work, SCALES, bits)
        copy(dst, o + k * 2, work, SCALES, 2)
        for g in range(groups):
            fill_part(x, w, n_cols, 16, first + g * 16, last, reciprocal(top), work)
            at = kept + g * _KEPT
            i, _, _, s = multiples(at, 2, 1, 0, 15, unit, load_f32x16(at, 2 * GROUP))
            choose(_grid(), work, lx, wt, odds, 16, s, work + NUMBERS, 0, work)
            store_i32x16(work, SCALES, to_i32x16(i))
            for l in range(0, min(16, parts - g * 16), 2):
                _put(work, l, dst, o + 8 + (g * 8 + l // 2) * 28 + k)


@jit
def _put(work, l, dst, o):
    """Lanes l and l + 1, 32 columns, to a block whose first byte of this row is at o."""
    for h in range(2):
        n0, n1 = peek16(work, NUMBERS + (l + h) * 4), peek16(work, NUMBERS + 64 + (l + h) * 4)
        poke8(dst, o + 8 * h, n0)
        poke8(dst, o + 8 * h + 4, n1)
        poke8(dst, o + 16 + 4 * h, n0 >> 8 | n1 >> 8 << 4)
    poke8(dst, o + 24, peek8(work, SCALES + l * 4) | peek8(work, SCALES + l * 4 + 4) << 4)


def unpack(q, w, base, stride, b):
    o, step = base + 8 + b * 28, stride * 4
    a, c = as_u32x16(bytes_of_rows(w, o + 16, step)), as_u32x16(bytes_of_rows(w, o + 20, step))
    scale = bytes_of_rows(w, o + 24, step)
    d, zero = halves_of_rows(w, base, step) * 0.125, splat_f32x16(0)
    s0, s1 = d * to_f32x16(scale & 15), d * to_f32x16(scale >> 4)
    codes = points_of_8(
        IQ1,
        as_u32x16(bytes_of_rows(w, o, step)) | (a & 7) << 8,
        as_u32x16(bytes_of_rows(w, o + 4, step)) | (a & 0x70) << 4,
        as_u32x16(bytes_of_rows(w, o + 8, step)) | (c & 7) << 8,
        as_u32x16(bytes_of_rows(w, o + 12, step)) | (c & 0x70) << 4,
    )
    return s0, s1, zero, zero, moved(codes, a >> 3, a >> 7, c >> 3, c >> 7)


CODE = Code(decode=decode, encode=encode, unpack=unpack, bias=10, sub=16)
