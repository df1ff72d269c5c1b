"""bf16: the upper half of a float32; rounded to nearest even."""

import numpy as np

from .. import jit
from ..simd import *
from .base import Code
from .gather import peek16, poke32


@jit
def decode(src, dst, n_rows, n_cols):
    n = n_rows * n_cols
    for i in range(0, n - 15, 16):
        store_f32x16(dst, i * 4, as_f32x16(to_u32x16(load_u16x16(src, i * 2)) << 16))
    for i in range(n // 16 * 16, n):
        poke32(dst, i * 4, peek16(src, i * 2) << 16)


def encode_floats(x):
    u = x.view(np.uint32)
    rounded = (u + np.uint32(0x7FFF) + (u >> np.uint32(16) & np.uint32(1))) >> np.uint32(16)
    rounded = np.where((u & np.uint32(0x7FFFFFFF)) > 0x7F800000, u >> np.uint32(16) | np.uint32(0x40), rounded)
    return rounded.astype(np.uint16)


def widen(q, w, base, stride, c):
    return as_f32x16(to_u32x16(load_u16x16(w, base + c * 2)) << 16)


CODE = Code(decode=decode, encode_floats=encode_floats, widen=widen)
