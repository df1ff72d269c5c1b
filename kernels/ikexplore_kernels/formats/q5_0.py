"""q5_0: 5 bits a weight and a scale per 32 (5.5 bpw).

Block of 32 columns, 22 bytes: half d; uint32 qh, bit c the high bit of column c; uint8 q[16], low nibbles of the codes of
columns 0..15 in the low halves, 16..31 in the high ones.  weight = d * (code - 16).
"""

from .. import jit
from ..simd import *
from ._codebook import Codebook
from ._eights import join_bits, nibbles, spread_bits
from ._search import block_group
from .base import Code
from .gather import copy, first_words, half_of, peek8, peek32, poke8, poke32, quads16

_BOOK = Codebook.integers(-16, 15)
_PLACES = constant("i32", list(range(16)))


@jit(forceinline=True)
def _high(bits):
    """16 in lane i where bit i of ``bits`` is set: i32x16."""
    return (splat_i32x16(bits) >> _PLACES() & 1) << 4


@jit
def decode(src, dst, n_rows, n_cols):
    for b in range(n_rows * n_cols // 32):
        o = b * 22
        d, high, q = load_f16(src, o), peek32(src, o + 2), load_u8x16(src, o + 6)
        low = to_i32x16(q & 15) + _high(high) - 16
        store_f32x16(dst, b * 128, to_f32x16(low) * d)
        store_f32x16(dst, b * 128 + 64, to_f32x16(to_i32x16(q >> 4) + _high(high >> 16) - 16) * d)


@jit
def encode(x, w, dst, n_rows, n_cols, work):
    blocks = n_rows * n_cols // 32
    codes, bits = work + 4096, work + 4608
    for first in range(0, blocks, 16):
        block_group(_BOOK, x, w, n_cols, 32, first, blocks, 13.5, 0.25, 18, work, codes, bits)
        for l in range(min(16, blocks - first)):
            o, high = (first + l) * 22, 0
            copy(dst, o, bits, l * 4, 2)
            for i in range(16):
                a, c = peek8(codes, i * 16 + l), peek8(codes, (i + 16) * 16 + l)
                poke8(dst, o + 6 + i, (a & 15) | (c & 15) << 4)
                high |= (a >> 4) << i | (c >> 4) << i + 16
            poke32(dst, o + 2, high)


def unpack(q, w, base, stride, b):
    o = base + b * 22
    s = half_of(first_words(w, o, stride))
    zero = splat_f32x16(0)
    high = spread_bits(first_words(w, o + 2, stride))
    return s, s, zero, zero, join_bits(nibbles(quads16(w, o + 6, stride)), high, 4)


CODE = Code(decode=decode, encode=encode, unpack=unpack, bias=16)
