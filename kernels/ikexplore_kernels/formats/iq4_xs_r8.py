"""iq4_xs_r8: iq4_xs with eight rows interleaved.

Group of 8 rows x 256 columns, 1088 bytes: half d[8]; uint8 scales_h[2][8]: two high bits of the scale of part p
(32 columns) of row r are bits 2 (p / 2).. of byte [p % 2][r]; uint8 scales_l[4][8]: its four low bits are nibble p / 4
of byte [p % 4][r]; uint8 q[8 parts][4][8][4]: byte [p][k][r][i] holds the codes of columns 32 p + 8 k + i (low nibble)
and 32 p + 8 k + 4 + i (high).  weight = d * (scale - 32) * table[code].
"""

from .. import jit
from ..simd import *
from ._tables import look_up
from .base import Code
from .gather import copy, join2x8, join2x16, join2x32, peek8, peek16, peek32, poke8, poke16, poke32

_LOW = 0x0F0F0F0F


@jit
def repack(src, dst, n_rows, n_cols):
    row = n_cols // 256 * 136
    for r in range(n_rows):
        for b in range(n_cols // 256):
            s, g, k = r * row + b * 136, (r - r % 8) * row + b * 1088, r % 8
            copy(dst, g + k * 2, src, s, 2)
            high, low = peek16(src, s + 2), peek32(src, s + 4)
            for j in range(2):
                x = high >> (2 * j)
                poke8(dst, g + 16 + j * 8 + k, (x & 3) | (x >> 2 & 12) | (x >> 4 & 48) | (x >> 6 & 192))
            for j in range(4):
                poke8(dst, g + 32 + j * 8 + k, (low >> 4 * j & 15) | (low >> (4 * j + 16) & 15) << 4)
            for p in range(8):
                i, o = s + 8 + p * 16, g + 64 + p * 128 + k * 4
                w0, w1, w2, w3 = peek32(src, i), peek32(src, i + 4), peek32(src, i + 8), peek32(src, i + 12)
                poke32(dst, o, (w0 & _LOW) | (w1 & _LOW) << 4)
                poke32(dst, o + 32, (w2 & _LOW) | (w3 & _LOW) << 4)
                poke32(dst, o + 64, (w0 >> 4 & _LOW) | (w1 & ~_LOW))
                poke32(dst, o + 96, (w2 >> 4 & _LOW) | (w3 & ~_LOW))


@jit
def unrepack(src, dst, n_rows, n_cols):
    row = n_cols // 256 * 136
    for r in range(n_rows):
        for b in range(n_cols // 256):
            s, g, k = r * row + b * 136, (r - r % 8) * row + b * 1088, r % 8
            copy(dst, s, src, g + k * 2, 2)
            high, low = 0, 0
            for p in range(8):
                high |= (peek8(src, g + 16 + p % 2 * 8 + k) >> (p // 2 * 2) & 3) << 2 * p
                low |= (peek8(src, g + 32 + p % 4 * 8 + k) >> (p // 4 * 4) & 15) << 4 * p
                i, o = s + 8 + p * 16, g + 64 + p * 128 + k * 4
                c0, c1, c2, c3 = peek32(src, o), peek32(src, o + 32), peek32(src, o + 64), peek32(src, o + 96)
                poke32(dst, i, (c0 & _LOW) | (c2 & _LOW) << 4)
                poke32(dst, i + 4, (c0 >> 4 & _LOW) | (c2 & ~_LOW))
                poke32(dst, i + 8, (c1 & _LOW) | (c3 & _LOW) << 4)
                poke32(dst, i + 12, (c1 >> 4 & _LOW) | (c3 & ~_LOW))
            poke16(dst, s + 2, high)
            poke32(dst, s + 4, low)


def unpack(q, w, base, stride, b):
    o, step, p = base + (b >> 3) * 1088, stride * 8, b & 7
    high = to_i32x16(join2x8(w, o + 16 + (p & 1) * 8, step)) >> (p >> 1) * 2 & 3
    low = to_i32x16(join2x8(w, o + 32 + (p & 3) * 8, step)) >> (p >> 2) * 4 & 15
    s = to_f32x16(as_f16x16(join2x16(w, o, step))) * to_f32x16((low | high << 4) - 32)
    zero = splat_f32x16(0)
    o += 64 + p * 128
    a = join2x32(w, o, step)
    c = join2x32(w, o + 32, step)
    e = join2x32(w, o + 64, step)
    g = join2x32(w, o + 96, step)
    codes = (a & 15, a >> 4, c & 15, c >> 4, e & 15, e >> 4, g & 15, g >> 4)
    return s, s, zero, zero, look_up(codes)


CODE = Code(repack=repack, unrepack=unrepack, unpack=unpack, bias=128)
