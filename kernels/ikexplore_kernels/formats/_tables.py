"""Codebooks: what the 4-bit codes of the non-linear types stand for (ggml's kvalues), and looking them up."""

from .. import jit
from ..simd import *
from ._codebook import Codebook

#: iq4_nl, iq4_xs, iq4_ks: integers in units of the block's scale
IQ4 = (-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113)
IQ4_BOOK = Codebook("iq4", IQ4)

iq4_biased = constant("u8", [x + 128 for x in IQ4] * 4)
_iq4_signed = constant("u8", [x & 255 for x in IQ4] * 4)
_quarter0, _quarter1, _quarter2, _quarter3 = (shuffle(range(16 * k, 16 * k + 16)) for k in range(4))


@jit(forceinline=True)
def decode_iq4_pair(src, at, dst, to, scale0, scale1, add0, add1):
    """Two parts of 32 columns from 32 bytes at src + at: float32 (table[code] + add) * scale, 256 bytes at dst + to."""
    q = load_u8x32(src, at)
    values = as_i8x64(lookup16(_iq4_signed(), concat(q & 15, q >> 4)))
    store_f32x16(dst, to, to_f32x16(to_i32x16(_quarter0(values)) + add0) * scale0)
    store_f32x16(dst, to + 64, to_f32x16(to_i32x16(_quarter2(values)) + add0) * scale0)
    store_f32x16(dst, to + 128, to_f32x16(to_i32x16(_quarter1(values)) + add1) * scale1)
    store_f32x16(dst, to + 192, to_f32x16(to_i32x16(_quarter3(values)) + add1) * scale1)


@jit(forceinline=True)
def decode_iq4(src, at, dst, to, scale):
    """32 columns from 16 bytes at src + at: float32 table[code] * scale, 128 bytes at dst + to."""
    q = load_u8x16(src, at)
    both = concat(q & 15, q >> 4)
    values = as_i8x64(lookup16(_iq4_signed(), concat(both, both)))
    store_f32x16(dst, to, to_f32x16(to_i32x16(_quarter0(values))) * scale)
    store_f32x16(dst, to + 64, to_f32x16(to_i32x16(_quarter1(values))) * scale)


@jit(forceinline=True)
def look_up(v):
    """IQ4 values + 128 of 8 x u8x64 codes."""
    t = iq4_biased()
    return (
        lookup16(t, v[0]),
        lookup16(t, v[1]),
        lookup16(t, v[2]),
        lookup16(t, v[3]),
        lookup16(t, v[4]),
        lookup16(t, v[5]),
        lookup16(t, v[6]),
        lookup16(t, v[7]),
    )
