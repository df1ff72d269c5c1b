"""q1_0_g128: signs, and a scale per 128 (1.125 bpw).

Block of 128 columns, 18 bytes: half d; uint8 q[16], bit c % 8 of byte c / 8 set where column c is not negative.
weight = d or -d.
"""

import numpy as np

from .. import jit
from ..simd import *
from ._eights import spread_bits
from ._half import half_bits
from ._lanes import TINY
from .base import Code
from .gather import first_words, gather_u32, half_of, peek8, peek16, poke8, poke16

_PLACES = constant("i32", list(range(16)))


@jit
def decode(src, dst, n_rows, n_cols):
    for b in range(n_rows * n_cols // 128):
        d = load_f16(src, b * 18)
        for k in range(8):
            signs = splat_i32x16(peek16(src, b * 18 + 2 + k * 2)) >> _PLACES() & 1
            store_f32x16(dst, b * 512 + k * 64, to_f32x16(signs * 2 - 1) * d)


@jit
def encode(x, w, dst, n_rows, n_cols, work):
    """The best scale is the mean magnitude, weighted."""
    per_row = n_cols // 128
    for b in range(n_rows * per_row):
        at, top = b % per_row * 512, splat_f32x16(0)
        for k in range(8):
            top = vmax(top, vabs(load_f32x16(x, b * 512 + k * 64)))
        top = vtop(top)
        unit = splat_f32x16(np.float32(1) / top if top > TINY else np.float32(0))
        a, total = splat_f32x16(0), splat_f32x16(0)
        for k in range(8):
            v, weight = load_f32x16(x, b * 512 + k * 64), load_f32x16(w, at + k * 64)
            a, total = fma(vabs(v) * unit, weight, a), total + weight
        poke16(dst, b * 18, half_bits(vsum(a) / vsum(total) * top))
        for i in range(16):
            bits = 0
            for j in range(8):
                negative = peek8(x, b * 512 + i * 32 + j * 4 + 3) >> 7
                bits |= (1 - negative) << j
            poke8(dst, b * 18 + 2 + i, bits)


@jit(forceinline=True)
def _twice(v):
    return v[0] << 1, v[1] << 1, v[2] << 1, v[3] << 1, v[4] << 1, v[5] << 1, v[6] << 1, v[7] << 1


def unpack(q, w, base, stride, b):
    o = base + (b >> 2) * 18
    s = half_of(first_words(w, o, stride))
    signs = spread_bits(gather_u32(w, o + 2 + (b & 3) * 4, stride))
    zero = splat_f32x16(0)
    return s, s, zero, zero, _twice(signs)


CODE = Code(decode=decode, encode=encode, unpack=unpack, bias=1)
