"""iq2_k_r4: iq2_k with four rows interleaved.

Group of 4 rows x 256 columns, 304 bytes: half d[4]; uint8 extra[2][4]; uint8 scales[32]; uint8 q[8 parts][2][4 rows][4]
(the last three as in `_iqk_rows4`).  weight as in iq2_k.
"""

from .. import jit
from ..simd import *
from ._iqk_books import SHIFT2
from ._iqk_rows4 import (
    bits_of_rows4,
    halves_of_rows4,
    repack_head,
    repack_scales,
    repack_twos,
    scales_of_rows4,
    twos_of_rows4,
    unrepack_head,
    unrepack_scales,
    unrepack_twos,
)
from ._iqk_tables import LOW_BIAS, biased2
from .base import Code


@jit
def repack(src, dst, n_rows, n_cols):
    row = n_cols // 256 * 76
    for r in range(n_rows):
        k = r % 4
        for b in range(n_cols // 256):
            s, g = r * row + b * 76, (r - k) * row + b * 304
            repack_head(src, s, dst, g, k)
            repack_scales(src, s + 4, dst, g + 16, k)
            repack_twos(src, s + 12, dst, g + 48, k)


@jit
def unrepack(src, dst, n_rows, n_cols):
    row = n_cols // 256 * 76
    for r in range(n_rows):
        k = r % 4
        for b in range(n_cols // 256):
            s, g = r * row + b * 76, (r - k) * row + b * 304
            unrepack_head(src, g, k, dst, s)
            unrepack_scales(src, g + 16, k, dst, s + 4)
            unrepack_twos(src, g + 48, k, dst, s + 12)


def unpack(q, w, base, stride, b):
    o, step, p = base + (b >> 3) * 304, stride * 4, b & 7
    d, scales = halves_of_rows4(w, o, step), scales_of_rows4(w, o + 16, step, p)
    s0, s1 = d * to_f32x16(scales[0] - 8), d * to_f32x16(scales[1] - 8)
    table0, table1 = bits_of_rows4(w, o, step, True, p)
    zero, add0, add1 = splat_f32x16(0), as_u8x64(table0 * SHIFT2), as_u8x64(table1 * SHIFT2)
    return s0, s1, zero, zero, biased2(twos_of_rows4(w, o + 48, step, p), add0, add1)


CODE = Code(repack=repack, unrepack=unrepack, unpack=unpack, bias=LOW_BIAS, sub=16)
