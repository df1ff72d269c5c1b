"""2-bit codes: four to a byte, in the order of plain types and in that of interleaved ones.

Plain: 4 words (32 bits) hold quads j = 0..3 of 4 columns each; bits 2 p.. of their bytes belong to part p = 0..3.
Interleaved: word p holds part p, bits 2 j.. of its bytes belong to quad j. Each is the transpose of the other.
"""

from .. import jit
from ..simd import *
from .gather import join4x16, peek32, poke32

TWO = 0x03030303


@jit(forceinline=True)
def _part(a, b, c, d, t):
    return (a >> t & TWO) | (b >> t & TWO) << 2 | (c >> t & TWO) << 4 | (d >> t & TWO) << 6


@jit
def twos_to_rows4(src, s, dst, o, step):
    """16 bytes at src + s, of one row -> a word at each of dst + o, o + step, o + 2 step, o + 3 step."""
    a, b, c, d = peek32(src, s), peek32(src, s + 4), peek32(src, s + 8), peek32(src, s + 12)
    for p in range(4):
        poke32(dst, o + p * step, _part(a, b, c, d, 2 * p))


@jit
def twos_from_rows4(src, o, step, dst, s):
    """The inverse of twos_to_rows4."""
    a, b, c, d = peek32(src, o), peek32(src, o + step), peek32(src, o + 2 * step), peek32(src, o + 3 * step)
    for j in range(4):
        poke32(dst, s + j * 4, _part(a, b, c, d, 2 * j))


@jit(forceinline=True)
def twos_of_rows4(w, o, step):
    """Codes of 16 rows (4 groups, ``step`` bytes apart), 2 x 16 bytes of each group, in unpack's order: 8 x u8x64."""
    a, b = join4x16(w, o, step), join4x16(w, o + 16, step)
    return a & 3, a >> 2 & 3, a >> 4 & 3, a >> 6, b & 3, b >> 2 & 3, b >> 4 & 3, b >> 6
