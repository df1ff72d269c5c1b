"""iq2_xs: groups of 8 on a grid of 512 points, an even number of minus signs in each, a scale per 16 (2.3125 bpw).

Block of 256 columns, 74 bytes: half d; uint16 q[32], one for each 8 columns: 9 bits of index, 7 bits of signs (the
eighth is their parity); uint8 scales[8], a nibble for each 16 columns.  weight = d / 8 * (2 scale + 1) * +-grid.
"""

import numpy as np

from .. import jit
from ..simd import *
from ._grid_look import columns_of_8, eighth_signs, negate, points_of_8, put_64, signed_codes
from ._grid_planes import PLANES, xs_points
from ._grid_search import EVEN, HALVES, NUMBERS, SCALES, SIGNS, grid_group
from ._grids import IQ2_XS, IQ2_XS_FIT, IQ2_XS_PARTS
from .base import Code
from .gather import copy, first_words, half_of, peek8, peek16, peek32, poke8, poke16, quads16

_LOW, _HIGH = shuffle(list(range(0, 16, 2)) * 2), shuffle(list(range(1, 16, 2)) * 2)


@jit
def decode(src, dst, n_rows, n_cols):
    for b in range(n_rows * n_cols // 256):
        d = load_f16(src, b * 74) * np.float32(0.125)
        for k in range(4):
            o = b * 74 + 2 + k * 16
            scales = peek8(src, b * 74 + 66 + 2 * k) | peek8(src, b * 74 + 67 + 2 * k) << 8
            values = columns_of_8(IQ2_XS, words_of_16(load_u8x16(src, o)) & 511)
            signs = eighth_signs(seven_bits(peek32(src, o), peek32(src, o + 4)))
            signs |= eighth_signs(seven_bits(peek32(src, o + 8), peek32(src, o + 12))) << 32
            s0 = splat_f32x16(d * np.float32((scales & 15) * 2 + 1))
            s1 = splat_f32x16(d * np.float32((scales >> 4 & 15) * 2 + 1))
            s2 = splat_f32x16(d * np.float32((scales >> 8 & 15) * 2 + 1))
            s3 = splat_f32x16(d * np.float32((scales >> 12) * 2 + 1))
            put_64(dst, b * 1024 + k * 256, negate(values, signs), s0, s1, s2, s3)


@jit(forceinline=True)
def words_of_16(bytes):
    """Eight uint16 in u8x16 -> the low lanes of u32x16."""
    return to_u32x16(_LOW(bytes)) | to_u32x16(_HIGH(bytes)) << 8


@jit(forceinline=True)
def seven_bits(low, high):
    """The signs of four q, next to each other, from two words of two (ints or u32x16)."""
    return (low >> 9 & 127) | (low >> 25 & 127) << 7 | (high >> 9 & 127) << 14 | (high >> 25 & 127) << 21


@jit
def encode(x, w, dst, n_rows, n_cols, work):
    parts = n_rows * n_cols // 16
    for first in range(0, parts, 16):
        grid_group(x, w, n_cols, 16, first, parts, 16, IQ2_XS_FIT, IQ2_XS_PARTS, 512, 8, EVEN, 0.025, 15, 0.125, work)
        o = first // 16 * 74
        copy(dst, o, work, HALVES, 2)
        for l in range(16):
            for g in range(2):
                at = g * 64 + l * 4
                q = peek16(work, NUMBERS + at) | (peek8(work, SIGNS + at) & 127) << 9
                poke16(dst, o + 2 + l * 4 + g * 2, q)
        for p in range(8):
            poke8(dst, o + 66 + p, peek8(work, SCALES + p * 8) | peek8(work, SCALES + p * 8 + 4) << 4)


def unpack(q, w, base, stride, b):
    o, p = base + (b >> 3) * 74, b & 7
    two, last = quads16(w, o + 2 + (p >> 1) * 16, stride), quads16(w, o + 58, stride)
    if p & 1:
        i, k = as_u32x16(two[2]), as_u32x16(two[3])
    else:
        i, k = as_u32x16(two[0]), as_u32x16(two[1])
    if p < 4:
        scale = as_u32x16(last[2]) >> p * 8
    else:
        scale = as_u32x16(last[3]) >> p * 8 - 32
    d, zero = half_of(first_words(w, o, stride)) * 0.125, splat_f32x16(0)
    s0 = d * to_f32x16(as_i32x16((scale & 15) * 2 + 1))
    s1 = d * to_f32x16(as_i32x16((scale >> 4 & 15) * 2 + 1))
    if PLANES:
        codes = xs_points(i & 0x1FF01FF, k & 0x1FF01FF)
    else:
        codes = points_of_8(IQ2_XS, i & 511, i >> 16 & 511, k & 511, k >> 16 & 511)
    return s0, s1, zero, zero, signed_codes(codes, eighth_signs(seven_bits(i, k)), 64)


CODE = Code(decode=decode, encode=encode, unpack=unpack, bias=64, sub=16)
