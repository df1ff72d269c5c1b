"""iq4_ks_r4: iq4_ks with four rows interleaved.

Group of 4 rows: float32 d[4], then for each 256 columns 544 bytes: uint8 scales[8 parts][4 rows]; 8 parts of 64 bytes
in the nibble order of `_rows4`.  weight as in iq4_ks.
"""

from .. import jit
from ..simd import *
from ._eights import plus
from ._rows4 import codes_of_rows4, nibbles_from_rows4, nibbles_to_rows4
from ._tables import look_up
from .base import Code
from .gather import copy, join4x4, join4x16


@jit
def repack(src, dst, n_rows, n_cols):
    blocks = n_cols // 256
    row = 4 + blocks * 136
    for r in range(n_rows):
        k = r % 4
        group = (r - k) * row
        copy(dst, group + k * 4, src, r * row, 4)
        for b in range(blocks):
            s, g = r * row + 4 + b * 136, group + 16 + b * 544
            for p in range(8):
                copy(dst, g + p * 4 + k, src, s + p, 1)
                nibbles_to_rows4(src, s + 8 + p * 16, dst, g + 32 + p * 64 + k * 4)


@jit
def unrepack(src, dst, n_rows, n_cols):
    blocks = n_cols // 256
    row = 4 + blocks * 136
    for r in range(n_rows):
        k = r % 4
        group = (r - k) * row
        copy(dst, r * row, src, group + k * 4, 4)
        for b in range(blocks):
            s, g = r * row + 4 + b * 136, group + 16 + b * 544
            for p in range(8):
                copy(dst, s + p, src, g + p * 4 + k, 1)
                nibbles_from_rows4(src, g + 32 + p * 64 + k * 4, dst, s + 8 + p * 16)


def unpack(q, w, base, stride, b):
    step, p = stride * 4, b & 7
    o = base + 16 + (b >> 3) * 544
    scale = to_i32x16(join4x4(w, o + p * 4, step))
    s = as_f32x16(join4x16(w, base, step)) * to_f32x16((scale & 254) - 127)
    add = as_u8x64((scale & 1) * 0x04040404)
    zero = splat_f32x16(0)
    return s, s, zero, zero, plus(look_up(codes_of_rows4(w, o + 32 + p * 64, step)), add)


CODE = Code(repack=repack, unrepack=unrepack, unpack=unpack, bias=128)
