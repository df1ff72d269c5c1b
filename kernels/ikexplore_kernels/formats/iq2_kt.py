"""iq2_kt: a state of 16 bits for 8 weights, a 4-bit scale from a non-linear table per 32, a float per row (2.125 bpw).

Row: float32 d, then blocks of 256 columns, 68 bytes each: uint8 scales[4] (parts 0..3 of 32 columns in the low nibbles,
4..7 in the high ones); uint16 states[8][4], four for each part. See `_trellis` for the values of a state; offset 4096.
weight = d * table[scale] * value. The reference's matrix products multiply by 1.05 on top of that, its dequantization
does not: so do unpack and decode here.
"""

import numpy as np

from .. import jit
from ..simd import *
from ._trellis import BIAS, IQ4_VALUES, OFFSET, codes_of, iq4_value, low_and_high, peek64, values8
from ._trellis_book import IQ4_LEVELS as LEVELS
from ._trellis_book import Cells, book
from ._trellis_rows import Plan, choices_and_states, encode_row, iq4_code
from ._trellis_search import store_scalar
from .base import Code
from .gather import copy, first_words, gather_f32, gather_u32, load_scalar, peek8, peek16, poke8

PRODUCT_FACTOR = np.float32(1.05)


@jit
def decode(src, dst, n_rows, n_cols):
    blocks = n_cols // 256
    for r in range(n_rows):
        row = r * (4 + blocks * 68)
        d = load_scalar(src, row)
        for b in range(blocks):
            o, to = row + 4 + b * 68, (r * n_cols + b * 256) * 4
            for p in range(8):
                scale = d * IQ4_VALUES[peek8(src, o + (p & 3)) >> (p & 4) & 15]
                v0, v1 = values8(peek64(src, o + 4 + p * 8), OFFSET)
                store_f32x16(dst, to + p * 128, v0 * scale)
                store_f32x16(dst, to + p * 128 + 64, v1 * scale)


PLAN = Plan(
    Cells(8, 1024, 64), books=1, signs=2, stride=1, windows=1, tried=10, probes=16, ratio=1.05, reach=126.0, widest=90.0
)


def encode(x, w, dst, n_rows, n_cols, work):
    _encode(x, w, dst, n_rows, n_cols, work, book(PLAN.cells).ctypes.data, LEVELS.ctypes.data)


@jit
def _encode(x, w, dst, n_rows, n_cols, work, book, levels):
    choices, states = choices_and_states(work, n_cols)
    for r in range(n_rows):
        o = r * (4 + n_cols // 256 * 68)
        store_scalar(dst + o, encode_row(PLAN, (book,), levels, (8, 8), x + r * n_cols * 4, w, n_cols, False, work))
        for b in range(n_cols // 256):
            _pack(choices + b * 32, states + b * 64, dst, o + 4 + b * 68)


@jit
def _pack(choices, states, dst, o):
    copy(dst, o + 4, states, 0, 64)
    for p in range(4):
        poke8(dst, o + p, iq4_code(peek16(choices, p * 4)) | iq4_code(peek16(choices, p * 4 + 16)) << 4)


def unpack(q, w, base, stride, b):
    o, p = base + 4 + (b >> 3) * 68, b & 7
    scale = iq4_value(first_words(w, o, stride) >> ((p & 3) * 8 + (p & 4)))
    s = gather_f32(w, base, stride) * PRODUCT_FACTOR * scale
    x0, x1 = low_and_high(gather_u32(w, o + 4 + p * 8, stride), OFFSET)
    x2, x3 = low_and_high(gather_u32(w, o + 8 + p * 8, stride), OFFSET)
    zero = splat_f32x16(0)
    return s, s, zero, zero, codes_of((x0, x1, x2, x3))


CODE = Code(decode=decode, encode=encode, unpack=unpack, bias=BIAS)
