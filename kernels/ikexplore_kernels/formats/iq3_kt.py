"""iq3_kt: a state of 16 bits for 8 magnitudes, signs, a 4-bit scale per 32 and a float per row (3.125 bpw).

Row: float32 d, then blocks of 256 columns, 100 bytes each: uint8 scales[4] (parts 0..3 of 32 columns in the low nibbles,
4..7 in the high ones); uint16 states[8][4], four for each part; uint8 signs[32] (bit p of byte c: column c of part p is
negative). See `_trellis` for the values of a state; offset 4096.
weight = +-d * scale * |value|. The reference's matrix products multiply by 1.01 on top of that, its dequantization does
not: so do unpack and decode here.
"""

import numpy as np

from .. import jit
from ..simd import *
from ._trellis import BIAS, OFFSET, codes_of, low_and_high, magnitudes_with_signs, peek64, sign_where, values8
from ._trellis_book import Cells, book, table
from ._trellis_rows import Plan, choices_and_states, encode_row, sharpened
from ._trellis_search import store_scalar
from .base import Code
from .gather import copy, first_words, gather_f32, gather_u32, load_scalar, peek8, poke8, quads32

PRODUCT_FACTOR = np.float32(1.01)


LEVELS = table(range(16), [])


@jit
def decode(src, dst, n_rows, n_cols):
    blocks = n_cols // 256
    for r in range(n_rows):
        row = r * (4 + blocks * 100)
        d = load_scalar(src, row)
        for b in range(blocks):
            o, to = row + 4 + b * 100, (r * n_cols + b * 256) * 4
            for p in range(8):
                scale = d * np.float32(peek8(src, o + (p & 3)) >> (p & 4) & 15)
                v0, v1 = values8(peek64(src, o + 4 + p * 8), OFFSET)
                v0, v1 = vabs(v0) * scale, vabs(v1) * scale
                store_f32x16(dst, to + p * 128, sign_where(v0, load_u8x16(src, o + 68), p))
                store_f32x16(dst, to + p * 128 + 64, sign_where(v1, load_u8x16(src, o + 84), p))


SHARPEN = 1.2  # the importance was given to the power 0.7
PLAN = Plan(
    Cells(8, 512, 128), books=1, signs=1, stride=2, windows=2, tried=24, probes=32, ratio=1.1, reach=110.0, widest=12.0
)


def encode(x, w, dst, n_rows, n_cols, work):
    weights = sharpened(w, n_cols, SHARPEN)
    states = book(PLAN.cells, magnitudes=True).ctypes.data
    _encode(x, weights.ctypes.data, dst, n_rows, n_cols, work, states, LEVELS.ctypes.data)


@jit
def _encode(x, w, dst, n_rows, n_cols, work, book, levels):
    choices, states = choices_and_states(work, n_cols)
    for r in range(n_rows):
        o = r * (4 + n_cols // 256 * 100)
        d = encode_row(PLAN, (book,), levels, (16, 0), x + r * n_cols * 4, w, n_cols, True, work)
        store_scalar(dst + o, d)
        for b in range(n_cols // 256):
            _pack(x + (r * n_cols + b * 256) * 4, choices + b * 32, states + b * 64, dst, o + 4 + b * 100)


@jit
def _pack(x, choices, states, dst, o):
    """A block; the signs are those of its weights at x."""
    copy(dst, o + 4, states, 0, 64)
    for p in range(4):
        poke8(dst, o + p, peek8(choices, p * 4) | peek8(choices, p * 4 + 16) << 4)
    for c in range(32):
        signs = 0
        for p in range(8):
            signs |= (peek8(x, p * 128 + c * 4 + 3) >> 7) << p
        poke8(dst, o + 68 + c, signs)


def unpack(q, w, base, stride, b):
    o, p = base + 4 + (b >> 3) * 100, b & 7
    scale = first_words(w, o, stride) >> ((p & 3) * 8 + (p & 4)) & 15
    s = gather_f32(w, base, stride) * PRODUCT_FACTOR * to_f32x16(as_i32x16(scale))
    x0, x1 = low_and_high(gather_u32(w, o + 4 + p * 8, stride), OFFSET)
    x2, x3 = low_and_high(gather_u32(w, o + 8 + p * 8, stride), OFFSET)
    zero = splat_f32x16(0)
    v = magnitudes_with_signs(codes_of((x0, x1, x2, x3)), quads32(w, o + 68, stride), p)
    return s, s, zero, zero, v


CODE = Code(decode=decode, encode=encode, unpack=unpack, bias=BIAS)
