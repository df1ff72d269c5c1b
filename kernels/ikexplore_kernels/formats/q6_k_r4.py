"""q6_k_r4: q6_k with four rows interleaved.

Group of 4 rows x 256 columns, 840 bytes: half d[4]; int8 scales[16][4]; uint8 qh[8 parts][2][4][4]: byte [p][k][r][i]
holds the two high bits of row r's codes of columns 32 p + 16 k + i, + 8, + 4, + 12 (from the lowest bits up); 8 parts
of 64 bytes with the low nibbles in the order of `_rows4`.
"""

from .. import jit
from ..simd import *
from ._eights import bits_of, join_bits
from ._rows4 import LOW, codes_of_rows4, get_quads, pair_of_rows4, put_quads
from .base import Code
from .gather import copy, join4x8, join4x16, peek32, poke32

_TWO = 0x03030303


@jit
def repack(src, dst, n_rows, n_cols):
    row = n_cols // 256 * 210
    for r in range(n_rows):
        k = r % 4
        for b in range(n_cols // 256):
            s, g = r * row + b * 210, (r - k) * row + b * 840
            copy(dst, g + k * 2, src, s + 208, 2)
            for j in range(16):
                copy(dst, g + 8 + j * 4 + k, src, s + 192 + j, 1)
            for p in range(8):
                i, t = s + (p >> 2) * 64 + (p & 1) * 32, (p & 2) * 2
                n0, n1 = peek32(src, i) >> t & LOW, peek32(src, i + 4) >> t & LOW
                n2, n3 = peek32(src, i + 8) >> t & LOW, peek32(src, i + 12) >> t & LOW
                n4, n5 = peek32(src, i + 16) >> t & LOW, peek32(src, i + 20) >> t & LOW
                n6, n7 = peek32(src, i + 24) >> t & LOW, peek32(src, i + 28) >> t & LOW
                put_quads(dst, g + 328 + p * 64 + k * 4, n0, n1, n2, n3, n4, n5, n6, n7)
                i, t = s + 128 + (p >> 2) * 32, (p & 3) * 2
                for h in range(2):
                    n0, n1 = peek32(src, i + h * 16) >> t & _TWO, peek32(src, i + h * 16 + 4) >> t & _TWO
                    n2, n3 = peek32(src, i + h * 16 + 8) >> t & _TWO, peek32(src, i + h * 16 + 12) >> t & _TWO
                    poke32(dst, g + 72 + p * 32 + h * 16 + k * 4, n0 | n2 << 2 | n1 << 4 | n3 << 6)


@jit
def unrepack(src, dst, n_rows, n_cols):
    row = n_cols // 256 * 210
    for r in range(n_rows):
        k = r % 4
        for b in range(n_cols // 256):
            s, g = r * row + b * 210, (r - k) * row + b * 840
            copy(dst, s + 208, src, g + k * 2, 2)
            for j in range(16):
                copy(dst, s + 192 + j, src, g + 8 + j * 4 + k, 1)
            for h in range(2):
                for p in range(2):
                    a = get_quads(src, g + 328 + (h * 4 + p) * 64 + k * 4)
                    c = get_quads(src, g + 328 + (h * 4 + p + 2) * 64 + k * 4)
                    for j in range(8):
                        poke32(dst, s + h * 64 + p * 32 + j * 4, a[j] | c[j] << 4)
                for j in range(8):
                    # quad j of 8 lies in half j / 4, at the bits that the order 0, 8, 4, 12 gives it
                    i, t = g + 72 + h * 128 + (j >> 2) * 16 + k * 4, (j & 1) * 4 + (j & 2)
                    x = peek32(src, i) >> t & _TWO
                    for p in range(1, 4):
                        x |= (peek32(src, i + p * 32) >> t & _TWO) << 2 * p
                    poke32(dst, s + 128 + h * 32 + j * 4, x)


def unpack(q, w, base, stride, b):
    o, step, p = base + (b >> 3) * 840, stride * 4, b & 7
    d = to_f32x16(as_f16x16(join4x8(w, o, step)))
    first, second = pair_of_rows4(w, o + 8 + (p & 6) * 8, step, p & 1)
    s0, s1 = d * to_f32x16(as_i32x16(first) >> 24), d * to_f32x16(as_i32x16(second) >> 24)
    zero = splat_f32x16(0)
    low = codes_of_rows4(w, o + 328 + p * 64, step)
    both = join4x16(w, o + 72 + p * 32, step), join4x16(w, o + 88 + p * 32, step)
    a, c, e, g = bits_of(both, 0, 3), bits_of(both, 4, 3), bits_of(both, 2, 3), bits_of(both, 6, 3)
    high = a[0], c[0], e[0], g[0], a[1], c[1], e[1], g[1]
    return s0, s1, zero, zero, join_bits(low, high, 4)


CODE = Code(repack=repack, unrepack=unrepack, unpack=unpack, bias=32, sub=16)
