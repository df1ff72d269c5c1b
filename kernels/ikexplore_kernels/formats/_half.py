"""IEEE half precision in numba, which has no float16. Works on float32 and f32x16, on any CPU, without libgcc."""

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from ..vectors import Vec, _widen_half, i32x16

I32 = ir.IntType(32)


def _bits(b, x):
    """The half nearest to x (ties to even) in the low bits of an i32; beyond 65504 it is that.

    A normal half is the float32 with 13 bits rounded off and the exponent's bias changed. A subnormal one appears in
    the low bits of x + 0.5, rounded by the addition.
    """
    n = getattr(x.type, "count", None)
    i32, f32 = (I32, ir.FloatType()) if n is None else (ir.VectorType(I32, n), x.type)

    def const(value, t=i32):
        return ir.Constant(t, value if n is None else [value] * n)

    u = b.bitcast(x, i32)
    sign = b.and_(b.lshr(u, const(16)), const(0x8000))
    u = b.and_(u, const(0x7FFFFFFF))
    u = b.select(b.icmp_signed("<", u, const(0x477FE000)), u, const(0x477FE000))
    odd = b.and_(b.lshr(u, const(13)), const(1))
    normal = b.lshr(b.add(b.add(u, odd), const(0x0FFF - 0x38000000)), const(13))
    small = b.sub(b.bitcast(b.fadd(b.bitcast(u, f32), const(0.5, f32)), i32), const(0x3F000000))
    return b.or_(sign, b.select(b.icmp_signed("<", u, const(0x38800000)), small, normal))


@intrinsic
def half_bits(typingctx, x):
    """Bits of the half nearest to x, ties to even; too large becomes +-65504: float32 -> int64, f32x16 -> i32x16."""

    def codegen(context, b, sig, args):
        bits = _bits(b, args[0])
        return bits if isinstance(x, Vec) else b.zext(bits, ir.IntType(64))

    return (i32x16 if isinstance(x, Vec) else types.int64)(x), codegen


@intrinsic
def half_value(typingctx, bits):
    """The value of a half given by its bits: int64 -> float32, i32x16 -> f32x16."""
    vector = isinstance(bits, Vec)

    def codegen(context, b, sig, args):
        i16, half = ir.IntType(16), ir.HalfType()
        if vector:
            i16, half = ir.VectorType(i16, bits.n), ir.VectorType(half, bits.n)
        return _widen_half(b, b.bitcast(b.trunc(args[0], i16), half))

    return (Vec("f32", bits.n) if vector else types.float32)(bits), codegen


@intrinsic
def float_bits(typingctx, x):
    """The bits of a float32, as int64."""

    def codegen(context, b, sig, args):
        return b.zext(b.bitcast(args[0], I32), ir.IntType(64))

    return types.int64(types.float32), codegen
