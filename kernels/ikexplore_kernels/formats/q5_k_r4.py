"""q5_k_r4: q5_k with four rows interleaved.

Group of 4 rows x 256 columns, 704 bytes: 64 bytes of halves, scales and minimums (`_six_bits.repack_scales`); uint8
qh[8 parts][4][4]: byte [p][r][i] holds the high bits of row r's columns 32 p + i, + 8, + 4, + 12, + 16, + 24, + 20, + 28;
8 parts of 64 bytes with the low nibbles in the order of `_rows4`.
"""

from .. import jit
from ..simd import *
from ._eights import bits_of, join_bits
from ._rows4 import LOW, codes_of_rows4, get_quads, put_quads
from ._six_bits import repack_scales, scales_of_rows4, unrepack_scales
from .base import Code
from .gather import join4x16, peek32, poke32

_ONE = 0x01010101


@jit
def repack(src, dst, n_rows, n_cols):
    row = n_cols // 256 * 176
    for r in range(n_rows):
        k = r % 4
        for b in range(n_cols // 256):
            s, g = r * row + b * 176, (r - k) * row + b * 704
            repack_scales(src, s, dst, g, k)
            for p in range(8):
                i, t, word = s + 48 + (p >> 1) * 32, (p & 1) * 4, 0
                n0, n1 = peek32(src, i) >> t & LOW, peek32(src, i + 4) >> t & LOW
                n2, n3 = peek32(src, i + 8) >> t & LOW, peek32(src, i + 12) >> t & LOW
                n4, n5 = peek32(src, i + 16) >> t & LOW, peek32(src, i + 20) >> t & LOW
                n6, n7 = peek32(src, i + 24) >> t & LOW, peek32(src, i + 28) >> t & LOW
                put_quads(dst, g + 192 + p * 64 + k * 4, n0, n1, n2, n3, n4, n5, n6, n7)
                for j in range(8):
                    word |= (peek32(src, s + 16 + j * 4) >> p & _ONE) << _place(j)
                poke32(dst, g + 64 + p * 16 + k * 4, word)


@jit(forceinline=True)
def _place(j):
    """The bit at which quad j stands: quads 0, 2, 1, 3, 4, 6, 5, 7 follow each other."""
    return (j & 4) | (j & 1) << 1 | (j >> 1 & 1)


@jit
def unrepack(src, dst, n_rows, n_cols):
    row = n_cols // 256 * 176
    for r in range(n_rows):
        k = r % 4
        for b in range(n_cols // 256):
            s, g = r * row + b * 176, (r - k) * row + b * 704
            unrepack_scales(src, g, k, dst, s)
            for p in range(0, 8, 2):
                a, c = get_quads(src, g + 192 + p * 64 + k * 4), get_quads(src, g + 256 + p * 64 + k * 4)
                for j in range(8):
                    poke32(dst, s + 48 + p * 16 + j * 4, a[j] | c[j] << 4)
            for j in range(8):
                word = 0
                for p in range(8):
                    word |= (peek32(src, g + 64 + p * 16 + k * 4) >> _place(j) & _ONE) << p
                poke32(dst, s + 16 + j * 4, word)


def unpack(q, w, base, stride, b):
    o, step, p = base + (b >> 3) * 704, stride * 4, b & 7
    s, m = scales_of_rows4(w, o, step, p)
    h = (join4x16(w, o + 64 + p * 16, step),)
    high = (bits_of(h, 0, 1)[0], bits_of(h, 2, 1)[0], bits_of(h, 1, 1)[0], bits_of(h, 3, 1)[0],
            bits_of(h, 4, 1)[0], bits_of(h, 6, 1)[0], bits_of(h, 5, 1)[0], bits_of(h, 7, 1)[0])  # fmt: skip
    return s, s, m, m, join_bits(codes_of_rows4(w, o + 192 + p * 64, step), high, 4)


CODE = Code(repack=repack, unrepack=unrepack, unpack=unpack, has_min=True)
