"""iq3_xxs_r4: iq3_xxs with four rows interleaved.

Group of 4 rows x 256 columns, 392 bytes: half d[4]; uint32 mixed[8 parts][4 rows], a byte for each 8 columns: signs as
in `_grid_rows4`, and in the lowest bit one of the four bits of the scale; uint8 index[8 parts][4 rows][8].
"""

from .. import jit
from ..simd import *
from ._grid_look import points_of_4, signed_codes
from ._grid_planes import PLANES, iq3_xxs_points
from ._grid_rows4 import halves_of_rows, mix, scale_of, signs_of, unmix, word_pairs_of_rows, words_of_rows
from ._grids import IQ3_XXS
from .base import Code
from .gather import copy, peek32, poke32


@jit
def repack(src, dst, n_rows, n_cols):
    row = n_cols // 256 * 98
    for r in range(n_rows):
        k = r % 4
        for b in range(n_cols // 256):
            s, g = r * row + b * 98, (r - k) * row + b * 392
            copy(dst, g + k * 2, src, s, 2)
            for p in range(8):
                copy(dst, g + 136 + p * 32 + k * 8, src, s + 2 + p * 8, 8)
                poke32(dst, g + 8 + p * 16 + k * 4, mix(peek32(src, s + 66 + p * 4)))


@jit
def unrepack(src, dst, n_rows, n_cols):
    row = n_cols // 256 * 98
    for r in range(n_rows):
        k = r % 4
        for b in range(n_cols // 256):
            s, g = r * row + b * 98, (r - k) * row + b * 392
            copy(dst, s, src, g + k * 2, 2)
            for p in range(8):
                copy(dst, s + 2 + p * 8, src, g + 136 + p * 32 + k * 8, 8)
                poke32(dst, s + 66 + p * 4, unmix(peek32(src, g + 8 + p * 16 + k * 4)))


def unpack(q, w, base, stride, b):
    o, step, p = base + (b >> 3) * 392, stride * 4, b & 7
    mixed = words_of_rows(w, o + 8 + p * 16, step)
    low, high = word_pairs_of_rows(w, o + 136 + p * 32, step)
    s = halves_of_rows(w, o, step) * to_f32x16(as_i32x16(scale_of(mixed) * 2 + 1)) * 0.25
    zero = splat_f32x16(0)
    codes = iq3_xxs_points(low, high) if PLANES else points_of_4(IQ3_XXS, low, high, splat_u32x16(0))
    return s, s, zero, zero, signed_codes(codes, signs_of(mixed), 64)


CODE = Code(repack=repack, unrepack=unrepack, unpack=unpack, bias=64, apart=True)
