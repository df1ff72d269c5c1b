"""q4_0: 4 bits a weight and a scale per 32 (4.5 bpw).

Block of 32 columns, 18 bytes: half d; uint8 q[16], columns 0..15 in the low nibbles, 16..31 in the high ones.
weight = d * (code - 8).
"""

from .. import jit
from ..simd import *
from ._codebook import Codebook
from ._eights import nibbles
from ._half import half_bits
from ._lanes import code_factor, fill, magnitude, reciprocal, scale_by
from ._search import codes_of, search
from .base import Code
from .gather import copy, first_words, half_of, peek8, poke8, quads16

_BOOK = Codebook.integers(-8, 7)


@jit
def decode(src, dst, n_rows, n_cols):
    for b in range(n_rows * n_cols // 32):
        d, q = load_f16(src, b * 18), load_u8x16(src, b * 18 + 2)
        store_f32x16(dst, b * 128, to_f32x16(to_i32x16(q & 15) - 8) * d)
        store_f32x16(dst, b * 128 + 64, to_f32x16(to_i32x16(q >> 4) - 8) * d)


@jit
def encode(x, w, dst, n_rows, n_cols, work):
    blocks = n_rows * n_cols // 32
    xt, wt, codes, scales = work, work + 2048, work + 4096, work + 4608
    for first in range(0, blocks, 16):
        fill(x, w, n_cols, 32, first, blocks, xt, wt)
        top = magnitude(xt, 32)
        scale_by(xt, 32, reciprocal(top))
        bits = half_bits(search(_BOOK, 0, xt, wt, 32, 6.5, 0.25, 20)[0] * top)
        codes_of(_BOOK, 0, xt, 32, code_factor(top, bits), codes)
        store_i32x16(scales, 0, bits)
        for l in range(min(16, blocks - first)):
            o = (first + l) * 18
            copy(dst, o, scales, l * 4, 2)
            for i in range(16):
                poke8(dst, o + 2 + i, peek8(codes, i * 16 + l) | peek8(codes, (i + 16) * 16 + l) << 4)


def unpack(q, w, base, stride, b):
    o = base + b * 18
    s = half_of(first_words(w, o, stride))
    zero = splat_f32x16(0)
    return s, s, zero, zero, nibbles(quads16(w, o + 2, stride))


CODE = Code(decode=decode, encode=encode, unpack=unpack, bias=8)
