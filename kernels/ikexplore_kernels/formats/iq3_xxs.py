"""iq3_xxs: groups of 4 on a grid of 256 points, an even number of minus signs in each 8 columns (3.0625 bpw).

Block of 256 columns, 98 bytes: half d; uint8 index[64]; for each part of 32 columns a uint32: 7 bits of signs for each
8 columns (the eighth is their parity), then a 4-bit scale.  weight = d / 4 * (2 scale + 1) * +-grid.
"""

import numpy as np

from .. import jit
from ..simd import *
from ._grid_look import columns_of_4, eighth_signs, negate, points_of_4, put_64, signed_codes
from ._grid_planes import PLANES, iq3_xxs_points
from ._grid_search import EVEN, HALVES, NUMBERS, SCALES, SIGNS, grid_group
from ._grids import IQ3_XXS, IQ3_XXS_FIT, IQ3_XXS_PARTS
from .base import Code
from .gather import copy, first_words, half_of, last_words, peek8, peek32, poke8, poke32, quads16


@jit
def decode(src, dst, n_rows, n_cols):
    for b in range(n_rows * n_cols // 256):
        d = load_f16(src, b * 98) * np.float32(0.25)
        for k in range(4):
            o = b * 98
            w0, w1 = peek32(src, o + 66 + 8 * k), peek32(src, o + 70 + 8 * k)
            values = columns_of_4(IQ3_XXS, to_u32x16(load_u8x16(src, o + 2 + 16 * k)))
            values = negate(values, eighth_signs(w0) | eighth_signs(w1) << 32)
            s0 = splat_f32x16(d * np.float32((w0 >> 28) * 2 + 1))
            s1 = splat_f32x16(d * np.float32((w1 >> 28) * 2 + 1))
            put_64(dst, b * 1024 + k * 256, values, s0, s0, s1, s1)


@jit
def encode(x, w, dst, n_rows, n_cols, work):
    parts = n_rows * n_cols // 32
    for first in range(0, parts, 16):
        grid_group(x, w, n_cols, 32, first, parts, 8, IQ3_XXS_FIT, IQ3_XXS_PARTS, 256, 4, EVEN, 0.024, 15, 0.25, work)
        for l in range(min(16, parts - first)):
            o, p = (first + l) // 8 * 98, l % 8
            copy(dst, o, work, HALVES + l * 4, 2)
            word = peek8(work, SCALES + l * 4) << 28
            for g in range(8):
                poke8(dst, o + 2 + p * 8 + g, peek8(work, NUMBERS + g * 64 + l * 4))
                word |= (peek8(work, SIGNS + g * 64 + l * 4) & (7 if g & 1 else 15)) << 7 * (g >> 1) + 4 * (g & 1)
            poke32(dst, o + 66 + p * 4, word)


def unpack(q, w, base, stride, b):
    o, p = base + (b >> 3) * 98, b & 7
    two, word = quads16(w, o + 2 + (p >> 1) * 16, stride), last_words(w, o + 66 + p * 4, stride)
    if p & 1:
        i, k = as_u32x16(two[2]), as_u32x16(two[3])
    else:
        i, k = as_u32x16(two[0]), as_u32x16(two[1])
    s = half_of(first_words(w, o, stride)) * to_f32x16(as_i32x16((word >> 28) * 2 + 1)) * 0.25
    zero = splat_f32x16(0)
    codes = iq3_xxs_points(i, k) if PLANES else points_of_4(IQ3_XXS, i, k, splat_u32x16(0))
    return s, s, zero, zero, signed_codes(codes, eighth_signs(word), 64)


CODE = Code(decode=decode, encode=encode, unpack=unpack, bias=64, apart=True)
