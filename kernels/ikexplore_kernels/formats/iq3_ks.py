"""iq3_ks: 3-bit codes into one of two non-linear tables, a 5-bit scale per 32 and a half per row (3.1875 bpw).

Row: half d, then blocks of 256 columns, 102 bytes each: uint16 extra (bits 0..7: the high bits of the scales, bits 8..15:
which table, for each 32 columns); uint8 scales[4] (the low nibbles of scales 0..3 in the low nibbles, of 4..7 in the high
ones); uint8 ql[2][32]: for each 128 columns, bits 2 p.. of byte i are the low bits of column 32 p + i; uint8 qh[32]: bit p
of byte i is the high bit of column 32 p + i. The second table is the first plus 4.
weight = d * (scale - 16) * (table[code] + 4 * extra).
"""

import numpy as np

from .. import jit
from ..simd import *
from ._eights import bits_of, join_bits
from ._iqk_books import BOOK3, SHIFT3
from ._iqk_pack import chosen_of, put_bit, put_twos
from ._iqk_search import Search, encode_unit
from ._iqk_tables import LOW_BIAS, biased3, look_up3, low_codes, one_bits, shift_bytes, store_64, two_bits
from .base import Code
from .gather import copy, first_words, gather_f16, peek16, peek32, poke8, poke16, quads32

_SEARCH = Search(BOOK3, SHIFT3, 2, 32, -16, 15, False, True, 40.0, 2.0, 14, 6)


@jit
def decode(src, dst, n_rows, n_cols):
    blocks = n_cols // 256
    for r in range(n_rows):
        row = r * (2 + blocks * 102)
        d = load_f16(src, row)
        for b in range(blocks):
            o, to = row + 2 + b * 102, (r * n_cols + b * 256) * 4
            extra, low = peek16(src, o), peek32(src, o + 2)
            for p in range(0, 8, 2):
                t, bits = (p & 3) * 8 + (p & 4), extra >> p
                s0 = d * np.float32((low >> t & 15 | (bits & 1) << 4) - 16)
                s1 = d * np.float32((low >> t + 8 & 15 | (bits & 2) << 3) - 16)
                a0, a1 = (bits >> 8 & 1) * SHIFT3, (bits >> 9 & 1) * SHIFT3
                q = look_up3(two_bits(src, o + 6, p) | one_bits(src, o + 70, p) << 2)
                store_64(q, dst, to + p * 128, s0, s0, s1, s1, a0, a0, a1, a1)


@jit
def encode(x, w, dst, n_rows, n_cols, work):
    blocks = n_cols // 256
    for r in range(n_rows):
        d, chosen, codes = encode_unit(_SEARCH, x, w, n_cols, n_cols, r, work)
        row = r * (2 + blocks * 102)
        copy(dst, row, d, 0, 2)
        for b in range(blocks):
            o, extra = row + 2 + b * 102, 0
            for p in range(4):
                (s0, t0), (s1, t1) = chosen_of(chosen, b * 8 + p), chosen_of(chosen, b * 8 + p + 4)
                s0, s1 = s0 + 16, s1 + 16
                extra |= (s0 >> 4 | s1 >> 4 << 4 | t0 << 8 | t1 << 12) << p
                poke8(dst, o + 2 + p, (s0 & 15) | (s1 & 15) << 4)
            poke16(dst, o, extra)
            put_twos(codes, 5, b * 8, 0, dst, o + 6)
            put_bit(codes, 5, b * 8, 2, dst, o + 70)


def unpack(q, w, base, stride, b):
    o, p = base + 2 + (b >> 3) * 102, b & 7
    extra = first_words(w, o, stride) >> p
    low = first_words(w, o + 2 + (p & 3), stride) >> (p & 4)
    s = gather_f16(w, base, stride) * to_f32x16(as_i32x16(low & 15 | (extra & 1) << 4) - 16)
    zero, add = splat_f32x16(0), shift_bytes(extra >> 8 & 1, SHIFT3)
    codes = join_bits(low_codes(w, o + 6, stride, p), bits_of(quads32(w, o + 70, stride), p, 1), 2)
    return s, s, zero, zero, biased3(codes, add, add)


CODE = Code(decode=decode, encode=encode, unpack=unpack, bias=LOW_BIAS)
