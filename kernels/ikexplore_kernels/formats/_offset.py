"""Searches for a scale and an offset of any sign, 16 blocks at a time (see `_lanes`): x is s * q + m, q = 0..top_code.

As in `_affine`, but nothing is clamped, the offset is a half of its own, and what is stored is rounded first: then the
codes are chosen, and the scale and the offset fitted once more to them.
"""

import numpy as np

from .. import jit
from ..simd import *
from ._affine import affine_codes, affine_sums, block_sums
from ._half import half_bits, half_value
from ._lanes import fill, magnitude, reciprocal, scale_by, where_above


@jit
def _center(xt, size):
    """Subtract from each lane the middle of its range, which keeps sums exact where the range is far from zero."""
    low = load_f32x16(xt, 0)
    high = low
    for i in range(size):
        x = load_f32x16(xt, i * 64)
        low, high = where_above(low, x, x, low), vmax(high, x)
    middle = (low + high) * 0.5
    for i in range(size):
        store_f32x16(xt, i * 64, load_f32x16(xt, i * 64) - middle)
    return middle


@jit
def _fit(w0, x1, q1, q2, xq):
    """Least squares s and m for given sums, and what is left of sum(w x^2); s is 0 where all codes are the same."""
    det = w0 * q2 - q1 * q1
    det = reciprocal(where_above(det, w0 * q2 * 1e-5, det, splat_f32x16(0)))
    s = (w0 * xq - x1 * q1) * det
    m = (x1 - s * q1) * reciprocal(w0)
    return s, m, _left(s, m, w0, x1, q1, q2, xq)


@jit
def _left(s, m, w0, x1, q1, q2, xq):
    """sum(w (x - s q - m)^2) - sum(w x^2)."""
    return s * (s * q2 - xq * 2) + m * (m * w0 - x1 * 2 + s * q1 * 2)


@jit
def _search(xt, wt, size, top_code, ranges):
    """The best s and m of each lane; ``ranges`` x ``ranges`` ways to cut the range at both ends are tried."""
    w0, x1, low, high = block_sums(xt, wt, size)
    best_s, best_m, best = splat_f32x16(0), splat_f32x16(0), splat_f32x16(np.inf)
    for k in range(ranges * ranges + 3):
        if k < ranges * ranges:
            a, b = (k // ranges - 2) * 0.4 / top_code, (k % ranges - 2) * 0.4 / top_code
            m = low + (high - low) * a
            inv = reciprocal((high - low) * (1 - a - b)) * top_code
        else:
            m, inv = best_m, reciprocal(best_s)
        q1, q2, xq = affine_sums(xt, wt, size, inv, m * -1, top_code)
        s, m, left = _fit(w0, x1, q1, q2, xq)
        best_s, best_m = where_above(best, left, s, best_s), where_above(best, left, m, best_m)
        best = where_above(best, left, left, best)
    return best_s, best_m


@jit
def _stored(x, top):
    """x (of values / top) as a half would keep it, its bits, and its value before division by top."""
    bits = half_bits(x * top)
    return half_value(bits) * reciprocal(top), bits


@jit
def offset_group(x, w, n_cols, first, n_blocks, top_code, work, codes, bits):
    """Encode 16 blocks of 32: codes as in `affine_codes`; bits, int32 [16]: half s, and half m above it."""
    xt, wt = work, work + 2048
    fill(x, w, n_cols, 32, first, n_blocks, xt, wt)
    top = magnitude(xt, 32)
    scale_by(xt, 32, reciprocal(top))
    middle = _center(xt, 32)
    s, m = _search(xt, wt, 32, top_code, 7)
    w0, x1, _, _ = block_sums(xt, wt, 32)
    best, best_s, best_m = splat_f32x16(np.inf), splat_f32x16(0), splat_f32x16(0)
    both = splat_i32x16(0)
    for _ in range(3):
        s, low = _stored(s, top)
        m, high = _stored(m + middle, top)
        m = m - middle
        q1, q2, xq = affine_sums(xt, wt, 32, reciprocal(s), m * -1, top_code)
        left = _left(s, m, w0, x1, q1, q2, xq)
        both = where_above(best, left, low | high << 16, both)
        best_s, best_m = where_above(best, left, s, best_s), where_above(best, left, m, best_m)
        best = where_above(best, left, left, best)
        s, m, _ = _fit(w0, x1, q1, q2, xq)
    affine_codes(xt, 32, reciprocal(best_s), best_m * -1, top_code, codes)
    store_i32x16(bits, 0, both)
