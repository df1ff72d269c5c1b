"""bf16_r16: bf16 with sixteen rows interleaved.

Group of 16 rows x 2 columns, 64 bytes: uint16 x[16][2], both columns of every row: what a bf16 dot product of pairs
takes at once. f16 tensors are repacked to it too (rounded to nearest even; the reference drops the low bits).
"""

from .. import jit
from ..simd import *
from .base import Code
from .gather import copy


@jit
def repack(src, dst, n_rows, n_cols):
    row = n_cols * 2
    for r in range(n_rows):
        g = (r - r % 16) * row + r % 16 * 4
        for c in range(n_cols // 2):
            copy(dst, g + c * 64, src, r * row + c * 4, 4)


@jit
def unrepack(src, dst, n_rows, n_cols):
    row = n_cols * 2
    for r in range(n_rows):
        g = (r - r % 16) * row + r % 16 * 4
        for c in range(n_cols // 2):
            copy(dst, r * row + c * 4, src, g + c * 64, 4)


def columns(q, w, base, c):
    pairs = load_u32x16(w, base + (c >> 1) * 64)
    return as_f32x16(pairs >> (c & 1) * 16 << 16)


CODE = Code(repack=repack, unrepack=unrepack, columns=columns)
