"""iq6_k: 6-bit codes into a cubic, one of two, an 8-bit scale per 16 and a half per 256 (6.625 bpw).

Block of 256 columns, 212 bytes: half d; uint16 extra (a bit per 16 columns); int8 scales[16]; uint8 ql[4][32]: for each
64 columns, low nibbles of the codes of 0..31 in the low nibbles, of 32..63 in the high ones; uint8 qh[2][32]: for each
128 columns, bits 2 p.. of byte i are the two high bits of column 32 p + i.
weight = d * scale * (value(code) + extra), value(q) = -127 + 6.2568 q - 0.11218 q^2 + 0.0011972 q^3 with fused
multiply-adds. For products (`unpack`), as in the reference, values are the nearest integers.
"""

from .. import jit
from ..simd import *
from ._iqk_books import BOOK6, CUBIC, SHIFT6
from ._iqk_pack import chosen_of, put_nibbles, put_tables, put_twos
from ._iqk_search import Search, encode_unit
from ._iqk_tables import BIAS, biased6, bits_in, four_bits, lane, nibble_codes, shift_bytes, two_bits
from .base import Code
from .gather import copy, first_words, half_of, peek16, poke8, quads32

_SEARCH = Search(BOOK6, SHIFT6, 2, 16, -128, 127, False, True, 112.0, 2.0, 10, 5)
_C0, _C1, _C2, _C3 = CUBIC
_quarter0, _quarter1, _quarter2, _quarter3 = (shuffle(range(16 * k, 16 * k + 16)) for k in range(4))


@jit(forceinline=True)
def _store(codes, dst, to, s, a):
    q = to_f32x16(to_i32x16(codes))
    cubed = fma(q, splat_f32x16(_C3), splat_f32x16(_C2))
    value = fma(q, fma(q, cubed, splat_f32x16(_C1)), splat_f32x16(_C0))
    store_f32x16(dst, to, (value + a) * s)


@jit
def decode(src, dst, n_rows, n_cols):
    for b in range(n_rows * n_cols // 256):
        o = b * 212
        s = to_f32x16(to_i32x16(as_i8x16(load_u8x16(src, o + 4)))) * load_f16(src, o)
        a = to_f32x16(bits_in(peek16(src, o + 2)))
        for p in range(0, 8, 2):
            q = four_bits(src, o + 20, p) | two_bits(src, o + 148, p) << 4
            to, k = b * 1024 + p * 128, p * 2
            _store(_quarter0(q), dst, to, lane(s, k), lane(a, k))
            _store(_quarter1(q), dst, to + 64, lane(s, k + 1), lane(a, k + 1))
            _store(_quarter2(q), dst, to + 128, lane(s, k + 2), lane(a, k + 2))
            _store(_quarter3(q), dst, to + 192, lane(s, k + 3), lane(a, k + 3))


@jit
def encode(x, w, dst, n_rows, n_cols, work):
    for b in range(n_rows * n_cols // 256):
        d, chosen, codes = encode_unit(_SEARCH, x, w, n_cols, 256, b, work)
        o = b * 212
        copy(dst, o, d, 0, 2)
        put_tables(chosen, dst, o + 2)
        for k in range(16):
            poke8(dst, o + 4 + k, chosen_of(chosen, k)[0])
        put_nibbles(codes, 4, 0, dst, o + 20)
        put_twos(codes, 4, 0, 4, dst, o + 148)


def unpack(q, w, base, stride, b):
    o, p = base + (b >> 3) * 212, b & 7
    first = first_words(w, o, stride)
    scales = as_i32x16(first_words(w, o + 4 + p * 2, stride))
    d, extra = half_of(first), first >> p * 2 + 16
    s0, s1 = d * to_f32x16(scales << 24 >> 24), d * to_f32x16(scales << 16 >> 24)
    zero, add0, add1 = splat_f32x16(0), shift_bytes(extra & 1, SHIFT6), shift_bytes(extra >> 1 & 1, SHIFT6)
    codes, top = nibble_codes(w, o + 20, stride, p), quads32(w, o + 148 + (p >> 2) * 32, stride)
    return s0, s1, zero, zero, biased6(codes, top, (p & 3) * 2, add0, add1)


CODE = Code(decode=decode, encode=encode, unpack=unpack, bias=BIAS, sub=16, turn=8)
