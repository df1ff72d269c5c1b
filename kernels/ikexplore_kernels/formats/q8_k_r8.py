"""q8_k_r8: 8 bits a weight and a scale per 256, eight rows interleaved (8.0625 bpw); has no plain form in files.

Group of 8 rows x 256 columns, 2064 bytes: half d[8]; int8 q[64][8][4]: quad j (columns 4 j..4 j + 3) of all 8 rows.
weight = d * q.
"""

from .. import jit
from ..simd import *
from ._eight_bits import decode_rows, encode_rows
from ._eights import flip_signs
from ._rows8 import bytes_of_rows8
from .base import Code
from .gather import join2x16


@jit
def decode(src, dst, n_rows, n_cols):
    decode_rows(src, dst, n_rows, n_cols, 8, 0)


@jit
def encode(x, w, dst, n_rows, n_cols, work):
    encode_rows(x, dst, n_rows, n_cols, 8, 0, work)


def unpack(q, w, base, stride, b):
    o, step = base + (b >> 3) * 2064, stride * 8
    s, zero = to_f32x16(as_f16x16(join2x16(w, o, step))), splat_f32x16(0)
    return s, s, zero, zero, flip_signs(bytes_of_rows8(w, o + 16 + (b & 7) * 256, step))


CODE = Code(decode=decode, encode=encode, unpack=unpack, bias=128)
