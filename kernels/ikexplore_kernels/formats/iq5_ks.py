"""iq5_ks: 5-bit codes into one of two non-linear tables, an 8-bit scale per 32 and a float per row (5.25 bpw).

Row: float32 d, then blocks of 256 columns, 168 bytes each: uint8 scales[8]; uint8 ql[4][32]: for each 64 columns, low
nibbles of the codes of 0..31 in the low nibbles, of 32..63 in the high ones; uint8 qh[32]: bit p of byte i is the high bit
of column 32 p + i. The lowest bit of a scale chooses the table (the second is the first plus 2), the others are the scale
plus 127.  weight = d * ((scale & 254) - 127) * (table[code] + 2 * (scale & 1)).
"""

import numpy as np

from .. import jit
from ..simd import *
from ._iqk_books import BOOK5, SHIFT5
from ._iqk_pack import put_bit, put_nibbles
from ._iqk_search import Search, encode_unit
from ._iqk_tables import BIAS, biased5, four_bits, look_up5, nibble_codes, one_bits, shift_bytes, store_64
from .base import Code
from .gather import copy, first_words, gather_f32, load_scalar, peek8, poke8, quads32

_SEARCH = Search(BOOK5, SHIFT5, 2, 32, -64, 63, True, False, 106.0, 4.0, 9, 5)


@jit
def decode(src, dst, n_rows, n_cols):
    blocks = n_cols // 256
    for r in range(n_rows):
        row = r * (4 + blocks * 168)
        d = load_scalar(src, row)
        for b in range(blocks):
            o, to = row + 4 + b * 168, (r * n_cols + b * 256) * 4
            for p in range(0, 8, 2):
                s0, s1 = peek8(src, o + p), peek8(src, o + p + 1)
                scale0, scale1 = d * np.float32((s0 & 254) - 127), d * np.float32((s1 & 254) - 127)
                add0, add1 = (s0 & 1) * SHIFT5, (s1 & 1) * SHIFT5
                q = look_up5(four_bits(src, o + 8, p) | one_bits(src, o + 136, p) << 4)
                store_64(q, dst, to + p * 128, scale0, scale0, scale1, scale1, add0, add0, add1, add1)


@jit
def encode(x, w, dst, n_rows, n_cols, work):
    blocks = n_cols // 256
    for r in range(n_rows):
        d, chosen, codes = encode_unit(_SEARCH, x, w, n_cols, n_cols, r, work)
        row = r * (4 + blocks * 168)
        copy(dst, row, d, 0, 4)
        for b in range(blocks):
            o = row + 4 + b * 168
            for p in range(8):
                poke8(dst, o + p, peek8(chosen, (b * 8 + p) * 4) + 128)
            put_nibbles(codes, 5, b * 8, dst, o + 8)
            put_bit(codes, 5, b * 8, 4, dst, o + 136)


def unpack(q, w, base, stride, b):
    o, p = base + 4 + (b >> 3) * 168, b & 7
    scale = as_i32x16(first_words(w, o + p, stride)) & 255
    s = gather_f32(w, base, stride) * to_f32x16((scale & 254) - 127)
    zero, add = splat_f32x16(0), shift_bytes(scale & 1, SHIFT5)
    codes, top = nibble_codes(w, o + 8, stride, p), quads32(w, o + 136, stride)
    return s, s, zero, zero, biased5(codes, top, p, add, add)


CODE = Code(decode=decode, encode=encode, unpack=unpack, bias=BIAS)
