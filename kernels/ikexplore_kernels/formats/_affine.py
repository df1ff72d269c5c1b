"""Searches for a scale and a minimum, 16 blocks at a time (see `_lanes`): x is s * q - m, q = 0..top_code, s, m >= 0.

For given codes s and m follow from weighted least squares (two equations); many ranges are tried, and the best is
refined by new codes for its own s and m. Then a super-block gets two halves, and each block two small integers.
"""

import numpy as np

from .. import jit
from ..simd import *
from ._half import half_bits
from ._lanes import clip, fill, magnitude, max_within, nearest, reciprocal, scale_by, stored, sum_within, where_above


@jit
def affine_sums(xt, wt, size, inv, m, top_code):
    """Sums of w q, w q^2, w x q over each lane for q = round((x + m) * inv) within 0..top_code."""
    q1, q2, xq = splat_f32x16(0), splat_f32x16(0), splat_f32x16(0)
    for i in range(size):
        x = load_f32x16(xt, i * 64)
        q = nearest(clip((x + m) * inv, 0, top_code))
        wq = q * load_f32x16(wt, i * 64)
        q1, q2, xq = q1 + wq, fma(wq, q, q2), fma(wq, x, xq)
    return q1, q2, xq


@jit
def block_sums(xt, wt, size):
    """Sums of w, w x, and the smallest and largest x of each lane."""
    w0, x1 = splat_f32x16(0), splat_f32x16(0)
    low = load_f32x16(xt, 0)
    high = low
    for i in range(size):
        x, w = load_f32x16(xt, i * 64), load_f32x16(wt, i * 64)
        w0, x1 = w0 + w, fma(w, x, x1)
        low, high = where_above(low, x, x, low), vmax(high, x)
    return w0, x1, low, high


@jit
def _determinant(a, b, c):
    """1 / (a b - c^2), or 0 where the difference is too small to be told from rounding: then m becomes 0."""
    return reciprocal(where_above(a * b - c * c, a * b * 1e-5, a * b - c * c, splat_f32x16(0)))


@jit
def affine_fit(w0, x1, q1, q2, xq):
    """Least squares s >= 0 and m >= 0 for given sums, and what is left of sum(w x^2): both, s alone, or m alone."""
    zero = splat_f32x16(0)
    det = _determinant(w0, q2, q1)
    s, m = (w0 * xq - x1 * q1) * det, (q1 * xq - x1 * q2) * det
    alone, offset = vmax(xq * reciprocal(q2), zero), vmax(x1 * reciprocal(w0) * -1, zero)
    s, m = where_above(m, zero, s, alone), where_above(m, zero, m, zero)
    left = s * (s * q2 - xq * 2) + m * (m * w0 + x1 * 2 - s * q1 * 2)
    only = offset * (offset * w0 + x1 * 2)
    return where_above(left, only, zero, s), where_above(left, only, offset, m), where_above(left, only, only, left)


@jit
def affine_search(xt, wt, size, top_code, ranges):
    """The best s and m of each lane; ``ranges`` x ``ranges`` ways to cut the range at both ends are tried."""
    zero = splat_f32x16(0)
    w0, x1, low, high = block_sums(xt, wt, size)
    low = where_above(low, zero, zero, low)
    best_s, best_m, best = zero, zero, zero
    for k in range(ranges * ranges + 3):
        if k < ranges * ranges:  # the narrowest range first: of equals the smaller scale and minimum are easier to share
            a, b = (ranges - 2 - k // ranges) * 0.6 / top_code, (ranges - 2 - k % ranges) * 0.6 / top_code
            m = (low + (high - low) * a) * -1
            inv = reciprocal((high - low) * max(1 - a - b, 0.2)) * top_code
        else:
            m, inv = best_m, reciprocal(best_s)
        q1, q2, xq = affine_sums(xt, wt, size, inv, m, top_code)
        s, m, left = affine_fit(w0, x1, q1, q2, xq)
        best_s, best_m = where_above(best, left, s, best_s), where_above(best, left, m, best_m)
        best = where_above(best, left, left, best)
    return best_s, best_m


@jit
def _integers(xt, wt, size, share, top_code, most, d, dm, s, m):
    """For d and dm: integer scales and minima 0..most near s / d and m / dm, what is left, refitted d and dm."""
    zero = splat_f32x16(0)
    w0, x1, _, _ = block_sums(xt, wt, size)
    left = splat_f32x16(np.inf)
    scales, mins, b1, b2, bx = zero, zero, zero, zero, zero
    near_s, near_m = nearest(clip(s * reciprocal(d), 0, most)), nearest(clip(m * reciprocal(dm), 0, most))
    for k in range(9):
        ls, lm = clip(near_s + (k % 3 - 1), 0, most), clip(near_m + (k // 3 - 1), 0, most)
        s_k, m_k = d * ls, dm * lm
        q1, q2, xq = affine_sums(xt, wt, size, reciprocal(s_k), m_k, top_code)
        e = s_k * (s_k * q2 - xq * 2) + m_k * (m_k * w0 + x1 * 2 - s_k * q1 * 2)
        b1, b2, bx = where_above(left, e, q1, b1), where_above(left, e, q2, b2), where_above(left, e, xq, bx)
        scales, mins = where_above(left, e, ls, scales), where_above(left, e, lm, mins)
        left = where_above(left, e, e, left)
    # x is about d * (scale q) - dm * (min): two unknowns for the super-block
    a11, a12 = sum_within(scales * scales * b2, share), sum_within(scales * mins * b1, share)
    a22, y1, y2 = sum_within(mins * mins * w0, share), sum_within(scales * bx, share), sum_within(mins * x1, share)
    det = _determinant(a11, a22, a12)
    again, again_m = (a22 * y1 - a12 * y2) * det, (a12 * y1 - a11 * y2) * det
    again, again_m = where_above(again_m, zero, again, y1 * reciprocal(a11)), where_above(again_m, zero, again_m, zero)
    return scales, mins, sum_within(left, share), again, again_m


@jit
def super_affine(xt, wt, size, share, top_code, most, s, m, top):
    """Halves d and dmin of each ``share`` lanes and integers 0..most: bits of both (times top), both, scales, mins."""
    zero = splat_f32x16(0)
    widest, deepest = max_within(s, share), max_within(m, share)
    left = splat_f32x16(np.inf)
    best_d, best_m, scales, mins, again, again_m = zero, zero, zero, zero, zero, zero
    for k in range(6):
        at = most * (1 - 0.012 * k)
        d, dm = (again, again_m) if k > 3 else (widest * (1 / at), deepest * (1 / at))
        d, dm = stored(d, top, k & 1), stored(dm, top, k & 1)
        ls, lm, e, next_d, next_m = _integers(xt, wt, size, share, top_code, most, d, dm, s, m)
        best_d, best_m = where_above(left, e, d, best_d), where_above(left, e, dm, best_m)
        scales, mins = where_above(left, e, ls, scales), where_above(left, e, lm, mins)
        again, again_m = where_above(left, e, next_d, again), where_above(left, e, next_m, again_m)
        left = where_above(left, e, e, left)
    return half_bits(best_d * top), half_bits(best_m * top), best_d, best_m, scales, mins


@jit
def affine_codes(xt, size, inv, m, top_code, codes):
    """Codes round((x + m) * inv), one byte each: item i of lane l at byte 16 i + l."""
    for i in range(size):
        q = nearest(clip((load_f32x16(xt, i * 64) + m) * inv, 0, top_code))
        store_u8x16(codes, i * 16, to_u8x16(to_i32x16(q)))


@jit
def affine_group(x, w, n_cols, size, first, n_blocks, share, top_code, most, work, codes, scales):
    """Encode 16 blocks: codes as in affine_codes, and int32 [3, 16]: both halves' bits, integer scales and minima."""
    xt, wt = work, work + 64 * size
    fill(x, w, n_cols, size, first, n_blocks, xt, wt)
    top = max_within(magnitude(xt, size), share)
    scale_by(xt, size, reciprocal(top))
    s, m = affine_search(xt, wt, size, top_code, 5)
    bits, bits_min, d, dmin, ls, lm = super_affine(xt, wt, size, share, top_code, most, s, m, top)
    affine_codes(xt, size, reciprocal(d * ls), dmin * lm, top_code, codes)
    store_i32x16(scales, 0, bits | bits_min << 16)
    store_i32x16(scales, 64, to_i32x16(ls))
    store_i32x16(scales, 128, to_i32x16(lm))
