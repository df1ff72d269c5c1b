"""Encoders work on 16 blocks at a time, one in each lane of an f32x16: this brings blocks into lanes and back.

All memory is addresses (int64). Scratch holds f32x16 after f32x16: item i of all 16 blocks is at byte 64 i. Values are
divided by the largest magnitude of their block or super-block, which keeps sums of squares in range for any input.
"""

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from .. import jit
from ..simd import *
from ..vectors import _call, _emit_max, _splat, _take
from ._half import half_bits, half_value
from .gather import peek32, poke32

LANES = 16
#: magnitudes below this are taken for zero; their reciprocals would overflow soon after
TINY = 1e-30
_MAGIC = 12582912.0  # 1.5 * 2**23: adding it leaves the rounded integer in the low bits


def _const(v, x):
    return ir.Constant(v.type, [x] * v.type.count)


def _unary(emit, doc):
    @intrinsic
    def op(typingctx, x):
        return x(x), lambda context, b, sig, args: emit(b, args[0])

    op.__doc__ = doc
    return op


def _emit_reciprocal(b, x):
    size = _call(b, f"llvm.fabs.v{x.type.count}f32", x.type, [x])
    return b.select(b.fcmp_ordered(">", size, _const(x, TINY)), b.fdiv(_const(x, 1.0), x), _const(x, 0.0))


def _across(share, step):
    """Combine every lane with the others of its group of ``share`` lanes."""

    def emit(b, x):
        k = 1
        while k < share:
            x = step(b, x, _take(b, x, [l ^ k for l in range(16)]))
            k *= 2
        return x

    return emit


def _emit_sum(b, x, y):
    return b.fadd(x, y)


def emit_nearest(b, x):
    return b.fsub(b.fadd(x, _const(x, _MAGIC)), _const(x, _MAGIC))


nearest = _unary(
    emit_nearest,
    "Round to the nearest integer, ties to even, for |x| < 2**22.",
)
reciprocal = _unary(_emit_reciprocal, "1 / x, or 0 where |x| is tiny.")
max8 = _unary(_across(8, _emit_max), "The largest of each 8 neighbouring lanes, in all of them.")
max16 = _unary(_across(16, _emit_max), "The largest of all 16 lanes, in all of them.")
sum8 = _unary(_across(8, _emit_sum), "The sum of each 8 neighbouring lanes, in all of them.")
sum16 = _unary(_across(16, _emit_sum), "The sum of all 16 lanes, in all of them.")


@jit
def max_within(x, share):
    return max8(x) if share == 8 else max16(x)


@jit
def sum_within(x, share):
    return sum8(x) if share == 8 else sum16(x)


@intrinsic
def divide(typingctx, x, y):
    return x(x, y), lambda context, b, sig, args: b.fdiv(*args)


@intrinsic
def vmin(typingctx, x, y):
    return x(x, y), lambda context, b, sig, args: b.select(b.fcmp_ordered("<", *args), *args)


@intrinsic
def where_above(typingctx, x, y, yes, no):
    """In each lane: yes where x > y, else no."""

    def codegen(context, b, sig, args):
        return b.select(b.fcmp_ordered(">", args[0], args[1]), args[2], args[3])

    return yes(x, y, yes, no), codegen


@intrinsic
def clip(typingctx, x, low, high):
    """x between two numbers (float32 scalars)."""

    def codegen(context, b, sig, args):
        low, high = (_splat(b, x, s) for s in args[1:])
        above = _emit_max(b, args[0], low)
        return b.select(b.fcmp_ordered("<", above, high), above, high)

    return x(x, types.float32, types.float32), codegen


@jit
def fill(x, w, n_cols, size, first, n_blocks, xt, wt):
    """Blocks first..first+15 of the rows at x into lanes, and the weights of their columns; past the last one zeros."""
    per_row = n_cols // size
    for l in range(16):
        at, col = (first + l) * size * 4, (first + l) % per_row * size * 4
        for i in range(size):
            inside = first + l < n_blocks
            poke32(xt, i * 64 + l * 4, peek32(x, at + i * 4) if inside else 0)
            poke32(wt, i * 64 + l * 4, peek32(w, col + i * 4) if inside else 0)


@jit
def magnitude(xt, size):
    """The largest magnitude of each lane."""
    top = splat_f32x16(0)
    for i in range(size):
        top = vmax(top, vabs(load_f32x16(xt, i * 64)))
    return top


@jit
def scale_by(xt, size, factor):
    for i in range(size):
        store_f32x16(xt, i * 64, load_f32x16(xt, i * 64) * factor)


@jit
def stored(d, top, up):
    """A scale (of x / top) as a half would keep it; ``up``: with subnormal halves rounded away from zero."""
    real = d * top
    if up:
        real = real + where_above(real, splat_f32x16(0), splat_f32x16(2.0**-25), splat_f32x16(-(2.0**-25)))
    return half_value(half_bits(real)) * reciprocal(top)


@jit
def code_factor(top, bits):
    """What x / top is multiplied by to get codes, for a scale that is stored as a half; 0 for a scale of zero."""
    d = half_value(bits)
    return where_above(vabs(d), splat_f32x16(0), divide(top, d), splat_f32x16(0))
