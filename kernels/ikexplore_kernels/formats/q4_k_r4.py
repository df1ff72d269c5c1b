"""q4_k_r4: q4_k with four rows interleaved.

Group of 4 rows x 256 columns, 576 bytes: half d[4]; half dmin[4]; uint8 scales_h[4][4]: byte [p][r] holds the two high
bits of row r's scale and minimum of part p, then those of part p + 4; uint8 scales_l[8][4]: byte [p][r] holds the low
nibbles of scale (low) and minimum (high); 8 parts of 64 bytes in the nibble order of `_rows4`.
"""

from .. import jit
from ..simd import *
from ._rows4 import LOW, codes_of_rows4, get_quads, put_quads
from .base import Code
from .gather import copy, join4x4, join4x16, peek8, peek32, poke8, poke32

_D = shuffle([8 * g + k for g in range(4) for k in range(4)])
_DMIN = shuffle([8 * g + 4 + k for g in range(4) for k in range(4)])


@jit
def repack(src, dst, n_rows, n_cols):
    row = n_cols // 256 * 144
    for r in range(n_rows):
        k = r % 4
        for b in range(n_cols // 256):
            s, g = r * row + b * 144, (r - k) * row + b * 576
            copy(dst, g + k * 2, src, s, 2)
            copy(dst, g + 8 + k * 2, src, s + 2, 2)
            for p in range(4):
                x, y = peek8(src, s + 4 + p), peek8(src, s + 8 + p)
                poke8(dst, g + 16 + p * 4 + k, (x >> 4 & 3) | (y >> 2 & 12) | (x >> 2 & 48) | (y & 192))
                poke8(dst, g + 32 + p * 4 + k, (x & 15) | (y & 15) << 4)
                copy(dst, g + 48 + p * 4 + k, src, s + 12 + p, 1)
            for p in range(8):
                i, t = s + 16 + (p >> 1) * 32, (p & 1) * 4
                n0, n1 = peek32(src, i) >> t & LOW, peek32(src, i + 4) >> t & LOW
                n2, n3 = peek32(src, i + 8) >> t & LOW, peek32(src, i + 12) >> t & LOW
                n4, n5 = peek32(src, i + 16) >> t & LOW, peek32(src, i + 20) >> t & LOW
                n6, n7 = peek32(src, i + 24) >> t & LOW, peek32(src, i + 28) >> t & LOW
                put_quads(dst, g + 64 + p * 64 + k * 4, n0, n1, n2, n3, n4, n5, n6, n7)


@jit
def unrepack(src, dst, n_rows, n_cols):
    row = n_cols // 256 * 144
    for r in range(n_rows):
        k = r % 4
        for b in range(n_cols // 256):
            s, g = r * row + b * 144, (r - k) * row + b * 576
            copy(dst, s, src, g + k * 2, 2)
            copy(dst, s + 2, src, g + 8 + k * 2, 2)
            for p in range(4):
                high, low = peek8(src, g + 16 + p * 4 + k), peek8(src, g + 32 + p * 4 + k)
                poke8(dst, s + 4 + p, (low & 15) | (high & 3) << 4 | (high & 48) << 2)
                poke8(dst, s + 8 + p, (low >> 4) | (high & 12) << 2 | (high & 192))
                copy(dst, s + 12 + p, src, g + 48 + p * 4 + k, 1)
            for p in range(0, 8, 2):
                a, c = get_quads(src, g + 64 + p * 64 + k * 4), get_quads(src, g + 128 + p * 64 + k * 4)
                for j in range(8):
                    poke32(dst, s + 16 + p * 16 + j * 4, a[j] | c[j] << 4)


def unpack(q, w, base, stride, b):
    o, step, p = base + (b >> 3) * 576, stride * 4, b & 7
    halves = as_u16x32(join4x16(w, o, step))
    high = to_i32x16(join4x4(w, o + 16 + (p & 3) * 4, step)) >> (p & 4)
    low = to_i32x16(join4x4(w, o + 32 + p * 4, step))
    s = to_f32x16(as_f16x16(_D(halves))) * to_f32x16((low & 15) | (high & 3) << 4)
    m = to_f32x16(as_f16x16(_DMIN(halves))) * to_f32x16(low >> 4 | (high & 12) << 2)
    return s, s, m, m, codes_of_rows4(w, o + 64 + p * 64, step)


CODE = Code(repack=repack, unrepack=unrepack, unpack=unpack, has_min=True)
