"""iq2_bn_r4: iq2_bn with four rows interleaved.

Group of 4 rows: float32 d[4], then for each 64 columns 64 bytes: uint8 q[4][4][4]: byte [k][r][i] holds row r's codes of
columns 16 k + i, + 4, + 8, + 12 (from the lowest bits up).
"""

from .. import jit
from ..simd import *
from ._twos import twos_from_rows4, twos_of_rows4, twos_to_rows4
from .base import Code
from .gather import copy, join4x16


@jit
def repack(src, dst, n_rows, n_cols):
    row = 4 + n_cols // 4
    for r in range(n_rows):
        k = r % 4
        group = (r - k) * row
        copy(dst, group + k * 4, src, r * row, 4)
        for b in range(n_cols // 64):
            twos_to_rows4(src, r * row + 4 + b * 16, dst, group + 16 + b * 64 + k * 4, 16)


@jit
def unrepack(src, dst, n_rows, n_cols):
    row = 4 + n_cols // 4
    for r in range(n_rows):
        k = r % 4
        group = (r - k) * row
        copy(dst, r * row, src, group + k * 4, 4)
        for b in range(n_cols // 64):
            twos_from_rows4(src, group + 16 + b * 64 + k * 4, 16, dst, r * row + 4 + b * 16)


def unpack(q, w, base, stride, b):
    step = stride * 4
    s = as_f32x16(join4x16(w, base, step))
    zero = splat_f32x16(0)
    return s, s, zero, zero, twos_of_rows4(w, base + 16 + b * 32, step)


CODE = Code(repack=repack, unrepack=unrepack, unpack=unpack, bias=1)
