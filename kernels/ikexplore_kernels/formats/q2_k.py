"""q2_k: 2-bit codes with a 4-bit scale and a 4-bit minimum per 16, and two halves per 256 (2.625 bpw).

Block of 256 columns, 84 bytes: uint8 scales[16], of each 16 columns the scale (low nibble) and the minimum (high);
uint8 q[2][32]; half d; half dmin. Columns 128 h + 32 p + i: the code is bits 2 p.. of q[h][i].
weight = d * scale * code - dmin * minimum.
"""

import numpy as np

from .. import jit
from ..simd import *
from ._affine import affine_group
from ._eights import bits_of
from .base import Code
from .gather import copy, first_words, half_of, last_words, peek8, poke8, quads32


@jit
def decode(src, dst, n_rows, n_cols):
    for b in range(n_rows * n_cols // 256):
        o = b * 84
        d, low = load_f16(src, o + 80), load_f16(src, o + 82)
        for h in range(2):
            for e in range(2):
                q = load_u8x16(src, o + 16 + h * 32 + e * 16)
                for p in range(4):
                    k = h * 8 + p * 2 + e
                    scale = peek8(src, o + k)
                    codes = to_f32x16(to_i32x16(q >> p * 2 & 3))
                    least = splat_f32x16(low * np.float32(scale >> 4))
                    store_f32x16(dst, b * 1024 + k * 64, codes * (d * np.float32(scale & 15)) - least)


@jit
def encode(x, w, dst, n_rows, n_cols, work):
    parts = n_rows * n_cols // 16
    codes, scales = work + 4096, work + 4608
    for first in range(0, parts, 16):
        affine_group(x, w, n_cols, 16, first, parts, 16, 3, 15, work, codes, scales)
        _pack(codes, scales, dst, first // 16 * 84)


@jit
def _pack(codes, scales, dst, o):
    """All 16 lanes to the block at o; column c is at byte 16 (c % 16) + c / 16 of codes."""
    copy(dst, o + 80, scales, 0, 4)
    for k in range(16):
        poke8(dst, o + k, peek8(scales, 64 + k * 4) | peek8(scales, 128 + k * 4) << 4)
    for h in range(2):
        for i in range(32):
            at = codes + i % 16 * 16 + i // 16 + h * 8
            poke8(dst, o + 16 + h * 32 + i, peek8(at, 0) | peek8(at, 2) << 2 | peek8(at, 4) << 4 | peek8(at, 6) << 6)


def unpack(q, w, base, stride, b):
    o = base + (b >> 3) * 84
    both = last_words(w, o + 80, stride)
    d, low = half_of(both), half_of(both >> 16)
    scales = as_i32x16(first_words(w, o + (b & 7) * 2, stride))
    s0, s1 = d * to_f32x16(scales & 15), d * to_f32x16(scales >> 8 & 15)
    m0, m1 = low * to_f32x16(scales >> 4 & 15), low * to_f32x16(scales >> 12 & 15)
    return s0, s1, m0, m1, bits_of(quads32(w, o + 16 + (b >> 2 & 1) * 32, stride), (b & 3) * 2, 3)


CODE = Code(decode=decode, encode=encode, unpack=unpack, sub=16, has_min=True)
