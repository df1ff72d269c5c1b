"""iq2_kl: a 5-bit code for two columns, a 6-bit scale per 32 and a half per row (2.6875 bpw).

Row: half d, then blocks of 256 columns, 86 bytes each: uint16 scales_h (2 high bits of each of 8 scales); uint8
scales_l[4] (the low nibbles of scales 0..3 in the low nibbles, of 4..7 in the high ones); uint8 ql[4][16]: for each 64
columns, the low nibbles of the codes of 0..31 in the low nibbles, of 32..63 in the high ones; uint8 qh[16]: bit p of byte
i is the high bit of columns 32 p + 2 i and 32 p + 2 i + 1.  weight = d * (scale - 32) * pair[code].
"""

import numpy as np

from .. import jit
from ..simd import *
from ._iqk_books import PAIR_BOOK
from ._iqk_pack import chosen_of, code_at
from ._iqk_search import Search, encode_unit
from ._iqk_tables import LOW_BIAS, biased_pairs, look_up_firsts, look_up_seconds, store_64
from .base import Code
from .gather import copy, first_words, gather_f16, peek16, peek32, poke8, poke16, poke32, quads16

_SEARCH = Search(PAIR_BOOK, 0, 1, 32, -32, 31, False, True, 36.0, 3.0, 12, 6)
_PAIRED = shuffle([i + 64 * second for i in range(32) for second in (0, 1)])


@jit
def decode(src, dst, n_rows, n_cols):
    blocks = n_cols // 256
    for r in range(n_rows):
        row = r * (2 + blocks * 86)
        d = load_f16(src, row)
        for b in range(blocks):
            o, to = row + 2 + b * 86, (r * n_cols + b * 256) * 4
            two, low = peek16(src, o), peek32(src, o + 2)
            high = load_u8x16(src, o + 70)
            for p in range(0, 8, 2):
                t = (p & 3) * 8 + (p & 4)
                s0 = d * np.float32((low >> t & 15 | (two >> 2 * p & 3) << 4) - 32)
                s1 = d * np.float32((low >> t + 8 & 15 | (two >> 2 * p + 2 & 3) << 4) - 32)
                q = load_u8x16(src, o + 6 + p * 8)
                q = concat(q & 15 | (high >> p & 1) << 4, q >> 4 | (high >> p + 1 & 1) << 4)
                q = concat(q, q)
                values = _PAIRED(concat(look_up_firsts(q), look_up_seconds(q)))
                store_64(values, dst, to + p * 128, s0, s0, s1, s1, 0, 0, 0, 0)


@jit
def encode(x, w, dst, n_rows, n_cols, work):
    blocks = n_cols // 256
    for r in range(n_rows):
        d, chosen, codes = encode_unit(_SEARCH, x, w, n_cols, n_cols, r, work)
        row = r * (2 + blocks * 86)
        copy(dst, row, d, 0, 2)
        for b in range(blocks):
            _pack(chosen, codes, b * 8, dst, row + 2 + b * 86)


@jit
def _pack(chosen, codes, block, dst, o):
    low, high = 0, 0
    for p in range(8):
        s = chosen_of(chosen, block + p)[0] + 32
        low |= (s & 15) << (p & 3) * 8 + (p & 4)
        high |= (s >> 4) << 2 * p
    poke16(dst, o, high)
    poke32(dst, o + 2, low)
    for i in range(16):
        x = 0
        for p in range(0, 8, 2):
            c0, c1 = code_at(codes, 5, block + p, 2 * i), code_at(codes, 5, block + p + 1, 2 * i)
            poke8(dst, o + 6 + p * 8 + i, c0 & 15 | (c1 & 15) << 4)
            x |= (c0 >> 4 | c1 >> 4 << 1) << p
        poke8(dst, o + 70 + i, x)


def unpack(q, w, base, stride, b):
    o, p = base + 2 + (b >> 3) * 86, b & 7
    high = first_words(w, o, stride) >> p * 2
    low = first_words(w, o + 2 + (p & 3), stride) >> (p & 4)
    s = gather_f16(w, base, stride) * to_f32x16(as_i32x16(low & 15 | (high & 3) << 4) - 32)
    zero = splat_f32x16(0)
    return s, s, zero, zero, biased_pairs(quads16(w, o + 6 + (p >> 1) * 16, stride), quads16(w, o + 70, stride), p)


CODE = Code(decode=decode, encode=encode, unpack=unpack, bias=LOW_BIAS)
