"""iq3_s_r4: iq3_s with four rows interleaved.

Group of 4 rows x 256 columns, 440 bytes: half d[4]; uint8 index[8 parts][4][2][4 rows]: byte [p][i][h][r] is index
4 h + i of row r; uint8 high[8 parts][4 rows]; uint8 signs[8 parts][4 rows][4]: bit j of byte i belongs to column
4 j + i; uint8 scales[4][4 rows]: those of parts p (low nibble) and p + 4 (high).
"""

from llvmlite import ir
from numba.extending import intrinsic

from .. import jit
from ..simd import *
from ..vectors import _mask
from ._grid_look import look_word, signed_by_bit
from ._grid_planes import PLANES, pairs_of_iq3_s
from ._grid_rows4 import bytes_of_rows, halves_of_rows
from ._grids import IQ3_S
from .base import Code
from .gather import copy, join4x16, peek8, peek32, poke8, poke32


@jit
def _to_columns(word):
    """Bit 4 j + i -> bit 8 i + j."""
    out = 0
    for i in range(4):
        x = word >> i & 0x11111111
        x = (x | x >> 3) & 0x03030303
        x = (x | x >> 6) & 0x000F000F
        out |= ((x | x >> 12) & 255) << 8 * i
    return out


@jit
def _to_rows(word):
    """The inverse of _to_columns."""
    out = 0
    for i in range(4):
        x = word >> 8 * i & 255
        x = (x | x << 12) & 0x000F000F
        x = (x | x << 6) & 0x03030303
        out |= ((x | x << 3) & 0x11111111) << i
    return out


@jit
def repack(src, dst, n_rows, n_cols):
    row = n_cols // 256 * 110
    for r in range(n_rows):
        k = r % 4
        for b in range(n_cols // 256):
            s, g = r * row + b * 110, (r - k) * row + b * 440
            copy(dst, g + k * 2, src, s, 2)
            for p in range(8):
                for j in range(8):
                    copy(dst, g + 8 + p * 32 + (j & 3) * 8 + (j >> 2) * 4 + k, src, s + 2 + p * 8 + j, 1)
                copy(dst, g + 264 + p * 4 + k, src, s + 66 + p, 1)
                poke32(dst, g + 296 + p * 16 + k * 4, _to_columns(peek32(src, s + 74 + p * 4)))
            scales = peek32(src, s + 106)
            for p in range(4):
                poke8(dst, g + 424 + p * 4 + k, scales >> 4 * p & 15 | (scales >> 4 * p + 16 & 15) << 4)


@jit
def unrepack(src, dst, n_rows, n_cols):
    row = n_cols // 256 * 110
    for r in range(n_rows):
        k = r % 4
        for b in range(n_cols // 256):
            s, g = r * row + b * 110, (r - k) * row + b * 440
            copy(dst, s, src, g + k * 2, 2)
            for p in range(8):
                for j in range(8):
                    copy(dst, s + 2 + p * 8 + j, src, g + 8 + p * 32 + (j & 3) * 8 + (j >> 2) * 4 + k, 1)
                copy(dst, s + 66 + p, src, g + 264 + p * 4 + k, 1)
                poke32(dst, s + 74 + p * 4, _to_rows(peek32(src, g + 296 + p * 16 + k * 4)))
            scales = 0
            for p in range(4):
                both = peek8(src, g + 424 + p * 4 + k)
                scales |= (both & 15) << 4 * p | both >> 4 << 4 * p + 16
            poke32(dst, s + 106, scales)


@intrinsic
def _near(typingctx, v):
    """Of each 16 bytes [4][4 rows]: row k's first byte and its second as 16 bits each, in lane k."""
    return v(v), lambda context, b, sig, args: _two_of_four(b, args[0], 0, 4)


@intrinsic
def _far(typingctx, v):
    """The same of its third byte and its fourth."""
    return v(v), lambda context, b, sig, args: _two_of_four(b, args[0], 8, 12)


def _two_of_four(b, v, first, second):
    lanes = [x for g in range(0, 64, 16) for k in range(4) for x in (g + first + k, 64, g + second + k, 64)]
    return b.shuffle_vector(v, ir.Constant(v.type, [0] * 64), _mask(lanes))


def unpack(q, w, base, stride, b):
    o, step, p = base + (b >> 3) * 440, stride * 4, b & 7
    at, high = o + 8 + p * 32, as_u32x16(bytes_of_rows(w, o + 264 + p * 4, step))
    scale = bytes_of_rows(w, o + 424 + (p & 3) * 4, step) >> (p & 4) & 15
    s, zero = halves_of_rows(w, o, step) * to_f32x16(scale * 2 + 1), splat_f32x16(0)
    if PLANES:
        a, c = join4x16(w, at, step), join4x16(w, at + 16, step)
        codes = pairs_of_iq3_s(
            as_u32x16(_near(a)) | (high & 1) << 8 | (high & 16) << 20,
            as_u32x16(_far(a)) | (high & 2) << 7 | (high & 32) << 19,
            as_u32x16(_near(c)) | (high & 4) << 6 | (high & 64) << 18,
            as_u32x16(_far(c)) | (high & 8) << 5 | (high & 128) << 17,
        )
    else:
        codes = (
            _points(w, at, step, high, 0),
            _points(w, at + 8, step, high, 1),
            _points(w, at + 16, step, high, 2),
            _points(w, at + 24, step, high, 3),
            _points(w, at + 4, step, high, 4),
            _points(w, at + 12, step, high, 5),
            _points(w, at + 20, step, high, 6),
            _points(w, at + 28, step, high, 7),
        )
    return s, s, zero, zero, signed_by_bit(codes, join4x16(w, o + 296 + p * 16, step), 64)


@jit(forceinline=True)
def _points(w, at, step, high, j):
    """Four columns of 16 rows: the points of index j."""
    return as_u8x64(look_word(IQ3_S, (as_u32x16(bytes_of_rows(w, at, step)) | (high >> j & 1) << 8) << 2))


CODE = Code(repack=repack, unrepack=unrepack, unpack=unpack, bias=64, apart=True)
