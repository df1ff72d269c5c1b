"""q8_k_r16: 8 bits a weight and a scale per 256, sixteen rows interleaved (8.0625 bpw); has no plain form in files.

Group of 16 rows x 256 columns, 4128 bytes: half d[16]; uint8 q[64][16][4]: quad j (columns 4 j..4 j + 3) of all 16 rows.
weight = d * (q - 128).
"""

from .. import jit
from ..simd import *
from ._eight_bits import decode_rows, encode_rows
from .base import Code


@jit
def decode(src, dst, n_rows, n_cols):
    decode_rows(src, dst, n_rows, n_cols, 16, 128)


@jit
def encode(x, w, dst, n_rows, n_cols, work):
    encode_rows(x, dst, n_rows, n_cols, 16, 128, work)


def unpack(q, w, base, stride, b):
    o = base + (b >> 3) * 4128
    s, zero = to_f32x16(as_f16x16(load_u16x16(w, o))), splat_f32x16(0)
    o += 32 + (b & 7) * 512
    v = (
        load_u8x64(w, o),
        load_u8x64(w, o + 64),
        load_u8x64(w, o + 128),
        load_u8x64(w, o + 192),
        load_u8x64(w, o + 256),
        load_u8x64(w, o + 320),
        load_u8x64(w, o + 384),
        load_u8x64(w, o + 448),
    )
    return s, s, zero, zero, v


CODE = Code(decode=decode, encode=encode, unpack=unpack, bias=128)
