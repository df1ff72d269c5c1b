"""Decoding q4_k by look-up (AVX-512): the sixteen weights that the codes of a part can stand for fit in one register.

The products of a half, a 6-bit scale and a 4-bit code have 21 bits, so they are exact in float32 and a fused
multiply-add gives the same weights as a product and a difference.
"""

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from ..vectors import FEATURES, _address, _call, _emit_fma, _take, _widen_half, f32x16, i32x16

HAS_LOOK_UP = "avx512f" in FEATURES
_I32 = ir.IntType(32)


def _words(*values):
    return ir.Constant(ir.VectorType(_I32, 4), list(values))


def _scales_and_minimums(b, head):
    """Words d + dmin, a, b, c of a block's head -> f32x16: 8 scales, then 8 minimums (see `_six_bits`)."""
    low, high = _take(b, head, [1, 1, 2, 2]), _take(b, head, [3, 3, 3, 3])
    six, two, four = 0x3F3F3F3F, 0x03030303, 0x0F0F0F0F
    low = b.and_(b.lshr(low, _words(0, 6, 0, 6)), _words(six, two, six, two))
    high = b.and_(b.lshr(high, _words(0, 0, 0, 4)), _words(0, four, 0, four))
    both = b.or_(b.shl(low, _words(0, 4, 0, 4)), high)
    codes = b.bitcast(both, ir.VectorType(ir.IntType(8), 16))
    return b.sitofp(b.zext(codes, i32x16.ir), f32x16.ir)


@intrinsic
def part_tables(typingctx, src, o):
    """From the 16 bytes at the head of a q4_k block: for each of the 8 parts the weights of codes 0..15, f32x16."""
    out = types.UniTuple(f32x16, 8)

    def codegen(context, b, sig, args):
        head = b.load(_address(context, b, sig.args[0], *args, ir.VectorType(_I32, 4)), align=1)
        halves = _widen_half(b, b.bitcast(head, ir.VectorType(ir.HalfType(), 8)))
        scales = b.fmul(_scales_and_minimums(b, head), _take(b, halves, [0] * 8 + [1] * 8))
        codes, result = ir.Constant(f32x16.ir, [float(c) for c in range(16)]), context.get_value_type(out)
        result = ir.Constant(result, ir.Undefined)
        for p in range(8):
            table = _emit_fma(b, codes, _take(b, scales, [p] * 16), b.fneg(_take(b, scales, [8 + p] * 16)))
            result = b.insert_value(result, table, p)
        return result

    return out(src, types.intp), codegen


@intrinsic
def look_up_floats(typingctx, table, index):
    """table[index & 15], f32x16."""

    def codegen(context, b, sig, args):
        return _call(b, "llvm.x86.avx512.permvar.sf.512", f32x16.ir, list(args))

    return table(table, index), codegen
