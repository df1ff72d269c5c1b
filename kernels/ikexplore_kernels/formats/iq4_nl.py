"""iq4_nl: 4-bit codes into a non-linear table and a scale per 32 (4.5 bpw).

Block of 32 columns, 18 bytes: half d; uint8 q[16], columns 0..15 in the low nibbles, 16..31 in the high ones.
weight = d * table[code].
"""

from .. import jit
from ..simd import *
from ._eights import nibbles
from ._search import block_group
from ._tables import IQ4_BOOK, decode_iq4, look_up
from .base import Code
from .gather import copy, first_words, half_of, peek8, poke8, quads16


@jit
def decode(src, dst, n_rows, n_cols):
    for b in range(n_rows * n_cols // 32):
        decode_iq4(src, b * 18 + 2, dst, b * 128, load_f16(src, b * 18))


@jit
def encode(x, w, dst, n_rows, n_cols, work):
    blocks = n_rows * n_cols // 32
    codes, bits = work + 4096, work + 4608
    for first in range(0, blocks, 16):
        block_group(IQ4_BOOK, x, w, n_cols, 32, first, blocks, 100, 3, 14, work, codes, bits)
        for l in range(min(16, blocks - first)):
            o = (first + l) * 18
            copy(dst, o, bits, l * 4, 2)
            for i in range(16):
                poke8(dst, o + 2 + i, peek8(codes, i * 16 + l) | peek8(codes, (i + 16) * 16 + l) << 4)


def unpack(q, w, base, stride, b):
    o = base + b * 18
    s = half_of(first_words(w, o, stride))
    zero = splat_f32x16(0)
    return s, s, zero, zero, look_up(nibbles(quads16(w, o + 2, stride)))


CODE = Code(decode=decode, encode=encode, unpack=unpack, bias=128)
