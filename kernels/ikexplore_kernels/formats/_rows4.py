"""The nibble order that most _R4 types share.

32 columns of 4 rows, 64 bytes: uint8 q[4][4][4]; byte [k][r][i] holds row r's codes of columns c + i (low nibble) and
c + 8 + i (high) with c = 0, 16, 4, 20 for k = 0, 1, 2, 3.
"""

from .. import jit
from ..simd import *
from .gather import join4x16, peek32, poke32

LOW = 0x0F0F0F0F


@jit(forceinline=True)
def put_quads(dst, o, n0, n1, n2, n3, n4, n5, n6, n7):
    """Store one row's 8 quads of nibbles (n_j: columns 4 j..4 j + 3, a byte each) at o = start + 4 * row."""
    poke32(dst, o, n0 | n2 << 4)
    poke32(dst, o + 16, n4 | n6 << 4)
    poke32(dst, o + 32, n1 | n3 << 4)
    poke32(dst, o + 48, n5 | n7 << 4)


@jit(forceinline=True)
def get_quads(src, o):
    """The 8 quads of nibbles of one row, the inverse of put_quads."""
    a, b, c, d = peek32(src, o), peek32(src, o + 16), peek32(src, o + 32), peek32(src, o + 48)
    return a & LOW, c & LOW, a >> 4 & LOW, c >> 4 & LOW, b & LOW, d & LOW, b >> 4 & LOW, d >> 4 & LOW


@jit
def nibbles_to_rows4(src, s, dst, o):
    """16 bytes of a row whose low nibbles are columns 0..15 and high ones 16..31 -> put_quads at o."""
    w0, w1, w2, w3 = peek32(src, s), peek32(src, s + 4), peek32(src, s + 8), peek32(src, s + 12)
    h0, h1, h2, h3 = w0 >> 4 & LOW, w1 >> 4 & LOW, w2 >> 4 & LOW, w3 >> 4 & LOW
    put_quads(dst, o, w0 & LOW, w1 & LOW, w2 & LOW, w3 & LOW, h0, h1, h2, h3)


@jit
def nibbles_from_rows4(src, o, dst, s):
    """The inverse of nibbles_to_rows4."""
    n = get_quads(src, o)
    for j in range(4):
        poke32(dst, s + j * 4, n[j] | n[j + 4] << 4)


@jit(forceinline=True)
def codes_of_rows4(w, o, step):
    """The codes of 16 rows (4 groups, ``step`` bytes apart), in unpack's order: 8 x u8x64."""
    a = join4x16(w, o, step)
    b = join4x16(w, o + 16, step)
    c = join4x16(w, o + 32, step)
    d = join4x16(w, o + 48, step)
    return a & 15, c & 15, a >> 4, c >> 4, b & 15, d & 15, b >> 4, d >> 4


_first, _second, _third, _fourth = (
    shuffle([16 * g + 4 * j + k for g in range(4) for k in range(4) for _ in range(4)]) for j in range(4)
)


@jit(forceinline=True)
def pair_of_rows4(w, o, step, second):
    """uint8 [2][2 halves][4 rows] of 4 groups, the first or the ``second`` pair: two u32x16, each byte four times.

    All 16 bytes are loaded: neighbouring parts share the loads, where words of 4 bytes cost an insertion each.
    """
    v = join4x16(w, o, step)
    return (as_u32x16(_third(v)), as_u32x16(_fourth(v))) if second else (as_u32x16(_first(v)), as_u32x16(_second(v)))
