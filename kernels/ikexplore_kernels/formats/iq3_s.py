"""iq3_s: groups of 4 on a grid of 512 points, signs of their own (3.4375 bpw).

Block of 256 columns, 110 bytes: half d; uint8 index[64]; uint8 high[8], a ninth bit for each of the eight indices of a
part of 32 columns; uint8 signs[32]; uint8 scales[4], a nibble for each part.  weight = d * (2 scale + 1) * +-grid.
"""

import numpy as np

from .. import jit
from ..simd import *
from ._grid_look import columns_of_4, negate, points_of_4, put_64, signed_codes
from ._grid_planes import PLANES, iq3_s_points
from ._grid_search import FREE, HALVES, NUMBERS, SCALES, SIGNS, grid_group
from ._grids import IQ3_S, IQ3_S_FIT, IQ3_S_PARTS
from .base import Code
from .gather import copy, first_words, half_of, last_words, peek8, peek16, peek32, poke8, quads16

_SHIFT = constant("u32", range(16))


@jit
def decode(src, dst, n_rows, n_cols):
    for b in range(n_rows * n_cols // 256):
        d = load_f16(src, b * 110)
        for k in range(4):
            o = b * 110
            scales, high = peek8(src, o + 106 + k), splat_u32x16(peek16(src, o + 66 + 2 * k))
            index = to_u32x16(load_u8x16(src, o + 2 + 16 * k)) | (high >> _SHIFT() & 1) << 8
            values = negate(columns_of_4(IQ3_S, index), peek32(src, o + 74 + 8 * k) | peek32(src, o + 78 + 8 * k) << 32)
            s0 = splat_f32x16(d * np.float32((scales & 15) * 2 + 1))
            s1 = splat_f32x16(d * np.float32((scales >> 4) * 2 + 1))
            put_64(dst, b * 1024 + k * 256, values, s0, s0, s1, s1)


@jit
def encode(x, w, dst, n_rows, n_cols, work):
    parts = n_rows * n_cols // 32
    for first in range(0, parts, 16):
        grid_group(x, w, n_cols, 32, first, parts, 8, IQ3_S_FIT, IQ3_S_PARTS, 512, 4, FREE, 0.1, 15, 1.0, work)
        for l in range(min(16, parts - first)):
            o, p = (first + l) // 8 * 110, l % 8
            copy(dst, o, work, HALVES + l * 4, 2)
            high = 0
            for g in range(8):
                at = g * 64 + l * 4
                poke8(dst, o + 2 + p * 8 + g, peek8(work, NUMBERS + at))
                high |= peek8(work, NUMBERS + at + 1) << g
            poke8(dst, o + 66 + p, high)
            for g in range(4):
                at = g * 128 + l * 4
                poke8(dst, o + 74 + p * 4 + g, peek8(work, SIGNS + at) | peek8(work, SIGNS + at + 64) << 4)
            if p & 1:
                poke8(dst, o + 106 + (p >> 1), peek8(work, SCALES + l * 4 - 4) | peek8(work, SCALES + l * 4) << 4)


def unpack(q, w, base, stride, b):
    o, p = base + (b >> 3) * 110, b & 7
    two, middle = quads16(w, o + 2 + (p >> 1) * 16, stride), quads16(w, o + 66, stride)
    if p & 1:
        i, k = as_u32x16(two[2]), as_u32x16(two[3])
    else:
        i, k = as_u32x16(two[0]), as_u32x16(two[1])
    if p < 4:
        high = as_u32x16(middle[0]) >> p * 8
    else:
        high = as_u32x16(middle[1]) >> p * 8 - 32
    scale = last_words(w, o + 106, stride) >> p * 4 & 15
    s = half_of(first_words(w, o, stride)) * to_f32x16(as_i32x16(scale * 2 + 1))
    zero = splat_f32x16(0)
    signs = last_words(w, o + 74 + p * 4, stride)
    codes = iq3_s_points(i, k, high) if PLANES else points_of_4(IQ3_S, i, k, high)
    return s, s, zero, zero, signed_codes(codes, signs, 64)


CODE = Code(decode=decode, encode=encode, unpack=unpack, bias=64)
