"""Rows of -1, 0 and 1 times one scale (bitnet): the best scale, and codes 0, 1, 2.

For a scale d the best code of x is 1 + sign(x) where |x| > d / 2, and else 1. For given codes the best d is A / B, with
A = sum(w |x|) and B = sum(w) over the nonzero ones, and it lowers the error by A^2 / B: many d are tried, and the best
one is followed to where it no longer changes.
"""

import numpy as np

from .. import jit
from ..simd import *
from ._lanes import TINY, where_above

_TRIES, _RATIO, _ROUNDS = 24, 0.84, 4


@jit(forceinline=True)
def _gain(a, b):
    return a * a / b if b > TINY else np.float32(0)


@jit
def _sums(x, w, n_cols, unit, least):
    """A and B (of x * unit) over |x * unit| >= least."""
    a, b, zero, edge = splat_f32x16(0), splat_f32x16(0), splat_f32x16(0), splat_f32x16(least)
    for i in range(0, n_cols * 4, 64):
        size, weight = vabs(load_f32x16(x, i) * unit), load_f32x16(w, i)
        weight = where_above(edge, size, zero, weight)
        a, b = fma(size, weight, a), b + weight
    return vsum(a), vsum(b)


@jit
def row_scale(x, w, n_cols):
    """The scale of the row of float32 at x; 0 where all is tiny. Where every weight is 0 or +-d it is that d."""
    top = splat_f32x16(0)
    for i in range(0, n_cols * 4, 64):
        top = vmax(top, vabs(load_f32x16(x, i)))
    top = vtop(top)
    if top <= TINY:
        return np.float32(0)
    unit = np.float32(1) / top
    best, d, at = np.float32(0), np.float32(1), np.float32(1)
    for _ in range(_TRIES):
        a, b = _sums(x, w, n_cols, unit, at * np.float32(0.5))
        if _gain(a, b) > best:
            best, d = _gain(a, b), a / b
        at *= np.float32(_RATIO)
    for _ in range(_ROUNDS):
        a, b = _sums(x, w, n_cols, unit, d * np.float32(0.5))
        if _gain(a, b) > best:
            best, d = _gain(a, b), a / b
    # sums are rounded: a mean that is the largest magnitude but for that is meant to be it
    return top if abs(d - np.float32(1)) < np.float32(1e-5) else d * top


@jit
def ternary(x, d):
    """Codes of f32x16 for the scale d, as u8x16: 1 + the nearest of -1, 0 and 1 times d."""
    above = splat_f32x16(d * np.float32(0.5))
    zero, one, two = splat_i32x16(0), splat_i32x16(1), splat_i32x16(2)
    code = where_above(x, above, two, where_above(x * -1, above, zero, one))
    return to_u8x16(code)
