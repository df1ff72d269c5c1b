"""iq4_xs: 4-bit codes into a non-linear table, a 6-bit scale per 32 and a half per 256 (4.25 bpw).

Block of 256 columns, 136 bytes: half d; uint16 scales_h (2 high bits of each of 8 scales); uint8 scales_l[4] (their
low nibbles); uint8 q[8][16]: for each part of 32 columns, 0..15 in the low nibbles, 16..31 in the high ones.
weight = d * (scale - 32) * table[code].
"""

import numpy as np

from .. import jit
from ..simd import *
from ._eights import nibbles
from ._lanes import fill, magnitude, max8, reciprocal, scale_by
from ._search import codes_of, search, super_scales
from ._tables import IQ4_BOOK, decode_iq4_pair, look_up
from .base import Code
from .gather import copy, half_of, peek8, peek16, peek32, poke8, poke16, poke32, quads16


@jit
def decode(src, dst, n_rows, n_cols):
    for b in range(n_rows * n_cols // 256):
        o = b * 136
        d, high, low = load_f16(src, o), peek16(src, o + 2), peek32(src, o + 4)
        for p in range(0, 8, 2):
            scale0 = d * np.float32(((low >> 4 * p & 15) | (high >> 2 * p & 3) << 4) - 32)
            scale1 = d * np.float32(((low >> 4 * p + 4 & 15) | (high >> 2 * p + 2 & 3) << 4) - 32)
            decode_iq4_pair(src, o + 8 + p * 16, dst, b * 1024 + p * 128, scale0, scale1, 0, 0)


@jit
def encode(x, w, dst, n_rows, n_cols, work):
    parts = n_rows * n_cols // 32
    xt, wt, codes, scales = work, work + 2048, work + 4096, work + 4608
    for first in range(0, parts, 16):
        fill(x, w, n_cols, 32, first, parts, xt, wt)
        top = max8(magnitude(xt, 32))
        scale_by(xt, 32, reciprocal(top))
        wanted, _ = search(IQ4_BOOK, 0, xt, wt, 32, 100, 3, 14)
        bits, d, ls = super_scales(IQ4_BOOK, xt, wt, 32, 8, -32, 31, wanted, top)
        codes_of(IQ4_BOOK, 0, xt, 32, reciprocal(d * ls), codes)
        store_i32x16(scales, 0, bits)
        store_i32x16(scales, 64, to_i32x16(ls + 32))
        for l in range(0, min(16, parts - first), 8):
            _pack(codes, scales, l, dst, (first + l) // 8 * 136)


@jit
def _pack(codes, scales, l, dst, o):
    """Lanes l..l+7 to the block at o."""
    copy(dst, o, scales, l * 4, 2)
    low, high = 0, 0
    for p in range(8):
        s = peek8(scales, 64 + (l + p) * 4)
        low |= (s & 15) << 4 * p
        high |= (s >> 4) << 2 * p
        for i in range(16):
            c = peek8(codes, i * 16 + l + p) | peek8(codes, (i + 16) * 16 + l + p) << 4
            poke8(dst, o + 8 + p * 16 + i, c)
    poke16(dst, o + 2, high)
    poke32(dst, o + 4, low)


def unpack(q, w, base, stride, b):
    o, p = base + (b >> 3) * 136, b & 7
    head = quads16(w, o, stride)
    first = as_u32x16(head[0])
    low = as_u32x16(head[1]) >> p * 4 & 15
    scale = as_i32x16(low | (first >> p * 2 + 16 & 3) << 4) - 32
    s = half_of(first) * to_f32x16(scale)
    zero = splat_f32x16(0)
    return s, s, zero, zero, look_up(nibbles(quads16(w, o + 8 + p * 16, stride)))


CODE = Code(decode=decode, encode=encode, unpack=unpack, bias=128)
