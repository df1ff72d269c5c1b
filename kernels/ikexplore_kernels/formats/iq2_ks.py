"""iq2_ks: 2-bit codes into one of two non-linear tables, a 5-bit scale per 32 and a half per row (2.1875 bpw).

Row: half d, then blocks of 256 columns, 70 bytes each: uint16 extra (bits 0..7: which table, bits 8..15: the high bits of
the scales, for each 32 columns); uint8 scales[4] (low nibbles of the scales, the low nibble first); uint8 q[2][32]: for each
128 columns, bits 2 p.. of byte i are column 32 p + i. The second table is the first plus 5.
weight = d * (scale - 16) * (table[code] + 5 * extra).
"""

import numpy as np

from .. import jit
from ..simd import *
from ._iqk_books import BOOK2, SHIFT2
from ._iqk_pack import chosen_of, put_twos
from ._iqk_search import Search, encode_unit
from ._iqk_tables import LOW_BIAS, biased2, look_up2, low_codes, shift_bytes, store_64, two_bits
from .base import Code
from .gather import copy, first_words, gather_f16, peek8, peek16, poke8, poke16

_SEARCH = Search(BOOK2, SHIFT2, 2, 32, -16, 15, False, True, 13.0, 2.5, 10, 4)


@jit
def decode(src, dst, n_rows, n_cols):
    blocks = n_cols // 256
    for r in range(n_rows):
        row = r * (2 + blocks * 70)
        d = load_f16(src, row)
        for b in range(blocks):
            o, to = row + 2 + b * 70, (r * n_cols + b * 256) * 4
            extra = peek16(src, o)
            for p in range(0, 8, 2):
                two, bits = peek8(src, o + 2 + (p >> 1)), extra >> p
                s0 = d * np.float32((two & 15 | bits >> 4 & 16) - 16)
                s1 = d * np.float32((two >> 4 | bits >> 5 & 16) - 16)
                a0, a1 = (bits & 1) * SHIFT2, (bits >> 1 & 1) * SHIFT2
                q = look_up2(two_bits(src, o + 6, p))
                store_64(q, dst, to + p * 128, s0, s0, s1, s1, a0, a0, a1, a1)


@jit
def encode(x, w, dst, n_rows, n_cols, work):
    blocks = n_cols // 256
    for r in range(n_rows):
        d, chosen, codes = encode_unit(_SEARCH, x, w, n_cols, n_cols, r, work)
        row = r * (2 + blocks * 70)
        copy(dst, row, d, 0, 2)
        for b in range(blocks):
            o, extra = row + 2 + b * 70, 0
            for p in range(0, 8, 2):
                (s0, t0), (s1, t1) = chosen_of(chosen, b * 8 + p), chosen_of(chosen, b * 8 + p + 1)
                s0, s1 = s0 + 16, s1 + 16
                extra |= (t0 | t1 << 1 | s0 >> 4 << 8 | s1 >> 4 << 9) << p
                poke8(dst, o + 2 + (p >> 1), (s0 & 15) | (s1 & 15) << 4)
            poke16(dst, o, extra)
            put_twos(codes, 5, b * 8, 0, dst, o + 6)


def unpack(q, w, base, stride, b):
    o, p = base + 2 + (b >> 3) * 70, b & 7
    extra = first_words(w, o, stride) >> p
    low = first_words(w, o + 2 + (p >> 1), stride) >> (p & 1) * 4
    s = gather_f16(w, base, stride) * to_f32x16(as_i32x16(low & 15 | extra >> 4 & 16) - 16)
    zero, add = splat_f32x16(0), shift_bytes(extra & 1, SHIFT2)
    return s, s, zero, zero, biased2(low_codes(w, o + 6, stride, p), add, add)


CODE = Code(decode=decode, encode=encode, unpack=unpack, bias=LOW_BIAS)
