"""What the codes of the IQ*_K family stand for, and the best codes for given numbers.

Values are in units of a block's scale (ggml's kvalues). Each type has two tables, of which a block takes one: the second
is the first plus a constant, the type's *shift* (iq2_kl has one table, of pairs).
"""

import math
from itertools import pairwise

from llvmlite import ir
from numba.core import types
from numba.core.imputils import lower_constant
from numba.extending import NativeValue, intrinsic, models, register_model, typeof_impl, unbox

from ..vectors import FEATURES, _call, _emit_fma, f32x16
from ._lanes import emit_nearest
from ._tables import IQ4

IQ2 = (-31, -13, 1, 17)
IQ3 = (-63, -40, -23, -10, 1, 13, 28, 47)
IQ5 = (-126, -114, -103, -92, -83, -74, -65, -57, -50, -43, -36, -30, -24, -18, -12, -6,
       -1, 5, 11, 17, 23, 29, 36, 43, 51, 59, 68, 77, 87, 97, 109, 121)  # fmt: skip
SHIFT2, SHIFT3, SHIFT4, SHIFT5, SHIFT6 = 5, 4, 4, 2, 1

#: iq6_k: value = c0 + c1 q + c2 q^2 + c3 q^3 for q in 0..63
CUBIC = (-127.0, 6.2568, -0.11218, 0.0011972)
_BEND, _BEND_VALUE = 31.234, -4.5342  # the cubic's point of symmetry
_INVERSE = (45.977, -31.800, 30.775, -13.118)  # of u, u^3, u^5, u^7 with u = (value - _BEND_VALUE) / 128: least squares

#: iq2_kl: 32 of the 64 pairs of IQ3's values; here as indices of both, in the order of their codes
_FIRST = "0 0 1 1 1 1 2 2 2 2 2 3 3 3 3 4 4 4 4 4 5 5 5 5 5 6 6 6 6 6 7 7"
_SECOND = "2 5 0 3 5 7 1 2 4 5 6 0 4 5 7 2 3 4 5 6 1 2 3 4 5 0 2 4 6 7 2 5"
PAIRS = tuple((IQ3[int(i)], IQ3[int(j)]) for i, j in zip(_FIRST.split(), _SECOND.split(), strict=True))


class Book:
    """``kind``: "nearest" (entry of a table), "cubic" (of CUBIC), "even" (four entries of a table whose codes have an
    even number of bits together) or "pairs" (an entry of a table of pairs). As a numba value it is empty."""

    def __init__(self, kind, table=()):
        self.kind, self.table = kind, table


class BookType(types.Type):
    def __init__(self, book):
        self.kind, self.table = book.kind, book.table
        super().__init__(name=f"IqkBook({book.kind},{book.table})")


@register_model(BookType)
class _Model(models.PrimitiveModel):
    def __init__(self, dmm, fe_type):
        super().__init__(dmm, fe_type, ir.IntType(8))


@typeof_impl.register(Book)
def _typeof(book, c):
    return BookType(book)


@unbox(BookType)
def _unbox(typ, obj, c):
    return NativeValue(ir.IntType(8)(0))


@lower_constant(BookType)
def _lower(context, builder, ty, pyval):
    return ir.IntType(8)(0)


BOOK2, BOOK3, BOOK5 = Book("nearest", IQ2), Book("nearest", IQ3), Book("nearest", IQ5)
BOOK4, EVEN4 = Book("nearest", IQ4), Book("even", IQ4)
BOOK6, PAIR_BOOK = Book("cubic"), Book("pairs", PAIRS)

# ------------------------------------------------------------------------------- code for 16 numbers at once

_I32x16 = ir.VectorType(ir.IntType(32), 16)


def _f(values):
    return ir.Constant(f32x16.ir, [float(x) for x in values])


def _all(x):
    return _f([x] * 16)


def _ints(values):
    return ir.Constant(_I32x16, list(values))


def _above(b, x, y):
    return b.fcmp_ordered(">", x, y)


def _clip(b, x, low, high):
    x = b.select(_above(b, x, _all(low)), x, _all(low))
    return b.select(_above(b, _all(high), x), x, _all(high))


def _middles(table):
    return [(x + y) / 2 for x, y in pairwise(table)]


def _compared(b, t, table, codes):
    """The nearest entry and its code: count the midpoints below t."""
    value, code = _all(table[0]), _all(codes[0])
    for k, middle in enumerate(_middles(table)):
        above = _above(b, t, _all(middle))
        value, code = b.select(above, _all(table[k + 1]), value), b.select(above, _all(codes[k + 1]), code)
    return value, code


def _look_up(b, entries, at):
    """Of up to 32 entries: two registers, one instruction."""
    entries = list(entries) + [entries[-1]] * (32 - len(entries))
    if isinstance(entries[0], int):
        args = [_ints(entries[:16]), at, _ints(entries[16:])]
        return _call(b, "llvm.x86.avx512.vpermi2var.d.512", _I32x16, args)
    args = [_f(entries[:16]), at, _f(entries[16:])]
    return _call(b, "llvm.x86.avx512.vpermi2var.ps.512", f32x16.ir, args)


def _binned(b, t, table):
    """As compared, with AVX-512: 32 bins of 8, of which each holds at most two midpoints; same result."""
    start, width, middles = (table[0] // 8) * 8, 8, _middles(table)
    inside = [[m for m in middles if start + width * k <= m < start + width * (k + 1)] for k in range(32)]
    below = [sum(m < start + width * k for m in middles) for k in range(32)]
    assert len(table) <= 32 and max(map(len, inside)) <= 2 and middles[-1] < start + width * 32
    at = b.fmul(b.fsub(t, _all(start)), _all(1 / width))
    at = b.fptosi(_clip(b, at, 0, 31), _I32x16)
    code = _look_up(b, below, at)
    for k in range(2):
        middle = _look_up(b, [float(m[k]) if len(m) > k else math.inf for m in inside], at)
        code = b.add(code, b.zext(_above(b, t, middle), _I32x16))
    return _look_up(b, [float(x) for x in table], code), b.sitofp(code, f32x16.ir)


def _cubic(b, q):
    c0, c1, c2, c3 = (_all(x) for x in CUBIC)
    return _emit_fma(b, q, _emit_fma(b, q, _emit_fma(b, q, c3, c2), c1), c0)


def _cubed(b, t):
    """The better neighbour of what an odd polynomial finds, which inverts the cubic to within 0.17."""
    t = _clip(b, t, -127, 122)
    u = b.fmul(b.fadd(t, _all(-_BEND_VALUE)), _all(1 / 128))
    square, q = b.fmul(u, u), _all(_INVERSE[-1])
    for c in _INVERSE[-2::-1]:
        q = _emit_fma(b, q, square, _all(c))
    low = emit_nearest(b, _emit_fma(b, q, u, _all(_BEND - 0.5)))
    low = _clip(b, low, 0, 62)
    high = b.fadd(low, _all(1.0))
    v0, v1 = _cubic(b, low), _cubic(b, high)
    up = _above(b, b.fadd(t, t), b.fadd(v0, v1))
    return b.select(up, v1, v0), b.select(up, high, low)


def _nearest(b, t, book):
    if book.kind == "cubic":
        return _cubed(b, t)
    if len(book.table) > 8 and "avx512f" in FEATURES:
        return _binned(b, t, book.table)
    return _compared(b, t, book.table, range(len(book.table)))


@intrinsic
def snap(typingctx, book, t):
    """The entry nearest to t, f32x16 (the lower one at a midpoint), and its code as f32x16."""
    out = types.UniTuple(f32x16, 2)

    def codegen(context, b, sig, args):
        return context.make_tuple(b, out, _nearest(b, args[1], sig.args[0]))

    return out(book, f32x16), codegen


def _even(b, ts, ws, table):
    """For each number the nearest entries with an even and an odd number of bits in their code; an odd sum is mended
    where that costs least. This is the best choice there is."""
    kinds = [[k for k in range(16) if bin(k).count("1") % 2 == odd] for odd in (0, 1)]
    better, other, cost, odd_sum = [], [], [], None
    for t, w in zip(ts, ws):
        (v0, c0), (v1, c1) = (_compared(b, t, [table[k] for k in kind], kind) for kind in kinds)
        e0, e1 = (b.fmul(b.fsub(v, t), b.fsub(v, t)) for v in (v0, v1))
        odd = _above(b, e0, e1)
        better.append((b.select(odd, v1, v0), b.select(odd, c1, c0)))
        other.append((b.select(odd, v0, v1), b.select(odd, c0, c1)))
        apart = b.fsub(e0, e1)
        cost.append(b.fmul(_call(b, "llvm.fabs.v16f32", apart.type, [apart]), w))
        odd_sum = odd if odd_sum is None else b.xor(odd_sum, odd)
    # a tournament: the first pair or the second, then within the pair
    first, second = _above(b, cost[1], cost[0]), _above(b, cost[3], cost[2])
    least = b.select(first, cost[0], cost[1]), b.select(second, cost[2], cost[3])
    left = _above(b, least[1], least[0])
    a, c = b.and_(odd_sum, left), b.and_(odd_sum, b.not_(left))
    flips = [b.and_(a, first), b.and_(a, b.not_(first)), b.and_(c, second), b.and_(c, b.not_(second))]
    return [[b.select(f, y[k], x[k]) for f, x, y in zip(flips, better, other)] for k in (0, 1)]


@intrinsic
def snap_even(typingctx, book, t, w):
    """Four numbers and weights (tuples of f32x16) -> the best four entries with an even number of bits, and codes."""
    out = types.UniTuple(f32x16, 8)

    def codegen(context, b, sig, args):
        ts, ws = ([b.extract_value(x, k) for k in range(4)] for x in args[1:])
        values, codes = _even(b, ts, ws, sig.args[0].table)
        return context.make_tuple(b, out, values + codes)

    return out(book, t, w), codegen


@intrinsic
def snap_pair(typingctx, book, t0, t1, w0, w1):
    """Two numbers and weights -> the best pair (its two values) and its code."""
    out = types.UniTuple(f32x16, 3)

    def codegen(context, b, sig, args):
        table = sig.args[0].table
        costs = []
        for t, w in (args[1], args[3]), (args[2], args[4]):
            slope = b.fmul(b.fadd(t, t), w)  # w (v - t)^2 is w v^2 - 2 w t v and what does not depend on v
            costs.append({v: b.fsub(b.fmul(w, _all(v * v)), b.fmul(slope, _all(v))) for v in IQ3})
        best = None
        for v0 in IQ3:
            row = None
            for code, (first, v1) in enumerate(table):
                if first != v0:
                    continue
                found = costs[1][v1], _all(v1), _all(code)
                row = found if row is None else _lower_of(b, row, found)
            found = b.fadd(row[0], costs[0][v0]), _all(v0), row[1], row[2]
            best = found if best is None else _lower_of(b, best, found)
        return context.make_tuple(b, out, best[1:])

    return out(book, f32x16, f32x16, f32x16, f32x16), codegen


def _lower_of(b, x, y):
    less = _above(b, x[0], y[0])
    return [b.select(less, new, old) for old, new in zip(x, y)]
