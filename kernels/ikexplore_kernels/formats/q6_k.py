"""q6_k: 6-bit codes, an 8-bit scale per 16 and a half per 256 (6.5625 bpw).

Block of 256 columns, 210 bytes: uint8 ql[2][64], uint8 qh[2][32], int8 scales[16], half d. Columns 128 h + 32 p + i
(h < 2, p < 4, i < 32): the low nibble of the code is nibble p / 2 of ql[h][32 (p % 2) + i], its two high bits are bits
2 p.. of qh[h][i].  weight = d * scale * (code - 32).
"""

import numpy as np

from .. import jit
from ..simd import *
from ._codebook import Codebook
from ._eights import bits_of, join_bits
from ._lanes import fill, magnitude, max16, reciprocal, scale_by
from ._search import codes_of, search, super_scales
from .base import Code
from .gather import copy, half_of, last_words, peek8, poke8, quads32

_BOOK = Codebook.integers(-32, 31)


@jit
def decode(src, dst, n_rows, n_cols):
    for b in range(n_rows * n_cols // 256):
        o = b * 210
        d = load_f16(src, o + 208)
        for k in range(16):  # parts of 16 columns
            h, p, i = k >> 3, k >> 1 & 3, (k & 1) * 16
            low = load_u8x16(src, o + h * 64 + (p & 1) * 32 + i) >> (p >> 1) * 4 & 15
            high = load_u8x16(src, o + 128 + h * 32 + i) >> p * 2 & 3
            scale = peek8(src, o + 192 + k)
            codes = to_i32x16(low | high << 4) - 32
            store_f32x16(dst, b * 1024 + k * 64, to_f32x16(codes) * (d * np.float32(scale - (scale >> 7) * 256)))


@jit
def encode(x, w, dst, n_rows, n_cols, work):
    parts = n_rows * n_cols // 16
    xt, wt, codes, scales = work, work + 1024, work + 2048, work + 2304
    for first in range(0, parts, 16):
        fill(x, w, n_cols, 16, first, parts, xt, wt)
        top = max16(magnitude(xt, 16))
        scale_by(xt, 16, reciprocal(top))
        wanted, _ = search(_BOOK, 0, xt, wt, 16, 28.5, 0.3, 18)
        bits, d, ls = super_scales(_BOOK, xt, wt, 16, 16, -128, 127, wanted, top)
        codes_of(_BOOK, 0, xt, 16, reciprocal(d * ls), codes)
        store_i32x16(scales, 0, bits)
        store_i32x16(scales, 64, to_i32x16(ls))
        _pack(codes, scales, dst, first // 16 * 210)


@jit
def _pack(codes, scales, dst, o):
    """All 16 lanes to the block at o; column c is at byte 16 (c % 16) + c / 16 of codes."""
    copy(dst, o + 208, scales, 0, 2)
    for k in range(16):
        copy(dst, o + 192 + k, scales, 64 + k * 4, 1)
    for h in range(2):
        for i in range(32):
            at = codes + i % 16 * 16 + i // 16 + h * 8
            a, b, c, d = peek8(at, 0), peek8(at, 2), peek8(at, 4), peek8(at, 6)
            poke8(dst, o + h * 64 + i, (a & 15) | (c & 15) << 4)
            poke8(dst, o + h * 64 + 32 + i, (b & 15) | (d & 15) << 4)
            poke8(dst, o + 128 + h * 32 + i, a >> 4 | b >> 4 << 2 | c >> 4 << 4 | d >> 4 << 6)


def unpack(q, w, base, stride, b):
    o, h, p = base + (b >> 3) * 210, b >> 2 & 1, b & 3
    i, j = o + h * 64 + (p & 1) * 32, o + 128 + h * 32
    t4, t2 = (p >> 1) * 4, p * 2
    d = half_of(last_words(w, o + 206, stride) >> 16)
    scales = as_i32x16(last_words(w, o + 190 + (b & 7) * 2, stride))
    s0, s1 = d * to_f32x16(scales << 8 >> 24), d * to_f32x16(scales >> 24)
    zero = splat_f32x16(0)
    low, high = bits_of(quads32(w, i, stride), t4, 15), bits_of(quads32(w, j, stride), t2, 3)
    return s0, s1, zero, zero, join_bits(low, high, 4)


CODE = Code(decode=decode, encode=encode, unpack=unpack, bias=32, sub=16)
