"""Codebooks as empty numba values: what integer codes stand for, and the nearest entry for 16 numbers at once.

`IQ4 = Codebook("iq4", (-127, ...))` or `Codebook.integers(-8, 7)`; a compiled function that is given one is specialised
for it, as kernels are for a Format.
"""

import math
from itertools import pairwise

from llvmlite import ir
from numba.core import types
from numba.core.imputils import lower_constant
from numba.extending import NativeValue, intrinsic, models, register_model, typeof_impl, unbox

from ..vectors import FEATURES, _call, _emit_max, f32x16
from ._lanes import emit_nearest

_I32x16 = ir.VectorType(ir.IntType(32), 16)


class Codebook:
    """An increasing table of values, or (table None) the integers from low to high. Codes count from 0."""

    def __init__(self, name, table=None, low=0, high=0):
        self.name, self.table, self.low, self.high = name, table, low, high

    @classmethod
    def integers(cls, low, high):
        return cls(f"integers{low}to{high}", None, low, high)


class CodebookType(types.Type):
    def __init__(self, book):
        self.table, self.low, self.high = book.table, book.low, book.high
        super().__init__(name=f"Codebook({book.name},{book.table},{book.low},{book.high})")


@register_model(CodebookType)
class _Model(models.PrimitiveModel):
    def __init__(self, dmm, fe_type):
        super().__init__(dmm, fe_type, ir.IntType(8))


@typeof_impl.register(Codebook)
def _typeof(book, c):
    return CodebookType(book)


@unbox(CodebookType)
def _unbox(typ, obj, c):
    return NativeValue(ir.IntType(8)(0))


@lower_constant(CodebookType)
def _lower(context, builder, ty, pyval):
    return ir.IntType(8)(0)


def _vector(values):
    return ir.Constant(f32x16.ir, list(values))


def _clip(b, x, low, high):
    x = _emit_max(b, x, _vector([low] * 16))
    return b.select(b.fcmp_ordered("<", x, _vector([high] * 16)), x, _vector([high] * 16))


def _by_rounding(b, t, book):
    value = emit_nearest(b, _clip(b, t, float(book.low), float(book.high)))
    return value, b.fsub(value, _vector([float(book.low)] * 16))


def _by_comparing(b, t, table, middles):
    """Works on any CPU: count the midpoints below t."""
    value, index = _vector([table[0]] * 16), _vector([0.0] * 16)
    for k, middle in enumerate(middles):
        above = b.fcmp_ordered(">", t, _vector([middle] * 16))
        value = b.select(above, _vector([table[k + 1]] * 16), value)
        index = b.select(above, _vector([k + 1.0] * 16), index)
    return value, index


def _bins(table, middles):
    """32 equal bins of a power of two, with at most one midpoint in each; None where the table needs finer ones."""
    width = 2.0 ** math.ceil(math.log2((table[-1] - table[0]) / 32))
    start = math.floor(table[0] / width) * width
    edges = [(start + width * k, start + width * (k + 1)) for k in range(32)]
    inside = [[m for m in middles if low <= m < high] for low, high in edges]
    below = [sum(m < low for m in middles) for low, _ in edges]
    fits = max(map(len, inside)) <= 1 and middles[-1] < edges[-1][1]
    return (start, width, [m[0] if m else math.inf for m in inside], below) if fits else None


def _by_bins(b, t, table, bins):
    """AVX-512: the only midpoint of t's bin decides; look-ups in two registers. The same result as by comparing."""
    start, width, middles, below = bins
    at = b.fmul(b.fsub(t, _vector([start] * 16)), _vector([1 / width] * 16))
    at = b.fptosi(_clip(b, at, 0.0, 31.0), _I32x16)

    def look_up(entries):
        low, high = _vector(entries[:16]), _vector(entries[16:])
        return _call(b, "llvm.x86.avx512.vpermi2var.ps.512", f32x16.ir, [low, at, high])

    above = b.fcmp_ordered(">", t, look_up(middles))
    up = [min(k + 1, len(table) - 1) for k in below]
    value = b.select(above, look_up([table[k] for k in up]), look_up([table[k] for k in below]))
    index = b.select(above, look_up([float(k) for k in up]), look_up([float(k) for k in below]))
    return value, index


def _emit_snap(b, t, book):
    if book.table is None:
        return _by_rounding(b, t, book)
    table = [float(x) for x in book.table]
    middles = [(x + y) / 2 for x, y in pairwise(table)]
    bins = _bins(table, middles) if "avx512f" in FEATURES else None
    return _by_bins(b, t, table, bins) if bins else _by_comparing(b, t, table, middles)


@intrinsic
def snap(typingctx, book, t):
    """The entry nearest to t, f32x16 (the lower one at a midpoint of a table, the even one of integers)."""
    return f32x16(book, f32x16), lambda context, b, sig, args: _emit_snap(b, args[1], sig.args[0])[0]


@intrinsic
def snap_code(typingctx, book, t):
    """The code of the entry nearest to t, as f32x16."""
    return f32x16(book, f32x16), lambda context, b, sig, args: _emit_snap(b, args[1], sig.args[0])[1]
