"""The integer trellis (ik_llama.cpp, pull request 529): a state of 13 to 16 bits stands for 4 or 8 small integers.

x_0 = state + offset and x_k = 0xCBAC1FED x_{k-1} mod 2^32; value k is the sum of the four bytes of x_k & 0x3f3f3f3f,
less 126: bell-shaped, from -126 to 126 with a deviation of 37. No state depends on another and x_k is x_0 times a power
of the multiplier, so any number of values is made at once.
"""

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from .. import jit
from ..simd import *
from ..target import _emit_dp
from ..vectors import _mask, _splat, f32x16, i8x64, i32x16, u8x64, u32x16
from ._tables import IQ4, iq4_biased
from .gather import peek32

MULTIPLIER = 0xCBAC1FED
OFFSET = 4096
#: a sum of four bytes is 0..252; unpack gives it as it is
BIAS = 126
#: a larger row scale might give weights beyond float32
TOP_D = 3.2e38 / 128 / 128

#: the 16 scales of iq1_kt and iq2_kt
IQ4_VALUES = np.array(IQ4, np.float32)

_I16, _I32 = ir.IntType(16), ir.IntType(32)
_POWERS = [pow(MULTIPLIER, k, 1 << 32) for k in range(9)]


def _const(vec, items):
    return ir.Constant(vec.ir, list(items))


def _sum_bytes(b, acc, x):
    """acc plus the sum of the low six bits of each byte of the 32-bit words x."""
    low = b.and_(x, ir.Constant(x.type, [0x3F3F3F3F] * 16))
    return _emit_dp(b, acc, b.bitcast(low, u8x64.ir), _const(i8x64, [1] * 64), True)


def _values(b, states, offset, lanes, powers):
    x = b.shuffle_vector(states, ir.Constant(states.type, ir.Undefined), _mask(lanes))
    x = b.add(b.zext(x, u32x16.ir), _splat(b, u32x16, b.trunc(offset, _I32)))
    x = b.mul(x, _const(u32x16, powers))
    return b.sitofp(_sum_bytes(b, _const(i32x16, [-BIAS] * 16), x), f32x16.ir)


@intrinsic
def values8(typingctx, states, offset):
    """int64 of four 16-bit states -> two f32x16: their 8 values each."""
    out = types.UniTuple(f32x16, 2)

    def codegen(context, b, sig, args):
        four = b.bitcast(args[0], ir.VectorType(_I16, 4))
        result = ir.Constant(context.get_value_type(out), ir.Undefined)
        for j in range(2):
            lanes = [2 * j] * 8 + [2 * j + 1] * 8
            result = b.insert_value(result, _values(b, four, args[1], lanes, _POWERS[1:9] * 2), j)
        return result

    return out(types.int64, types.int64), codegen


@intrinsic
def values4(typingctx, states, offset):
    """int64 of four 16-bit states -> f32x16: their 4 values each."""

    def codegen(context, b, sig, args):
        four = b.bitcast(args[0], ir.VectorType(_I16, 4))
        return _values(b, four, args[1], [i // 4 for i in range(16)], _POWERS[1:5] * 4)

    return f32x16(types.int64, types.int64), codegen


def _codes(b, x, first):
    """Values first .. first + 3 (plus 126) of 16 states, as the bytes of their lanes."""
    acc = _const(i32x16, [0] * 16)
    for k in reversed(range(first, first + 4)):
        if k < first + 3:
            acc = b.shl(acc, _const(i32x16, [8] * 16))
        acc = _sum_bytes(b, acc, b.mul(x, _const(u32x16, [_POWERS[k + 1]] * 16)))
    return b.bitcast(acc, u8x64.ir)


@intrinsic
def codes_of(typingctx, states):
    """States (with offset) of 16 rows' groups, 4 or 8 x u32x16 -> 8 x u8x64: values + 126 in the order of unpack."""
    out = types.UniTuple(u8x64, 8)

    def codegen(context, b, sig, args):
        result = ir.Constant(context.get_value_type(out), ir.Undefined)
        per = 8 // states.count
        for j in range(8):
            x = b.extract_value(args[0], j // per)
            result = b.insert_value(result, _codes(b, x, j % per * 4), j)
        return result

    return out(states), codegen


@intrinsic
def magnitudes_with_signs(typingctx, v, high, bit):
    """Codes 126 + value -> 126 + |value|, or 126 - |value| where that bit of the byte of ``high`` is set."""

    def codegen(context, b, sig, args):
        shift = b.trunc(args[2], ir.IntType(8))
        result = ir.Constant(context.get_value_type(v), ir.Undefined)
        flip = _const(u8x64, [2 * BIAS] * 64)
        for j in range(v.count):
            x = b.extract_value(args[0], j)
            other = b.sub(flip, x)
            above = b.icmp_unsigned(">", x, other)
            up, down = b.select(above, x, other), b.select(above, other, x)
            one = b.and_(b.extract_value(args[1], j), b.shl(_const(u8x64, [1] * 64), _splat(b, u8x64, shift)))
            result = b.insert_value(
                result, b.select(b.icmp_unsigned("!=", one, _const(u8x64, [0] * 64)), down, up), j
            )
        return result

    return v(v, v, types.intp), codegen


@jit(forceinline=True)
def low_and_high(word, offset):
    """The two 16-bit states in each lane of u32x16, with their offset."""
    return (word & 0xFFFF) + offset, (word >> 16) + offset


@jit(forceinline=True)
def peek64(w, at):
    """The 64 bits at a byte offset, as int64."""
    return peek32(w, at) | peek32(w, at + 4) << 32


@jit(forceinline=True)
def spread(x):
    """The four bytes of an int64 below 2^32 -> the low bytes of its four 16-bit parts."""
    x = (x | x << 16) & 0x0000FFFF0000FFFF
    return (x | x << 8) & 0x00FF00FF00FF00FF


@jit(forceinline=True)
def iq4_value(nibbles):
    """The entry of the non-linear table that the low nibbles of u32x16 stand for, f32x16."""
    value = as_u32x16(lookup16(iq4_biased(), as_u8x64(nibbles & 15))) & 255
    return to_f32x16(as_i32x16(value) - 128)


@intrinsic
def sign_where(typingctx, x, bytes, bit):
    """f32x16, negated where that bit of its byte in u8x16 is set."""

    def codegen(context, b, sig, args):
        word = b.zext(args[1], u32x16.ir)
        shift = b.sub(_const(u32x16, [31] * 16), _splat(b, u32x16, b.trunc(args[2], _I32)))
        sign = b.and_(b.shl(word, shift), _const(u32x16, [0x80000000] * 16))
        return b.bitcast(b.xor(b.bitcast(args[0], u32x16.ir), sign), f32x16.ir)

    return x(x, bytes, types.intp), codegen
