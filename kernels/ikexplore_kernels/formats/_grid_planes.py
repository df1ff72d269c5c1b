"""Grid points by permutation: where a grid has three levels, a point of 8 weights is two bits a weight, a 16-bit word.

AVX-512 (BW) looks 32 such words up in 64 at a time, from registers: for grids of up to 512 points far fewer steps than a
load and an insertion a point. Elsewhere the loads of `_grid_look` are used, see PLANES.
"""

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from ..vectors import FEATURES, _call, _mask, u8x64, u32x16
from ._eights import _bytes, _each
from ._grids import IQ2_XS, IQ2_XXS

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


#: two u32x16: the bytes 0 and 2, and 1 and 3, of the words of 16 rows
xxs_points = planes(IQ2_XXS, ((0, 0), (1, 0), (0, 1), (1, 1)))
#: two u32x16 of two halves each
xs_points = planes(IQ2_XS, ((0, 0), (0, 1), (1, 0), (1, 1)))
