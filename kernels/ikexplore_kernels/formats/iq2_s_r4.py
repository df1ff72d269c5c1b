"""iq2_s_r4: iq2_s with four rows interleaved.

Group of 4 rows x 256 columns, 328 bytes: half d[4]; then what a block has, part by part and row by row within a part:
uint8 index[8][4][4]; uint8 high[8][4]; uint8 signs[8][4][4]; uint8 scales[8][4].
"""

from .. import jit
from ..simd import *
from ._grid_look import points_of_8, signed_codes
from ._grid_rows4 import bytes_of_rows, halves_of_rows, words_of_rows
from ._grids import IQ2_S
from .base import Code
from .gather import copy


@jit
def repack(src, dst, n_rows, n_cols):
    row = n_cols // 256 * 82
    for r in range(n_rows):
        k = r % 4
        for b in range(n_cols // 256):
            s, g = r * row + b * 82, (r - k) * row + b * 328
            copy(dst, g + k * 2, src, s, 2)
            for p in range(8):
                copy(dst, g + 8 + p * 16 + k * 4, src, s + 2 + p * 4, 4)
                copy(dst, g + 136 + p * 4 + k, src, s + 66 + p, 1)
                copy(dst, g + 168 + p * 16 + k * 4, src, s + 34 + p * 4, 4)
                copy(dst, g + 296 + p * 4 + k, src, s + 74 + p, 1)


@jit
def unrepack(src, dst, n_rows, n_cols):
    row = n_cols // 256 * 82
    for r in range(n_rows):
        k = r % 4
        for b in range(n_cols // 256):
            s, g = r * row + b * 82, (r - k) * row + b * 328
            copy(dst, s, src, g + k * 2, 2)
            for p in range(8):
                copy(dst, s + 2 + p * 4, src, g + 8 + p * 16 + k * 4, 4)
                copy(dst, s + 66 + p, src, g + 136 + p * 4 + k, 1)
                copy(dst, s + 34 + p * 4, src, g + 168 + p * 16 + k * 4, 4)
                copy(dst, s + 74 + p, src, g + 296 + p * 4 + k, 1)


def unpack(q, w, base, stride, b):
    o, step, p = base + (b >> 3) * 328, stride * 4, b & 7
    i, signs = words_of_rows(w, o + 8 + p * 16, step), words_of_rows(w, o + 168 + p * 16, step)
    high, scale = as_u32x16(bytes_of_rows(w, o + 136 + p * 4, step)), bytes_of_rows(w, o + 296 + p * 4, step)
    d, zero = halves_of_rows(w, o, step) * 0.125, splat_f32x16(0)
    s0, s1 = d * to_f32x16((scale & 15) * 2 + 1), d * to_f32x16((scale >> 4) * 2 + 1)
    codes = points_of_8(
        IQ2_S,
        i & 255 | (high & 3) << 8,
        i >> 8 & 255 | (high & 12) << 6,
        i >> 16 & 255 | (high & 48) << 4,
        i >> 24 | (high & 192) << 2,
    )
    return s0, s1, zero, zero, signed_codes(codes, signs, 64)


CODE = Code(repack=repack, unrepack=unrepack, unpack=unpack, bias=64, sub=16)
