"""iq4_kss: 4-bit codes into one of two non-linear tables, 15 bits for four, a scale per 32, a float per row (4 bpw).

Row: float32 d, then blocks of 256 columns, 128 bytes each: uint16 v[8][8]: for each 32 columns, the lowest bits of 8
words are the bits of the scale (as in iq4_ks: the lowest one chooses the table, of which the second is the first plus 4;
the others are the scale plus 127). The other 15 bits of word k, u = v & 0xfffe, are four codes, u ^ u >> 1: from the
lowest nibble up, columns 2 k, 2 k + 16, 2 k + 1, 2 k + 17. Their number of bits is even: that is the bit which is saved.
weight = d * ((scale & 254) - 127) * (table[code] + 4 * (scale & 1)).
"""

import numpy as np

from .. import jit
from ..simd import *
from ._eights import nibbles
from ._iqk_books import EVEN4, SHIFT4
from ._iqk_pack import code_at
from ._iqk_search import Search, encode_unit
from ._iqk_tables import BIAS, biased4, look_up4, pick_bits, shift_bytes, store_64
from .base import Code
from .gather import copy, gather_f32, load_scalar, peek8, poke16, quads16

_SEARCH = Search(EVEN4, SHIFT4, 2, 32, -64, 63, True, False, 97.0, 5.0, 8, 4)
#: the low nibbles of 16 bytes, their high ones, then the same of 16 more
_ORDER = shuffle([*range(16), *range(32, 48), *range(16, 32), *range(48, 64)])


@jit(forceinline=True)
def _codes(u):
    return u ^ (u >> 1 & 0x7FFF7FFF)


@jit
def decode(src, dst, n_rows, n_cols):
    blocks = n_cols // 256
    for r in range(n_rows):
        row = r * (4 + blocks * 128)
        d = load_scalar(src, row)
        for b in range(blocks):
            o, to = row + 4 + b * 128, (r * n_cols + b * 256) * 4
            for p in range(0, 8, 2):
                words = load_u16x16(src, o + p * 16)
                scales = pick_bits(words)
                s0, s1 = scales & 255, scales >> 8
                scale0, scale1 = d * np.float32((s0 & 254) - 127), d * np.float32((s1 & 254) - 127)
                add0, add1 = (s0 & 1) * SHIFT4, (s1 & 1) * SHIFT4
                u = words & 0xFFFE
                q = as_u8x32(u ^ u >> 1)
                values = look_up4(_ORDER(concat(q & 15, q >> 4)))
                store_64(values, dst, to + p * 128, scale0, scale0, scale1, scale1, add0, add0, add1, add1)


@jit
def encode(x, w, dst, n_rows, n_cols, work):
    blocks = n_cols // 256
    for r in range(n_rows):
        d, chosen, codes = encode_unit(_SEARCH, x, w, n_cols, n_cols, r, work)
        row = r * (4 + blocks * 128)
        copy(dst, row, d, 0, 4)
        for b in range(blocks * 8):
            scale, o = peek8(chosen, b * 4) + 128, row + 4 + b * 16
            for k in range(8):
                c = code_at(codes, 5, b, 2 * k) | code_at(codes, 5, b, 2 * k + 16) << 4
                c |= code_at(codes, 5, b, 2 * k + 1) << 8 | code_at(codes, 5, b, 2 * k + 17) << 12
                c ^= c >> 1  # the sum of each bit and all above it: u with u ^ u >> 1 == c
                c ^= c >> 2
                c ^= c >> 4
                c ^= c >> 8
                poke16(dst, o + 2 * k, c & 0xFFFE | scale >> k & 1)


def unpack(q, w, base, stride, b):
    o = base + 4 + b * 16
    v = quads16(w, o, stride)
    v0, v1, v2, v3 = as_u32x16(v[0]), as_u32x16(v[1]), as_u32x16(v[2]), as_u32x16(v[3])
    low = (v0 & 0x10001) | (v1 & 0x10001) << 2 | (v2 & 0x10001) << 4 | (v3 & 0x10001) << 6
    scale = as_i32x16((low | low >> 15) & 255)
    s = gather_f32(w, base, stride) * to_f32x16((scale & 254) - 127)
    zero, add = splat_f32x16(0), shift_bytes(scale & 1, SHIFT4)
    u0, u1, u2, u3 = v0 & 0xFFFEFFFE, v1 & 0xFFFEFFFE, v2 & 0xFFFEFFFE, v3 & 0xFFFEFFFE
    codes = as_u8x64(_codes(u0)), as_u8x64(_codes(u1)), as_u8x64(_codes(u2)), as_u8x64(_codes(u3))
    return s, s, zero, zero, biased4(nibbles(codes), add, add)


CODE = Code(decode=decode, encode=encode, unpack=unpack, bias=BIAS, turn=2)
