"""iq4_k: 4-bit codes into one of two non-linear tables, a 6-bit scale per 16 and a half per 256 (4.5 bpw).

Block of 256 columns, 144 bytes: half d; uint16 extra (a bit per 16 columns: which table); uint8 scales_h[4] (2 bits per
16 columns); uint8 scales_l[8] (4 bits per 16 columns); uint8 q[8][16]: for each part of 32 columns, 0..15 in the low
nibbles, 16..31 in the high ones. The second table is the first plus 4.
weight = d * (scale - 32) * (table[code] + 4 * extra).
"""

from .. import jit
from ..simd import *
from ._eights import nibbles
from ._iqk_books import BOOK4, SHIFT4
from ._iqk_pack import code_at, put_scale_nibbles, put_tables
from ._iqk_search import Search, encode_unit
from ._iqk_tables import BIAS, biased4, bits_in, fields, look_up4, nibbles_of, shift_bytes, store_lanes, twos_in
from .base import Code
from .gather import copy, half_of, peek16, peek32, poke8, poke32, quads16

_SEARCH = Search(BOOK4, SHIFT4, 2, 16, -32, 31, False, True, 100.0, 4.6, 9, 6)
#: the low nibbles of 16 bytes, their high ones, then the same of 16 more
_ORDER = shuffle([*range(16), *range(32, 48), *range(16, 32), *range(48, 64)])


@jit
def decode(src, dst, n_rows, n_cols):
    for b in range(n_rows * n_cols // 256):
        o = b * 144
        scales = nibbles_of(src, o + 8) | twos_in(peek32(src, o + 4)) << 4
        s, a = to_f32x16(scales - 32) * load_f16(src, o), bits_in(peek16(src, o + 2)) << 2
        for p in range(0, 8, 2):
            q = load_u8x32(src, o + 16 + p * 16)
            store_lanes(look_up4(_ORDER(concat(q & 15, q >> 4))), dst, b * 1024 + p * 128, s, a, p * 2)


@jit
def encode(x, w, dst, n_rows, n_cols, work):
    for b in range(n_rows * n_cols // 256):
        d, chosen, codes = encode_unit(_SEARCH, x, w, n_cols, 256, b, work)
        o = b * 144
        copy(dst, o, d, 0, 2)
        put_tables(chosen, dst, o + 2)
        poke32(dst, o + 4, put_scale_nibbles(chosen, 32, dst, o + 8))
        for p in range(8):
            for i in range(16):
                q = code_at(codes, 4, 2 * p, i) | code_at(codes, 4, 2 * p + 1, i) << 4
                poke8(dst, o + 16 + p * 16 + i, q)


def unpack(q, w, base, stride, b):
    o, p = base + (b >> 3) * 144, b & 7
    head = quads16(w, o, stride)
    first = as_u32x16(head[0])
    high = as_u32x16(head[1]) >> p * 4
    low = fields((as_u32x16(head[2]), as_u32x16(head[3])), p)
    d, extra = half_of(first), first >> p * 2 + 16
    s0 = d * to_f32x16(as_i32x16(low & 15 | (high & 3) << 4) - 32)
    s1 = d * to_f32x16(as_i32x16(low >> 4 | (high >> 2 & 3) << 4) - 32)
    zero, add0, add1 = splat_f32x16(0), shift_bytes(extra & 1, SHIFT4), shift_bytes(extra >> 1 & 1, SHIFT4)
    return s0, s1, zero, zero, biased4(nibbles(quads16(w, o + 16 + p * 16, stride)), add0, add1)


CODE = Code(decode=decode, encode=encode, unpack=unpack, bias=BIAS, sub=16)
