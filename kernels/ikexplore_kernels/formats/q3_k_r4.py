"""q3_k_r4: q3_k with four rows interleaved.

Group of 4 rows x 256 columns, 440 bytes: half d[4]; uint8 scales_h[4][4], bits 2 (k / 4).. of byte [k % 4][r] the two
high bits of row r's scale k; uint8 scales_l[8][4], byte [k % 8][r] the low bits of scales k (low nibble) and k + 8; uint8
qh[8 parts][4][4], bit j of byte [p][r][i] the high bit of row r's column 32 p + 4 j + i; then q as in q2_k_r4.
"""

from .. import jit
from ..simd import *
from ._twos import twos_from_rows4, twos_of_rows4, twos_to_rows4
from .base import Code
from .gather import copy, join4x4, join4x8, join4x16, peek32, poke32

_ONE = 0x01010101


@jit
def _transpose_bits(src, s, step, dst, o, to_step):
    """8 words of bytes: bit p of each byte of word j -> bit j of word p."""
    for p in range(8):
        x = 0
        for j in range(8):
            x |= (peek32(src, s + j * step) >> p & _ONE) << j
        poke32(dst, o + p * to_step, x)


@jit
def repack(src, dst, n_rows, n_cols):
    row = n_cols // 256 * 110
    for r in range(n_rows):
        k = r % 4
        for b in range(n_cols // 256):
            s, g = r * row + b * 110, (r - k) * row + b * 440
            copy(dst, g + k * 2, src, s + 108, 2)
            for j in range(4):
                copy(dst, g + 8 + j * 4 + k, src, s + 104 + j, 1)
            for j in range(8):
                copy(dst, g + 24 + j * 4 + k, src, s + 96 + j, 1)
            _transpose_bits(src, s, 4, dst, g + 56 + k * 4, 16)
            for e in range(4):
                to = g + 184 + (e >> 1) * 128 + (e & 1) * 16 + k * 4
                twos_to_rows4(src, s + 32 + e * 16, dst, to, 32)


@jit
def unrepack(src, dst, n_rows, n_cols):
    row = n_cols // 256 * 110
    for r in range(n_rows):
        k = r % 4
        for b in range(n_cols // 256):
            s, g = r * row + b * 110, (r - k) * row + b * 440
            copy(dst, s + 108, src, g + k * 2, 2)
            for j in range(4):
                copy(dst, s + 104 + j, src, g + 8 + j * 4 + k, 1)
            for j in range(8):
                copy(dst, s + 96 + j, src, g + 24 + j * 4 + k, 1)
            _transpose_bits(src, g + 56 + k * 4, 16, dst, s, 4)
            for e in range(4):
                at = g + 184 + (e >> 1) * 128 + (e & 1) * 16 + k * 4
                twos_from_rows4(src, at, 32, dst, s + 32 + e * 16)


@jit(forceinline=True)
def _scale(w, o, step, k):
    """Scale k of 16 rows, as f32x16."""
    low = to_i32x16(join4x4(w, o + 24 + (k & 7) * 4, step)) >> (k >> 3) * 4 & 15
    high = to_i32x16(join4x4(w, o + 8 + (k & 3) * 4, step)) >> (k >> 2) * 2 & 3
    return to_f32x16((low | high << 4) - 32)


def unpack(q, w, base, stride, b):
    o, step, p = base + (b >> 3) * 440, stride * 4, b & 7
    d = to_f32x16(as_f16x16(join4x8(w, o, step)))
    s0, s1 = d * _scale(w, o, step, p * 2), d * _scale(w, o, step, p * 2 + 1)
    zero = splat_f32x16(0)
    l, h = twos_of_rows4(w, o + 184 + p * 32, step), join4x16(w, o + 56 + p * 16, step)
    v = (
        l[0] | (h & 1) << 2,
        l[1] | (h & 2) << 1,
        l[2] | (h & 4),
        l[3] | (h >> 1 & 4),
        l[4] | (h >> 2 & 4),
        l[5] | (h >> 3 & 4),
        l[6] | (h >> 4 & 4),
        l[7] | (h >> 5 & 4),
    )
    return s0, s1, zero, zero, v


CODE = Code(repack=repack, unrepack=unrepack, unpack=unpack, bias=4, sub=16)
