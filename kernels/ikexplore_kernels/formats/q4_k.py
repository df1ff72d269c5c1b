"""q4_k: 4-bit codes with a 6-bit scale and a 6-bit minimum per 32, and two halves per 256 (4.5 bpw).

Block of 256 columns, 144 bytes: half d; half dmin; uint8 scales[12]; uint8 q[4][32]: for each 64 columns, 0..31 in the
low nibbles, 32..63 in the high ones. Scales and minimums of the parts of 32 columns are in `_six_bits`.
weight = d * scale * code - dmin * minimum.
"""

import numpy as np

from .. import jit
from ..simd import *
from ._affine import affine_group
from ._eights import bits_of
from ._part_tables import HAS_LOOK_UP, look_up_floats, part_tables
from ._six_bits import put_scales, scales_of_16, six_bits
from .base import Code
from .gather import peek8, peek32, poke8, quads32


@jit
def decode_plainly(src, dst, n_rows, n_cols):
    for b in range(n_rows * n_cols // 256):
        o = b * 144
        d, low = load_f16(src, o), load_f16(src, o + 2)
        words = (peek32(src, o + 4), peek32(src, o + 8), peek32(src, o + 12))
        for p in range(8):
            s, m = six_bits(words, p)
            scale, least = d * np.float32(s), splat_f32x16(low * np.float32(m))
            i, to, shift = o + 16 + (p >> 1) * 32, b * 1024 + p * 128, (p & 1) * 4
            x0, x1 = load_u8x16(src, i) >> shift & 15, load_u8x16(src, i + 16) >> shift & 15
            store_f32x16(dst, to, to_f32x16(to_i32x16(x0)) * scale - least)
            store_f32x16(dst, to + 64, to_f32x16(to_i32x16(x1)) * scale - least)


@jit(forceinline=True)
def _decode_pair(src, i, dst, to, low, high):
    """64 columns from 32 bytes, with the weights of the codes in the low and in the high nibbles."""
    x0, x1 = to_i32x16(load_u8x16(src, i)), to_i32x16(load_u8x16(src, i + 16))
    store_f32x16(dst, to, look_up_floats(low, x0))
    store_f32x16(dst, to + 64, look_up_floats(low, x1))
    store_f32x16(dst, to + 128, look_up_floats(high, x0 >> 4))
    store_f32x16(dst, to + 192, look_up_floats(high, x1 >> 4))


@jit
def decode_by_tables(src, dst, n_rows, n_cols):
    for b in range(n_rows * n_cols // 256):
        i, to, t = b * 144 + 16, b * 1024, part_tables(src, b * 144)
        _decode_pair(src, i, dst, to, t[0], t[1])
        _decode_pair(src, i + 32, dst, to + 256, t[2], t[3])
        _decode_pair(src, i + 64, dst, to + 512, t[4], t[5])
        _decode_pair(src, i + 96, dst, to + 768, t[6], t[7])


decode = decode_by_tables if HAS_LOOK_UP else decode_plainly


@jit
def encode(x, w, dst, n_rows, n_cols, work):
    parts = n_rows * n_cols // 32
    codes, scales = work + 4096, work + 4608
    for first in range(0, parts, 16):
        affine_group(x, w, n_cols, 32, first, parts, 8, 15, 63, work, codes, scales)
        for l in range(0, min(16, parts - first), 8):
            _pack(codes, scales, l, dst, (first + l) // 8 * 144)


@jit
def _pack(codes, scales, l, dst, o):
    """Lanes l..l+7 to the block at o."""
    put_scales(scales + l * 4, dst, o)
    for p in range(0, 8, 2):
        for i in range(32):
            poke8(dst, o + 16 + p * 16 + i, peek8(codes, i * 16 + l + p) | peek8(codes, i * 16 + l + p + 1) << 4)


def unpack(q, w, base, stride, b):
    o, p = base + (b >> 3) * 144, b & 7
    s, m = scales_of_16(w, o, stride, p)
    return s, s, m, m, bits_of(quads32(w, o + 16 + (p >> 1) * 32, stride), (p & 1) * 4, 15)


CODE = Code(decode=decode, encode=encode, unpack=unpack, has_min=True)
