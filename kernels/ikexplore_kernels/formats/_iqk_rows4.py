"""What the interleaved types of the IQ*_K family share: four rows of 256 columns, field by field.

`k` is the row within the group, `s` where a field of the plain row starts and `g` where that of the group does. Each
``repack_x(src, s, dst, g, k)`` has its inverse ``unrepack_x(src, g, k, dst, s)``.
"""

from .. import jit
from ..simd import *
from ._eights import bits_of
from ._rows4 import LOW, get_quads, pair_of_rows4, put_quads
from .gather import copy, join4x8, join4x16, peek8, peek16, peek32, poke8, poke16, poke32

_ONE, _TWO = 0x01010101, 0x03030303


@jit(forceinline=True)
def _even_bits(x):
    """Bits 0, 2, 4... of 16 -> 8 bits."""
    x &= 0x5555
    x = (x | x >> 1) & 0x3333
    x = (x | x >> 2) & 0x0F0F
    return (x | x >> 4) & 0xFF


@jit(forceinline=True)
def _spread_bits(x):
    """8 bits -> bits 0, 2, 4... of 16."""
    x = (x | x << 4) & 0x0F0F
    x = (x | x << 2) & 0x3333
    return (x | x << 1) & 0x5555


@jit
def repack_halves_bits(src, s, dst, g, k):
    """A bit per 16 columns, uint16 -> uint8 [2][4 rows]: bits of the first halves of parts, then of the second ones."""
    x = peek16(src, s)
    poke8(dst, g + k, _even_bits(x))
    poke8(dst, g + 4 + k, _even_bits(x >> 1))


@jit
def unrepack_halves_bits(src, g, k, dst, s):
    poke16(dst, s, _spread_bits(peek8(src, g + k)) | _spread_bits(peek8(src, g + 4 + k)) << 1)


@jit
def repack_head(src, s, dst, g, k):
    """half d, uint16 extra -> half d[4], uint8 extra[2][4]."""
    copy(dst, g + k * 2, src, s, 2)
    repack_halves_bits(src, s + 2, dst, g + 8, k)


@jit
def unrepack_head(src, g, k, dst, s):
    copy(dst, s, src, g + k * 2, 2)
    unrepack_halves_bits(src, g + 8, k, dst, s + 2)


@jit
def repack_scales(src, s, dst, g, k):
    """16 nibbles, 8 bytes -> uint8 [4 parts][2 halves][4 rows], the next 4 parts in the high nibbles."""
    for p in range(4):
        x, y = peek8(src, s + p), peek8(src, s + 4 + p)
        poke8(dst, g + p * 8 + k, x & 15 | (y & 15) << 4)
        poke8(dst, g + p * 8 + 4 + k, x >> 4 | y & 240)


@jit
def unrepack_scales(src, g, k, dst, s):
    for p in range(4):
        x, y = peek8(src, g + p * 8 + k), peek8(src, g + p * 8 + 4 + k)
        poke8(dst, s + p, x & 15 | (y & 15) << 4)
        poke8(dst, s + 4 + p, x >> 4 | y & 240)


@jit
def repack_scale_twos(src, s, dst, g, k):
    """16 pairs of bits, 4 bytes -> uint8 [2 parts][2 halves][4 rows], the next parts in the higher bits."""
    word = peek32(src, s)
    for j in range(4):
        x = 0
        for m in range(4):
            x |= (word >> 8 * m + 2 * j & 3) << 2 * m
        poke8(dst, g + j * 4 + k, x)


@jit
def unrepack_scale_twos(src, g, k, dst, s):
    word = 0
    for j in range(4):
        x = peek8(src, g + j * 4 + k)
        for m in range(4):
            word |= (x >> 2 * m & 3) << 8 * m + 2 * j
    poke32(dst, s, word)


@jit
def repack_nibbles(src, s, dst, g, k):
    """128 bytes of nibbles, parts p and p + 1 in 32 of them -> 8 parts of 64 bytes in the order of `_rows4`."""
    for p in range(8):
        i, t = s + (p >> 1) * 32, (p & 1) * 4
        n0, n1, n2, n3 = peek32(src, i), peek32(src, i + 4), peek32(src, i + 8), peek32(src, i + 12)
        n4, n5, n6, n7 = peek32(src, i + 16), peek32(src, i + 20), peek32(src, i + 24), peek32(src, i + 28)
        n0, n1, n2, n3 = n0 >> t & LOW, n1 >> t & LOW, n2 >> t & LOW, n3 >> t & LOW
        n4, n5, n6, n7 = n4 >> t & LOW, n5 >> t & LOW, n6 >> t & LOW, n7 >> t & LOW
        put_quads(dst, g + p * 64 + k * 4, n0, n1, n2, n3, n4, n5, n6, n7)


@jit
def unrepack_nibbles(src, g, k, dst, s):
    for p in range(0, 8, 2):
        a, c = get_quads(src, g + p * 64 + k * 4), get_quads(src, g + p * 64 + 64 + k * 4)
        for j in range(8):
            poke32(dst, s + p * 16 + j * 4, a[j] | c[j] << 4)


@jit
def repack_twos(src, s, dst, g, k):
    """2-bit codes, 64 bytes -> uint8 [8 parts][2 halves][4 rows][4]: bits 2 j.. of byte i are column 16 h + 4 j + i."""
    for p in range(8):
        for h in range(2):
            word = 0
            for j in range(4):
                word |= (peek32(src, s + (p >> 2) * 32 + h * 16 + j * 4) >> (p & 3) * 2 & _TWO) << 2 * j
            poke32(dst, g + p * 32 + h * 16 + k * 4, word)


@jit
def unrepack_twos(src, g, k, dst, s):
    for h in range(2):
        for j in range(8):
            word = 0
            for p in range(4):
                at = g + (h * 4 + p) * 32 + (j >> 2) * 16 + k * 4
                word |= (peek32(src, at) >> 2 * (j & 3) & _TWO) << 2 * p
            poke32(dst, s + h * 32 + j * 4, word)


@jit(forceinline=True)
def _place(j, order):
    """The bit at which quad j stands: ``order`` 0: they follow each other; 1: quads 0, 2, 4, 6, 1, 3, 5, 7 do."""
    return j >> 1 | (j & 1) << 2 if order else j


@jit
def repack_bits(src, s, dst, g, k, order):
    """A bit per column, 32 bytes -> uint8 [8 parts][4 rows][4]: bit `_place` of byte i is column 4 j + i."""
    for p in range(8):
        word = 0
        for j in range(8):
            word |= (peek32(src, s + j * 4) >> p & _ONE) << _place(j, order)
        poke32(dst, g + p * 16 + k * 4, word)


@jit
def unrepack_bits(src, g, k, dst, s, order):
    for j in range(8):
        word = 0
        for p in range(8):
            word |= (peek32(src, g + p * 16 + k * 4) >> _place(j, order) & _ONE) << p
        poke32(dst, s + j * 4, word)


# ----------------------------------------------------------------------------------------------------- unpack


@jit(forceinline=True)
def halves_of_rows4(w, o, step):
    """half d[4] of 4 groups: f32x16."""
    return to_f32x16(as_f16x16(join4x8(w, o, step)))


@jit(forceinline=True)
def bits_of_rows4(w, o, step, second, p):
    """Part p of what repack_halves_bits wrote, at o or (``second``) o + 8: two u32x16 with the bit in each byte."""
    first, other = pair_of_rows4(w, o, step, second)
    return first >> p & _ONE, other >> p & _ONE


@jit(forceinline=True)
def scales_of_rows4(w, o, step, p):
    """Part p of what repack_scales wrote: two i32x16 of nibbles."""
    first, other = pair_of_rows4(w, o + (p & 2) * 8, step, p & 1)
    return as_i32x16(first >> (p & 4) & 15), as_i32x16(other >> (p & 4) & 15)


@jit(forceinline=True)
def scale_twos_of_rows4(w, o, step, p):
    """Part p of what repack_scale_twos wrote: two i32x16 of 0..3."""
    first, other = pair_of_rows4(w, o, step, p & 1)
    return as_i32x16(first >> (p & 6) & 3), as_i32x16(other >> (p & 6) & 3)


@jit(forceinline=True)
def twos_of_rows4(w, o, step, p):
    """Part p of what repack_twos wrote: 8 x u8x64."""
    both = join4x16(w, o + p * 32, step), join4x16(w, o + p * 32 + 16, step)
    a, c, e, g = bits_of(both, 0, 3), bits_of(both, 2, 3), bits_of(both, 4, 3), bits_of(both, 6, 3)
    return a[0], c[0], e[0], g[0], a[1], c[1], e[1], g[1]


@jit(forceinline=True)
def high_bits_of_rows4(w, o, step, p):
    """Part p of what repack_bits wrote, in the bits' own order: 8 x u8x64 of 0 or 1."""
    h = (join4x16(w, o + p * 16, step),)
    return (
        bits_of(h, 0, 1)[0],
        bits_of(h, 1, 1)[0],
        bits_of(h, 2, 1)[0],
        bits_of(h, 3, 1)[0],
        bits_of(h, 4, 1)[0],
        bits_of(h, 5, 1)[0],
        bits_of(h, 6, 1)[0],
        bits_of(h, 7, 1)[0],
    )
