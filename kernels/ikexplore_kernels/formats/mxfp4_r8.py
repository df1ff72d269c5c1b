"""mxfp4_r8: mxfp4 with eight rows interleaved.

Group of 8 rows x 32 columns, 136 bytes: uint8 e[8]; uint8 q[4][8][4]: byte [j][r][i] holds row r's codes of columns
4 j + i (low nibble) and 16 + 4 j + i (high).
"""

from .. import jit
from ..simd import *
from ._eights import nibbles
from ._rows8 import bytes_from_rows8, bytes_to_rows8
from .base import Code
from .gather import copy, join2x8, join2x32
from .mxfp4 import biased, power


@jit
def repack(src, dst, n_rows, n_cols):
    row = n_cols // 32 * 17
    for r in range(n_rows):
        k = r % 8
        for b in range(n_cols // 32):
            s, g = r * row + b * 17, (r - k) * row + b * 136
            copy(dst, g + k, src, s, 1)
            bytes_to_rows8(src, s + 1, dst, g + 8 + k * 4, 16)


@jit
def unrepack(src, dst, n_rows, n_cols):
    row = n_cols // 32 * 17
    for r in range(n_rows):
        k = r % 8
        for b in range(n_cols // 32):
            s, g = r * row + b * 17, (r - k) * row + b * 136
            copy(dst, s, src, g + k, 1)
            bytes_from_rows8(src, g + 8 + k * 4, dst, s + 1, 16)


def unpack(q, w, base, stride, b):
    o, step = base + b * 136, stride * 8
    s = power(to_i32x16(join2x8(w, o, step)))
    zero = splat_f32x16(0)
    o += 8
    v = join2x32(w, o, step), join2x32(w, o + 32, step), join2x32(w, o + 64, step), join2x32(w, o + 96, step)
    return s, s, zero, zero, biased(nibbles(v))


CODE = Code(repack=repack, unrepack=unrepack, unpack=unpack, bias=12)
