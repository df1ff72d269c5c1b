"""q8_kv_r8: q8_kv with eight rows interleaved, without the sums of the codes.

Group of 8 rows: float32 d[8]; int8 q[n_cols / 4][8][4]: quad j (columns 4 j..4 j + 3) of all 8 rows.
"""

from .. import jit
from ..simd import *
from ._eights import flip_signs
from ._rows8 import bytes_from_rows8, bytes_of_rows8, bytes_to_rows8
from .base import Code
from .gather import copy, join2x32
from .q8_kv import put_sum


@jit
def repack(src, dst, n_rows, n_cols):
    for r in range(n_rows):
        k = r % 8
        s, g = r * (8 + n_cols), (r - k) * (4 + n_cols)
        copy(dst, g + k * 4, src, s, 4)
        bytes_to_rows8(src, s + 8, dst, g + 32 + k * 4, n_cols)


@jit
def unrepack(src, dst, n_rows, n_cols):
    """The sums are made anew."""
    for r in range(n_rows):
        k = r % 8
        s, g = r * (8 + n_cols), (r - k) * (4 + n_cols)
        copy(dst, s, src, g + k * 4, 4)
        bytes_from_rows8(src, g + 32 + k * 4, dst, s + 8, n_cols)
        put_sum(dst, s, n_cols)


def unpack(q, w, base, stride, b):
    step = stride * 8
    s, zero = as_f32x16(join2x32(w, base, step)), splat_f32x16(0)
    return s, s, zero, zero, flip_signs(bytes_of_rows8(w, base + 32 + b * 256, step))


CODE = Code(repack=repack, unrepack=unrepack, unpack=unpack, bias=128)
