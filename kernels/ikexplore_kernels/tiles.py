"""Tiles: tuples of equal vectors, one per activation column, and helpers that unroll over them.

A loop cannot index a tuple in numba, so each helper unrolls over the columns while code is generated. Activations
are given by a raw address where the columns' values lie side by side.
"""

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from .target import _emit_dp, _emit_shifted_dp
from .vectors import REGS, _emit_fma, _splat, _split, f32x16, i8x64, i32x16

#: columns of a register tile, with two groups of 16 rows
TILE = 6 if REGS == 32 else 2

#: vectors of columns in a strip of attention, and rows of keys (or numbers of a value) that are multiplied with it at once
WIDE, KEYS = (3, 8) if REGS == 32 else (1, 4)

#: 1.5 * 2**23 and its bits as an int32: a float32 whose unit in the last place is 1
MAGIC = 12582912.0
MAGIC_BITS = 0x4B400000


def _each(b, t):
    return [b.extract_value(t, i) for i in range(t.type.count)]


def _pack(b, like, items):
    out = ir.Constant(like, ir.Undefined)
    for i, v in enumerate(items):
        out = b.insert_value(out, v, i)
    return out


def _columns_one_by_one(b, count, address, vec, step=4):
    """Broadcast of the 4 bytes at address + step c, for each column c, loaded when it is asked for."""
    for c in range(count):
        at = b.add(address, ir.Constant(address.type, step * c))
        yield _splat(b, vec, b.load(b.inttoptr(at, vec.ir.element.as_pointer()), align=4))


def _columns(b, count, address, vec, step=4):
    return list(_columns_one_by_one(b, count, address, vec, step))


def _vectors(b, address, count, vec=f32x16):
    """count vectors of 64 bytes, one after the other."""
    places = [b.add(address, ir.Constant(address.type, 64 * i)) for i in range(count)]
    return [b.load(b.inttoptr(at, vec.ir.as_pointer()), align=4) for at in places]


@intrinsic
def tile(typingctx, v):
    """A tile of TILE copies of v."""
    out = types.UniTuple(v, TILE)

    def codegen(context, b, sig, args):
        return _pack(b, context.get_value_type(out), [args[0]] * TILE)
    return out(v), codegen


@intrinsic
def tile_i32(typingctx, like, x):
    """Tile whose column c is the int32 at x + 4 c in every lane (like gives the size)."""
    out = types.UniTuple(i32x16, like.count)

    def codegen(context, b, sig, args):
        return _pack(b, context.get_value_type(out), _columns(b, like.count, args[1], i32x16))
    return out(like, types.int64), codegen


def _make_tiles_dp(emit, doc):
    @intrinsic
    def tiles_dp(typingctx, acc, u, w, x):
        def codegen(context, b, sig, args):
            pair = [_each(b, t) for t in _each(b, args[0])]
            for c, quad in enumerate(_columns_one_by_one(b, len(pair[0]), args[3], i32x16)):
                for t, v in zip(pair, args[1:3]):
                    t[c] = emit(b, t[c], v, b.bitcast(quad, i8x64.ir))
            one = args[0].type.element
            return _pack(b, args[0].type, [_pack(b, one, t) for t in pair])
        return acc(acc, u, w, types.int64), codegen
    tiles_dp.__doc__ = f"""A pair of tiles: acc[0][c] += u times the 4 bytes at x + 4 c, acc[1][c] += w times them; {doc}.

    Column by column, so that few registers are in use."""
    return tiles_dp


tiles_dpbusd = _make_tiles_dp(lambda b, acc, u, s: _emit_dp(b, acc, u, s, False), "exact for all bytes")
tiles_dpbusd7 = _make_tiles_dp(lambda b, acc, u, s: _emit_dp(b, acc, u, s, True), "u and w are at most 127")


@intrinsic
def tile_dpbusd_shifted(typingctx, acc, u, x):
    """acc[c] += u, SHIFT less, times the 4 bytes at x + 4 c: one group of rows, as there are registers for no more."""
    def codegen(context, b, sig, args):
        quads = _columns_one_by_one(b, acc.count, args[2], i32x16)
        items = [_emit_shifted_dp(b, a, args[1], b.bitcast(q, i8x64.ir)) for a, q in zip(_each(b, args[0]), quads)]
        return _pack(b, args[0].type, items)
    return acc(acc, u, types.int64), codegen


@intrinsic
def unforeseen(typingctx, n):
    """n, which the compiler takes for any number, so that it does not unroll a loop over it."""
    def codegen(context, b, sig, args):
        return b.asm(ir.FunctionType(args[0].type, [args[0].type]), "", "=r,0", [args[0]], False)
    return n(n), codegen


@intrinsic
def tile_scale_add(typingctx, facc, iacc, scale, d):
    """facc[c] += number * scale * d[c], the end of a block; iacc[c] holds MAGIC_BITS + number.

    With its bits read as a float32 that is MAGIC + number, exactly, so that one fma with -MAGIC * scale, which is exact
    too when the scale's mantissa ends in two zeros (``trimmed``), gives number * scale: conversion and product in one.
    """
    def codegen(context, b, sig, args):
        items = []
        away = b.fmul(args[2], ir.Constant(f32x16.ir, [-MAGIC] * 16))
        for f, a, x in zip(_each(b, args[0]), _each(b, args[1]), _columns_one_by_one(b, facc.count, args[3], f32x16)):
            scaled = _emit_fma(b, b.bitcast(a, f32x16.ir), args[2], away)
            items.append(_emit_fma(b, scaled, x, f))
        return _pack(b, args[0].type, items)
    return facc(facc, iacc, scale, types.int64), codegen


@intrinsic
def trimmed(typingctx, scale):
    """A scale rounded to a mantissa of 22 bits (relative error 2**-22), as ``tile_scale_add`` wants it."""
    def codegen(context, b, sig, args):
        bits = b.bitcast(args[0], i32x16.ir)
        return b.bitcast(b.and_(bits, ir.Constant(i32x16.ir, [-4] * 16)), f32x16.ir)
    return scale(scale), codegen


@intrinsic
def tile_fma(typingctx, facc, w, x):
    """facc[c] += w * the float32 at x + 4 c."""
    def codegen(context, b, sig, args):
        xs = _columns(b, facc.count, args[2], f32x16)
        return _pack(b, args[0].type, [_emit_fma(b, args[1], v, f) for f, v in zip(_each(b, args[0]), xs)])
    return facc(facc, w, types.int64), codegen


@intrinsic
def tile_fms(typingctx, facc, w, x):
    """facc[c] -= w * the float32 at x + 4 c."""
    def codegen(context, b, sig, args):
        minus = b.fneg(args[1])
        xs = _columns(b, facc.count, args[2], f32x16)
        return _pack(b, args[0].type, [_emit_fma(b, minus, v, f) for f, v in zip(_each(b, args[0]), xs)])
    return facc(facc, w, types.int64), codegen


@intrinsic
def transpose16(typingctx, rows):
    """A tuple of 16 vectors of 16 lanes, as a matrix, transposed."""
    def codegen(context, b, sig, args):
        vs = _each(b, args[0])
        for step in (1, 2, 4, 8):
            low = [i for half in range(0, 16, 2 * step) for i in range(half, half + step)]
            first = [i if not i & step else 16 + (i ^ step) for i in range(16)]
            second = [i | step if not i & step else 16 + i for i in range(16)]
            for i in low:
                p, q = vs[i], vs[i + step]
                lanes = [ir.Constant(ir.VectorType(ir.IntType(32), 16), m) for m in (first, second)]
                vs[i], vs[i + step] = (b.shuffle_vector(p, q, m) for m in lanes)
        return _pack(b, args[0].type, vs)
    return rows(rows), codegen


@intrinsic
def store_tuple(typingctx, vectors, address):
    """Store a tuple of vectors (a tile, say) one after the other, 64 bytes each."""
    def codegen(context, b, sig, args):
        for i, v in enumerate(_each(b, args[0])):
            at = b.add(args[1], ir.Constant(args[1].type, 64 * i))
            b.store(v, b.inttoptr(at, v.type.as_pointer()), align=4)
        return context.get_dummy_value()
    return types.void(vectors, types.int64), codegen


def _make_strip(width):
    @intrinsic
    def strip(typingctx):
        out = types.UniTuple(f32x16, KEYS * width)
        return out(), lambda context, b, sig, args: ir.Constant(context.get_value_type(out), None)
    strip.__doc__ = f"KEYS x {width} vectors of zeros, the sums of a strip of columns: vector r {width} + v is row r's."
    return strip


strip_wide, strip_one = _make_strip(WIDE), _make_strip(1)


@intrinsic
def strip_scaled(typingctx, like, address, x):
    """A strip: the floats at address, one vector after the other, times the vectors at x, which are the same for each row."""
    width = like.count // KEYS

    def codegen(context, b, sig, args):
        items, factors = [], _vectors(b, args[2], width)
        for i, v in enumerate(_vectors(b, args[1], like.count)):
            items.append(b.fmul(v, factors[i % width]))
        return _pack(b, args[0].type, items)
    return like(like, types.int64, types.int64), codegen


@intrinsic
def outer_fma(typingctx, acc, rows, stride, x):
    """acc[r width + v] += the float32 at rows + r stride, times vector v at x, for KEYS rows."""
    width = acc.count // KEYS

    def codegen(context, b, sig, args):
        columns, items, at = _vectors(b, args[3], width), _each(b, args[0]), args[1]
        for r in range(KEYS):
            number = _splat(b, f32x16, b.load(b.inttoptr(at, ir.FloatType().as_pointer()), align=4))
            for v in range(width):
                items[r * width + v] = _emit_fma(b, number, columns[v], items[r * width + v])
            at = b.add(at, args[2])
        return _pack(b, args[0].type, items)
    return acc(acc, types.int64, types.int64, types.int64), codegen


@intrinsic
def load_tuple16(typingctx, address):
    """Sixteen f32x16, 64 bytes each, one after the other."""
    out = types.UniTuple(f32x16, 16)
    return out(types.int64), lambda context, b, sig, args: _pack(b, context.get_value_type(out), _vectors(b, args[0], 16))


@intrinsic
def rows16_fma(typingctx, acc, rows, stride, x):
    """acc[r] += the 16 floats at rows + r stride, times x, for 16 rows."""
    def codegen(context, b, sig, args):
        items, at = [], args[1]
        for a in _each(b, args[0]):
            items.append(_emit_fma(b, b.load(b.inttoptr(at, f32x16.ir.as_pointer()), align=4), args[3], a))
            at = b.add(at, args[2])
        return _pack(b, args[0].type, items)
    return acc(acc, types.int64, types.int64, f32x16), codegen


@intrinsic
def rows8_fma(typingctx, acc, rows, stride, x, y):
    """acc[r] += the 16 floats at rows + r stride, times x, and acc[8 + r] += them times y, for 8 rows."""
    def codegen(context, b, sig, args):
        items, at = _each(b, args[0]), args[1]
        for r in range(8):
            row = b.load(b.inttoptr(at, f32x16.ir.as_pointer()), align=4)
            items[r] = _emit_fma(b, row, args[3], items[r])
            items[8 + r] = _emit_fma(b, row, args[4], items[8 + r])
            at = b.add(at, args[2])
        return _pack(b, args[0].type, items)
    return acc(acc, types.int64, types.int64, f32x16, f32x16), codegen


@intrinsic
def store_halves(typingctx, v, low, high):
    """Lanes 0 to 7 to the address ``low``, 8 to 15 to ``high``."""
    def codegen(context, b, sig, args):
        for half, at in zip(_split(b, args[0], 2), args[1:]):
            b.store(half, b.inttoptr(at, half.type.as_pointer()), align=4)
        return context.get_dummy_value()
    return types.void(f32x16, types.int64, types.int64), codegen


@intrinsic
def splat16(typingctx, v):
    """A tuple of 16 times v."""
    out = types.UniTuple(v, 16)

    def codegen(context, b, sig, args):
        return _pack(b, context.get_value_type(out), [args[0]] * 16)
    return out(v), codegen


@intrinsic
def sums16(typingctx, vectors):
    """f32x16 whose lane r is the sum of vector r, for a tuple of 16: pairs are folded into one, four times."""
    def codegen(context, b, sig, args):
        vs = _each(b, args[0])
        for step in (1, 2, 4, 8):
            keep = [i if not i & step else 16 + (i ^ step) for i in range(16)]
            fold = [i | step if not i & step else 16 + i for i in range(16)]
            masks = [ir.Constant(ir.VectorType(ir.IntType(32), 16), m) for m in (keep, fold)]
            vs = [b.fadd(*(b.shuffle_vector(p, q, m) for m in masks)) for p, q in zip(vs[::2], vs[1::2])]
        return vs[0]
    return f32x16(vectors), codegen


@intrinsic
def load_tile(typingctx, address):
    """A tile of f32x16, 64 bytes each, one after the other."""
    out = types.UniTuple(f32x16, TILE)
    return out(types.int64), lambda context, b, sig, args: _pack(b, context.get_value_type(out), _vectors(b, args[0], TILE))
