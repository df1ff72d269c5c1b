"""Grid points by permutation: 8 weights of three levels are two bits each, 4 weights of eight levels a nibble each: a point
is a 16-bit word.

AVX-512 (BW) looks 32 such words up in 64 at a time, from registers: for grids of up to 512 points far fewer steps than a
load and an insertion a point, or a gather. Elsewhere those of `_grid_look` are used, see PLANES.
"""

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from .. import jit
from ..vectors import FEATURES, _call, _mask, u8x64, u32x16
from ._eights import _bytes, _each
from ._grids import IQ2_XS, IQ2_XXS, IQ3_S, IQ3_XXS

#: whether this CPU (or what the program is compiled for) has the permutations
PLANES = "avx512bw" in FEATURES
_U16x32 = ir.VectorType(ir.IntType(16), 32)
_AT_ONCE = 64  # entries of two registers


def _words(points):
    """Points uint8 [n, 8] of three levels -> the levels, and a word each: in bit i of the low byte whether value i is
    above the lowest level, in that of the high byte whether it is the highest."""
    levels = np.unique(points)
    assert len(levels) == 3, levels
    above = [np.packbits(points >= level, axis=1, bitorder="little")[:, 0].astype(int) for level in levels[1:]]
    return levels, above[0] | above[1] << 8


def _look(b, words, index):
    """Entries ``index`` (32 x u16, below their number) of the words."""
    parts = []
    for k in range(0, len(words), _AT_ONCE):
        low, high = (ir.Constant(_U16x32, [int(x) for x in words[i : i + 32]]) for i in (k, k + 32))
        parts.append(_call(b, "llvm.x86.avx512.vpermi2var.hi.512", _U16x32, [low, index, high]))
    bit = _AT_ONCE
    while len(parts) > 1:
        up = b.icmp_unsigned("!=", b.and_(index, ir.Constant(_U16x32, [bit] * 32)), ir.Constant(_U16x32, [0] * 32))
        parts = [b.select(up, y, x) for x, y in zip(parts[::2], parts[1::2])]
        bit *= 2
    return parts[0]


def planes(points, places):
    """An intrinsic (u32x16, u32x16) -> 8 x u8x64: the values of four points for each of 16 rows, in unpack's order.

    ``points``: uint8 [n * 8] of three levels, n a power of two. ``places``: which of the two arguments and which 16 bits
    of its lanes hold the index of columns 0 to 7, 8 to 15 and so on.
    """
    levels, words = _words(points.reshape(-1, 8))

    @intrinsic
    def look(typingctx, first, second):
        out = types.UniTuple(u8x64, 8)

        def codegen(context, b, sig, args):
            found = [b.bitcast(_look(b, words, b.bitcast(v, _U16x32)), u8x64.ir) for v in args]
            none = _bytes(0)

            def emit(j):
                vector, half = places[j // 2]
                bits = ir.Constant(u8x64.ir, [1 << (j % 2 * 4 + i) for i in range(4)] * 16)
                value = _bytes(int(levels[0]))
                for plane in (0, 1):
                    lanes = _mask([4 * r + 2 * half + plane for r in range(16) for _ in range(4)])
                    mine = b.shuffle_vector(found[vector], found[vector], lanes)
                    hit = b.icmp_unsigned("!=", b.and_(mine, bits), none)
                    value = b.select(hit, _bytes(int(levels[plane + 1])), value)
                return value

            return _each(context, b, out, emit)

        return out(u32x16, u32x16), codegen

    return look


def nibbles(points, places):
    """An intrinsic (4 x u32x16) -> 8 x u8x64: the values of eight points for each of 16 rows, in unpack's order.

    ``points``: uint8 [n * 4] of eight levels, n a power of two. ``places``: as for ``planes``, of columns 0 to 3, 4 to 7...
    """
    levels = np.unique(points)
    assert len(levels) == 8, levels
    words = (np.searchsorted(levels, points.reshape(-1, 4)) << np.arange(0, 16, 4)).sum(1)

    @intrinsic
    def look(typingctx, a, b, c, d):
        out = types.UniTuple(u8x64, 8)

        def codegen(context, b, sig, args):
            found = [b.bitcast(_look(b, words, b.bitcast(v, _U16x32)), u32x16.ir) for v in args]
            table = ir.Constant(u8x64.ir, [int(x) for x in [*levels, *levels]] * 4)

            def spread(x, shift, mask):
                moved = b.shl(x, ir.Constant(u32x16.ir, [shift] * 16))
                return b.and_(b.or_(x, moved), ir.Constant(u32x16.ir, [mask] * 16))

            def emit(j):
                vector, half = places[j]
                x = found[vector]
                if half:
                    x = b.lshr(x, ir.Constant(u32x16.ir, [16] * 16))
                x = b.and_(x, ir.Constant(u32x16.ir, [0xFFFF] * 16))
                x = b.bitcast(spread(spread(x, 8, 0xFF00FF), 4, 0x0F0F0F0F), u8x64.ir)
                return _call(b, "llvm.x86.avx512.pshuf.b.512", u8x64.ir, [table, x])

            return _each(context, b, out, emit)

        return out(u32x16, u32x16, u32x16, u32x16), codegen

    return look


#: two u32x16: the bytes 0 and 2, and 1 and 3, of the words of 16 rows
xxs_points = planes(IQ2_XXS, ((0, 0), (1, 0), (0, 1), (1, 1)))
#: two u32x16 of two halves each
xs_points = planes(IQ2_XS, ((0, 0), (0, 1), (1, 0), (1, 1)))

_PLAIN = ((0, 0), (1, 0), (0, 1), (1, 1), (2, 0), (3, 0), (2, 1), (3, 1))
_xxs_4, _s_4 = nibbles(IQ3_XXS, _PLAIN), nibbles(IQ3_S, _PLAIN)
#: of indices of columns 0 and 16, 4 and 20, 8 and 24, 12 and 28
pairs_of_iq3_s = nibbles(IQ3_S, ((0, 0), (1, 0), (2, 0), (3, 0), (0, 1), (1, 1), (2, 1), (3, 1)))


@jit(forceinline=True)
def iq3_xxs_points(low, high):
    """32 columns of 16 rows from the bytes of two u32x16: 8 x u8x64."""
    return _xxs_4(low & 0xFF00FF, low >> 8 & 0xFF00FF, high & 0xFF00FF, high >> 8 & 0xFF00FF)


@jit(forceinline=True)
def iq3_s_points(low, high, more):
    """The same with bit j of ``more`` (u32x16) above byte j."""
    return _s_4(
        low & 0xFF00FF | (more & 1) << 8 | (more & 4) << 22,
        low >> 8 & 0xFF00FF | (more & 2) << 7 | (more & 8) << 21,
        high & 0xFF00FF | (more & 16) << 4 | (more & 64) << 18,
        high >> 8 & 0xFF00FF | (more & 32) << 3 | (more & 128) << 17,
    )
