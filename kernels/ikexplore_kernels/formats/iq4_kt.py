"""iq4_kt: a state of 15 bits for 4 weights, a 7-bit scale and a choice of offset per 32, a float per row (4 bpw).

Row: float32 d, then blocks of 256 columns, 128 bytes each: uint32 head[8], one for each part of 32 columns (bit 0: the
offset is 36864 instead of 4096; bits 1..7: scale + 64; three bits each: bits 12..14 of its eight states); uint8
ql[8][8] (low bytes of the states); uint8 qh[4][8] (bits 8..11 of the states of parts 0..3 in the low nibbles, of 4..7 in
the high ones). See `_trellis` for the values of a state.
weight = d * scale * value.
"""

import numpy as np

from .. import jit
from ..simd import *
from ._trellis import BIAS, OFFSET, codes_of, spread, values4
from ._trellis_book import Cells, book, table
from ._trellis_rows import Plan, choices_and_states, encode_row, sharpened
from ._trellis_search import store_scalar
from .base import Code
from .gather import gather_f32, load_scalar, peek8, peek16, peek32, poke8, poke32, quads16

SECOND = 32768  # what the other offset adds
LEVELS = table(range(64), range(65))


@jit(forceinline=True)
def _states(low, high, top):
    """Four states: their low bytes, nibbles in bytes, and three bits each."""
    top = top & 7 | (top & 0x38) << 5 | (top & 0x1C0) << 10 | (top & 0xE00) << 15
    return spread(low) | spread(high & 0x0F0F0F0F | top << 4) << 8


@jit
def decode(src, dst, n_rows, n_cols):
    blocks = n_cols // 256
    for r in range(n_rows):
        row = r * (4 + blocks * 128)
        d = load_scalar(src, row)
        for b in range(blocks):
            o, to = row + 4 + b * 128, (r * n_cols + b * 256) * 4
            for p in range(8):
                head = peek32(src, o + p * 4)
                scale, offset = d * np.float32((head >> 1 & 127) - 64), OFFSET + (head & 1) * SECOND
                for h in range(2):
                    low = peek32(src, o + 32 + p * 8 + h * 4)
                    high = peek32(src, o + 96 + (p & 3) * 8 + h * 4) >> (p & 4)
                    states, at = _states(low, high, head >> (8 + 12 * h)), to + p * 128 + h * 64
                    store_f32x16(dst, at, values4(states, offset) * scale)


SHARPEN = 1.2  # the importance was given to the power 0.7
PLAN = Plan(
    Cells(4, 512, 64), books=2, signs=2, stride=4, windows=2, tried=12, probes=24, ratio=1.1, reach=105.0, widest=60.0
)


def encode(x, w, dst, n_rows, n_cols, work):
    weights = sharpened(w, n_cols, SHARPEN)
    books = book(PLAN.cells).ctypes.data, book(PLAN.cells, OFFSET + SECOND).ctypes.data
    _encode(x, weights.ctypes.data, dst, n_rows, n_cols, work, *books, LEVELS.ctypes.data)


@jit
def _encode(x, w, dst, n_rows, n_cols, work, book0, book1, levels):
    choices, states = choices_and_states(work, n_cols)
    for r in range(n_rows):
        o = r * (4 + n_cols // 256 * 128)
        d = encode_row(PLAN, (book0, book1), levels, (64, 65), x + r * n_cols * 4, w, n_cols, False, work)
        store_scalar(dst + o, d)
        for b in range(n_cols // 256):
            _pack(choices + b * 32, states + b * 128, dst, o + 4 + b * 128)


@jit
def _pack(choices, states, dst, o):
    for p in range(8):
        choice = peek32(choices, p * 4)
        scale = 64 - (choice & 255) if choice >> 8 & 1 else 64 + (choice & 255)
        head = scale << 1 | choice >> 16
        for g in range(8):
            state = peek16(states, p * 16 + g * 2)
            head |= (state >> 12) << (8 + 3 * g)
            poke8(dst, o + 32 + p * 8 + g, state & 255)
            at = o + 96 + (p & 3) * 8 + g
            high = state >> 8 & 15
            poke8(dst, at, high if p < 4 else peek8(dst, at) | high << 4)
        poke32(dst, o + p * 4, head)


@jit(forceinline=True)
def _state(low, high, head, offset, j):
    return (low >> (8 * (j & 3)) & 255 | (high >> (8 * (j & 3)) & 15) << 8 | (head >> (8 + 3 * j) & 7) << 12) + offset


def unpack(q, w, base, stride, b):
    o, p = base + 4 + (b >> 3) * 128, b & 7
    heads = quads16(w, o + (p & 4) * 4, stride)
    lows, highs = quads16(w, o + 32 + (p & 6) * 8, stride), quads16(w, o + 96 + (p & 2) * 8, stride)
    if p & 1:
        head = as_u32x16(heads[3]) if p & 2 else as_u32x16(heads[1])
        low0, low1, high0, high1 = as_u32x16(lows[2]), as_u32x16(lows[3]), as_u32x16(highs[2]), as_u32x16(highs[3])
    else:
        head = as_u32x16(heads[2]) if p & 2 else as_u32x16(heads[0])
        low0, low1, high0, high1 = as_u32x16(lows[0]), as_u32x16(lows[1]), as_u32x16(highs[0]), as_u32x16(highs[1])
    high0, high1 = high0 >> (p & 4), high1 >> (p & 4)
    offset = ((head & 1) << 15) + OFFSET
    x = (
        _state(low0, high0, head, offset, 0),
        _state(low0, high0, head, offset, 1),
        _state(low0, high0, head, offset, 2),
        _state(low0, high0, head, offset, 3),
        _state(low1, high1, head, offset, 4),
        _state(low1, high1, head, offset, 5),
        _state(low1, high1, head, offset, 6),
        _state(low1, high1, head, offset, 7),
    )
    s = gather_f32(w, base, stride) * to_f32x16(as_i32x16(head >> 1 & 127) - 64)
    zero = splat_f32x16(0)
    return s, s, zero, zero, codes_of(x)


CODE = Code(decode=decode, encode=encode, unpack=unpack, bias=BIAS)
