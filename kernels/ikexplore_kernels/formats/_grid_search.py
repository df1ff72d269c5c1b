"""Encoders of the grid types: 16 blocks at a time, one in each lane (see `_lanes`), every point of the grid tried.

A block of columns shares a scale s; groups of 8 or 4 of its columns are points v of a grid. For a group the error is
sum(w x^2) + s (s Q - L) with L = 2 sum(w x v), Q = sum(w v^2), of which the grid's own sums are found once for all
scales. `search` takes the best points at 4 scales over a wide range and at 4 about the best of these: the 8
*candidates* of each group, enough to choose all scales by. Then `super_units` chooses integer multiples of a common
unit, and `choose` tries every point once more at the scale that was chosen.

Most grids hold magnitudes; signs are stored beside them. Where the number of minus signs in 8 columns must be even one
sign is flipped in the others, the one that costs least for the point in question: L drops by 2 min(2 w x v).
"""

import numpy as np
from numba.extending import intrinsic

from .. import jit
from ..simd import *
from ..vectors import _call
from ._grid_look import look_float
from ._grid_scan import load_lanes, scan, scan_one, store_lanes
from ._half import half_bits
from ._lanes import (
    clip,
    fill,
    magnitude,
    max_within,
    nearest,
    reciprocal,
    scale_by,
    stored,
    sum_within,
    vmin,
    where_above,
)

#: scales at which a search looks for the best points, twice
SAMPLES = 4
#: bytes of the candidates of one group: L and Q, 16 lanes, for all samples
GROUP = 2 * SAMPLES * 128
#: signs of a type: stored freely, with an even number of minus in 8 columns, or part of the grid
FREE, EVEN, INSIDE = 0, 1, 2
#: where `grid_group` leaves its results, int32 [.., 16] each: points and minus signs of each group, bits of the half d
#: of each lane's super-block, integer scales
NUMBERS, SIGNS, HALVES, SCALES = 7680, 8192, 8704, 8768
#: other scratch: of `search`; which groups are odd; candidates; sums of parts (up to 162 of 128 bytes, for both halves
#: of a group); what is kept of a row
SAMPLED, ODDS, CAND, SUMS, ROW = 6144, 7168, 10240, 18432, 18432 + 2 * 162 * 128


@jit
def products(xt, wt, size, lx):
    """2 w x of each item."""
    for i in range(size):
        store_f32x16(lx, i * 64, load_f32x16(xt, i * 64) * load_f32x16(wt, i * 64) * 2)


@jit
def magnitudes(xt, wt, size, dims, signs, lx, odds):
    """2 w |x| of each item, and where a sign must be flipped: odds of each group, 2 or 0."""
    one, zero = splat_f32x16(1), splat_f32x16(0)
    for i in range(size):
        store_f32x16(lx, i * 64, vabs(load_f32x16(xt, i * 64)) * load_f32x16(wt, i * 64) * 2)
    for g in range(0, size if signs == EVEN else 0, 8):
        even = one
        for i in range(g, g + 8):
            even = where_above(zero, load_f32x16(xt, i * 64), even * -1, even)
        odd = one - even
        if dims == 8:
            store_f32x16(odds, g * 8, odd)
        else:  # two points share the signs: the one with the smallest w |x| takes the flip
            low, high = load_f32x16(lx, g * 64), load_f32x16(lx, g * 64 + 256)
            for i in range(1, 4):
                low, high = vmin(low, load_f32x16(lx, (g + i) * 64)), vmin(high, load_f32x16(lx, (g + i) * 64 + 256))
            store_f32x16(odds, g * 16, where_above(low, high, zero, odd))
            store_f32x16(odds, g * 16 + 64, where_above(low, high, odd, zero))


@jit
def _candidates(grid, lx, wt, odd, found, cand):
    """L and Q of the points that a scan found."""
    values, _, _, first, n, dims, _ = grid
    for k in range(SAMPLES):
        at = ((as_i32x16(load_f32x16(found, k * 64)) & (n - 1)) + first) * (dims * 4)
        l, q, least = splat_f32x16(0), splat_f32x16(0), splat_f32x16(np.inf)
        for j in range(dims):
            v = look_float(values, at + j * 4)
            t = load_f32x16(lx, j * 64) * v
            l, least = l + t, vmin(least, t)
            q = fma(load_f32x16(wt, j * 64) * v, v, q)
        store_f32x16(cand, k * 128, l - odd * least)
        store_f32x16(cand, k * 128 + 64, q)


@jit
def fit(cand, groups, s):
    """L and Q of the best candidates at scale s, summed over the groups of each lane."""
    sum_l, sum_q = splat_f32x16(0), splat_f32x16(0)
    for g in range(groups):
        best, l, q = splat_f32x16(np.inf), splat_f32x16(0), splat_f32x16(0)
        for k in range(2 * SAMPLES):
            at = g * GROUP + k * 128
            lk, qk = load_f32x16(cand, at), load_f32x16(cand, at + 64)
            e = s * qk - lk
            l, q = where_above(best, e, lk, l), where_above(best, e, qk, q)
            best = vmin(best, e)
        sum_l, sum_q = sum_l + l, sum_q + q
    return sum_l, sum_q


@jit
def _best_sample(cand, groups, first, gain, scale):
    """The best scale for the points of each sample, where it gains more than ``gain``."""
    zero = splat_f32x16(0)
    for k in range(first, first + SAMPLES):
        l, q = zero, zero
        for g in range(groups):
            at = g * GROUP + k * 128
            l, q = l + load_f32x16(cand, at), q + load_f32x16(cand, at + 64)
        l = vmax(l, zero)
        s = l * reciprocal(q) * 0.5
        scale = where_above(l * s, gain, s, scale)
        gain = vmax(gain, l * s)
    return gain, scale


@jit
def search(grid, lx, wt, odds, size, around, cand, work):
    """The best scale of each lane and its gain; candidates of each group to ``cand``.

    Looked at are 4 scales from ``around`` (f32x16) on, each 1.48 times the one before, and 4 within 18 % of the best.
    ``grid`` is (values, parts, how many points they hold, first, n, columns of a point, must signs be even?): n points
    from first on are tried. lx holds 2 w x of each item, or what `magnitudes` makes of it. ``work``: all the scratch.
    """
    dims, parity = grid[5], grid[6]
    groups, scales, found, sums = size // dims, work + SAMPLED, work + SAMPLED + 64 * SAMPLES, work + SUMS
    zero = splat_f32x16(0)
    gain, scale, s = zero, zero, around
    for half in range(2):
        for k in range(SAMPLES):
            store_f32x16(scales, k * 64, s if half == 0 else scale * (0.82 + 0.12 * k))
            s = s * 1.48
        for g in range(groups):
            a, b, odd = lx + g * dims * 64, wt + g * dims * 64, odds + g * 64
            for k in range(SAMPLES):
                store_f32x16(found, k * 64, splat_f32x16(np.inf))
            best = scan(grid, a, b, odd, load_lanes(scales, SAMPLES), load_lanes(found, SAMPLES), sums)
            store_lanes(found, best)
            flip = load_f32x16(odd, 0) if parity else zero
            _candidates(grid, a, b, flip, found, cand + g * GROUP + half * (GROUP // 2))
        gain, scale = _best_sample(cand, groups, half * SAMPLES, gain, scale)
    for _ in range(2):
        l, q = fit(cand, groups, scale)
        scale = vmax(l, zero) * reciprocal(q) * 0.5
    l, q = fit(cand, groups, scale)
    return scale, scale * (l - scale * q)


@jit
def spread(xt, wt, size):
    """The weighted root mean square of each lane."""
    a, b = splat_f32x16(0), splat_f32x16(0)
    for i in range(size):
        x, w = load_f32x16(xt, i * 64), load_f32x16(wt, i * 64)
        a, b = fma(w * x, x, a), b + w
    return root(a * reciprocal(b))


@intrinsic
def root(typingctx, x):
    """Square root."""

    def codegen(context, b, sig, args):
        return _call(b, f"llvm.sqrt.v{x.n}f32", x.ir, list(args))

    return x(x), codegen


@jit
def multiples(cand, groups, step, low, most, unit, wanted):
    """Of the integers 0..most the best of three i near wanted: s = unit * (step * i + low). Returns i, L, Q, s."""
    left, best = splat_f32x16(np.inf), splat_f32x16(0)
    best_l, best_q, best_s = best, best, best
    middle = nearest(clip((wanted * reciprocal(unit) - low) * (1.0 / step), 0, most))
    for k in range(-1, 2):
        i = clip(middle + k, 0, most)
        s = unit * (i * step + low)
        l, q = fit(cand, groups, s)
        e = s * (s * q - l)
        best_l, best_q = where_above(left, e, l, best_l), where_above(left, e, q, best_q)
        best, best_s = where_above(left, e, i, best), where_above(left, e, s, best_s)
        left = vmin(left, e)
    return best, best_l, best_q, best_s


@jit
def super_units(cand, groups, share, step, low, most, factor, wanted, top):
    """A half d for each ``share`` lanes whose product with ``factor`` is the unit of scales, and the integers.

    Returns the bits of d * top, the units and the integers 0..most, which stand for step * i + low.
    """
    zero = splat_f32x16(0)
    widest, high = max_within(wanted, share), np.float32(step * most + low)
    left, unit, integers, refit = splat_f32x16(np.inf), zero, zero, zero
    for k in range(9):
        tried = widest * (1 / (high * (1.08 - 0.035 * k))) if k < 7 else refit
        tried = stored(tried * (1 / factor), top, k & 1) * factor
        i, l, q, s = multiples(cand, groups, step, low, most, tried, wanted)
        e = sum_within(s * (s * q - l), share)
        m = i * step + low
        again = sum_within(m * l, share) * reciprocal(sum_within(m * m * q, share)) * 0.5
        refit = where_above(left, e, vmax(again, zero), refit)
        unit, integers = where_above(left, e, tried, unit), where_above(left, e, i, integers)
        left = vmin(left, e)
    return half_bits(unit * (1 / factor) * top), unit, integers


@jit
def choose(grid, xt, lx, wt, odds, size, scale, codes, signs, work):
    """The best points at a scale: their numbers as int32 [groups, 16] at codes, and the bits of minus signs at signs.

    signs 0: the grid has signs of its own.
    """
    dims = grid[5]
    for g in range(size // dims):
        a, b, odd = lx + g * dims * 64, wt + g * dims * 64, odds + g * 64
        number = scan_one(grid, a, b, odd, scale, work + SUMS)
        store_i32x16(codes, g * 64, number)
        if signs:
            store_i32x16(signs, g * 64, _signs(grid, xt + g * dims * 64, a, odd, number))


@jit
def _signs(grid, xt, lx, odd, number):
    """A bit for each minus sign of a group; in odd lanes the one that costs least is turned."""
    values, _, _, first, _, dims, parity = grid
    zero, least, bits = splat_f32x16(0), splat_f32x16(np.inf), splat_f32x16(0)
    flip = splat_f32x16(0)
    for j in range(dims):
        bit = splat_f32x16(np.float32(1 << j))
        minus = where_above(zero, load_f32x16(xt, j * 64), bit, zero)
        bits = bits + minus
        if parity:
            t = load_f32x16(lx, j * 64) * look_float(values, (number + first) * (dims * 4) + j * 4)
            flip = where_above(least, t, bit - minus * 2, flip)
            least = vmin(least, t)
    if parity:
        bits = bits + flip * load_f32x16(odd, 0) * 0.5
    return to_i32x16(bits)


@jit
def grid_group(x, w, n_cols, size, at, parts, share, values, points, n, dims, signs, lowest, most, factor, work):
    """Encode 16 blocks of ``size`` columns, super-blocks of ``share``, scales d * factor * (2 i + 1), i = 0..most.

    Scales are looked for from ``lowest`` times the root mean square on. Results in scratch: see `NUMBERS` and below.
    """
    xt, wt, lx, odds, cand = work, work + 2048, work + 4096, work + ODDS, work + CAND
    fill(x, w, n_cols, size, at, parts, xt, wt)
    top = max_within(magnitude(xt, size), share)
    scale_by(xt, size, reciprocal(top))
    if signs == INSIDE:
        products(xt, wt, size, lx)
    else:
        magnitudes(xt, wt, size, dims, signs, lx, odds)
    grid = (values, points, n, 0, n, dims, signs == EVEN)
    wanted, _ = search(grid, lx, wt, odds, size, spread(xt, wt, size) * lowest, cand, work)
    bits, unit, i = super_units(cand, size // dims, share, 2, 1, most, factor, wanted, top)
    scale, put_signs = unit * (i * 2 + 1), 0 if signs == INSIDE else work + SIGNS
    choose(grid, xt, lx, wt, odds, size, scale, work + NUMBERS, put_signs, work)
    store_i32x16(work, HALVES, bits)
    store_i32x16(work, SCALES, to_i32x16(i))
