"""iq2_bn: bitnet, codes -1, 0 and 1 in 2 bits and one scale per row (2 bpw).

Row: float32 d, then blocks of 64 columns, 16 bytes each: uint8 q[16], column 16 k + i in bits 2 k.. of q[i].
weight = d * (code - 1).
"""

from .. import jit
from ..simd import *
from ._eights import bits_of
from ._ternary import row_scale, ternary
from .base import Code
from .gather import copy, gather_f32, load_scalar, quads16


@jit
def decode(src, dst, n_rows, n_cols):
    blocks = n_cols // 64
    for r in range(n_rows):
        row = r * (4 + blocks * 16)
        d = load_scalar(src, row)
        for b in range(blocks):
            q, to = load_u8x16(src, row + 4 + b * 16), (r * n_cols + b * 64) * 4
            for k in range(4):
                store_f32x16(dst, to + k * 64, to_f32x16(to_i32x16(q >> k * 2 & 3) - 1) * d)


@jit
def encode(x, w, dst, n_rows, n_cols, work):
    blocks = n_cols // 64
    for r in range(n_rows):
        row, at = r * (4 + blocks * 16), x + r * n_cols * 4
        d = row_scale(at, w, n_cols)
        store_f32x16(work, 0, splat_f32x16(d))
        copy(dst, row, work, 0, 4)
        for b in range(blocks):
            codes = splat_u8x16(0)
            for k in range(4):
                codes = codes | ternary(load_f32x16(at, b * 256 + k * 64), d) << 2 * k
            store_u8x16(dst, row + 4 + b * 16, codes)


def unpack(q, w, base, stride, b):
    codes = quads16(w, base + 4 + (b >> 1) * 16, stride)
    s, t = gather_f32(w, base, stride), (b & 1) * 4
    zero = splat_f32x16(0)
    a, c = bits_of(codes, t, 3), bits_of(codes, t + 2, 3)
    return s, s, zero, zero, (a[0], a[1], a[2], a[3], c[0], c[1], c[2], c[3])


CODE = Code(decode=decode, encode=encode, unpack=unpack, bias=1)
