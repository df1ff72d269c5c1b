"""The 12 bytes in which q4_k and q5_k keep a 6-bit scale and a 6-bit minimum for each of 8 parts.

For p < 4 they are the low 6 bits of byte p and of byte p + 4; for p >= 4 the nibbles of byte p + 4 (low, high), with the
top 2 bits of byte p - 4 and of byte p above them.
"""

from .. import jit
from ..simd import *
from .gather import copy, half_of, join4x4, join4x16, peek8, poke8, quads16

_D = shuffle([8 * g + k for g in range(4) for k in range(4)])
_DMIN = shuffle([8 * g + 4 + k for g in range(4) for k in range(4)])


@jit(forceinline=True)
def six_bits(words, p):
    """Scale and minimum of part p from the 12 packed bytes: three little-endian words (ints or vectors of them)."""
    a, b, c = words
    t = (p & 3) * 8
    if p < 4:
        return a >> t & 63, b >> t & 63
    return (c >> t & 15) | (a >> t + 6 & 3) << 4, (c >> t + 4 & 15) | (b >> t + 6 & 3) << 4


@jit
def put_scales(scales, dst, o):
    """The first 16 bytes of a block: from int32 [3, 16] (bits of both halves; scales; minimums), of which 8 are used."""
    copy(dst, o, scales, 0, 4)
    for p in range(4):
        at = scales + p * 4
        s, m, s4, m4 = peek8(at, 64), peek8(at, 128), peek8(at, 80), peek8(at, 144)
        poke8(dst, o + 4 + p, s | s4 >> 4 << 6)
        poke8(dst, o + 8 + p, m | m4 >> 4 << 6)
        poke8(dst, o + 12 + p, (s4 & 15) | (m4 & 15) << 4)


@jit
def repack_scales(src, s, dst, g, k):
    """The 16 bytes at s of row k of 4 -> the 64 bytes at g: half d[4]; half dmin[4]; uint8 scales_h[4][4], scales_l[8][4].

    Byte [p][r] of scales_h holds the two high bits of row r's scale and minimum of part p, then those of part p + 4;
    byte [p][r] of scales_l the low nibbles of scale (low) and minimum (high).
    """
    copy(dst, g + k * 2, src, s, 2)
    copy(dst, g + 8 + k * 2, src, s + 2, 2)
    for p in range(4):
        x, y = peek8(src, s + 4 + p), peek8(src, s + 8 + p)
        poke8(dst, g + 16 + p * 4 + k, (x >> 4 & 3) | (y >> 2 & 12) | (x >> 2 & 48) | (y & 192))
        poke8(dst, g + 32 + p * 4 + k, (x & 15) | (y & 15) << 4)
        copy(dst, g + 48 + p * 4 + k, src, s + 12 + p, 1)


@jit
def unrepack_scales(src, g, k, dst, s):
    """The inverse of repack_scales."""
    copy(dst, s, src, g + k * 2, 2)
    copy(dst, s + 2, src, g + 8 + k * 2, 2)
    for p in range(4):
        high, low = peek8(src, g + 16 + p * 4 + k), peek8(src, g + 32 + p * 4 + k)
        poke8(dst, s + 4 + p, (low & 15) | (high & 3) << 4 | (high & 48) << 2)
        poke8(dst, s + 8 + p, (low >> 4) | (high & 12) << 2 | (high & 192))
        copy(dst, s + 12 + p, src, g + 48 + p * 4 + k, 1)


@jit(forceinline=True)
def scales_of_rows4(w, o, step, p):
    """d * scale and dmin * minimum of part p, of 16 rows (4 groups of 4, repacked, ``step`` bytes apart): f32x16."""
    halves = as_u16x32(join4x16(w, o, step))
    high = to_i32x16(join4x4(w, o + 16 + (p & 3) * 4, step)) >> (p & 4)
    low = to_i32x16(join4x4(w, o + 32 + p * 4, step))
    s = to_f32x16(as_f16x16(_D(halves))) * to_f32x16((low & 15) | (high & 3) << 4)
    return s, to_f32x16(as_f16x16(_DMIN(halves))) * to_f32x16(low >> 4 | (high & 12) << 2)


@jit(forceinline=True)
def scales_of_16(w, o, stride, p):
    """d * scale and dmin * minimum of part p, of 16 plain rows: f32x16."""
    h = quads16(w, o, stride)
    scale, least = six_bits((as_u32x16(h[1]), as_u32x16(h[2]), as_u32x16(h[3])), p)
    halves = as_u32x16(h[0])
    return half_of(halves) * to_f32x16(as_i32x16(scale)), half_of(halves >> 16) * to_f32x16(as_i32x16(least))
