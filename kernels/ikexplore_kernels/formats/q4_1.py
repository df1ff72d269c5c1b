"""q4_1: 4-bit codes, a scale and an offset per 32 (5 bpw).

Block of 32 columns, 20 bytes: half d; half m; uint8 q[16], columns 0..15 in the low nibbles, 16..31 in the high ones.
weight = d * code + m.
"""

from .. import jit
from ..simd import *
from ._eights import nibbles
from ._offset import offset_group
from .base import Code
from .gather import copy, first_words, half_of, peek8, poke8, quads16


@jit
def decode(src, dst, n_rows, n_cols):
    for b in range(n_rows * n_cols // 32):
        o = b * 20
        d, m, q = load_f16(src, o), splat_f32x16(load_f16(src, o + 2)), load_u8x16(src, o + 4)
        store_f32x16(dst, b * 128, to_f32x16(to_i32x16(q & 15)) * d + m)
        store_f32x16(dst, b * 128 + 64, to_f32x16(to_i32x16(q >> 4)) * d + m)


@jit
def encode(x, w, dst, n_rows, n_cols, work):
    blocks = n_rows * n_cols // 32
    codes, bits = work + 4096, work + 4608
    for first in range(0, blocks, 16):
        offset_group(x, w, n_cols, first, blocks, 15, work, codes, bits)
        for l in range(min(16, blocks - first)):
            o = (first + l) * 20
            copy(dst, o, bits, l * 4, 4)
            for i in range(16):
                poke8(dst, o + 4 + i, peek8(codes, i * 16 + l) | peek8(codes, (i + 16) * 16 + l) << 4)


def unpack(q, w, base, stride, b):
    o = base + b * 20
    both = first_words(w, o, stride)
    s, m = half_of(both), half_of(both >> 16) * -1
    return s, s, m, m, nibbles(quads16(w, o + 4, stride))


CODE = Code(decode=decode, encode=encode, unpack=unpack, has_min=True)
