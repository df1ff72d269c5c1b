"""q4_0_r8: q4_0 with eight rows interleaved.

Group of 8 rows x 32 columns, 144 bytes: half d[8]; uint8 q[4][8][4]: bytes 4 j..4 j + 3 of all 8 rows, as in q4_0
(low nibbles: columns 4 j + i, high nibbles: columns 16 + 4 j + i).
"""

from .. import jit
from ..simd import *
from ._eights import nibbles
from .base import Code
from .gather import copy, join2x16, join2x32


@jit
def repack(src, dst, n_rows, n_cols):
    row = n_cols // 32 * 18
    for r in range(n_rows):
        for b in range(n_cols // 32):
            s, g = r * row + b * 18, (r - r % 8) * row + b * 144
            copy(dst, g + r % 8 * 2, src, s, 2)
            for j in range(4):
                copy(dst, g + 16 + j * 32 + r % 8 * 4, src, s + 2 + j * 4, 4)


@jit
def unrepack(src, dst, n_rows, n_cols):
    row = n_cols // 32 * 18
    for r in range(n_rows):
        for b in range(n_cols // 32):
            s, g = r * row + b * 18, (r - r % 8) * row + b * 144
            copy(dst, s, src, g + r % 8 * 2, 2)
            for j in range(4):
                copy(dst, s + 2 + j * 4, src, g + 16 + j * 32 + r % 8 * 4, 4)


def unpack(q, w, base, stride, b):
    o, step = base + b * 144, stride * 8
    s = to_f32x16(as_f16x16(join2x16(w, o, step)))
    zero = splat_f32x16(0)
    v = join2x32(w, o + 16, step), join2x32(w, o + 48, step), join2x32(w, o + 80, step), join2x32(w, o + 112, step)
    return s, s, zero, zero, nibbles(v)


CODE = Code(repack=repack, unrepack=unrepack, unpack=unpack, bias=8)
