"""q8_0: 8 bits a weight and a scale per 32 (8.5 bpw).

Block of 32 columns, 34 bytes: half d; int8 q[32].  weight = d * q.
"""

import numpy as np

from .. import jit
from ..simd import *
from ._eights import flip_signs
from ._half import half_bits, half_value
from ._lanes import TINY, clip, nearest
from .base import Code
from .gather import first_words, half_of, poke16, quads32


@jit
def decode(src, dst, n_rows, n_cols):
    for b in range(n_rows * n_cols // 32):
        d = load_f16(src, b * 34)
        store_f32x16(dst, b * 128, to_f32x16(to_i32x16(load_i8x16(src, b * 34 + 2))) * d)
        store_f32x16(dst, b * 128 + 64, to_f32x16(to_i32x16(load_i8x16(src, b * 34 + 18))) * d)


@jit(forceinline=True)
def _code(x, inv):
    return to_i8x16(to_i32x16(nearest(clip(x * inv, -127, 127))))


@jit
def encode(x, w, dst, n_rows, n_cols, work):
    """The largest magnitude becomes 127 (so does the reference, weights or not); a search gains almost nothing."""
    for b in range(n_rows * n_cols // 32):
        low, high = load_f32x16(x, b * 128), load_f32x16(x, b * 128 + 64)
        d = vtop(vmax(vabs(low), vabs(high))) / np.float32(127)
        bits = half_bits(d)
        poke16(dst, b * 34, bits)
        if bits < 0x0400 or bits == 0x7BFF:  # where halves are coarse or end, make codes for the scale that is stored
            d = half_value(bits)
        inv = np.float32(1) / d if d > TINY else np.float32(0)
        store_i8x16(dst, b * 34 + 2, _code(low, inv))
        store_i8x16(dst, b * 34 + 18, _code(high, inv))


def unpack(q, w, base, stride, b):
    o = base + b * 34
    s = half_of(first_words(w, o, stride))
    zero = splat_f32x16(0)
    return s, s, zero, zero, flip_signs(quads32(w, o + 2, stride))


CODE = Code(decode=decode, encode=encode, unpack=unpack, bias=128, turn=2)
