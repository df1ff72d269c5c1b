"""mxfp4: 4-bit floats (OCP E2M1) and a power of two per 32 (4.25 bpw).

Block of 32 columns, 17 bytes: uint8 e; uint8 q[16], columns 0..15 in the low nibbles, 16..31 in the high ones. Codes
0..7 are 0, 1, 2, 3, 4, 6, 8, 12 (twice the value of E2M1), 8..15 the same with a minus sign.
weight = 2^(e - 128) * value.
"""

import numpy as np

from .. import jit
from ..simd import *
from ._codebook import Codebook, snap, snap_code
from ._eights import nibbles
from ._half import float_bits
from ._lanes import TINY
from .base import Code
from .gather import first_words, peek8, poke8, quads16

_VALUES = (0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12)
_BOOK = Codebook("mxfp4", tuple(sorted(set(_VALUES))))
_LARGEST_E = 252  # 12 * 2^124; beyond that weights overflow

_signed = constant("u8", [x & 255 for x in _VALUES] * 4)
_biased = constant("u8", [x + 12 for x in _VALUES] * 4)
_code_of_entry = constant("u8", ([_VALUES.index(x) for x in _BOOK.table] + [0]) * 4)
_first, _second = shuffle(range(16)), shuffle(range(16, 32))


@jit(forceinline=True)
def power(e):
    """2^(e - 128) for i32x16 e = 0..255, as f32x16; a product, because the smallest ones are subnormal."""
    half = e >> 1
    return as_f32x16((half + 64) << 23) * as_f32x16((e - half + 62) << 23)


@jit
def decode(src, dst, n_rows, n_cols):
    for b in range(n_rows * n_cols // 32):
        scale, q = power(splat_i32x16(peek8(src, b * 17))), load_u8x16(src, b * 17 + 1)
        both = concat(q & 15, q >> 4)
        values = as_i8x64(lookup16(_signed(), concat(both, both)))
        store_f32x16(dst, b * 128, to_f32x16(to_i32x16(_first(values))) * scale)
        store_f32x16(dst, b * 128 + 64, to_f32x16(to_i32x16(_second(values))) * scale)


@jit
def encode(x, w, dst, n_rows, n_cols, work):
    """Of the powers of two that bring the largest magnitude to 8..16 and to 4..8 the one of less error."""
    per_row = n_cols // 32
    for b in range(n_rows * per_row):
        x0, x1 = load_f32x16(x, b * 128), load_f32x16(x, b * 128 + 64)
        at = b % per_row * 128
        w0, w1 = load_f32x16(w, at), load_f32x16(w, at + 64)
        top = vtop(vmax(vabs(x0), vabs(x1)))
        middle = float_bits(top) // 8388608 - 2
        best, least = 0, np.float32(np.inf)
        if top > TINY:
            unit = np.float32(1)
            for e in range(middle, min(middle + 1, _LARGEST_E) + 1):
                inv = as_f32x16(splat_i32x16((255 - e) << 23))
                t0, t1 = x0 * inv, x1 * inv
                t0, t1 = t0 - snap(_BOOK, t0), t1 - snap(_BOOK, t1)
                left = vsum(t0 * t0 * w0 + t1 * t1 * w1) * unit
                if left < least:
                    best, least = e, left
                unit *= np.float32(4)
        inv = as_f32x16(splat_i32x16((255 - best) << 23 if best else 0))
        c0 = to_u8x16(to_i32x16(snap_code(_BOOK, x0 * inv)))
        c1 = to_u8x16(to_i32x16(snap_code(_BOOK, x1 * inv)))
        codes = lookup16(_code_of_entry(), concat(concat(c0, c1), concat(c0, c1)))
        poke8(dst, b * 17, best)
        store_u8x16(dst, b * 17 + 1, _first(codes) | _second(codes) << 4)


@jit(forceinline=True)
def biased(v):
    """Values + 12 of 8 x u8x64 codes."""
    t = _biased()
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


def unpack(q, w, base, stride, b):
    o = base + b * 17
    s = power(as_i32x16(first_words(w, o, stride) & 255))
    zero = splat_f32x16(0)
    return s, s, zero, zero, biased(nibbles(quads16(w, o + 1, stride)))


CODE = Code(decode=decode, encode=encode, unpack=unpack, bias=12)
