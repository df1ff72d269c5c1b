"""iq1_s: groups of 8 on a ternary grid of 2048 points, all four of a part moved up or down by 1/8 (1.5625 bpw).

Block of 256 columns, 50 bytes: half d; uint8 index[32]; uint16 high[8], one for each part of 32 columns: 3 more bits
for each of four indices, a 3-bit scale, and a bit that moves them down.  weight = d * (2 scale + 1) * (grid +- 1/8).
"""

import numpy as np

from .. import jit
from ..simd import *
from ._grid_look import columns_of_8
from ._grid_search import CAND, HALVES, SCALES, super_units
from ._grids import IQ1
from ._iq1 import choose_both, fill_part, moved, points_of_parts, put_moved, put_part, search_both, word_of_8
from ._lanes import fill, magnitude, max8, reciprocal
from .base import Code
from .gather import copy, first_words, half_of, last_words, peek16

_SHIFT = constant("u32", [0, 3, 6, 9, 16, 19, 22, 25] * 2)


@jit
def decode(src, dst, n_rows, n_cols):
    for b in range(n_rows * n_cols // 256):
        o = b * 50
        d = load_f16(src, o) * np.float32(0.125)
        for k in range(4):
            u0, u1 = peek16(src, o + 34 + 4 * k), peek16(src, o + 36 + 4 * k)
            high = splat_u32x16(u0 | u1 << 16) >> _SHIFT() & 7
            index = to_u32x16(word_of_8(load_u8x16(src, o + 2 + (8 * k if k < 2 else 16)), k)) | high << 8
            m0, m1 = np.int32(-8 - (u0 >> 14 & 2)), np.int32(-8 - (u1 >> 14 & 2))
            s0, s1 = d * np.float32((u0 >> 12 & 7) * 2 + 1), d * np.float32((u1 >> 12 & 7) * 2 + 1)
            put_moved(dst, b * 1024 + k * 256, columns_of_8(IQ1, index), m0, m1, s0, s1)


@jit
def encode(x, w, dst, n_rows, n_cols, work):
    parts = n_rows * n_cols // 32
    for first in range(0, parts, 16):
        fill(x, w, n_cols, 32, first, parts, work, work + 2048)
        top = max8(magnitude(work, 32))
        fill_part(x, w, n_cols, 32, first, parts, reciprocal(top), work)
        wanted, minus = search_both(work, work + CAND)
        bits, unit, i = super_units(work + CAND, 4, 8, 2, 1, 7, 0.125, wanted, top)
        choose_both(work, unit * (i * 2 + 1), minus)
        store_i32x16(work, HALVES, bits)
        store_i32x16(work, SCALES, to_i32x16(i))
        for l in range(min(16, parts - first)):
            o, p = (first + l) // 8 * 50, l % 8
            copy(dst, o, work, HALVES + l * 4, 2)
            put_part(work, l, dst, o + 2 + p * 4, 1, o + 34 + p * 2)


def unpack(q, w, base, stride, b):
    o, p = base + (b >> 3) * 50, b & 7
    i, high = first_words(w, o + 2 + p * 4, stride), last_words(w, o + 32 + p * 2, stride) >> 16
    s = half_of(first_words(w, o, stride)) * to_f32x16(as_i32x16((high >> 12 & 7) * 2 + 1)) * 0.125
    zero, down = splat_f32x16(0), high >> 15
    return s, s, zero, zero, moved(points_of_parts(i, high), down, down, down, down)


CODE = Code(decode=decode, encode=encode, unpack=unpack, bias=10)
