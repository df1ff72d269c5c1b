"""Searches for scales, 16 blocks at a time (see `_lanes`): weighted least squares over a range of candidates.

For given codebook entries q the best scale is s = A / B with A = sum(w x q), B = sum(w q^2), and what is left of
sum(w x^2) is s^2 B - 2 s A: the candidate that lowers it most wins. Its scale then gives new codes, and those a new
scale, twice. ``shift`` is added to every entry of the codebook.
"""

import numpy as np

from .. import jit
from ..simd import *
from ._codebook import snap, snap_code
from ._half import half_bits
from ._lanes import (
    clip,
    code_factor,
    divide,
    fill,
    magnitude,
    max_within,
    nearest,
    reciprocal,
    scale_by,
    stored,
    sum_within,
    where_above,
)


@jit
def sums(book, shift, xt, wt, size, inv):
    """A and B for the entries nearest to x * inv."""
    a, b = splat_f32x16(0), splat_f32x16(0)
    for i in range(size):
        x = load_f32x16(xt, i * 64)
        q = snap(book, x * inv - shift) + shift
        wq = q * load_f32x16(wt, i * 64)
        a, b = fma(wq, x, a), fma(wq, q, b)
    return a, b


@jit
def search(book, shift, xt, wt, size, start, step, count):
    """The best scale of each lane, and by how much it lowers sum(w x^2).

    Tried: scales that put the largest magnitude at start, start + step, ... (count of them), with either sign.
    """
    unit = reciprocal(magnitude(xt, size))
    best, scale = splat_f32x16(0), splat_f32x16(0)
    for k in range(2 * count + 2):
        inv = reciprocal(scale) if k >= 2 * count else unit * ((k & 1) * 2 - 1) * (start + (k >> 1) * step)
        a, b = sums(book, shift, xt, wt, size, inv)
        gain = a * a * reciprocal(b)
        scale = where_above(gain, best, divide(a, b), scale)
        best = vmax(best, gain)
    return scale, best


@jit
def codes_of(book, shift, xt, size, inv, codes):
    """Codes of the entries nearest to x * inv, one byte each: item i of lane l at byte 16 i + l."""
    for i in range(size):
        store_u8x16(codes, i * 16, to_u8x16(to_i32x16(snap_code(book, load_f32x16(xt, i * 64) * inv - shift))))


@jit
def _integer_scales(book, xt, wt, size, share, low, high, d, wanted):
    """For d: the best of three integer scales near wanted / d, what is left of each super-block, and A, B for d."""
    left, best = splat_f32x16(np.inf), splat_f32x16(0)
    sum_a, sum_b = left, left
    middle = nearest(clip(wanted * reciprocal(d), low, high))
    for k in range(-1, 2):
        scale = clip(middle + k, low, high)
        s = d * scale
        a, b = sums(book, 0, xt, wt, size, reciprocal(s))
        e = s * (s * b - a * 2)
        sum_a, sum_b = where_above(left, e, scale * a, sum_a), where_above(left, e, scale * scale * b, sum_b)
        left, best = where_above(left, e, e, left), where_above(left, e, scale, best)
    return best, sum_within(left, share), sum_within(sum_a, share), sum_within(sum_b, share)


@jit
def super_scales(book, xt, wt, size, share, low, high, wanted, top):
    """A half d for each ``share`` lanes, and integer scales low..high of d: bits of d * top, d, scales.

    The scale furthest from zero goes to various places near low or high; the best d is then fitted to the codes.
    """
    most, least = max_within(wanted, share), max_within(wanted * -1, share)
    widest = where_above(most, least, most, least * -1)
    left, d, scales, refit = splat_f32x16(np.inf), splat_f32x16(0), splat_f32x16(0), splat_f32x16(0)
    for k in range(10):
        at = low * (1.03 - k * 0.015) if k < 5 else high * (0.95 + (k - 5) * 0.015)
        d_k = stored(widest * (1 / at) if k < 9 else refit, top, k & 1)
        scales_k, e, a, b = _integer_scales(book, xt, wt, size, share, low, high, d_k, wanted)
        refit = where_above(left, e, a * reciprocal(b), refit)
        d, scales = where_above(left, e, d_k, d), where_above(left, e, scales_k, scales)
        left = where_above(left, e, e, left)
    return half_bits(d * top), d, scales


@jit
def block_group(book, x, w, n_cols, size, first, n_blocks, start, step, count, work, codes, bits):
    """Encode 16 blocks that have a half as their only scale: codes as in codes_of, the halves' bits as int32 [16]."""
    xt, wt = work, work + 64 * size
    fill(x, w, n_cols, size, first, n_blocks, xt, wt)
    top = magnitude(xt, size)
    scale_by(xt, size, reciprocal(top))
    halves = half_bits(search(book, 0, xt, wt, size, start, step, count)[0] * top)
    codes_of(book, 0, xt, size, code_factor(top, halves), codes)
    store_i32x16(bits, 0, halves)
