"""iq5_k: 5-bit codes into one of two non-linear tables, a 6-bit scale per 16 and a half per 256 (5.5 bpw).

Block of 256 columns, 176 bytes: half d; uint16 extra (a bit per 16 columns: which table); uint8 scales_h[4] (2 bits per
16 columns); uint8 scales_l[8] (4 bits per 16 columns); uint8 ql[4][32]: for each 64 columns, low nibbles of the codes of
0..31 in the low nibbles, of 32..63 in the high ones; uint8 qh[32]: bit p of byte i is the high bit of column 32 p + i.
The second table is the first plus 2.  weight = d * (scale - 32) * (table[code] + 2 * extra).
"""

from .. import jit
from ..simd import *
from ._iqk_books import BOOK5, SHIFT5
from ._iqk_pack import put_bit, put_nibbles, put_scale_nibbles, put_tables
from ._iqk_search import Search, encode_unit
from ._iqk_tables import (
    BIAS,
    biased5,
    bits_in,
    fields,
    four_bits,
    look_up5,
    nibble_codes,
    nibbles_of,
    one_bits,
    shift_bytes,
    store_lanes,
    twos_in,
)
from .base import Code
from .gather import copy, half_of, peek16, peek32, poke32, quads16, quads32

_SEARCH = Search(BOOK5, SHIFT5, 2, 16, -32, 31, False, True, 106.0, 2.5, 12, 6)


@jit
def decode(src, dst, n_rows, n_cols):
    for b in range(n_rows * n_cols // 256):
        o = b * 176
        scales = nibbles_of(src, o + 8) | twos_in(peek32(src, o + 4)) << 4
        s, a = to_f32x16(scales - 32) * load_f16(src, o), bits_in(peek16(src, o + 2)) << 1
        for p in range(0, 8, 2):
            q = four_bits(src, o + 16, p) | one_bits(src, o + 144, p) << 4
            store_lanes(look_up5(q), dst, b * 1024 + p * 128, s, a, p * 2)


@jit
def encode(x, w, dst, n_rows, n_cols, work):
    for b in range(n_rows * n_cols // 256):
        d, chosen, codes = encode_unit(_SEARCH, x, w, n_cols, 256, b, work)
        o = b * 176
        copy(dst, o, d, 0, 2)
        put_tables(chosen, dst, o + 2)
        poke32(dst, o + 4, put_scale_nibbles(chosen, 32, dst, o + 8))
        put_nibbles(codes, 4, 0, dst, o + 16)
        put_bit(codes, 4, 0, 4, dst, o + 144)


def unpack(q, w, base, stride, b):
    o, p = base + (b >> 3) * 176, b & 7
    head = quads16(w, o, stride)
    first = as_u32x16(head[0])
    high = as_u32x16(head[1]) >> p * 4
    low = fields((as_u32x16(head[2]), as_u32x16(head[3])), p)
    d, extra = half_of(first), first >> p * 2 + 16
    s0 = d * to_f32x16(as_i32x16(low & 15 | (high & 3) << 4) - 32)
    s1 = d * to_f32x16(as_i32x16(low >> 4 | (high >> 2 & 3) << 4) - 32)
    zero, add0, add1 = splat_f32x16(0), shift_bytes(extra & 1, SHIFT5), shift_bytes(extra >> 1 & 1, SHIFT5)
    codes, top = nibble_codes(w, o + 16, stride, p), quads32(w, o + 144, stride)
    return s0, s1, zero, zero, biased5(codes, top, p, add0, add1)


CODE = Code(decode=decode, encode=encode, unpack=unpack, bias=BIAS, sub=16)
