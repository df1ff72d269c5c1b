"""iq4_nl_r4: iq4_nl with four rows interleaved.

Group of 4 rows x 32 columns, 72 bytes: half d[4]; 64 bytes in the nibble order of `_rows4`.
"""

from .. import jit
from ..simd import *
from ._rows4 import codes_of_rows4, nibbles_from_rows4, nibbles_to_rows4
from ._tables import look_up
from .base import Code
from .gather import copy, join4x8


@jit
def repack(src, dst, n_rows, n_cols):
    row = n_cols // 32 * 18
    for r in range(n_rows):
        k = r % 4
        for b in range(n_cols // 32):
            s, g = r * row + b * 18, (r - k) * row + b * 72
            copy(dst, g + k * 2, src, s, 2)
            nibbles_to_rows4(src, s + 2, dst, g + 8 + k * 4)


@jit
def unrepack(src, dst, n_rows, n_cols):
    row = n_cols // 32 * 18
    for r in range(n_rows):
        k = r % 4
        for b in range(n_cols // 32):
            s, g = r * row + b * 18, (r - k) * row + b * 72
            copy(dst, s, src, g + k * 2, 2)
            nibbles_from_rows4(src, g + 8 + k * 4, dst, s + 2)


def unpack(q, w, base, stride, b):
    o, step = base + b * 72, stride * 4
    s = to_f32x16(as_f16x16(join4x8(w, o, step)))
    zero = splat_f32x16(0)
    return s, s, zero, zero, look_up(codes_of_rows4(w, o + 8, step))


CODE = Code(repack=repack, unrepack=unrepack, unpack=unpack, bias=128)
