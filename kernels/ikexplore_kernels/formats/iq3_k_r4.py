"""iq3_k_r4: iq3_k with four rows interleaved.

Group of 4 rows x 256 columns, 440 bytes: half d[4]; uint8 extra[2][4]; uint8 scales_h[2][4]; uint8 scales_l[32]; uint8
ql[8 parts][2][4 rows][4]; uint8 qh[8 parts][4 rows][4] with bits in the order of columns i, + 4, + 8... (all but d as in
`_iqk_rows4`).  weight as in iq3_k.
"""

from .. import jit
from ..simd import *
from ._eights import join_bits
from ._iqk_books import SHIFT3
from ._iqk_rows4 import (
    bits_of_rows4,
    halves_of_rows4,
    high_bits_of_rows4,
    repack_bits,
    repack_halves_bits,
    repack_head,
    repack_scales,
    repack_twos,
    scales_of_rows4,
    twos_of_rows4,
    unrepack_bits,
    unrepack_halves_bits,
    unrepack_head,
    unrepack_scales,
    unrepack_twos,
)
from ._iqk_tables import LOW_BIAS, biased3
from .base import Code


@jit
def repack(src, dst, n_rows, n_cols):
    row = n_cols // 256 * 110
    for r in range(n_rows):
        k = r % 4
        for b in range(n_cols // 256):
            s, g = r * row + b * 110, (r - k) * row + b * 440
            repack_head(src, s, dst, g, k)
            repack_halves_bits(src, s + 4, dst, g + 16, k)
            repack_scales(src, s + 6, dst, g + 24, k)
            repack_twos(src, s + 14, dst, g + 56, k)
            repack_bits(src, s + 78, dst, g + 312, k, 0)


@jit
def unrepack(src, dst, n_rows, n_cols):
    row = n_cols // 256 * 110
    for r in range(n_rows):
        k = r % 4
        for b in range(n_cols // 256):
            s, g = r * row + b * 110, (r - k) * row + b * 440
            unrepack_head(src, g, k, dst, s)
            unrepack_halves_bits(src, g + 16, k, dst, s + 4)
            unrepack_scales(src, g + 24, k, dst, s + 6)
            unrepack_twos(src, g + 56, k, dst, s + 14)
            unrepack_bits(src, g + 312, k, dst, s + 78, 0)


def unpack(q, w, base, stride, b):
    o, step, p = base + (b >> 3) * 440, stride * 4, b & 7
    d, low, minus = halves_of_rows4(w, o, step), scales_of_rows4(w, o + 24, step, p), bits_of_rows4(w, o + 16, step, False, p)
    s0 = d * to_f32x16((low[0] * 2 + 1) * (as_i32x16(minus[0] & 1) * -2 + 1))
    s1 = d * to_f32x16((low[1] * 2 + 1) * (as_i32x16(minus[1] & 1) * -2 + 1))
    table0, table1 = bits_of_rows4(w, o, step, True, p)
    zero, add0, add1 = splat_f32x16(0), as_u8x64(table0 * SHIFT3), as_u8x64(table1 * SHIFT3)
    codes = join_bits(twos_of_rows4(w, o + 56, step, p), high_bits_of_rows4(w, o + 312, step, p), 2)
    return s0, s1, zero, zero, biased3(codes, add0, add1)


CODE = Code(repack=repack, unrepack=unrepack, unpack=unpack, bias=LOW_BIAS, sub=16)
