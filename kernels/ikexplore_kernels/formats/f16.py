"""f16: IEEE half precision; rounded to nearest even, beyond 65504 to infinity as IEEE has it."""

import numpy as np

from .. import jit
from ..simd import *
from ._half import float_bits, half_value
from .base import Code
from .gather import peek16, poke32


@jit
def decode(src, dst, n_rows, n_cols):
    n = n_rows * n_cols
    for i in range(0, n - 15, 16):
        store_f32x16(dst, i * 4, to_f32x16(load_f16x16(src, i * 2)))
    for i in range(n // 16 * 16, n):
        poke32(dst, i * 4, float_bits(half_value(peek16(src, i * 2))))


def encode_floats(x):
    with np.errstate(over="ignore"):
        return x.astype(np.float16)


def widen(q, w, base, stride, c):
    return to_f32x16(load_f16x16(w, base + c * 2))


CODE = Code(decode=decode, encode_floats=encode_floats, widen=widen)
