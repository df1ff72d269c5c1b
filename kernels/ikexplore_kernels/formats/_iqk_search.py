"""The search of the IQ*_K family's encoders: one float or half d per *unit*, per block an integer scale and a table.

A unit is a super-block or a row; its blocks are in lanes (see `_lanes`), ``groups`` times 16 of them. weight = d * scale
* (entry + shift * table), scale = 2 * step + 1 (odd) or step, step within low..high. For given codes the best scale is a
least squares quotient. First every block finds the scale it would like, for either table; then many d are tried, with
the steps nearest to what was wanted, and the best d is fitted to the codes it led to, several times, while steps and
tables are chosen by the error that is really left.
"""

from typing import Any, NamedTuple

import numpy as np
from numba.extending import overload

from .. import jit
from ..simd import *
from ._half import half_bits
from ._iqk_books import BookType, snap, snap_even, snap_pair
from ._lanes import (
    clip,
    divide,
    fill,
    magnitude,
    max16,
    nearest,
    reciprocal,
    stored,
    sum16,
    vmin,
    where_above,
)

_TOP_D = 3.3e38 / 128 / 128


class Search(NamedTuple):
    """What a type's encoder looks for; a constant of compiled code.

    ``size``: columns of a block; ``low..high``: its steps; ``odd``: scale = 2 * step + 1; ``half``: d is stored as a
    half, not as a float; ``start, stride, count``: where the largest magnitude of a block is put; ``widths``: places
    for the widest scale.
    """

    book: Any
    shift: int
    tables: int
    size: int
    low: int
    high: int
    odd: bool
    half: bool
    start: float
    stride: float
    count: int  # type: ignore[assignment]
    widths: int


def sums(book, shift, xt, wt, size, inv):
    """A = sum(w x q) and B = sum(w q^2) over each lane for the best entries q, with their shift, for x * inv."""
    raise NotImplementedError("for use inside compiled kernels")


def codes_of(book, shift, xt, wt, size, inv, codes):
    """The codes of those entries, one byte each: item i of lane l at byte 16 i + l (pairs: at that of their first)."""
    raise NotImplementedError("for use inside compiled kernels")


@jit(forceinline=True)
def _four(at, i):
    """The numbers that share the bits of iq4_kss: columns 2 k, 2 k + 16 and the next two; i = 2 k."""
    return (
        load_f32x16(at, i * 64),
        load_f32x16(at, i * 64 + 1024),
        load_f32x16(at, i * 64 + 64),
        load_f32x16(at, i * 64 + 1088),
    )


@jit(forceinline=True)
def _scaled(x, inv, shift):
    return x[0] * inv - shift, x[1] * inv - shift, x[2] * inv - shift, x[3] * inv - shift


@jit(forceinline=True)
def _byte(codes, i, code):
    store_u8x16(codes, i * 16, to_u8x16(to_i32x16(code)))


def _sums_of_ones(book, shift, xt, wt, size, inv):
    a, b = splat_f32x16(0), splat_f32x16(0)
    for i in range(size):
        x = load_f32x16(xt, i * 64)
        q = snap(book, x * inv - shift)[0] + shift
        wq = q * load_f32x16(wt, i * 64)
        a, b = fma(wq, x, a), fma(wq, q, b)
    return a, b


def _sums_of_pairs(book, shift, xt, wt, size, inv):
    a, b = splat_f32x16(0), splat_f32x16(0)
    for i in range(0, size, 2):
        x0, x1 = load_f32x16(xt, i * 64), load_f32x16(xt, i * 64 + 64)
        w0, w1 = load_f32x16(wt, i * 64), load_f32x16(wt, i * 64 + 64)
        q0, q1, _ = snap_pair(book, x0 * inv, x1 * inv, w0, w1)
        w0, w1 = w0 * q0, w1 * q1
        a, b = fma(w0, x0, fma(w1, x1, a)), fma(w0, q0, fma(w1, q1, b))
    return a, b


def _sums_of_fours(book, shift, xt, wt, size, inv):
    a, b = splat_f32x16(0), splat_f32x16(0)
    for i in range(0, size // 2, 2):
        x, w = _four(xt, i), _four(wt, i)
        q = snap_even(book, _scaled(x, inv, shift), w)
        for k in range(4):
            v = q[k] + shift
            wq = v * w[k]
            a, b = fma(wq, x[k], a), fma(wq, v, b)
    return a, b


def _codes_of_ones(book, shift, xt, wt, size, inv, codes):
    for i in range(size):
        _byte(codes, i, snap(book, load_f32x16(xt, i * 64) * inv - shift)[1])


def _codes_of_pairs(book, shift, xt, wt, size, inv, codes):
    for i in range(0, size, 2):
        x0, x1 = load_f32x16(xt, i * 64), load_f32x16(xt, i * 64 + 64)
        w0, w1 = load_f32x16(wt, i * 64), load_f32x16(wt, i * 64 + 64)
        _byte(codes, i, snap_pair(book, x0 * inv, x1 * inv, w0, w1)[2])


def _codes_of_fours(book, shift, xt, wt, size, inv, codes):
    for i in range(0, size // 2, 2):
        q = snap_even(book, _scaled(_four(xt, i), inv, shift), _four(wt, i))
        _byte(codes, i, q[4])
        _byte(codes, i + 16, q[5])
        _byte(codes, i + 1, q[6])
        _byte(codes, i + 17, q[7])


_SUMS = {"nearest": _sums_of_ones, "cubic": _sums_of_ones, "pairs": _sums_of_pairs, "even": _sums_of_fours}
_CODES = {"nearest": _codes_of_ones, "cubic": _codes_of_ones, "pairs": _codes_of_pairs, "even": _codes_of_fours}


@overload(sums)
def _sums(book, shift, xt, wt, size, inv):
    if isinstance(book, BookType):
        return _SUMS[book.kind]


@overload(codes_of)
def _codes_of(book, shift, xt, wt, size, inv, codes):
    if isinstance(book, BookType):
        return _CODES[book.kind]


@jit
def _wanted(f, xt, wt, wanted):
    """For each table and sign the scale each lane would like, to ``wanted``; returns the best of them.

    Tried: scales that put the largest magnitude at start, start + stride, ... (count of them), and what least squares
    makes of the best, twice.
    """
    unit = reciprocal(magnitude(xt, f.size))
    found, most = splat_f32x16(0), splat_f32x16(0)
    for kind in range(2 * f.tables):
        best, scale = splat_f32x16(0), splat_f32x16(0)
        shift, sign = f.shift * (kind >> 1), (kind & 1) * 2 - 1
        for k in range(f.count + 2):
            inv = reciprocal(scale) if k >= f.count else unit * (sign * (f.start + k * f.stride))
            a, b = sums(f.book, shift, xt, wt, f.size, inv)
            gain = a * a * reciprocal(b)
            scale = where_above(gain, best, divide(a, b), scale)
            best = vmax(best, gain)
        store_f32x16(wanted, kind * 64, scale)
        found, most = where_above(best, most, scale, found), vmax(best, most)
    return found


@jit
def _steps(f, xt, wt, groups, reach, d, wanted, chosen):
    """For d: the best steps within ``reach`` of what was wanted, and tables. (What is left of sum(w x^2), a better d.)

    chosen gets 2 * step + table of each group of 16 blocks, as f32x16.
    """
    total, sum_a, sum_b = splat_f32x16(0), splat_f32x16(0), splat_f32x16(0)
    unit, bytes = reciprocal(d), f.size * 64
    for g in range(groups):
        left, best, best_a, best_b = splat_f32x16(np.inf), splat_f32x16(0), splat_f32x16(0), splat_f32x16(0)
        for kind in range(2 * f.tables):
            t = kind >> 1
            near = load_f32x16(wanted, g * 256 + kind * 64) * unit
            near = nearest(clip((near - 1) * 0.5 if f.odd else near, f.low, f.high))
            for k in range(-reach, reach + 1):
                step = clip(near + k, f.low, f.high)
                scale = step * 2 + 1 if f.odd else step
                s = d * scale
                a, b = sums(f.book, f.shift * t, xt + g * bytes, wt + g * bytes, f.size, reciprocal(s))
                e = s * (s * b - a * 2)
                best_a, best_b = where_above(left, e, scale * a, best_a), where_above(left, e, scale * scale * b, best_b)
                left, best = where_above(left, e, e, left), where_above(left, e, step * 2 + t, best)
        total, sum_a, sum_b = total + left, sum_a + best_a, sum_b + best_b
        store_f32x16(chosen, g * 64, best)
    return sum16(total), sum16(sum_a) * reciprocal(sum16(sum_b))


@jit
def _kept(f, d, top, up):
    """d (of x / top) as the type stores it; no weight decodes to infinity."""
    if f.half:
        return stored(d, top, up)
    most = reciprocal(top) * _TOP_D
    return vmin(vmax(d, most * -1), most)


@jit
def _fit(f, xt, wt, groups, top, wanted, chosen):
    """d of a unit (over the unit's largest magnitude); chosen gets what `_steps` chose for it.

    The widest scale goes to ``widths`` places at either end of low..high; then d is refitted, four times. A half is
    rounded to nearest or, for subnormal ones, away from zero: both are tried.
    """
    most, least, bytes = splat_f32x16(0), splat_f32x16(0), f.size * 64
    for g in range(groups):
        s = _wanted(f, xt + g * bytes, wt + g * bytes, wanted + g * 256)
        most, least = vmax(most, s), vmax(least, s * -1)
    most, least = max16(most), max16(least)
    widest = where_above(most, least, most, least * -1)
    left, d, refit = splat_f32x16(np.inf), splat_f32x16(0), splat_f32x16(0)
    for k in range(2 * f.widths + 4):
        j = k >> 1
        end = f.low if k & 1 else f.high
        at = (end * 2 + 1 if f.odd else end) * (1.06 - j * (0.36 / f.widths))
        tried = _kept(f, widest * (1 / at) if j < f.widths else refit, top, j & 1)
        e, again = _steps(f, xt, wt, groups, 0 if j < f.widths else 1, tried, wanted, chosen)
        refit = where_above(left, e, again, refit)
        d, left = where_above(left, e, tried, d), where_above(left, e, e, left)
    _steps(f, xt, wt, groups, 1, d, wanted, chosen)
    return d


@jit
def _codes(f, xt, wt, groups, d, chosen, codes):
    bytes = f.size * 64
    for g in range(groups):
        both = to_i32x16(load_f32x16(chosen, g * 64))
        store_i32x16(chosen, g * 64, both)
        step = to_f32x16(both >> 1)
        inv = reciprocal(d * (step * 2 + 1 if f.odd else step))
        shift = to_f32x16((both & 1) * f.shift)
        codes_of(f.book, shift, xt + g * bytes, wt + g * bytes, f.size, inv, codes + g * f.size * 16)


@jit
def encode_unit(f, x, w, n_cols, columns, unit, work):
    """Encode ``columns`` columns, of all rows the ``unit``-th so many. Returns the addresses of d, chosen and codes.

    d: the bits of a half or float. chosen: int32 2 * step + table per block. codes: uint8, that of block k, column i
    at byte k / 16 * 16 * size + 16 * i + k % 16.
    """
    blocks, bytes = columns // f.size, f.size * 64
    groups = (blocks + 15) // 16
    xt, wt, wanted = work, work + groups * bytes, work + groups * bytes * 2
    chosen, codes = wanted + groups * 256, wanted + groups * 320
    top, last = splat_f32x16(0), (unit + 1) * blocks
    for g in range(groups):
        at = g * bytes
        fill(x, w, n_cols, f.size, unit * blocks + g * 16, last, xt + at, wt + at)
        top = vmax(top, magnitude(xt + at, f.size))
    top = max16(top)
    if f.half:  # what a half cannot reach becomes the largest that fits
        top = vmin(top, splat_f32x16(65504.0 * f.start * (f.high * 2 + 1 if f.odd else -f.low)))
    inv = reciprocal(top)
    for i in range(groups * f.size):
        store_f32x16(xt, i * 64, clip(load_f32x16(xt, i * 64) * inv, -1, 1))
    d = _fit(f, xt, wt, groups, top, wanted, chosen)
    _codes(f, xt, wt, groups, d, chosen, codes)
    if f.half:
        store_i32x16(wanted, 0, half_bits(d * top))
    else:
        store_f32x16(wanted, 0, d * top)
    return wanted, chosen, codes
