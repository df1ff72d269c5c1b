"""iq2_k: 2-bit codes into one of two non-linear tables, a 4-bit scale per 16 and a half per 256 (2.375 bpw).

Block of 256 columns, 76 bytes: half d; uint16 extra (a bit per 16 columns: which table); uint8 scales[8] (a nibble per
16 columns, the low one first); uint8 q[2][32]: for each 128 columns, bits 2 p.. of byte i are column 32 p + i. The second
table is the first plus 5.  weight = d * (scale - 8) * (table[code] + 5 * extra).
"""

from .. import jit
from ..simd import *
from ._iqk_books import BOOK2, SHIFT2
from ._iqk_pack import put_scale_nibbles, put_tables, put_twos
from ._iqk_search import Search, encode_unit
from ._iqk_tables import (
    LOW_BIAS,
    biased2,
    bits_in,
    fields,
    look_up2,
    low_codes,
    nibbles_of,
    shift_bytes,
    store_lanes,
    two_bits,
)
from .base import Code
from .gather import copy, half_of, peek16, quads16

_SEARCH = Search(BOOK2, SHIFT2, 2, 16, -8, 7, False, True, 15.0, 2.2, 14, 6)


@jit
def decode(src, dst, n_rows, n_cols):
    for b in range(n_rows * n_cols // 256):
        o = b * 76
        s = to_f32x16(nibbles_of(src, o + 4) - 8) * load_f16(src, o)
        a = bits_in(peek16(src, o + 2)) * SHIFT2
        for p in range(0, 8, 2):
            store_lanes(look_up2(two_bits(src, o + 12, p)), dst, b * 1024 + p * 128, s, a, p * 2)


@jit
def encode(x, w, dst, n_rows, n_cols, work):
    for b in range(n_rows * n_cols // 256):
        d, chosen, codes = encode_unit(_SEARCH, x, w, n_cols, 256, b, work)
        o = b * 76
        copy(dst, o, d, 0, 2)
        put_tables(chosen, dst, o + 2)
        put_scale_nibbles(chosen, 8, dst, o + 4)
        put_twos(codes, 4, 0, 0, dst, o + 12)


def unpack(q, w, base, stride, b):
    o, p = base + (b >> 3) * 76, b & 7
    head = quads16(w, o, stride)
    first = as_u32x16(head[0])
    scales = fields((as_u32x16(head[1]), as_u32x16(head[2])), p)
    d, extra = half_of(first), first >> p * 2 + 16
    s0, s1 = d * to_f32x16(as_i32x16(scales & 15) - 8), d * to_f32x16(as_i32x16(scales >> 4) - 8)
    zero, add0, add1 = splat_f32x16(0), shift_bytes(extra & 1, SHIFT2), shift_bytes(extra >> 1 & 1, SHIFT2)
    return s0, s1, zero, zero, biased2(low_codes(w, o + 12, stride, p), add0, add1)


CODE = Code(decode=decode, encode=encode, unpack=unpack, bias=LOW_BIAS, sub=16)
