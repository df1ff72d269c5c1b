"""iq2_xxs: groups of 8 on a grid of 256 points, an even number of minus signs in each (2.0625 bpw).

Block of 256 columns, 66 bytes: half d; for each part of 32 columns uint8 index[4] and a uint32: 7 bits of signs for
each of four groups (the eighth is their parity), then a 4-bit scale.  weight = d / 8 * (2 scale + 1) * +-grid.
"""

import numpy as np

from .. import jit
from ..simd import *
from ._grid_look import columns_of_8, eighth_signs, negate, points_of_rows, put_64, signed_codes
from ._grid_planes import PLANES, xxs_points
from ._grid_search import EVEN, HALVES, NUMBERS, SCALES, SIGNS, grid_group
from ._grids import IQ2_XXS, IQ2_XXS_FIT, IQ2_XXS_PARTS
from .base import Code
from .gather import copy, first_words, half_of, peek8, peek32, poke8, poke32, quads16

_INDEX = shuffle([0, 1, 2, 3, 8, 9, 10, 11] * 2)


@jit
def decode(src, dst, n_rows, n_cols):
    for b in range(n_rows * n_cols // 256):
        d = load_f16(src, b * 66) * np.float32(0.125)
        for k in range(4):
            o = b * 66 + 2 + k * 16
            w0, w1 = peek32(src, o + 4), peek32(src, o + 12)
            values = columns_of_8(IQ2_XXS, to_u32x16(_INDEX(load_u8x16(src, o))))
            values = negate(values, eighth_signs(w0) | eighth_signs(w1) << 32)
            s0 = splat_f32x16(d * np.float32((w0 >> 28) * 2 + 1))
            s1 = splat_f32x16(d * np.float32((w1 >> 28) * 2 + 1))
            put_64(dst, b * 1024 + k * 256, values, s0, s0, s1, s1)


@jit
def encode(x, w, dst, n_rows, n_cols, work):
    parts = n_rows * n_cols // 32
    for first in range(0, parts, 16):
        grid_group(x, w, n_cols, 32, first, parts, 8, IQ2_XXS_FIT, IQ2_XXS_PARTS, 256, 8, EVEN, 0.025, 15, 0.125, work)
        for l in range(min(16, parts - first)):
            o, p = (first + l) // 8 * 66, l % 8
            copy(dst, o, work, HALVES + l * 4, 2)
            word = peek8(work, SCALES + l * 4) << 28
            for g in range(4):
                poke8(dst, o + 2 + p * 8 + g, peek8(work, NUMBERS + g * 64 + l * 4))
                word |= (peek8(work, SIGNS + g * 64 + l * 4) & 127) << 7 * g
            poke32(dst, o + 6 + p * 8, word)


def unpack(q, w, base, stride, b):
    o, p = base + (b >> 3) * 66, b & 7
    two = quads16(w, o + 2 + (p >> 1) * 16, stride)
    i, word = (as_u32x16(two[2]), as_u32x16(two[3])) if p & 1 else (as_u32x16(two[0]), as_u32x16(two[1]))
    s = half_of(first_words(w, o, stride)) * to_f32x16(as_i32x16((word >> 28) * 2 + 1)) * 0.125
    zero = splat_f32x16(0)
    if PLANES:
        codes = xxs_points(i & 0xFF00FF, i >> 8 & 0xFF00FF)
    else:
        codes = points_of_rows(IQ2_XXS, w, o + 2 + p * 8, stride, 4 * stride)
    return s, s, zero, zero, signed_codes(codes, eighth_signs(word), 64)


CODE = Code(decode=decode, encode=encode, unpack=unpack, bias=64, apart=True, turn=2)
