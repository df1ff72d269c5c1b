"""The search for states of a group of weights: cells near it first, then every state in those.

For weights x of importance w and a scale s, values q of a state leave sum w (x - s q)^2, which is sum w x^2 less twice
s A - s^2 B / 2 with A = sum w x q and B = sum w q^2. Sums are made in integers of 16 bits times 16 bits, of 16 states
at once. All memory is addresses; `cells` is a `Cells` of constants.
"""

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from .. import jit
from ..simd import *
from ..vectors import AVX2, FEATURES, VNNI512, _call, _concat, _mask, _splat, _split, _take, i16x32, i32x16
from ._lanes import clip, nearest, where_above
from ._trellis_book import MEANS_SHIFT
from .gather import load_scalar, peek16, peek32

_I32 = ir.IntType(32)
#: a book has at most so many vectors of 16 cells
_VECTORS = 128
_I1x16 = ir.VectorType(ir.IntType(1), 16)
_only4, _only8 = constant("f32", [1.0] * 4 + [0.0] * 12), constant("f32", [1.0] * 8 + [0.0] * 8)
_MOST_W, _MOST_A, _MOST_M = 16000.0, 32000.0, 1000.0
_FAR = 130.0  # beyond all values


def _emit_dot(b, acc, x, y):
    if VNNI512:
        x, y = (b.bitcast(v, acc.type) for v in (x, y))
        return _call(b, "llvm.x86.avx512.vpdpwssd.512", acc.type, [acc, x, y])
    if "avx512bw" in FEATURES:
        return b.add(acc, _call(b, "llvm.x86.avx512.pmaddw.d.512", acc.type, [x, y]))
    if AVX2:
        half = ir.VectorType(_I32, 8)
        parts = zip(_split(b, x, 2), _split(b, y, 2))
        return b.add(acc, _concat(b, [_call(b, "llvm.x86.avx2.pmadd.wd", half, [p, q]) for p, q in parts]))
    wide = ir.VectorType(_I32, 32)
    p = b.mul(b.sext(x, wide), b.sext(y, wide))
    return b.add(acc, b.add(_take(b, p, range(0, 32, 2)), _take(b, p, range(1, 32, 2))))


@intrinsic
def dot16(typingctx, acc, x, y):
    """acc (i32x16) plus the products of i16x32, summed in pairs."""
    return acc(acc, x, y), lambda context, b, sig, args: _emit_dot(b, *args)


@intrinsic
def _smaller(typingctx, x, y):
    """The smaller of i32x16."""
    return x(x, y), lambda context, b, sig, args: b.select(b.icmp_signed("<", *args), *args)


@intrinsic
def _larger(typingctx, x, y):
    """The larger of i32x16."""
    return x(x, y), lambda context, b, sig, args: b.select(b.icmp_signed(">", *args), *args)


def _below(b, x, other, itself):
    """How many lanes of ``other`` come before each lane of x; equal ones of x itself count in the order of lanes."""
    rank = ir.Constant(i32x16.ir, [0] * 16)
    for r in range(1 if itself else 0, 16):
        lanes = [(l + r) % 16 for l in range(16)]
        y = b.shuffle_vector(other, other, _mask(lanes))
        less = b.icmp_signed("<", y, x)
        if itself:
            earlier = ir.Constant(_I1x16, [o < l for l, o in enumerate(lanes)])
            less = b.or_(less, b.and_(b.icmp_signed("==", y, x), earlier))
        rank = b.add(rank, b.zext(less, i32x16.ir))
    return rank


@intrinsic
def _keep_lowest(typingctx, best, second, first, count, out):
    """Of 32 keys, two a lane, the cells of the ``count`` lowest to out, int32, the ``first`` lowest before the others.

    A key is the number of a vector of cells in its low bits, below a score; the lane is the cell in that vector.
    """

    def codegen(context, b, sig, args):
        best, second, first, count, at = args
        upto = {n: _splat(b, i32x16, b.trunc(n, _I32)) for n in (first, count)}
        groups = []
        for x, y in ((best, second), (second, best)):
            rank = b.add(_below(b, x, x, True), _below(b, x, y, False))
            cell = b.shl(b.and_(x, ir.Constant(x.type, [_VECTORS - 1] * 16)), ir.Constant(x.type, [4] * 16))
            cell = b.or_(cell, ir.Constant(x.type, list(range(16))))
            lowest, low = (b.icmp_signed("<", rank, upto[n]) for n in (first, count))
            groups.append((cell, lowest, b.and_(low, b.not_(lowest))))
        for k in (1, 2):
            for group in groups:
                to = b.inttoptr(at, _I32.as_pointer())
                _call(b, "llvm.masked.compressstore.v16i32", ir.VoidType(), [group[0], to, group[k]])
                n = b.zext(b.ctpop(b.bitcast(group[k], ir.IntType(16))), at.type)
                at = b.add(at, b.shl(n, ir.Constant(at.type, 2)))
        return context.get_dummy_value()

    return types.void(best, second, types.int64, types.int64, types.int64), codegen


@intrinsic
def _lane_of_top(typingctx, x):
    """The number of the first lane that is not less than any other, int64."""

    def codegen(context, b, sig, args):
        top = args[0]
        for k in (1, 2, 4, 8):
            other = b.shuffle_vector(top, top, _mask([l ^ k for l in range(16)]))
            top = b.select(b.fcmp_ordered(">", other, top), other, top)
        same = b.bitcast(b.fcmp_ordered("==", args[0], top), ir.IntType(16))
        same = b.or_(b.zext(same, _I32), ir.Constant(_I32, 1 << 15))
        return b.zext(b.cttz(same, ir.Constant(ir.IntType(1), 0)), ir.IntType(64))

    return types.int64(x), codegen


@intrinsic
def store_scalar(typingctx, at, x):
    """Store a float32 at an address."""

    def codegen(context, b, sig, args):
        b.store(args[1], b.inttoptr(args[0], ir.FloatType().as_pointer()), align=1)
        return context.get_dummy_value()

    return types.void(types.int64, types.float32), codegen


@jit(forceinline=True)
def _rounded(x):
    return to_i16x16(to_i32x16(nearest(x)))


@jit(forceinline=True)
def prepare(cells, x, w, inv, group):
    """Integers for a group of weights and a scale of 1 / inv. Reads 16 floats of each.

    group: int16 w[8] at 0; at 32 and 64 what squares of means and means are multiplied by for `near_cells`; w x [8] at 96
    and -w x [8] at 128; float32 units of A and of B at 160.
    """
    only = _only8() if cells.dim == 8 else _only4()
    xs, ws = load_f32x16(x, 0) * only, load_f32x16(w, 0) * only
    wx = xs * ws
    most = vtop(ws)
    top = max(vtop(vabs(wx)), most * np.float32(1e-6))
    store_i16x16(group, 0, _rounded(vmax(ws * (np.float32(_MOST_W) / most), only)))
    means = vmax(ws * (np.float32(_MOST_M) / most), only)
    store_i16x16(group, 32, _rounded(means))
    store_i16x16(group, 64, _rounded(means * clip(xs * inv, -_FAR, _FAR) * np.float32(2.0 / (1 << MEANS_SHIFT))))
    wx = wx * (np.float32(_MOST_A) / top)
    store_i16x16(group, 96, _rounded(wx))
    store_i16x16(group, 128, _rounded(wx * -1))
    store_scalar(group + 160, top * np.float32(1 / _MOST_A))
    store_scalar(group + 164, most * np.float32(1 / _MOST_W))


@jit(forceinline=True)
def _pair(group, at):
    """Two int16 in all lanes, i16x32."""
    return as_i16x32(splat_i32x16(peek32(group, at)))


@jit(forceinline=True)
def near_cells(book, cells, group, signs, tried, probes, out):
    """The int32 numbers of ``probes`` (up to 32) cells near the group, to out, and near its negative, 128 bytes on.

    The nearest ``tried`` come first. Candidates are the two best cells of each sixteenth of all cells; neighbours in the
    tree are in different ones.
    """
    best = second = other_best = other_second = splat_i32x16(0x7FFFFFFF)
    for j in range(cells.count // 16):
        squares, products = splat_i32x16(0), splat_i32x16(0)
        for k in range(cells.dim // 2):
            at = (j * cells.dim + k * 2) * 64
            squares = dot16(squares, load_i16x32_at(book, at), _pair(group, 32 + k * 4))
            products = dot16(products, load_i16x32_at(book, at + 64), _pair(group, 64 + k * 4))
        key = (squares - products) & -_VECTORS | j
        second, best = _smaller(second, _larger(best, key)), _smaller(best, key)
        if signs == 2:
            key = (squares + products) & -_VECTORS | j
            other_second, other_best = _smaller(other_second, _larger(other_best, key)), _smaller(other_best, key)
    _keep_lowest(best, second, tried, probes, out)
    if signs == 2:
        _keep_lowest(other_best, other_second, tried, probes, out + 128)


@jit(forceinline=True)
def load_i16x32_at(at, offset):
    return as_i16x32(load_u8x64(at, offset))


@intrinsic
def _widened(typingctx, x):
    """i8x32 -> i16x32."""
    return i16x32(x), lambda context, b, sig, args: b.sext(args[0], i16x32.ir)


@jit(forceinline=True)
def _sums(words, cells, group, sign):
    """A and B of 16 states, f32x16, in their units; sign 1: for the negative of the group."""
    a, b = splat_i32x16(0), splat_i32x16(0)
    for k in range(cells.dim // 2):
        q = _widened(load_i8x32(words, k * 32))
        a = dot16(a, q, _pair(group, 96 + sign * 32 + k * 4))
        b = dot16(b, q * q, _pair(group, k * 4))
    return to_f32x16(a), to_f32x16(b)


@jit(forceinline=True)
def add_gains(book, cells, group, sign, near, probes, scales, totals):
    """Add the largest gain for each of four scales to the four totals (float32 each)."""
    g0 = g1 = g2 = g3 = splat_f32x16(-np.inf)
    words = book + cells.count * cells.dim * 4
    unit = load_scalar(group, 160)
    half = load_scalar(group, 164) / unit * np.float32(-0.5)
    t0, t1 = splat_f32x16(load_scalar(scales, 0) * half), splat_f32x16(load_scalar(scales, 4) * half)
    t2, t3 = splat_f32x16(load_scalar(scales, 8) * half), splat_f32x16(load_scalar(scales, 12) * half)
    for n in range(probes):
        at = words + peek32(near, n * 4) * cells.size * cells.dim
        for j in range(cells.size // 16):
            a, b = _sums(at + j * 16 * cells.dim, cells, group, sign)
            g0, g1, g2, g3 = vmax(g0, fma(b, t0, a)), vmax(g1, fma(b, t1, a)), vmax(g2, fma(b, t2, a)), vmax(g3, fma(b, t3, a))
    for k, g in ((0, vtop(g0)), (4, vtop(g1)), (8, vtop(g2)), (12, vtop(g3))):
        store_scalar(totals + k, load_scalar(totals, k) + load_scalar(scales, k) * unit * g)


@jit(forceinline=True)
def best_state(book, cells, group, sign, near, probes, s, spare):
    """The state of the largest gain for a scale, and its A and B."""
    words = book + cells.count * cells.dim * 4
    best, index = splat_f32x16(-np.inf), splat_i32x16(0)
    best_a, best_b = splat_f32x16(0), splat_f32x16(0)
    t = splat_f32x16(s * load_scalar(group, 164) / load_scalar(group, 160) * np.float32(-0.5))
    for n in range(probes):
        cell = peek32(near, n * 4) * (cells.size // 16)
        for j in range(cells.size // 16):
            a, b = _sums(words + (cell + j) * 16 * cells.dim, cells, group, sign)
            gain = fma(b, t, a)
            index = where_above(gain, best, splat_i32x16(cell + j), index)
            best_a, best_b = where_above(gain, best, a, best_a), where_above(gain, best, b, best_b)
            best = vmax(best, gain)
    lane = _lane_of_top(best)
    store_i32x16(spare, 0, index)
    store_f32x16(spare, 64, best_a)
    store_f32x16(spare, 128, best_b)
    at = (peek32(spare, lane * 4) * 16 + lane) * 2
    state = peek16(words + cells.count * cells.size * cells.dim, at)
    a, b = load_scalar(spare, 64 + lane * 4), load_scalar(spare, 128 + lane * 4)
    return state, a * load_scalar(group, 160), b * load_scalar(group, 164)
