"""What the types on the ternary grid share. Values are in units of 1/8: 8 grid + 1, or 8 grid - 1 where moved down."""


import numpy as np

from .. import jit
from ..simd import *
from ._grid_look import look_word, points_of_8
from ._grid_scan import scan_one
from ._grid_search import CAND, GROUP, NUMBERS, ODDS, SCALES, SUMS, multiples, products, search, spread
from ._grids import IQ1, IQ1_FIT, IQ1_PARTS
from ._half import half_bits
from ._lanes import fill, magnitude, max16, reciprocal, scale_by, stored, sum16, vmin, where_above
from .gather import peek8, peek16, poke8, poke16

#: scratch of the encoders, besides that in `_grid_search`: candidates of a second search
OTHER = CAND + 4 * GROUP
#: scales are looked for from this times the root mean square on
LOWEST = 0.1

_q0, _q1, _q2, _q3 = (shuffle(range(16 * k, 16 * k + 16)) for k in range(4))
_low, _high = shuffle(list(range(8)) * 2), shuffle(list(range(8, 16)) * 2)


@jit(forceinline=True)
def word_of_8(bytes, k):
    """The half of u8x16 in which the k-th 8 bytes of 32 are, if 16 were loaded at 8 k or, from k = 2 on, at 16."""
    return _high(bytes) if k == 3 else _low(bytes)


@jit(forceinline=True)
def moved(v, d0, d1, d2, d3):
    """Codes with a bias of 10: bytes of the grid, 2 more in rows whose lowest bit of the group's word is not set."""
    a0, a1 = as_u8x64((d0 & 1 ^ 1) * 0x02020202), as_u8x64((d1 & 1 ^ 1) * 0x02020202)
    a2, a3 = as_u8x64((d2 & 1 ^ 1) * 0x02020202), as_u8x64((d3 & 1 ^ 1) * 0x02020202)
    return v[0] + a0, v[1] + a0, v[2] + a1, v[3] + a1, v[4] + a2, v[5] + a2, v[6] + a3, v[7] + a3


@jit(forceinline=True)
def points_of_parts(i, high):
    """32 columns of 16 rows from four bytes and four times 3 bits: see `points_of_8`."""
    return points_of_8(
        IQ1,
        i & 255 | (high & 7) << 8,
        i >> 8 & 255 | (high & 0x38) << 5,
        i >> 16 & 255 | (high & 0x1C0) << 2,
        i >> 24 | (high & 0xE00) >> 1,
    )


@jit(forceinline=True)
def put_moved(dst, to, values, m0, m1, s0, s1):
    """64 columns to dst + to: u8x64 plus an integer and times a scale for each 32."""
    store_f32x16(dst, to, to_f32x16(to_i32x16(_q0(values)) + m0) * s0)
    store_f32x16(dst, to + 64, to_f32x16(to_i32x16(_q1(values)) + m0) * s0)
    store_f32x16(dst, to + 128, to_f32x16(to_i32x16(_q2(values)) + m1) * s1)
    store_f32x16(dst, to + 192, to_f32x16(to_i32x16(_q3(values)) + m1) * s1)


@jit
def fill_part(x, w, n_cols, size, first, parts, unit, work):
    """16 blocks, times ``unit``, and their products to scratch: items, weights and products 2048 bytes apart."""
    xt, wt, lx = work, work + 2048, work + 4096
    fill(x, w, n_cols, size, first, parts, xt, wt)
    scale_by(xt, size, unit)
    products(xt, wt, size, lx)


@jit(forceinline=True)
def one_way(first):
    """The grid moved up (first 0) or down (2048), as `search` takes it."""
    return (IQ1_FIT, IQ1_PARTS, 4096, first, 2048, 8, False)


@jit
def search_both(work, cand):
    """The best scale of each block of 32, and 1 where its groups are moved down, else 0; candidates of the better."""
    wt, lx, odds = work + 2048, work + 4096, work + ODDS
    around = spread(work, wt, 32) * LOWEST
    up, gain = search(one_way(0), lx, wt, odds, 32, around, cand, work)
    down, more = search(one_way(2048), lx, wt, odds, 32, around, work + OTHER, work)
    for at in range(0, 4 * GROUP, 64):
        a, b = load_f32x16(cand, at), load_f32x16(work, OTHER + at)
        store_f32x16(cand, at, where_above(more, gain, b, a))
    return where_above(more, gain, down, up), where_above(more, gain, splat_f32x16(1), splat_f32x16(0))


@jit
def choose_both(work, scale, minus):
    """The best points of each block of 32 at a scale, moved down where minus is 1: int32 [4, 16] at NUMBERS."""
    for g in range(4):
        lx, wt = work + 4096 + g * 512, work + 2048 + g * 512
        up = scan_one(one_way(0), lx, wt, 0, scale, work + SUMS)
        down = scan_one(one_way(2048), lx, wt, 0, scale, work + SUMS) + 2048
        both = where_above(minus, splat_f32x16(0), to_f32x16(down), to_f32x16(up))
        store_i32x16(work, NUMBERS + g * 64, to_i32x16(both))


@jit
def put_part(work, l, dst, at, step, high):
    """Lane l of the results: four bytes of index at dst[at], dst[at + step] ..., and the uint16 at dst[high]."""
    word = peek8(work, SCALES + l * 4) << 12
    for g in range(4):
        n = peek16(work, NUMBERS + g * 64 + l * 4)
        poke8(dst, at + g * step, n)
        word |= (n >> 8 & 7) << 3 * g | n >> 11 << 15
    poke16(dst, high, word)


@jit
def row_top(x, w, n_cols, size, first, parts, work):
    """The largest magnitude of a row, in all lanes."""
    top = splat_f32x16(0)
    for at in range(first, first + parts, 16):
        fill(x, w, n_cols, size, at, first + parts, work, work + 2048)
        top = vmax(top, magnitude(work, size))
    return max16(top)


@jit
def row_unit(kept, n, size, groups, step, low, most, top):
    """A half d for a row: its bits (times top), and d / 8. Scales are d / 8 * (step * i + low), i = 0..most.

    ``kept``: n times ``size`` bytes, each with the candidates of 16 blocks of ``groups`` groups and their best scales.
    """
    widest, high = splat_f32x16(0), np.float32(step * most + low)
    for g in range(n):
        widest = vmax(widest, load_f32x16(kept, g * size + groups * GROUP))
    widest, left = max16(widest), splat_f32x16(np.inf)
    unit, refit = splat_f32x16(0), splat_f32x16(0)
    for k in range(10):
        tried = widest * (1 / (high * (1.2 - 0.06 * k))) if k < 8 else refit
        tried = stored(tried * 8, top, k & 1) * 0.125
        e, a, b = splat_f32x16(0), splat_f32x16(0), splat_f32x16(0)
        for g in range(n):
            at = kept + g * size
            i, l, q, s = multiples(at, groups, step, low, most, tried, load_f32x16(at, groups * GROUP))
            m = i * step + low
            e, a, b = e + s * (s * q - l), fma(m, l, a), fma(m * m, q, b)
        e, again = sum16(e), sum16(a) * reciprocal(sum16(b)) * 0.5
        refit = where_above(left, e, vmax(again, splat_f32x16(0)), refit)
        unit, left = where_above(left, e, tried, unit), vmin(left, e)
    return half_bits(unit * 8 * top), unit


@jit(forceinline=True)
def four_rows(index, down):
    """32 columns of 4 rows: u32x32 of bytes of the grid, 2 less where ``down`` (u32x16) is 1.

    Lane 4 i + k of index is that of group i of row k; its words come in lanes 4 i + k and 16 + 4 i + k.
    """
    less = as_u8x64(down * 0x02020202)
    low, high = as_u8x64(look_word(IQ1, index << 3)) - less, as_u8x64(look_word(IQ1, (index << 3) + 4)) - less
    return concat(as_u32x16(low), as_u32x16(high))


_row0, _row1, _row2, _row3 = (shuffle([16 * (j % 2) + 4 * (j // 2) + k for j in range(8)]) for k in range(4))
_first, _last = shuffle(range(16)), shuffle(range(16, 32))


@jit(forceinline=True)
def put_four_rows(dst, to, n_cols, four, s0, s1):
    """What four_rows gives, minus 8, to four rows of ``n_cols``; s0[k] and s1[k]: scales of the halves of row k."""
    put_row(dst, to, as_i8x32(_row0(four)), s0, s1, 0)
    put_row(dst, to + n_cols * 4, as_i8x32(_row1(four)), s0, s1, 1)
    put_row(dst, to + n_cols * 8, as_i8x32(_row2(four)), s0, s1, 2)
    put_row(dst, to + n_cols * 12, as_i8x32(_row3(four)), s0, s1, 3)


@jit(forceinline=True)
def put_row(dst, to, bytes, s0, s1, k):
    """32 columns of one row."""
    store_f32x16(dst, to, to_f32x16(to_i32x16(_first(bytes)) - 8) * s0[k])
    store_f32x16(dst, to + 64, to_f32x16(to_i32x16(_last(bytes)) - 8) * s1[k])
