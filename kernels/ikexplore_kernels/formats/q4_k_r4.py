"""q4_k_r4: q4_k with four rows interleaved.

Group of 4 rows x 256 columns, 576 bytes: 64 bytes of halves, scales and minimums (`_six_bits.repack_scales`); 8 parts
of 64 bytes in the nibble order of `_rows4`.
"""

from .. import jit
from ..simd import *
from ._rows4 import LOW, codes_of_rows4, get_quads, put_quads
from ._six_bits import repack_scales, scales_of_rows4, unrepack_scales
from .base import Code
from .gather import peek32, poke32


@jit
def repack(src, dst, n_rows, n_cols):
    row = n_cols // 256 * 144
    for r in range(n_rows):
        k = r % 4
        for b in range(n_cols // 256):
            s, g = r * row + b * 144, (r - k) * row + b * 576
            repack_scales(src, s, dst, g, k)
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
            unrepack_scales(src, g, k, dst, s)
            for p in range(0, 8, 2):
                a, c = get_quads(src, g + 64 + p * 64 + k * 4), get_quads(src, g + 128 + p * 64 + k * 4)
                for j in range(8):
                    poke32(dst, s + 16 + p * 16 + j * 4, a[j] | c[j] << 4)


def unpack(q, w, base, stride, b):
    o, step, p = base + (b >> 3) * 576, stride * 4, b & 7
    s, m = scales_of_rows4(w, o, step, p)
    return s, s, m, m, codes_of_rows4(w, o + 64 + p * 64, step)


CODE = Code(repack=repack, unrepack=unrepack, unpack=unpack, has_min=True)
