"""q8_kv: 8 bits a weight, one scale and the sum of the codes per row (8 bpw); meant for K caches.

Row: float32 d; int32, the sum of all codes (kernels of the reference want it); int8 q[n_cols].  weight = d * q.
"""

import numpy as np

from .. import jit
from ..simd import *
from ._eights import flip_signs
from ._lanes import TINY, clip, nearest
from .base import Code
from .gather import copy, gather_f32, load_scalar, poke32, quads32

_MOST = np.float32(2.6793e36)  # 127 times that is the largest float32, nearly


@jit
def decode(src, dst, n_rows, n_cols):
    for r in range(n_rows):
        row = r * (8 + n_cols)
        d = load_scalar(src, row)
        for c in range(0, n_cols, 16):
            q = to_f32x16(to_i32x16(load_i8x16(src, row + 8 + c)))
            store_f32x16(dst, (r * n_cols + c) * 4, q * d)


@jit
def put_sum(dst, row, n_cols):
    """The sum of the codes to its place in the row."""
    total = splat_i32x16(0)
    for c in range(0, n_cols, 16):
        total = total + to_i32x16(load_i8x16(dst, row + 8 + c))
    poke32(dst, row + 4, vsum(total))


@jit
def encode(x, w, dst, n_rows, n_cols, work):
    """The largest magnitude becomes 127, as in q8_0."""
    for r in range(n_rows):
        row, at, top = r * (8 + n_cols), x + r * n_cols * 4, splat_f32x16(0)
        for c in range(0, n_cols * 4, 64):
            top = vmax(top, vabs(load_f32x16(at, c)))
        d = min(vtop(top) / np.float32(127), _MOST)
        inv = np.float32(1) / d if d > TINY else np.float32(0)
        store_f32x16(work, 0, splat_f32x16(d))
        copy(dst, row, work, 0, 4)
        for c in range(0, n_cols, 16):
            q = nearest(clip(load_f32x16(at, c * 4) * inv, -127, 127))
            store_i8x16(dst, row + 8 + c, to_i8x16(to_i32x16(q)))
        put_sum(dst, row, n_cols)


def unpack(q, w, base, stride, b):
    s, zero = gather_f32(w, base, stride), splat_f32x16(0)
    return s, s, zero, zero, flip_signs(quads32(w, base + 8 + b * 32, stride))


CODE = Code(decode=decode, encode=encode, unpack=unpack, bias=128)
