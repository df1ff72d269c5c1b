"""iq2_xxs_r4: iq2_xxs with four rows interleaved.

Group of 4 rows x 256 columns, 264 bytes: half d[4]; uint32 mixed[8 parts][4 rows], a byte for each 8 columns: signs as
in `_grid_rows4`, and in the lowest bit one of the four bits of the scale; uint8 index[8 parts][4 rows][4].
"""

from .. import jit
from ..simd import *
from ._grid_look import points_of_rows, signed_codes
from ._grid_planes import PLANES, xxs_points
from ._grid_rows4 import halves_of_rows, mix, scale_of, signs_of, unmix, words_of_rows
from ._grids import IQ2_XXS
from .base import Code
from .gather import copy, peek32, poke32


@jit
def repack(src, dst, n_rows, n_cols):
    row = n_cols // 256 * 66
    for r in range(n_rows):
        k = r % 4
        for b in range(n_cols // 256):
            s, g = r * row + b * 66, (r - k) * row + b * 264
            copy(dst, g + k * 2, src, s, 2)
            for p in range(8):
                copy(dst, g + 136 + p * 16 + k * 4, src, s + 2 + p * 8, 4)
                poke32(dst, g + 8 + p * 16 + k * 4, mix(peek32(src, s + 6 + p * 8)))


@jit
def unrepack(src, dst, n_rows, n_cols):
    row = n_cols // 256 * 66
    for r in range(n_rows):
        k = r % 4
        for b in range(n_cols // 256):
            s, g = r * row + b * 66, (r - k) * row + b * 264
            copy(dst, s, src, g + k * 2, 2)
            for p in range(8):
                copy(dst, s + 2 + p * 8, src, g + 136 + p * 16 + k * 4, 4)
                poke32(dst, s + 6 + p * 8, unmix(peek32(src, g + 8 + p * 16 + k * 4)))


def unpack(q, w, base, stride, b):
    o, step, p = base + (b >> 3) * 264, stride * 4, b & 7
    mixed = words_of_rows(w, o + 8 + p * 16, step)
    s = halves_of_rows(w, o, step) * to_f32x16(as_i32x16(scale_of(mixed) * 2 + 1)) * 0.125
    zero = splat_f32x16(0)
    if PLANES:
        i = words_of_rows(w, o + 136 + p * 16, step)
        codes = xxs_points(i & 0xFF00FF, i >> 8 & 0xFF00FF)
    else:
        codes = points_of_rows(IQ2_XXS, w, o + 136 + p * 16, 4, step)
    return s, s, zero, zero, signed_codes(codes, signs_of(mixed), 64)


CODE = Code(repack=repack, unrepack=unrepack, unpack=unpack, bias=64, apart=True, turn=2)
