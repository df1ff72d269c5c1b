"""iq1_m: groups of 8 on a ternary grid of 2048 points, each moved up or down by 1/8, a scale per 16 (1.75 bpw).

Block of 256 columns, 56 bytes: uint8 index[32]; uint8 high[16], a nibble for each group: 3 more bits of its index, and
a bit that moves it down; uint16 scales[4]: 3-bit scales for 16 columns each, and in the four highest bits of each a
quarter of the half d, the lowest first.  weight = d * (2 scale + 1) * (grid +- 1/8).
"""

import numpy as np

from .. import jit
from ..simd import *
from ._grid_look import columns_of_8, points_of_8, put_64
from ._grid_search import HALVES, INSIDE, NUMBERS, SCALES, grid_group
from ._grids import IQ1, IQ1_FIT, IQ1_PARTS
from ._half import half_value
from ._iq1 import moved, word_of_8
from .base import Code
from .gather import first_words, half_of, last_words, peek8, peek16, peek32, poke8, poke16, quads16

_SHIFT = constant("u32", [0, 4, 8, 12, 16, 20, 24, 28] * 2)
_GROUPS = shuffle([k // 8 for k in range(64)])


@jit
def decode(src, dst, n_rows, n_cols):
    for b in range(n_rows * n_cols // 256):
        o = b * 56
        u0, u1, u2, u3 = peek16(src, o + 48), peek16(src, o + 50), peek16(src, o + 52), peek16(src, o + 54)
        d = half_value(u0 >> 12 | u1 >> 12 << 4 | u2 >> 12 << 8 | u3 >> 12 << 12) * np.float32(0.125)
        for k in range(4):
            high = splat_u32x16(peek32(src, o + 32 + 4 * k)) >> _SHIFT()
            index = to_u32x16(word_of_8(load_u8x16(src, o + (8 * k if k < 2 else 16)), k)) | (high & 7) << 8
            down = _GROUPS(to_u8x16(high >> 2 & 2))
            values = as_i8x64(columns_of_8(IQ1, index) - down) - 8
            scales = peek16(src, o + 48 + 2 * k)
            s0 = splat_f32x16(d * np.float32((scales & 7) * 2 + 1))
            s1 = splat_f32x16(d * np.float32((scales >> 3 & 7) * 2 + 1))
            s2 = splat_f32x16(d * np.float32((scales >> 6 & 7) * 2 + 1))
            s3 = splat_f32x16(d * np.float32((scales >> 9 & 7) * 2 + 1))
            put_64(dst, b * 1024 + k * 256, values, s0, s1, s2, s3)


@jit
def encode(x, w, dst, n_rows, n_cols, work):
    parts = n_rows * n_cols // 16
    for first in range(0, parts, 16):
        grid_group(x, w, n_cols, 16, first, parts, 16, IQ1_FIT, IQ1_PARTS, 4096, 8, INSIDE, 0.1, 7, 0.125, work)
        o, d = first // 16 * 56, peek16(work, HALVES)
        for l in range(16):
            n0, n1 = peek16(work, NUMBERS + l * 4), peek16(work, NUMBERS + 64 + l * 4)
            poke8(dst, o + 2 * l, n0)
            poke8(dst, o + 2 * l + 1, n1)
            poke8(dst, o + 32 + l, n0 >> 8 | n1 >> 8 << 4)
        for k in range(4):
            u = (d >> 4 * k & 15) << 12
            for l in range(4):
                u |= peek8(work, SCALES + (4 * k + l) * 4) << 3 * l
            poke16(dst, o + 48 + 2 * k, u)


def unpack(q, w, base, stride, b):
    o, p = base + (b >> 3) * 56, b & 7
    i, high = first_words(w, o + p * 4, stride), last_words(w, o + 30 + p * 2, stride) >> 16
    tail = quads16(w, o + 40, stride)
    low, top = as_u32x16(tail[2]), as_u32x16(tail[3])
    d = half_of(low >> 12 & 15 | low >> 28 << 4 | (top >> 12 & 15) << 8 | top >> 28 << 12) * 0.125
    shift = (p & 2) * 8 + (p & 1) * 6
    scale = low >> shift if p < 4 else top >> shift
    s0, s1 = (
        d * to_f32x16(as_i32x16((scale & 7) * 2 + 1)),
        d * to_f32x16(as_i32x16((scale >> 3 & 7) * 2 + 1)),
    )
    codes = points_of_8(
        IQ1,
        i & 255 | (high & 7) << 8,
        i >> 8 & 255 | (high & 0x70) << 4,
        i >> 16 & 255 | high & 0x700,
        i >> 24 | (high & 0x7000) >> 4,
    )
    zero = splat_f32x16(0)
    return s0, s1, zero, zero, moved(codes, high >> 3, high >> 7, high >> 11, high >> 15)


CODE = Code(decode=decode, encode=encode, unpack=unpack, bias=10, sub=16)
