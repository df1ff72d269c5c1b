"""q5_k: 5-bit codes with a 6-bit scale and a 6-bit minimum per 32, and two halves per 256 (5.5 bpw).

Block of 256 columns, 176 bytes: half d; half dmin; uint8 scales[12] (`_six_bits`); uint8 qh[32], bit p of byte i the high
bit of column 32 p + i; uint8 q[4][32]: low nibbles of the codes; for each 64 columns, 0..31 in the low nibbles, 32..63 in
the high ones.  weight = d * scale * code - dmin * minimum.
"""

import numpy as np

from .. import jit
from ..simd import *
from ._affine import affine_group
from ._eights import bits_of, join_bits
from ._six_bits import put_scales, scales_of_16, six_bits
from .base import Code
from .gather import peek8, peek32, poke8, quads32


@jit
def decode(src, dst, n_rows, n_cols):
    for b in range(n_rows * n_cols // 256):
        o = b * 176
        d, low = load_f16(src, o), load_f16(src, o + 2)
        words = (peek32(src, o + 4), peek32(src, o + 8), peek32(src, o + 12))
        for p in range(8):
            s, m = six_bits(words, p)
            scale, least = d * np.float32(s), splat_f32x16(low * np.float32(m))
            i, to, shift = o + 48 + (p >> 1) * 32, b * 1024 + p * 128, (p & 1) * 4
            x0 = load_u8x16(src, i) >> shift & 15 | (load_u8x16(src, o + 16) >> p & 1) << 4
            x1 = load_u8x16(src, i + 16) >> shift & 15 | (load_u8x16(src, o + 32) >> p & 1) << 4
            store_f32x16(dst, to, to_f32x16(to_i32x16(x0)) * scale - least)
            store_f32x16(dst, to + 64, to_f32x16(to_i32x16(x1)) * scale - least)


@jit
def encode(x, w, dst, n_rows, n_cols, work):
    parts = n_rows * n_cols // 32
    codes, scales = work + 4096, work + 4608
    for first in range(0, parts, 16):
        affine_group(x, w, n_cols, 32, first, parts, 8, 31, 63, work, codes, scales)
        for l in range(0, min(16, parts - first), 8):
            _pack(codes, scales, l, dst, (first + l) // 8 * 176)


@jit
def _pack(codes, scales, l, dst, o):
    """Lanes l..l+7 to the block at o."""
    put_scales(scales + l * 4, dst, o)
    for i in range(32):
        high = 0
        for p in range(0, 8, 2):
            a, c = peek8(codes, i * 16 + l + p), peek8(codes, i * 16 + l + p + 1)
            poke8(dst, o + 48 + p * 16 + i, (a & 15) | (c & 15) << 4)
            high |= (a >> 4) << p | (c >> 4) << p + 1
        poke8(dst, o + 16 + i, high)


def unpack(q, w, base, stride, b):
    o, p = base + (b >> 3) * 176, b & 7
    s, m = scales_of_16(w, o, stride, p)
    low = bits_of(quads32(w, o + 48 + (p >> 1) * 32, stride), (p & 1) * 4, 15)
    return s, s, m, m, join_bits(low, bits_of(quads32(w, o + 16, stride), p, 1), 4)


CODE = Code(decode=decode, encode=encode, unpack=unpack, has_min=True, turn=8)
