"""iq3_k: 3-bit codes into one of two non-linear tables, an odd scale per 16 and a half per 256 (3.4375 bpw).

Block of 256 columns, 110 bytes: half d; uint16 extra (a bit per 16 columns: which table); uint16 scales_h (the same: is
the scale negative); uint8 scales_l[8] (a nibble per 16 columns, the low one first); uint8 ql[2][32]: for each 128 columns,
bits 2 p.. of byte i are the low bits of column 32 p + i; uint8 qh[32]: bit p of byte i is the high bit of column 32 p + i.
The second table is the first plus 4.  weight = d * +-(2 * nibble + 1) * (table[code] + 4 * extra).
"""

from .. import jit
from ..simd import *
from ._eights import bits_of, join_bits
from ._iqk_books import BOOK3, SHIFT3
from ._iqk_pack import chosen_of, put_bit, put_tables, put_twos
from ._iqk_search import Search, encode_unit
from ._iqk_tables import (
    LOW_BIAS,
    biased3,
    bits_in,
    look_up3,
    low_codes,
    nibbles_of,
    one_bits,
    shift_bytes,
    store_lanes,
    two_bits,
)
from .base import Code
from .gather import copy, first_words, half_of, peek8, peek16, poke8, poke16, quads16, quads32

_SEARCH = Search(BOOK3, SHIFT3, 2, 16, -16, 15, True, True, 40.0, 3.5, 8, 6)


@jit
def decode(src, dst, n_rows, n_cols):
    for b in range(n_rows * n_cols // 256):
        o = b * 110
        scales = (nibbles_of(src, o + 6) * 2 + 1) * ((bits_in(peek16(src, o + 4)) * -2) + 1)
        s, a = to_f32x16(scales) * load_f16(src, o), bits_in(peek16(src, o + 2)) << 2
        for p in range(0, 8, 2):
            q = two_bits(src, o + 14, p) | one_bits(src, o + 78, p) << 2
            store_lanes(look_up3(q), dst, b * 1024 + p * 128, s, a, p * 2)


@jit
def encode(x, w, dst, n_rows, n_cols, work):
    for b in range(n_rows * n_cols // 256):
        d, chosen, codes = encode_unit(_SEARCH, x, w, n_cols, 256, b, work)
        o, signs = b * 110, 0
        copy(dst, o, d, 0, 2)
        put_tables(chosen, dst, o + 2)
        for k in range(16):
            step, _ = chosen_of(chosen, k)  # scale 2 step + 1: -1 - step is the nibble of a negative one
            signs |= (step >> 63 & 1) << k
            step ^= step >> 63
            at, low = o + 6 + (k >> 1), step if k & 1 == 0 else peek8(dst, o + 6 + (k >> 1)) | step << 4
            poke8(dst, at, low)
        poke16(dst, o + 4, signs)
        put_twos(codes, 4, 0, 0, dst, o + 14)
        put_bit(codes, 4, 0, 2, dst, o + 78)


def unpack(q, w, base, stride, b):
    o, p = base + (b >> 3) * 110, b & 7
    head = quads16(w, o, stride)
    first, signs = as_u32x16(head[0]), as_i32x16(head[1]) >> p * 2
    scales = as_i32x16(first_words(w, o + 6 + p, stride))
    d, extra = half_of(first), first >> p * 2 + 16
    s0 = d * to_f32x16(((scales & 15) * 2 + 1) * ((signs & 1) * -2 + 1))
    s1 = d * to_f32x16(((scales >> 4 & 15) * 2 + 1) * ((signs & 2) * -1 + 1))
    zero, add0, add1 = splat_f32x16(0), shift_bytes(extra & 1, SHIFT3), shift_bytes(extra >> 1 & 1, SHIFT3)
    codes = join_bits(low_codes(w, o + 14, stride, p), bits_of(quads32(w, o + 78, stride), p, 1), 2)
    return s0, s1, zero, zero, biased3(codes, add0, add1)


CODE = Code(decode=decode, encode=encode, unpack=unpack, bias=LOW_BIAS, sub=16)
