"""iq5_k_r4: iq5_k with four rows interleaved.

Group of 4 rows x 256 columns, 704 bytes: half d[4]; uint8 extra[2][4]; uint8 scales_h[16]; uint8 scales_l[32] (all three
as in `_iqk_rows4`); 8 parts of 64 bytes with the low nibbles in the order of `_rows4`; uint8 qh[8 parts][4 rows][4]: byte
i holds the high bits of columns i, + 8, + 16, + 24, + 4, + 12, + 20, + 28 of its part.  weight as in iq5_k.
"""

from .. import jit
from ..simd import *
from ._iqk_books import SHIFT5
from ._iqk_rows4 import (
    bits_of_rows4,
    halves_of_rows4,
    repack_bits,
    repack_head,
    repack_nibbles,
    repack_scale_twos,
    repack_scales,
    scale_twos_of_rows4,
    scales_of_rows4,
    unrepack_bits,
    unrepack_head,
    unrepack_nibbles,
    unrepack_scale_twos,
    unrepack_scales,
)
from ._iqk_tables import BIAS, biased5_of_rows4
from ._rows4 import codes_of_rows4
from .base import Code
from .gather import join4x16


@jit
def repack(src, dst, n_rows, n_cols):
    row = n_cols // 256 * 176
    for r in range(n_rows):
        k = r % 4
        for b in range(n_cols // 256):
            s, g = r * row + b * 176, (r - k) * row + b * 704
            repack_head(src, s, dst, g, k)
            repack_scale_twos(src, s + 4, dst, g + 16, k)
            repack_scales(src, s + 8, dst, g + 32, k)
            repack_nibbles(src, s + 16, dst, g + 64, k)
            repack_bits(src, s + 144, dst, g + 576, k, 1)


@jit
def unrepack(src, dst, n_rows, n_cols):
    row = n_cols // 256 * 176
    for r in range(n_rows):
        k = r % 4
        for b in range(n_cols // 256):
            s, g = r * row + b * 176, (r - k) * row + b * 704
            unrepack_head(src, g, k, dst, s)
            unrepack_scale_twos(src, g + 16, k, dst, s + 4)
            unrepack_scales(src, g + 32, k, dst, s + 8)
            unrepack_nibbles(src, g + 64, k, dst, s + 16)
            unrepack_bits(src, g + 576, k, dst, s + 144, 1)


def unpack(q, w, base, stride, b):
    o, step, p = base + (b >> 3) * 704, stride * 4, b & 7
    d, low, high = halves_of_rows4(w, o, step), scales_of_rows4(w, o + 32, step, p), scale_twos_of_rows4(w, o + 16, step, p)
    s0, s1 = d * to_f32x16((low[0] | high[0] << 4) - 32), d * to_f32x16((low[1] | high[1] << 4) - 32)
    table0, table1 = bits_of_rows4(w, o, step, True, p)
    zero, add0, add1 = splat_f32x16(0), as_u8x64(table0 * SHIFT5), as_u8x64(table1 * SHIFT5)
    top = join4x16(w, o + 576 + p * 16, step)
    return s0, s1, zero, zero, biased5_of_rows4(codes_of_rows4(w, o + 64 + p * 64, step), top, add0, add1)


CODE = Code(repack=repack, unrepack=unrepack, unpack=unpack, bias=BIAS, sub=16)
