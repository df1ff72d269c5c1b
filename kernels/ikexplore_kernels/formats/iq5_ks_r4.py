"""iq5_ks_r4: iq5_ks with four rows interleaved.

Group of 4 rows: float32 d[4], then for each 256 columns 672 bytes: uint8 scales[8 parts][4 rows]; 8 parts of 64 bytes with
the low nibbles in the order of `_rows4`; uint8 qh[8 parts][4 rows][4] as in iq5_k_r4.  weight as in iq5_ks.
"""

from .. import jit
from ..simd import *
from ._iqk_books import SHIFT5
from ._iqk_rows4 import (
    repack_bits,
    repack_nibbles,
    unrepack_bits,
    unrepack_nibbles,
)
from ._iqk_tables import BIAS, biased5_of_rows4, shift_bytes
from ._rows4 import codes_of_rows4
from .base import Code
from .gather import copy, join4x4, join4x16


@jit
def repack(src, dst, n_rows, n_cols):
    blocks = n_cols // 256
    row = 4 + blocks * 168
    for r in range(n_rows):
        k = r % 4
        group = (r - k) * row
        copy(dst, group + k * 4, src, r * row, 4)
        for b in range(blocks):
            s, g = r * row + 4 + b * 168, group + 16 + b * 672
            for p in range(8):
                copy(dst, g + p * 4 + k, src, s + p, 1)
            repack_nibbles(src, s + 8, dst, g + 32, k)
            repack_bits(src, s + 136, dst, g + 544, k, 1)


@jit
def unrepack(src, dst, n_rows, n_cols):
    blocks = n_cols // 256
    row = 4 + blocks * 168
    for r in range(n_rows):
        k = r % 4
        group = (r - k) * row
        copy(dst, r * row, src, group + k * 4, 4)
        for b in range(blocks):
            s, g = r * row + 4 + b * 168, group + 16 + b * 672
            for p in range(8):
                copy(dst, s + p, src, g + p * 4 + k, 1)
            unrepack_nibbles(src, g + 32, k, dst, s + 8)
            unrepack_bits(src, g + 544, k, dst, s + 136, 1)


def unpack(q, w, base, stride, b):
    step, p = stride * 4, b & 7
    o = base + 16 + (b >> 3) * 672
    scale = to_i32x16(join4x4(w, o + p * 4, step))
    s = as_f32x16(join4x16(w, base, step)) * to_f32x16((scale & 254) - 127)
    zero, add = splat_f32x16(0), shift_bytes(scale & 1, SHIFT5)
    top = join4x16(w, o + 544 + p * 16, step)
    return s, s, zero, zero, biased5_of_rows4(codes_of_rows4(w, o + 32 + p * 64, step), top, add, add)


CODE = Code(repack=repack, unrepack=unrepack, unpack=unpack, bias=BIAS)
