"""iq2_xs_r4: iq2_xs with four rows interleaved.

Group of 4 rows x 256 columns, 296 bytes: half d[4]; uint16 q[8 parts][4 rows][4]: 9 bits of index, 7 bits of signs as
in `_grid_rows4`; uint8 scales[8 parts][4 rows].
"""

from .. import jit
from ..simd import *
from ._grid_look import eighth_signs, points_of_8, signed_codes
from ._grid_planes import PLANES, xs_points
from ._grid_rows4 import bytes_of_rows, differences, from_differences, halves_of_rows, word_pairs_of_rows
from ._grids import IQ2_XS
from .base import Code
from .gather import copy, peek16, poke16


@jit
def repack(src, dst, n_rows, n_cols):
    row = n_cols // 256 * 74
    for r in range(n_rows):
        k = r % 4
        for b in range(n_cols // 256):
            s, g = r * row + b * 74, (r - k) * row + b * 296
            copy(dst, g + k * 2, src, s, 2)
            for p in range(8):
                copy(dst, g + 264 + p * 4 + k, src, s + 66 + p, 1)
                for i in range(4):
                    q = peek16(src, s + 2 + p * 8 + i * 2)
                    t = differences(eighth_signs(q >> 9)) >> 1
                    poke16(dst, g + 8 + p * 32 + k * 8 + i * 2, q & 511 | (t & 127) << 9)


@jit
def unrepack(src, dst, n_rows, n_cols):
    row = n_cols // 256 * 74
    for r in range(n_rows):
        k = r % 4
        for b in range(n_cols // 256):
            s, g = r * row + b * 74, (r - k) * row + b * 296
            copy(dst, s, src, g + k * 2, 2)
            for p in range(8):
                copy(dst, s + 66 + p, src, g + 264 + p * 4 + k, 1)
                for i in range(4):
                    q = peek16(src, g + 8 + p * 32 + k * 8 + i * 2)
                    signs = from_differences(q >> 9 << 1)
                    poke16(dst, s + 2 + p * 8 + i * 2, q & 511 | (signs & 127) << 9)


def unpack(q, w, base, stride, b):
    o, step, p = base + (b >> 3) * 296, stride * 4, b & 7
    low, high = word_pairs_of_rows(w, o + 8 + p * 32, step)
    scale = bytes_of_rows(w, o + 264 + p * 4, step)
    d, zero = halves_of_rows(w, o, step) * 0.125, splat_f32x16(0)
    s0, s1 = d * to_f32x16((scale & 15) * 2 + 1), d * to_f32x16((scale >> 4) * 2 + 1)
    t = low >> 8 & 0xFE | low >> 16 & 0xFE00 | (high >> 8 & 0xFE) << 16 | high & 0xFE000000
    if PLANES:
        codes = xs_points(low & 0x1FF01FF, high & 0x1FF01FF)
    else:
        codes = points_of_8(IQ2_XS, low & 511, low >> 16 & 511, high & 511, high >> 16 & 511)
    return s0, s1, zero, zero, signed_codes(codes, from_differences(t), 64)


CODE = Code(repack=repack, unrepack=unrepack, unpack=unpack, bias=64, sub=16)
