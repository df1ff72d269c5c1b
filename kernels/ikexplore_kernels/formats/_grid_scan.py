"""Trying every point of a grid, for 16 groups of columns at a time and several scales at once. See `_grid_search`."""

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from .. import jit
from ..simd import *
from ..vectors import _address, _emit_fma, _splat
from ._lanes import vmin
from .gather import peek32


@intrinsic(prefer_literal=True)
def load_lanes(typingctx, at, n):
    """n f32x16 from an address on, a literal number of them."""
    out = types.UniTuple(f32x16, n.literal_value)

    def codegen(context, b, sig, args):
        result = ir.Constant(context.get_value_type(out), ir.Undefined)
        for k in range(out.count):
            place = b.add(args[0], ir.IntType(64)(64 * k))
            result = b.insert_value(result, b.load(b.inttoptr(place, f32x16.ir.as_pointer()), align=1), k)
        return result

    return out(types.int64, n), codegen


@intrinsic
def store_lanes(typingctx, at, v):
    """The inverse of load_lanes."""

    def codegen(context, b, sig, args):
        for k in range(v.count):
            place = b.add(args[0], ir.IntType(64)(64 * k))
            b.store(b.extract_value(args[1], k), b.inttoptr(place, f32x16.ir.as_pointer()), align=1)
        return context.get_dummy_value()

    return types.void(types.int64, v), codegen


def _products(context, b, sig, args):
    """(value of the table, lanes it belongs to) of each place of a point."""
    for j in range(sig.args[2].count):
        at = b.add(args[1], ir.IntType(64)(4 * j))
        value = b.load(_address(context, b, sig.args[0], args[0], at, ir.FloatType()), align=1)
        yield _splat(b, f32x16, value), b.extract_value(args[2], j)


@intrinsic
def dot(typingctx, table, at, xs):
    """The sum of xs[j] times the j-th float32 at a byte offset of a table."""

    def codegen(context, b, sig, args):
        total = None
        for value, x in _products(context, b, sig, args):
            total = b.fmul(value, x) if total is None else _emit_fma(b, value, x, total)
        return total

    return f32x16(table, types.intp, xs), codegen


@intrinsic
def dot_and_least(typingctx, table, at, xs):
    """The sum of such products, and the smallest of them."""
    out = types.UniTuple(f32x16, 2)

    def codegen(context, b, sig, args):
        total = least = None
        for value, x in _products(context, b, sig, args):
            t = b.fmul(value, x)
            total = t if total is None else b.fadd(total, t)
            least = t if least is None else b.select(b.fcmp_ordered("<", t, least), t, least)
        result = ir.Constant(context.get_value_type(out), ir.Undefined)
        return b.insert_value(b.insert_value(result, total, 0), least, 1)

    return out(table, types.intp, xs), codegen


@intrinsic
def keep_least(typingctx, best, scales, l, q, number, mask):
    """best or, where it is less, s q - l, with a number in the low bits (``mask``) of the float: for all scales."""

    def codegen(context, b, sig, args):
        i16 = ir.VectorType(ir.IntType(32), 16)
        best, scales, l, q, number, mask = args
        number = _splat(b, i32x16, b.trunc(number, ir.IntType(32)))
        keep = b.not_(_splat(b, i32x16, b.trunc(mask, ir.IntType(32))))
        minus = b.fneg(l)
        result = best
        for k in range(sig.args[0].count):
            e = b.bitcast(_emit_fma(b, b.extract_value(scales, k), q, minus), i16)
            e = b.bitcast(b.or_(b.and_(e, keep), number), f32x16.ir)
            old = b.extract_value(best, k)
            result = b.insert_value(result, b.select(b.fcmp_ordered("<", e, old), e, old), k)
        return result

    return best(best, scales, l, q, types.int64, types.int64), codegen


@jit
def scan_4(parts, n, xs, ws, odd, scales, best, mask):
    """The points of 4 with the least s Q - L, for each of the scales: their numbers in the low bits of float32.

    ``odd`` is 2 in lanes in which a sign must be flipped, else 0; or None.
    """
    for g in range(n):
        l, least = dot_and_least(parts, g * 32, xs)
        if odd is not None:
            l = l - odd * least
        best = keep_least(best, scales, l, dot(parts, g * 32 + 16, ws), g, mask)
    return best


@jit
def _part_sums(parts, points, lx, wt, sums, step):
    """For both halves of 8 columns and each of the parts: L, Q and, where ``step`` is 192, the least product."""
    start = points * 8
    m = (len(parts) - start) // 32
    for h in range(2):
        xs, ws = load_lanes(lx + h * 256, 4), load_lanes(wt + h * 256, 4)
        for i in range(m):
            o, to = start + i * 32, sums + (h * m + i) * step
            l, least = dot_and_least(parts, o, xs)
            store_f32x16(to, 0, l)
            store_f32x16(to, 64, dot(parts, o + 16, ws))
            if step == 192:
                store_f32x16(to, 128, least)


@jit
def scan_8(parts, first, n, sums, step, odd, scales, best, mask):
    """`scan_4` for points of 8, of which only n from number ``first`` on: numbers count from there."""
    for g in range(n):
        a, b = peek32(parts, (first + g) * 8) * step, peek32(parts, (first + g) * 8 + 4) * step
        l = load_f32x16(sums, a) + load_f32x16(sums, b)
        q = load_f32x16(sums, a + 64) + load_f32x16(sums, b + 64)
        if odd is not None:
            l = l - odd * vmin(load_f32x16(sums, a + 128), load_f32x16(sums, b + 128))
        best = keep_least(best, scales, l, q, g, mask)
    return best


@jit
def scan(grid, lx, wt, odd, scales, best, sums):
    """The best points of one group, for each of the scales."""
    _, parts, points, first, n, dims, parity = grid
    mask = n - 1
    if dims == 8:
        step = 192 if parity else 128
        _part_sums(parts, points, lx, wt, sums, step)
        if parity:
            return scan_8(parts, first, n, sums, step, load_f32x16(odd, 0), scales, best, mask)
        return scan_8(parts, first, n, sums, step, None, scales, best, mask)
    xs, ws = load_lanes(lx, 4), load_lanes(wt, 4)
    if parity:
        return scan_4(parts, n, xs, ws, load_f32x16(odd, 0), scales, best, mask)
    return scan_4(parts, n, xs, ws, None, scales, best, mask)


@jit
def scan_one(grid, lx, wt, odd, scale, sums):
    """The numbers of the best points for one scale, i32x16."""
    best = scan(grid, lx, wt, odd, (scale,), (splat_f32x16(np.inf),), sums)
    return as_i32x16(best[0]) & (grid[4] - 1)
