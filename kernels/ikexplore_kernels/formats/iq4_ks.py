"""iq4_ks: 4-bit codes into one of two non-linear tables, an 8-bit scale per 32 and a float per row (4.25 bpw).

Row: float32 d, then blocks of 256 columns, 136 bytes each: uint8 scales[8]; uint8 q[8][16]: for each part of 32
columns, 0..15 in the low nibbles, 16..31 in the high ones. The lowest bit of a scale chooses the table (the second is
the first plus 4), the others are the scale plus 127.
weight = d * ((scale & 254) - 127) * (table[code] + 4 * (scale & 1)).
"""

import numpy as np

from .. import jit
from ..simd import *
from ._eights import nibbles, plus
from ._lanes import clip, fill, magnitude, max16, nearest, reciprocal, scale_by, sum16, vmin, where_above
from ._search import codes_of, search, sums
from ._tables import IQ4_BOOK, decode_iq4_pair, look_up
from .base import Code
from .gather import copy, first_words, gather_f32, load_scalar, peek8, poke8, quads16

_TOP_D = 3.4e38 / 127 / 127


@jit
def decode(src, dst, n_rows, n_cols):
    blocks = n_cols // 256
    for r in range(n_rows):
        row = r * (4 + blocks * 136)
        d = load_scalar(src, row)
        for b in range(blocks):
            o, to = row + 4 + b * 136, (r * n_cols + b * 256) * 4
            for p in range(0, 8, 2):
                s0, s1 = peek8(src, o + p), peek8(src, o + p + 1)
                scale0, scale1 = d * np.float32((s0 & 254) - 127), d * np.float32((s1 & 254) - 127)
                decode_iq4_pair(src, o + 8 + p * 16, dst, to + p * 128, scale0, scale1, (s0 & 1) * 4, (s1 & 1) * 4)


@jit
def _row_scales(d, wanted, n_groups, xt, wt, chosen):
    """For d: per part the best of the odd scales near wanted / d and of the tables; (what is left of the row, new d).

    chosen gets the scale bytes of each group of 16 parts, as f32x16.
    """
    total, sum_a, sum_b = splat_f32x16(0), splat_f32x16(0), splat_f32x16(0)
    for g in range(n_groups):
        left, best = splat_f32x16(np.inf), splat_f32x16(0)
        best_a, best_b = left, left
        for k in range(6):
            table = k & 1
            near = nearest(clip((load_f32x16(wanted, g * 128 + table * 64) * reciprocal(d) - 1) * 0.5, -64, 63))
            scale = clip(near + ((k >> 1) - 1), -64, 63) * 2 + 1
            s = d * scale
            a, b = sums(IQ4_BOOK, table * 4, xt + g * 2048, wt + g * 2048, 32, reciprocal(s))
            e = s * (s * b - a * 2)
            best_a, best_b = where_above(left, e, scale * a, best_a), where_above(left, e, scale * scale * b, best_b)
            left, best = where_above(left, e, e, left), where_above(left, e, scale + 127 + table, best)
        total, sum_a, sum_b = total + left, sum_a + best_a, sum_b + best_b
        store_f32x16(chosen, g * 64, best)
    return sum16(total), sum16(sum_a) * reciprocal(sum16(sum_b))


@jit
def _row(parts, top, xt, wt, wanted, chosen, codes):
    """The float d of one row (over the row's largest magnitude), the scale bytes and codes of its parts."""
    n_groups = (parts + 15) // 16
    most, least = splat_f32x16(0), splat_f32x16(0)
    for g in range(n_groups):
        for table in range(2):
            s, _ = search(IQ4_BOOK, table * 4, xt + g * 2048, wt + g * 2048, 32, 100, 3, 14)
            store_f32x16(wanted, g * 128 + table * 64, s)
            most, least = vmax(most, s), vmax(least, s * -1)
    most, least = max16(most), max16(least)
    widest = where_above(most, least, most, least * -1)
    left, d, refit = splat_f32x16(np.inf), splat_f32x16(0), splat_f32x16(0)
    for k in range(6):
        at = 121.0 + k * 3 if k < 4 else 124.0
        try_d = refit if k == 5 else widest * (1 / at)
        e, again = _row_scales(try_d, wanted, n_groups, xt, wt, chosen)
        refit = where_above(left, e, again, refit)
        d, left = where_above(left, e, try_d, d), where_above(left, e, e, left)
    most = reciprocal(top) * _TOP_D  # so that no weight decodes to infinity
    d = vmin(vmax(d, most * -1), most)
    _row_scales(d, wanted, n_groups, xt, wt, chosen)
    for g in range(n_groups):
        bytes = to_i32x16(load_f32x16(chosen, g * 64))
        scale = d * to_f32x16((bytes & 254) - 127)
        shift = to_f32x16((bytes & 1) << 2)
        codes_of(IQ4_BOOK, shift, xt + g * 2048, 32, reciprocal(scale), codes + g * 512)
        store_i32x16(chosen, g * 64, bytes)
    return d


@jit
def encode(x, w, dst, n_rows, n_cols, work):
    parts = n_cols // 32
    groups, row_bytes = (parts + 15) // 16, 4 + n_cols // 256 * 136
    xt, wt = work, work + groups * 2048
    wanted, chosen, codes = wt + groups * 2048, wt + groups * 2176, wt + groups * 2240
    for r in range(n_rows):
        top = splat_f32x16(0)
        for g in range(groups):
            fill(x, w, n_cols, 32, r * parts + g * 16, (r + 1) * parts, xt + g * 2048, wt + g * 2048)
            top = vmax(top, magnitude(xt + g * 2048, 32))
        top = max16(top)
        scale_by(xt, groups * 32, reciprocal(top))
        store_f32x16(wanted, 0, _row(parts, top, xt, wt, wanted, chosen, codes) * top)
        copy(dst, r * row_bytes, wanted, 0, 4)
        for p in range(parts):
            o, g, l = r * row_bytes + 4 + (p >> 3) * 136, p >> 4, p & 15
            copy(dst, o + (p & 7), chosen, p * 4, 1)
            for i in range(16):
                at = codes + g * 512 + i * 16 + l
                poke8(dst, o + 8 + (p & 7) * 16 + i, peek8(at, 0) | peek8(at, 256) << 4)


def unpack(q, w, base, stride, b):
    o, p = base + 4 + (b >> 3) * 136, b & 7
    scale = as_i32x16(first_words(w, o + p, stride)) & 255
    s = gather_f32(w, base, stride) * to_f32x16((scale & 254) - 127)
    add = as_u8x64((scale & 1) * 0x04040404)
    zero = splat_f32x16(0)
    return s, s, zero, zero, plus(look_up(nibbles(quads16(w, o + 8 + p * 16, stride))), add)


CODE = Code(decode=decode, encode=encode, unpack=unpack, bias=128)
