"""q5_1: 5-bit codes, a scale and an offset per 32 (6 bpw).

Block of 32 columns, 24 bytes: half d; half m; uint32 qh, bit c the high bit of column c; uint8 q[16], low nibbles of the
codes of columns 0..15 in the low halves, 16..31 in the high ones.  weight = d * code + m.
"""

from .. import jit
from ..simd import *
from ._eights import join_bits, nibbles, spread_bits
from ._offset import offset_group
from .base import Code
from .gather import copy, first_words, half_of, peek8, peek32, poke8, poke32, quads16

_PLACES = constant("i32", list(range(16)))


@jit(forceinline=True)
def _high(bits):
    """16 in lane i where bit i of ``bits`` is set: i32x16."""
    return (splat_i32x16(bits) >> _PLACES() & 1) << 4


@jit
def decode(src, dst, n_rows, n_cols):
    for b in range(n_rows * n_cols // 32):
        o = b * 24
        d, m = load_f16(src, o), splat_f32x16(load_f16(src, o + 2))
        high, q = peek32(src, o + 4), load_u8x16(src, o + 8)
        store_f32x16(dst, b * 128, to_f32x16(to_i32x16(q & 15) + _high(high)) * d + m)
        store_f32x16(dst, b * 128 + 64, to_f32x16(to_i32x16(q >> 4) + _high(high >> 16)) * d + m)


@jit
def encode(x, w, dst, n_rows, n_cols, work):
    blocks = n_rows * n_cols // 32
    codes, bits = work + 4096, work + 4608
    for first in range(0, blocks, 16):
        offset_group(x, w, n_cols, first, blocks, 31, work, codes, bits)
        for l in range(min(16, blocks - first)):
            o, high = (first + l) * 24, 0
            copy(dst, o, bits, l * 4, 4)
            for i in range(16):
                a, c = peek8(codes, i * 16 + l), peek8(codes, (i + 16) * 16 + l)
                poke8(dst, o + 8 + i, (a & 15) | (c & 15) << 4)
                high |= (a >> 4) << i | (c >> 4) << i + 16
            poke32(dst, o + 4, high)


def unpack(q, w, base, stride, b):
    o = base + b * 24
    both = first_words(w, o, stride)
    s, m = half_of(both), half_of(both >> 16) * -1
    high = spread_bits(first_words(w, o + 4, stride))
    return s, s, m, m, join_bits(nibbles(quads16(w, o + 8, stride)), high, 4)


CODE = Code(decode=decode, encode=encode, unpack=unpack, has_min=True)
