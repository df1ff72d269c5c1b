"""The states of a trellis sorted into cells of near ones, so that a search looks at few of its thousands of states.

A book is one array of bytes. First the means of the cells, int16 [cells / 16, dim / 2, 2, 16, 2]: for each two
coordinates their squares over 8, then themselves. Then the values of the states in the order of the cells, int8 [cells,
size / 16, dim / 2, 16, 2], and the number of each state in that order, uint16 [cells * size].
Cells are made by halving: each time at the median of the coordinate with the largest variance (a k-d tree), so that all
have the same size. `Cells` says where things are.
"""

import functools
import threading
from typing import NamedTuple

import numpy as np

from ._tables import IQ4
from ._trellis import MULTIPLIER, OFFSET


def table(positive, negative) -> np.ndarray:
    """Magnitudes of scales, increasing: float32 [2, 80], those of positive ones and those of negative ones."""
    out = np.zeros((2, 80), np.float32)
    out[0, : len(positive)], out[1, : len(negative)] = positive, negative
    return out


#: scales of iq1_kt and iq2_kt: 8 positive and 8 negative ones
IQ4_LEVELS = table(IQ4[8:], [-v for v in IQ4[7::-1]])
MEANS_SHIFT = 3  # squares of means are divided by 2 to this
_lock = threading.Lock()


class Cells(NamedTuple):
    """The shape of a book: coordinates of a state, number of cells, states in each."""

    dim: int
    count: int  # type: ignore[assignment]
    size: int


def sequence(states: np.ndarray, n: int) -> np.ndarray:
    """uint [m] states with their offset -> int32 [m, n] values."""
    x, out = states.astype(np.uint32), np.empty((len(states), n), np.int32)
    for k in range(n):
        x = x * np.uint32(MULTIPLIER)
        out[:, k] = (x & np.uint32(0x3F3F3F3F)).view(np.uint8).reshape(-1, 4).sum(axis=1, dtype=np.int32) - 126
    return out


def _halved(values: np.ndarray, cells: int) -> np.ndarray:
    """Numbers of the states of each cell, [cells, size]."""
    order = np.arange(len(values))[None]
    while len(order) < cells:
        points = values[order]
        widest = points.var(axis=1).argmax(axis=1)
        along = np.take_along_axis(points, widest[:, None, None], axis=2)[..., 0]
        order = np.take_along_axis(order, along.argsort(axis=1, kind="stable"), axis=1)
        order = order.reshape(2 * len(order), -1)
    return order


@functools.cache
def _make(cells: Cells, first: int, magnitudes: bool) -> np.ndarray:
    values = sequence(np.arange(cells.count * cells.size) + first, cells.dim)
    values = np.abs(values) if magnitudes else values
    order = _halved(values.astype(np.float32), cells.count)
    points = values[order]
    pairs = cells.dim // 2
    means = points.mean(axis=1, dtype=np.float64).reshape(-1, 16, pairs, 2).transpose(0, 2, 1, 3)
    means = np.rint(np.stack([means**2 / (1 << MEANS_SHIFT), means], axis=2)).astype(np.int16)
    words = points.astype(np.int8).reshape(cells.count, -1, 16, pairs, 2).transpose(0, 1, 3, 2, 4)
    parts = [means, words, order.astype(np.uint16)]
    return np.concatenate([np.ascontiguousarray(p).view(np.uint8).ravel() for p in parts])


def book(cells: Cells, first: int = OFFSET, magnitudes: bool = False) -> np.ndarray:
    """The book of all states from ``first`` on, made once; ``magnitudes``: of the absolute values."""
    with _lock:
        return _make(cells, first, magnitudes)
