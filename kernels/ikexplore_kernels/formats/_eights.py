"""Operations on tuples of u8x64, most often the eight vectors of codes that unpack returns."""

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from ..vectors import _splat, u8x64, u16x32, u32x16


def _each(context, b, return_type, emit):
    out = ir.Constant(context.get_value_type(return_type), ir.Undefined)
    for k in range(return_type.count):
        out = b.insert_value(out, emit(k), k)
    return out


def _bytes(x):
    return ir.Constant(u8x64.ir, [x] * 64)


def _shift(b, op, v, n):
    """Shift the 16-bit words of v: there are no byte shifts, and what crosses over is masked off."""
    words = b.bitcast(v, u16x32.ir)
    at = _splat(b, u16x32, b.trunc(n, ir.IntType(16)))
    return b.bitcast(getattr(b, op)(words, at), u8x64.ir)


@intrinsic
def nibbles(typingctx, v):
    """4 vectors of packed codes -> 8: the low nibbles of all, then the high ones."""
    out = types.UniTuple(u8x64, 2 * v.count)

    def codegen(context, b, sig, args):
        def emit(k):
            x = b.extract_value(args[0], k % v.count)
            return b.and_(x, _bytes(15)) if k < v.count else b.lshr(x, _bytes(4))

        return _each(context, b, out, emit)

    return out(v), codegen


@intrinsic(prefer_literal=True)
def bits_of(typingctx, v, shift, mask):
    """The bits ``shift``... of every byte, masked by a literal: (x >> shift) & mask."""

    def codegen(context, b, sig, args):
        def emit(k):
            return b.and_(_shift(b, "lshr", b.extract_value(args[0], k), args[1]), _bytes(mask.literal_value))

        return _each(context, b, v, emit)

    return v(v, types.intp, mask), codegen


@intrinsic(prefer_literal=True)
def join_bits(typingctx, low, high, shift):
    """low | high << shift, a literal; no byte of high may lose bits."""

    def codegen(context, b, sig, args):
        n = ir.IntType(64)(shift.literal_value)

        def emit(k):
            return b.or_(b.extract_value(args[0], k), _shift(b, "shl", b.extract_value(args[1], k), n))

        return _each(context, b, low, emit)

    return low(low, high, shift), codegen


@intrinsic
def flip_signs(typingctx, v):
    """Signed bytes -> unsigned ones, 128 larger."""

    def codegen(context, b, sig, args):
        return _each(context, b, v, lambda k: b.xor(b.extract_value(args[0], k), _bytes(128)))

    return v(v), codegen


@intrinsic
def plus(typingctx, v, add):
    """The vector ``add`` added to each."""

    def codegen(context, b, sig, args):
        return _each(context, b, v, lambda k: b.add(b.extract_value(args[0], k), args[1]))

    return v(v, u8x64), codegen


@intrinsic
def spread_bits(typingctx, words):
    """u32x16, a bit for each of 32 columns of a row -> 8 x u8x64: bit 4 j + i of row r in lane 4 r + i of vector j."""
    out = types.UniTuple(u8x64, 8)

    def codegen(context, b, sig, args):
        def const(x):
            return ir.Constant(u32x16.ir, [x] * 16)

        def emit(j):
            four = b.and_(b.lshr(args[0], const(4 * j)), const(15))
            return b.bitcast(b.and_(b.mul(four, const(0x00204081)), const(0x01010101)), u8x64.ir)

        return _each(context, b, out, emit)

    return out(words), codegen
