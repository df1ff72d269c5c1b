"""q8_0_r8: q8_0 with eight rows interleaved.

Group of 8 rows x 32 columns, 272 bytes: half d[8]; int8 q[8][8][4]: quad j (columns 4 j..4 j + 3) of all 8 rows.
"""

from .. import jit
from ..simd import *
from ._eights import flip_signs
from .base import Code
from .gather import copy, join2x16, join2x32


@jit
def repack(src, dst, n_rows, n_cols):
    row = n_cols // 32 * 34
    for r in range(n_rows):
        for b in range(n_cols // 32):
            s, g = r * row + b * 34, (r - r % 8) * row + b * 272
            copy(dst, g + r % 8 * 2, src, s, 2)
            for j in range(8):
                copy(dst, g + 16 + j * 32 + r % 8 * 4, src, s + 2 + j * 4, 4)


@jit
def unrepack(src, dst, n_rows, n_cols):
    row = n_cols // 32 * 34
    for r in range(n_rows):
        for b in range(n_cols // 32):
            s, g = r * row + b * 34, (r - r % 8) * row + b * 272
            copy(dst, s, src, g + r % 8 * 2, 2)
            for j in range(8):
                copy(dst, s + 2 + j * 4, src, g + 16 + j * 32 + r % 8 * 4, 4)


def unpack(q, w, base, stride, b):
    o, step = base + b * 272, stride * 8
    s = to_f32x16(as_f16x16(join2x16(w, o, step)))
    zero = splat_f32x16(0)
    o += 16
    v = (
        join2x32(w, o, step),
        join2x32(w, o + 32, step),
        join2x32(w, o + 64, step),
        join2x32(w, o + 96, step),
        join2x32(w, o + 128, step),
        join2x32(w, o + 160, step),
        join2x32(w, o + 192, step),
        join2x32(w, o + 224, step),
    )
    return s, s, zero, zero, flip_signs(v)


CODE = Code(repack=repack, unrepack=unrepack, unpack=unpack, bias=128)
