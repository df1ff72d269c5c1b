"""iq2_s: groups of 8 on a grid of 1024 points, signs of their own, a scale per 16 (2.5625 bpw).

Block of 256 columns, 82 bytes: half d; uint8 index[32]; uint8 signs[32]; uint8 high[8], two more bits for each of the
four indices of a part of 32 columns; uint8 scales[8], a nibble for each 16.  weight = d / 8 * (2 scale + 1) * +-grid.
"""

import numpy as np

from .. import jit
from ..simd import *
from ._grid_look import columns_of_8, negate, points_of_8, put_64, signed_codes
from ._grid_search import FREE, HALVES, NUMBERS, SCALES, SIGNS, grid_group
from ._grids import IQ2_S, IQ2_S_FIT, IQ2_S_PARTS
from .base import Code
from .gather import copy, first_words, half_of, peek8, peek16, peek32, poke8, quads16

_SHIFT = constant("u32", [0, 2, 4, 6, 8, 10, 12, 14] * 2)


@jit
def decode(src, dst, n_rows, n_cols):
    for b in range(n_rows * n_cols // 256):
        d = load_f16(src, b * 82) * np.float32(0.125)
        for k in range(4):
            o = b * 82
            scales, high = peek16(src, o + 74 + 2 * k), peek16(src, o + 66 + 2 * k)
            index = to_u32x16(load_u8x16(src, o + 2 + 8 * k)) | (splat_u32x16(high) >> _SHIFT() & 3) << 8
            values = negate(columns_of_8(IQ2_S, index), peek32(src, o + 34 + 8 * k) | peek32(src, o + 38 + 8 * k) << 32)
            s0 = splat_f32x16(d * np.float32((scales & 15) * 2 + 1))
            s1 = splat_f32x16(d * np.float32((scales >> 4 & 15) * 2 + 1))
            s2 = splat_f32x16(d * np.float32((scales >> 8 & 15) * 2 + 1))
            s3 = splat_f32x16(d * np.float32((scales >> 12) * 2 + 1))
            put_64(dst, b * 1024 + k * 256, values, s0, s1, s2, s3)


@jit
def encode(x, w, dst, n_rows, n_cols, work):
    parts = n_rows * n_cols // 16
    for first in range(0, parts, 16):
        grid_group(x, w, n_cols, 16, first, parts, 16, IQ2_S_FIT, IQ2_S_PARTS, 1024, 8, FREE, 0.025, 15, 0.125, work)
        o = first // 16 * 82
        copy(dst, o, work, HALVES, 2)
        for p in range(8):
            high = 0
            for g in range(4):
                at = (g & 1) * 64 + (2 * p + (g >> 1)) * 4
                poke8(dst, o + 2 + p * 4 + g, peek8(work, NUMBERS + at))
                poke8(dst, o + 34 + p * 4 + g, peek8(work, SIGNS + at))
                high |= peek8(work, NUMBERS + at + 1) << 2 * g
            poke8(dst, o + 66 + p, high)
            poke8(dst, o + 74 + p, peek8(work, SCALES + p * 8) | peek8(work, SCALES + p * 8 + 4) << 4)


def unpack(q, w, base, stride, b):
    o, p = base + (b >> 3) * 82, b & 7
    i, signs = first_words(w, o + 2 + p * 4, stride), first_words(w, o + 34 + p * 4, stride)
    last, shift = quads16(w, o + 66, stride), (p & 3) * 8
    if p < 4:
        high, scale = as_u32x16(last[0]) >> shift, as_u32x16(last[2]) >> shift
    else:
        high, scale = as_u32x16(last[1]) >> shift, as_u32x16(last[3]) >> shift
    d, zero = half_of(first_words(w, o, stride)) * 0.125, splat_f32x16(0)
    s0 = d * to_f32x16(as_i32x16((scale & 15) * 2 + 1))
    s1 = d * to_f32x16(as_i32x16((scale >> 4 & 15) * 2 + 1))
    codes = points_of_8(
        IQ2_S,
        i & 255 | (high & 3) << 8,
        i >> 8 & 255 | (high & 12) << 6,
        i >> 16 & 255 | (high & 48) << 4,
        i >> 24 | (high & 192) << 2,
    )
    return s0, s1, zero, zero, signed_codes(codes, signs, 64)


CODE = Code(decode=decode, encode=encode, unpack=unpack, bias=64, sub=16)
