"""iq1_kt: a state of 13 bits for 8 weights, a 4-bit scale from a non-linear table per 32, a float per row (1.75 bpw).

Row: float32 d, then blocks of 256 columns, 56 bytes each: uint8 sh[8] (for each part of 32 columns the scale in the low
nibble, bit 12 of its four states in the high one); uint8 ql[8][4] (low bytes of the states); uint8 qh[4][4] (bits 8..11
of the states of parts 0..3 in the low nibbles, of 4..7 in the high ones). See `_trellis`; offset 4096.
weight = d * table[scale] * value.
"""

from .. import jit
from ..simd import *
from ._trellis import BIAS, IQ4_VALUES, OFFSET, codes_of, iq4_value, spread, values8
from ._trellis_book import IQ4_LEVELS as LEVELS
from ._trellis_book import Cells, book
from ._trellis_rows import Plan, choices_and_states, encode_row, iq4_code
from ._trellis_search import store_scalar
from .base import Code
from .gather import first_words, gather_f32, gather_u32, load_scalar, peek8, peek16, peek32, poke8


@jit
def decode(src, dst, n_rows, n_cols):
    blocks = n_cols // 256
    for r in range(n_rows):
        row = r * (4 + blocks * 56)
        d = load_scalar(src, row)
        for b in range(blocks):
            o, to = row + 4 + b * 56, (r * n_cols + b * 256) * 4
            for p in range(8):
                sh = peek8(src, o + p)
                high = peek32(src, o + 40 + (p & 3) * 4) >> (p & 4) & 0x0F0F0F0F | ((sh >> 4) * 0x204081 & 0x01010101) << 4
                states = spread(peek32(src, o + 8 + p * 4)) | spread(high) << 8
                scale = d * IQ4_VALUES[sh & 15]
                v0, v1 = values8(states, OFFSET)
                store_f32x16(dst, to + p * 128, v0 * scale)
                store_f32x16(dst, to + p * 128 + 64, v1 * scale)


PLAN = Plan(
    Cells(8, 512, 16), books=1, signs=2, stride=1, windows=1, tried=10, probes=32, ratio=1.05, reach=126.0, widest=90.0
)


def encode(x, w, dst, n_rows, n_cols, work):
    _encode(x, w, dst, n_rows, n_cols, work, book(PLAN.cells).ctypes.data, LEVELS.ctypes.data)


@jit
def _encode(x, w, dst, n_rows, n_cols, work, book, levels):
    choices, states = choices_and_states(work, n_cols)
    for r in range(n_rows):
        o = r * (4 + n_cols // 256 * 56)
        d = encode_row(PLAN, (book,), levels, (8, 8), x + r * n_cols * 4, w, n_cols, False, work)
        store_scalar(dst + o, d)
        for b in range(n_cols // 256):
            _pack(choices + b * 32, states + b * 64, dst, o + 4 + b * 56)


@jit
def _pack(choices, states, dst, o):
    for p in range(8):
        sh = iq4_code(peek16(choices, p * 4))
        for g in range(4):
            state = peek16(states, p * 8 + g * 2)
            sh |= (state >> 12) << (4 + g)
            poke8(dst, o + 8 + p * 4 + g, state & 255)
            at = o + 40 + (p & 3) * 4 + g
            high = state >> 8 & 15
            poke8(dst, at, high if p < 4 else peek8(dst, at) | high << 4)
        poke8(dst, o + p, sh)


def unpack(q, w, base, stride, b):
    o, p = base + 4 + (b >> 3) * 56, b & 7
    sh = first_words(w, o + p, stride)
    low = gather_u32(w, o + 8 + p * 4, stride)
    high = gather_u32(w, o + 40 + (p & 3) * 4, stride) >> (p & 4)
    x0 = (low & 255 | (high & 15) << 8 | (sh & 16) << 8) + OFFSET
    x1 = (low >> 8 & 255 | high & 0xF00 | (sh & 32) << 7) + OFFSET
    x2 = (low >> 16 & 255 | high >> 8 & 0xF00 | (sh & 64) << 6) + OFFSET
    x3 = (low >> 24 | high >> 16 & 0xF00 | (sh & 128) << 5) + OFFSET
    s = gather_f32(w, base, stride) * iq4_value(sh)
    zero = splat_f32x16(0)
    return s, s, zero, zero, codes_of((x0, x1, x2, x3))


CODE = Code(decode=decode, encode=encode, unpack=unpack, bias=BIAS)
