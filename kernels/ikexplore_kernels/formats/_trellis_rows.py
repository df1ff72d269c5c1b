"""Encoding of rows in a trellis type: scales of the parts of 32 columns, states of their groups, the float of the row."""

import ctypes
from typing import NamedTuple

import numpy as np

from .. import jit
from ..simd import *
from ._lanes import TINY
from ._trellis import TOP_D
from ._trellis_book import Cells
from ._trellis_search import add_gains, best_state, near_cells, prepare, store_scalar
from .gather import copy, load_scalar, poke16, poke32


class Plan(NamedTuple):
    """What to search, all constants.

    Books and signs; ``windows`` times four levels, ``stride`` apart; cells to look into (at most 32), ``tried`` of them to
    choose a scale, ``probes`` in the end. A part of deviation s wants the scale ``ratio`` * s / 37, or more to have its
    largest weight within ``reach``; the widest scale of a row becomes the level ``widest``.
    """

    cells: Cells
    books: int
    signs: int
    stride: int
    windows: int
    tried: int
    probes: int
    ratio: float
    reach: float
    widest: float


_DEVIATION = 36.94  # of the values of all states


@jit
def _top(x, n):
    top = splat_f32x16(0)
    for i in range(0, n, 16):
        top = vmax(top, vabs(load_f32x16(x, i * 4)))
    return vtop(top)


@jit(forceinline=True)
def _wanted(plan, x, w):
    """The scale of a part of 32: its weighted deviation fits that of the states and its largest magnitude their range."""
    x0, x1, w0, w1 = load_f32x16(x, 0), load_f32x16(x, 64), load_f32x16(w, 0), load_f32x16(w, 64)
    mean = vsum(fma(w0 * x0, x0, w1 * x1 * x1)) / vsum(w0 + w1)
    return max(np.sqrt(mean) * np.float32(plan.ratio / _DEVIATION), vtop(vmax(vabs(x0), vabs(x1))) * np.float32(1 / plan.reach))


@jit(forceinline=True)
def _window(levels, n, stride, wanted):
    """The first of four levels, ``stride`` apart, that lie around ``wanted``; levels: float32 [n], increasing."""
    above = 0
    while above < n and load_scalar(levels, above * 4) < wanted:
        above += 1
    return max(0, min(above - 2 * stride + (stride >> 1), n - 1 - 3 * stride))


@jit(forceinline=True)
def _choose(plan, books, levels, counts, x, w, d, wanted, work):
    """The best scale of a part, book << 16 | negative << 8 | number of the level.

    work: integers of each group, 192 bytes; from 2048 on lists of near cells, 128 bytes for each book, group and sign.
    """
    groups, scales, totals, best, choice = 32 // plan.cells.dim, work + 1536, work + 1552, np.float32(-np.inf), 0
    step = plan.stride // plan.windows
    for g in range(groups):
        at = g * plan.cells.dim * 4
        prepare(plan.cells, x + at, w + at, np.float32(1) / wanted, work + g * 192)
    for b in range(plan.books):
        lists = work + 2048 + b * groups * 256
        for g in range(groups):
            near_cells(books[b], plan.cells, work + g * 192, plan.signs, plan.tried, plan.probes, lists + g * 256)
        for sign in range(plan.signs):
            table = levels + sign * 320
            first = _window(table, counts[sign] - (plan.windows - 1) * step, plan.stride, wanted / d)
            for _ in range(plan.windows):
                for k in range(4):
                    store_scalar(scales + k * 4, load_scalar(table, (first + k * plan.stride) * 4) * d)
                    store_scalar(totals + k * 4, np.float32(0))
                for g in range(groups):
                    near = lists + g * 256 + sign * 128
                    add_gains(books[b], plan.cells, work + g * 192, sign, near, plan.tried, scales, totals)
                for k in range(4):
                    total = load_scalar(totals, k * 4)
                    if total > best:
                        best, choice = total, b << 16 | sign << 8 | (first + k * plan.stride)
                first += step
    return choice


@jit(forceinline=True)
def _finish(plan, books, levels, d, choice, states, work):
    """States of a part with a chosen scale, from what `_choose` left in work; A and B in units of the level."""
    b, sign, groups = choice >> 16, choice >> 8 & 1, 32 // plan.cells.dim
    level = load_scalar(levels, sign * 320 + (choice & 255) * 4)
    sum_a, sum_b = np.float32(0), np.float32(0)
    for g in range(groups):
        near = work + 2048 + ((b * groups + g) * 2 + sign) * 128
        group = work + g * 192
        state, a, square = best_state(books[b], plan.cells, group, sign, near, plan.probes, level * d, work + 1600)
        poke16(states, g * 2, state)
        sum_a, sum_b = sum_a + level * a, sum_b + level * level * square
    return sum_a, sum_b


@jit(forceinline=True)
def _row(plan, books, levels, counts, x, w, n_cols, choices, states, work):
    """Choices (int32) of the parts and states (uint16) of the groups of a row of magnitude 1; gives its float."""
    parts, per = n_cols // 32, 32 // plan.cells.dim
    most = np.float32(0)
    for p in range(parts):
        most = max(most, _wanted(plan, x + p * 128, w + p * 128))
    d = most * np.float32(1 / plan.widest)
    sum_a, sum_b = np.float32(0), np.float32(0)
    for p in range(parts):
        xp, wp = x + p * 128, w + p * 128
        choice = _choose(plan, books, levels, counts, xp, wp, d, max(_wanted(plan, xp, wp), d * np.float32(0.25)), work)
        poke32(choices, p * 4, choice)
        a, b = _finish(plan, books, levels, d, choice, states + p * per * 2, work)
        sum_a, sum_b = sum_a + a, sum_b + b
    return sum_a / sum_b if sum_b > 0 else d


@jit(forceinline=True)
def encode_row(plan, books, levels, counts, x, w, n_cols, magnitudes, work):
    """Encode a row of n_cols weights (or of their magnitudes): its float; choices and states are left in work."""
    to, weights = work, work + n_cols * 4
    choices, states = choices_and_states(work, n_cols)
    top = _top(x, n_cols)
    if top < TINY:
        for i in range(0, n_cols // 8 + n_cols // 2, 64):
            store_i32x16(choices, i, splat_i32x16(0))
        return np.float32(0)
    copy(weights, 0, w, 0, n_cols * 4)
    store_i32x16(weights, n_cols * 4, splat_i32x16(0))  # `prepare` reads past the last group
    inv = np.float32(1) / top
    for i in range(0, n_cols, 16):
        v = load_f32x16(x, i * 4) * inv
        store_f32x16(to, i * 4, vabs(v) if magnitudes else v)
    d = _row(plan, books, levels, counts, to, weights, n_cols, choices, states, work + n_cols * 12)
    most = np.float32(TOP_D) / top
    return max(min(d, most), -most) * top


@jit(forceinline=True)
def choices_and_states(work, n_cols):
    """Where a row's choices (int32 for each part) and states (uint16 for each group) are."""
    choices = work + n_cols * 8 + 64
    return choices, choices + n_cols // 8


@jit(forceinline=True)
def iq4_code(choice):
    """The entry of the non-linear table: 8, 9, ... are its positive values, 7, 6, ... the negative ones."""
    return 7 - (choice & 7) if choice >> 8 else 8 + choice


def sharpened(w, n_cols, power):
    """The importances at an address to a power, float32 [n_cols]."""
    return np.frombuffer((ctypes.c_float * n_cols).from_address(w), np.float32) ** np.float32(power)
