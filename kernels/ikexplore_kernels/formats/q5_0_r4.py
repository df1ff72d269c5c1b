"""q5_0_r4: q5_0 with four rows interleaved.

Group of 4 rows x 32 columns, 88 bytes: half d[4]; uint8 qh[4][4]: byte [r][i] holds the high bits of row r's columns i,
16 + i, 4 + i, 20 + i, 8 + i, 24 + i, 12 + i, 28 + i; 64 bytes with the low nibbles in the order of `_rows4`.
"""

from .. import jit
from ..simd import *
from ._eights import bits_of, join_bits
from ._rows4 import codes_of_rows4, nibbles_from_rows4, nibbles_to_rows4
from .base import Code
from .gather import copy, join4x8, join4x16, peek32, poke32

_ONE = 0x01010101


@jit
def repack(src, dst, n_rows, n_cols):
    row = n_cols // 32 * 22
    for r in range(n_rows):
        k = r % 4
        for b in range(n_cols // 32):
            s, g = r * row + b * 22, (r - k) * row + b * 88
            copy(dst, g + k * 2, src, s, 2)
            bits, word = peek32(src, s + 2), 0
            for j in range(4):
                word |= ((bits >> 4 * j & 15) * 0x00204081 & _ONE) << 2 * j
                word |= ((bits >> 4 * j + 16 & 15) * 0x00204081 & _ONE) << 2 * j + 1
            poke32(dst, g + 8 + k * 4, word)
            nibbles_to_rows4(src, s + 6, dst, g + 24 + k * 4)


@jit
def unrepack(src, dst, n_rows, n_cols):
    row = n_cols // 32 * 22
    for r in range(n_rows):
        k = r % 4
        for b in range(n_cols // 32):
            s, g = r * row + b * 22, (r - k) * row + b * 88
            copy(dst, s, src, g + k * 2, 2)
            word, bits = peek32(src, g + 8 + k * 4), 0
            for j in range(4):
                bits |= ((word >> 2 * j & _ONE) * 0x01020408 >> 24 & 15) << 4 * j
                bits |= ((word >> 2 * j + 1 & _ONE) * 0x01020408 >> 24 & 15) << 4 * j + 16
            poke32(dst, s + 2, bits)
            nibbles_from_rows4(src, g + 24 + k * 4, dst, s + 6)


def unpack(q, w, base, stride, b):
    o, step = base + b * 88, stride * 4
    s = to_f32x16(as_f16x16(join4x8(w, o, step)))
    zero = splat_f32x16(0)
    h = (join4x16(w, o + 8, step),)
    high = (bits_of(h, 0, 1)[0], bits_of(h, 2, 1)[0], bits_of(h, 4, 1)[0], bits_of(h, 6, 1)[0],
            bits_of(h, 1, 1)[0], bits_of(h, 3, 1)[0], bits_of(h, 5, 1)[0], bits_of(h, 7, 1)[0])  # fmt: skip
    return s, s, zero, zero, join_bits(codes_of_rows4(w, o + 24, step), high, 4)


CODE = Code(repack=repack, unrepack=unrepack, unpack=unpack, bias=16)
