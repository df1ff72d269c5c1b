"""q3_k: 3-bit codes, a 6-bit scale per 16 and a half per 256 (3.4375 bpw).

Block of 256 columns, 110 bytes: uint8 hmask[32], bit p of byte i the high bit of column 32 p + i; uint8 q[2][32], bits
2 p.. of q[h][i] the low bits of column 128 h + 32 p + i; uint8 scales[12]; half d. Scales k = 0..15 of 16 columns each:
the low nibbles are those of bytes 0..7, low halves first, and their two high bits are bits 2 (k / 4).. of byte
8 + k % 4.  weight = d * (scale - 32) * (code - 4).
"""

import numpy as np

from .. import jit
from ..simd import *
from ._codebook import Codebook
from ._eights import bits_of, join_bits
from ._lanes import fill, magnitude, max16, reciprocal, scale_by
from ._search import codes_of, search, super_scales
from .base import Code
from .gather import copy, half_of, peek8, poke8, quads16, quads32

_BOOK = Codebook.integers(-4, 3)


@jit(forceinline=True)
def scale_at(src, o, k):
    """Scale k, 0..63, from the 12 bytes at o."""
    return (peek8(src, o + (k & 7)) >> (k >> 3) * 4 & 15) | (peek8(src, o + 8 + (k & 3)) >> (k >> 2) * 2 & 3) << 4


@jit
def put_scales(dst, o, scales):
    """16 scales, 0..63, the lowest bytes of int32 [16], to 12 bytes at o."""
    for k in range(8):
        poke8(dst, o + k, (peek8(scales, k * 4) & 15) | (peek8(scales, k * 4 + 32) & 15) << 4)
    for k in range(0, 16, 4):
        high = (peek8(scales, k) >> 4) | peek8(scales, k + 16) >> 4 << 2
        poke8(dst, o + 8 + (k >> 2), high | peek8(scales, k + 32) >> 4 << 4 | peek8(scales, k + 48) >> 4 << 6)


@jit
def decode(src, dst, n_rows, n_cols):
    for b in range(n_rows * n_cols // 256):
        o = b * 110
        d = load_f16(src, o + 108)
        for e in range(2):
            high = load_u8x16(src, o + e * 16)
            for p in range(8):
                low = load_u8x16(src, o + 32 + (p >> 2) * 32 + e * 16) >> (p & 3) * 2 & 3
                codes = to_i32x16(low | (high >> p & 1) << 2) - 4
                scale = d * np.float32(scale_at(src, o + 96, p * 2 + e) - 32)
                store_f32x16(dst, b * 1024 + p * 128 + e * 64, to_f32x16(codes) * scale)


@jit
def encode(x, w, dst, n_rows, n_cols, work):
    parts = n_rows * n_cols // 16
    xt, wt, codes, scales = work, work + 1024, work + 2048, work + 2304
    for first in range(0, parts, 16):
        fill(x, w, n_cols, 16, first, parts, xt, wt)
        top = max16(magnitude(xt, 16))
        scale_by(xt, 16, reciprocal(top))
        wanted, _ = search(_BOOK, 0, xt, wt, 16, 2.6, 0.12, 18)
        bits, d, ls = super_scales(_BOOK, xt, wt, 16, 16, -32, 31, wanted, top)
        codes_of(_BOOK, 0, xt, 16, reciprocal(d * ls), codes)
        store_i32x16(scales, 0, bits)
        store_i32x16(scales, 64, to_i32x16(ls) + 32)
        _pack(codes, scales, dst, first // 16 * 110)


@jit
def _pack(codes, scales, dst, o):
    """All 16 lanes to the block at o; column c is at byte 16 (c % 16) + c / 16 of codes."""
    copy(dst, o + 108, scales, 0, 2)
    put_scales(dst, o + 96, scales + 64)
    for i in range(32):
        high = 0
        for h in range(2):
            at, low = codes + i % 16 * 16 + i // 16 + h * 8, 0
            for p in range(4):
                code = peek8(at, p * 2)
                low |= (code & 3) << 2 * p
                high |= (code >> 2) << h * 4 + p
            poke8(dst, o + 32 + h * 32 + i, low)
        poke8(dst, o + i, high)


@jit(forceinline=True)
def _scales_of_16(w, o, stride, p):
    """d, and the scales of columns 32 p..32 p + 31 in the low two bytes of i32x16, of 16 rows."""
    t = quads16(w, o + 94, stride)  # the last 16 bytes of the block
    a, b, c, e = as_u32x16(t[0]), as_u32x16(t[1]), as_u32x16(t[2]), as_u32x16(t[3])
    low = a if p & 3 == 0 else c if p & 3 == 3 else b
    high = e if p & 1 else c
    low = low >> (~p & 1) * 16 + (p >> 2) * 4
    high = high >> (~p & 1) * 16 + (p >> 1) * 2
    return half_of(e >> 16), as_i32x16((low & 0x0F0F) | (high & 0x0303) << 4)


def unpack(q, w, base, stride, b):
    o, p = base + (b >> 3) * 110, b & 7
    d, scales = _scales_of_16(w, o, stride, p)
    s0, s1 = d * to_f32x16((scales & 63) - 32), d * to_f32x16((scales >> 8) - 32)
    zero = splat_f32x16(0)
    low = bits_of(quads32(w, o + 32 + (p >> 2) * 32, stride), (p & 3) * 2, 3)
    return s0, s1, zero, zero, join_bits(low, bits_of(quads32(w, o, stride), p, 1), 2)


CODE = Code(decode=decode, encode=encode, unpack=unpack, bias=4, sub=16)
