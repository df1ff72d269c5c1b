"""q2_k_r4: q2_k with four rows interleaved.

Group of 4 rows x 256 columns, 336 bytes: half d[4]; half dmin[4]; uint8 scales[16][4]; uint8 q[8 parts][2][4][4]: byte
[p][k][r][i] holds row r's codes of columns 32 p + 16 k + i, + 4, + 8, + 12 (from the lowest bits up).
"""

from .. import jit
from ..simd import *
from ._twos import twos_from_rows4, twos_of_rows4, twos_to_rows4
from .base import Code
from .gather import copy, join4x4, join4x16

_D = shuffle([8 * g + k for g in range(4) for k in range(4)])
_DMIN = shuffle([8 * g + 4 + k for g in range(4) for k in range(4)])


@jit
def repack(src, dst, n_rows, n_cols):
    row = n_cols // 256 * 84
    for r in range(n_rows):
        k = r % 4
        for b in range(n_cols // 256):
            s, g = r * row + b * 84, (r - k) * row + b * 336
            copy(dst, g + k * 2, src, s + 80, 2)
            copy(dst, g + 8 + k * 2, src, s + 82, 2)
            for j in range(16):
                copy(dst, g + 16 + j * 4 + k, src, s + j, 1)
            for e in range(4):  # halves of the two times 32 bytes
                to = g + 80 + (e >> 1) * 128 + (e & 1) * 16 + k * 4
                twos_to_rows4(src, s + 16 + e * 16, dst, to, 32)


@jit
def unrepack(src, dst, n_rows, n_cols):
    row = n_cols // 256 * 84
    for r in range(n_rows):
        k = r % 4
        for b in range(n_cols // 256):
            s, g = r * row + b * 84, (r - k) * row + b * 336
            copy(dst, s + 80, src, g + k * 2, 2)
            copy(dst, s + 82, src, g + 8 + k * 2, 2)
            for j in range(16):
                copy(dst, s + j, src, g + 16 + j * 4 + k, 1)
            for e in range(4):
                at = g + 80 + (e >> 1) * 128 + (e & 1) * 16 + k * 4
                twos_from_rows4(src, at, 32, dst, s + 16 + e * 16)


def unpack(q, w, base, stride, b):
    o, step, p = base + (b >> 3) * 336, stride * 4, b & 7
    halves = as_u16x32(join4x16(w, o, step))
    d, low = to_f32x16(as_f16x16(_D(halves))), to_f32x16(as_f16x16(_DMIN(halves)))
    a, c = to_i32x16(join4x4(w, o + 16 + p * 8, step)), to_i32x16(join4x4(w, o + 20 + p * 8, step))
    s0, s1 = d * to_f32x16(a & 15), d * to_f32x16(c & 15)
    m0, m1 = low * to_f32x16(a >> 4), low * to_f32x16(c >> 4)
    return s0, s1, m0, m1, twos_of_rows4(w, o + 80 + p * 32, step)


CODE = Code(repack=repack, unrepack=unrepack, unpack=unpack, sub=16, has_min=True)
