"""q6_0_r4: q6_0 with four rows interleaved.

Group of 4 rows x 32 columns, 104 bytes: half d[4]; uint8 qh[2][4][4]: byte [k][r][i] holds pairs of high bits of row r's
columns 16 k + i, + 4, + 8, + 12; 64 bytes with the low nibbles in the order of `_rows4`.
"""

from .. import jit
from ..simd import *
from ._eights import bits_of, join_bits
from ._rows4 import codes_of_rows4, nibbles_from_rows4, nibbles_to_rows4
from .base import Code
from .gather import copy, join4x8, join4x16, peek32, poke32

_TWO = 0x03030303


@jit
def repack(src, dst, n_rows, n_cols):
    row = n_cols // 32 * 26
    for r in range(n_rows):
        k = r % 4
        for b in range(n_cols // 32):
            s, g = r * row + b * 26, (r - k) * row + b * 104
            copy(dst, g + k * 2, src, s, 2)
            a, c = peek32(src, s + 2), peek32(src, s + 6)
            for h in range(2):  # columns 16 h + 0.., 4.. are bits 2 h.. of a and c; 8.., 12.. bits 4 + 2 h..
                x, y = a >> 2 * h, c >> 2 * h
                word = (x & _TWO) | (y & _TWO) << 2 | (x >> 4 & _TWO) << 4 | (y >> 4 & _TWO) << 6
                poke32(dst, g + 8 + h * 16 + k * 4, word)
            nibbles_to_rows4(src, s + 10, dst, g + 40 + k * 4)


@jit
def unrepack(src, dst, n_rows, n_cols):
    row = n_cols // 32 * 26
    for r in range(n_rows):
        k = r % 4
        for b in range(n_cols // 32):
            s, g = r * row + b * 26, (r - k) * row + b * 104
            copy(dst, s, src, g + k * 2, 2)
            a, c = 0, 0
            for h in range(2):
                word = peek32(src, g + 8 + h * 16 + k * 4)
                a |= ((word & _TWO) | (word >> 4 & _TWO) << 4) << 2 * h
                c |= ((word >> 2 & _TWO) | (word >> 6 & _TWO) << 4) << 2 * h
            poke32(dst, s + 2, a)
            poke32(dst, s + 6, c)
            nibbles_from_rows4(src, g + 40 + k * 4, dst, s + 10)


def unpack(q, w, base, stride, b):
    o, step = base + b * 104, stride * 4
    s = to_f32x16(as_f16x16(join4x8(w, o, step)))
    zero = splat_f32x16(0)
    both = join4x16(w, o + 8, step), join4x16(w, o + 24, step)
    a, c, e, g = bits_of(both, 0, 3), bits_of(both, 2, 3), bits_of(both, 4, 3), bits_of(both, 6, 3)
    high = a[0], c[0], e[0], g[0], a[1], c[1], e[1], g[1]
    return s, s, zero, zero, join_bits(codes_of_rows4(w, o + 40, step), high, 4)


CODE = Code(repack=repack, unrepack=unrepack, unpack=unpack, bias=32)
