"""q6_0: 6 bits a weight and a scale per 32 (6.5 bpw).

Block of 32 columns, 26 bytes: half d; uint8 qh[8]; uint8 q[16]. Low nibbles of the codes of columns 0..15 are low nibbles
of q, of 16..31 high ones. Byte i of qh holds pairs of high bits, from the lowest: columns i, 16 + i, 8 + i, 24 + i.
weight = d * (code - 32).
"""

from .. import jit
from ..simd import *
from ._codebook import Codebook
from ._eights import bits_of, join_bits, nibbles
from ._search import block_group
from .base import Code
from .gather import copy, first_words, half_of, peek8, poke8, quads16

_BOOK = Codebook.integers(-32, 31)
_first8 = shuffle([*range(8), *range(8)])
_SHIFTS = constant("u8", [0] * 8 + [4] * 8)


@jit
def decode(src, dst, n_rows, n_cols):
    for b in range(n_rows * n_cols // 32):
        o = b * 26
        d, high, q = load_f16(src, o), load_u8x16(src, o + 2), load_u8x16(src, o + 10)
        high = _first8(high) >> _SHIFTS()
        low = to_i32x16(q & 15 | (high & 3) << 4) - 32
        store_f32x16(dst, b * 128, to_f32x16(low) * d)
        store_f32x16(dst, b * 128 + 64, to_f32x16(to_i32x16(q >> 4 | (high >> 2 & 3) << 4) - 32) * d)


@jit
def encode(x, w, dst, n_rows, n_cols, work):
    blocks = n_rows * n_cols // 32
    codes, bits = work + 4096, work + 4608
    for first in range(0, blocks, 16):
        block_group(_BOOK, x, w, n_cols, 32, first, blocks, 28.5, 0.3, 18, work, codes, bits)
        for l in range(min(16, blocks - first)):
            o, at = (first + l) * 26, codes + l
            copy(dst, o, bits, l * 4, 2)
            for i in range(16):
                poke8(dst, o + 10 + i, (peek8(at, i * 16) & 15) | (peek8(at, (i + 16) * 16) & 15) << 4)
            for i in range(8):
                a, c = peek8(at, i * 16) >> 4, peek8(at, (i + 16) * 16) >> 4
                e, g = peek8(at, (i + 8) * 16) >> 4, peek8(at, (i + 24) * 16) >> 4
                poke8(dst, o + 2 + i, a | c << 2 | e << 4 | g << 6)


def unpack(q, w, base, stride, b):
    o = base + b * 26
    s = half_of(first_words(w, o, stride))
    zero = splat_f32x16(0)
    h = quads16(w, o + 2, stride)
    pair = h[0], h[1]
    a, c, e, g = bits_of(pair, 0, 3), bits_of(pair, 2, 3), bits_of(pair, 4, 3), bits_of(pair, 6, 3)
    high = a[0], a[1], e[0], e[1], c[0], c[1], g[0], g[1]
    return s, s, zero, zero, join_bits(nibbles(quads16(w, o + 10, stride)), high, 4)


CODE = Code(decode=decode, encode=encode, unpack=unpack, bias=32)
