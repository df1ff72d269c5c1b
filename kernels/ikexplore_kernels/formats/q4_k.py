"""q4_k: 4-bit codes with a 6-bit scale and a 6-bit minimum per 32, and two halves per 256 (4.5 bpw).

Block of 256 columns, 144 bytes: half d; half dmin; uint8 scales[12]; uint8 q[4][32]: for each 64 columns, 0..31 in the
low nibbles, 32..63 in the high ones. Scale and minimum of part p (32 columns): for p < 4 the low 6 bits of scales[p]
and scales[p + 4]; for p >= 4 the nibbles of scales[p + 4] (low, high) with the top 2 bits of scales[p - 4] and of
scales[p] above them.  weight = d * scale * code - dmin * minimum.
"""

import numpy as np

from .. import jit
from ..simd import *
from ._affine import affine_codes, affine_search, super_affine
from ._eights import bits_of
from ._lanes import fill, magnitude, max8, reciprocal, scale_by
from .base import Code
from .gather import copy, peek8, peek32, poke8, quads16, quads32


@jit(forceinline=True)
def _six_bits(words, p):
    """Scale and minimum of part p from the 12 packed bytes: three little-endian words (ints or vectors of them)."""
    a, b, c = words
    t = (p & 3) * 8
    if p < 4:
        return a >> t & 63, b >> t & 63
    return (c >> t & 15) | (a >> t + 6 & 3) << 4, (c >> t + 4 & 15) | (b >> t + 6 & 3) << 4


@jit
def decode(src, dst, n_rows, n_cols):
    for b in range(n_rows * n_cols // 256):
        o = b * 144
        d, low = load_f16(src, o), load_f16(src, o + 2)
        words = (peek32(src, o + 4), peek32(src, o + 8), peek32(src, o + 12))
        for p in range(8):
            s, m = _six_bits(words, p)
            scale, least = d * np.float32(s), splat_f32x16(low * np.float32(m))
            i, to, shift = o + 16 + (p >> 1) * 32, b * 1024 + p * 128, (p & 1) * 4
            x0, x1 = load_u8x16(src, i) >> shift & 15, load_u8x16(src, i + 16) >> shift & 15
            store_f32x16(dst, to, to_f32x16(to_i32x16(x0)) * scale - least)
            store_f32x16(dst, to + 64, to_f32x16(to_i32x16(x1)) * scale - least)


@jit
def encode(x, w, dst, n_rows, n_cols, work):
    parts = n_rows * n_cols // 32
    xt, wt, codes, scales = work, work + 2048, work + 4096, work + 4608
    for first in range(0, parts, 16):
        fill(x, w, n_cols, 32, first, parts, xt, wt)
        top = max8(magnitude(xt, 32))
        scale_by(xt, 32, reciprocal(top))
        s, m = affine_search(xt, wt, 32, 15, 5)
        bits, bits_min, d, dmin, ls, lm = super_affine(xt, wt, 32, 8, 15, 63, s, m, top)
        affine_codes(xt, 32, reciprocal(d * ls), dmin * lm, 15, codes)
        store_i32x16(scales, 0, bits | bits_min << 16)
        store_i32x16(scales, 64, to_i32x16(ls))
        store_i32x16(scales, 128, to_i32x16(lm))
        for l in range(0, min(16, parts - first), 8):
            _pack(codes, scales, l, dst, (first + l) // 8 * 144)


@jit
def _pack(codes, scales, l, dst, o):
    """Lanes l..l+7 to the block at o."""
    copy(dst, o, scales, l * 4, 4)
    for p in range(4):
        at = scales + (l + p) * 4
        s, m, s4, m4 = peek8(at, 64), peek8(at, 128), peek8(at, 80), peek8(at, 144)
        poke8(dst, o + 4 + p, s | s4 >> 4 << 6)
        poke8(dst, o + 8 + p, m | m4 >> 4 << 6)
        poke8(dst, o + 12 + p, (s4 & 15) | (m4 & 15) << 4)
    for p in range(0, 8, 2):
        for i in range(32):
            poke8(dst, o + 16 + p * 16 + i, peek8(codes, i * 16 + l + p) | peek8(codes, i * 16 + l + p + 1) << 4)


def unpack(q, w, base, stride, b):
    o, p = base + (b >> 3) * 144, b & 7
    h = quads16(w, o, stride)
    scale, least = _six_bits((as_u32x16(h[1]), as_u32x16(h[2]), as_u32x16(h[3])), p)
    halves = as_u32x16(h[0])
    s = to_f32x16(as_f16x16(to_u16x16(halves))) * to_f32x16(as_i32x16(scale))
    m = to_f32x16(as_f16x16(to_u16x16(halves >> 16))) * to_f32x16(as_i32x16(least))
    return s, s, m, m, bits_of(quads32(w, o + 16 + (p >> 1) * 32, stride), (p & 1) * 4, 15)


CODE = Code(decode=decode, encode=encode, unpack=unpack, has_min=True)
