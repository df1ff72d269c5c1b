"""Norms, softmax and rotary positions: row by row, float32."""

import math

import numpy as np

from ._cache import inner
from .abi import arg, argf, floats, get_f32, get_i64, ints


@inner
def _sum_squares(x, n):
    total = 0.0
    for i in range(n):
        total += np.float64(x[i]) * x[i]
    return total


def rms_norm(a, b, record, chunk, chunks, thread):
    """Op: y = x / sqrt(mean(x**2) + eps) * weight, over rows in up to three dimensions.

    Arguments: 0 x, 1 y, 2 weight (float32[n] or 0), 3 n, 4 rows ne1, 5 ne2, 6 and 7 bytes of x per step in dimension 1
    and 2, 8 and 9 of y, 10 eps. The sum is kept in float64, as ggml does.
    """
    n, ne1 = arg(record, 3), arg(record, 4)
    rows = ne1 * arg(record, 5)
    for i in range(rows * chunk // chunks, rows * (chunk + 1) // chunks):
        x = floats(arg(record, 0) + i % ne1 * arg(record, 6) + i // ne1 * arg(record, 7), n)
        y = floats(arg(record, 1) + i % ne1 * arg(record, 8) + i // ne1 * arg(record, 9), n)
        scale = np.float32(1.0 / math.sqrt(_sum_squares(x, n) / n + argf(record, 10)))
        if arg(record, 2) != 0:
            weight = floats(arg(record, 2), n)
            for j in range(n):
                y[j] = x[j] * scale * weight[j]
        else:
            for j in range(n):
                y[j] = x[j] * scale


def soft_max(a, b, record, chunk, chunks, thread):
    """Op: y = softmax(scale * x) over rows of n; with a position, causal: row j sees the first past + j + 1 columns.

    Arguments: 0 x, 1 y, 2 n, 3 rows ne1, 4 ne2, 5 scale, 6 address of past (int64) or 0, 7 how many columns a row sees at
    most, the last ones (0: all), 8 sinks (float32 [ne2]: one more score in the sum of each row) or 0. Rows lie one after
    the other.
    """
    n, ne1 = arg(record, 2), arg(record, 3)
    rows, scale = ne1 * arg(record, 4), argf(record, 5)
    for i in range(rows * chunk // chunks, rows * (chunk + 1) // chunks):
        x, y = floats(arg(record, 0) + i * n * 4, n), floats(arg(record, 1) + i * n * 4, n)
        seen = n
        if arg(record, 6) != 0:
            seen = min(n, get_i64(arg(record, 6), 0) + i % ne1 + 1)
        first = max(0, seen - arg(record, 7)) if arg(record, 7) != 0 else 0
        top, total = np.float32(-np.inf), 0.0
        for j in range(first, seen):
            top = max(top, x[j] * scale)
        if arg(record, 8) != 0:
            sink = get_f32(arg(record, 8), 4 * (i // ne1))
            top = max(top, sink)
            total = math.exp(sink - top)
        for j in range(first):
            y[j] = 0
        for j in range(first, seen):
            y[j] = math.exp(x[j] * scale - top)
            total += y[j]
        inverse = np.float32(1.0 / total)
        for j in range(first, seen):
            y[j] *= inverse
        for j in range(seen, n):
            y[j] = 0


def rope(a, b, record, chunk, chunks, thread):
    """Op: rotary positions. Pairs (i, i + 1) in mode 0, (i, i + n_rot / 2) in mode 2 ("neox").

    Arguments: 0 x, 1 y, 2 head size, 3 heads, 4 tokens, 5 and 6 bytes of x per head and token, 7 and 8 of y, 9 n_rot,
    10 mode, 11 positions (int32[tokens]), 12 table of float32 (cos, sin) [positions, n_rot / 2, 2].
    """
    size, heads, tokens, n_rot = arg(record, 2), arg(record, 3), arg(record, 4), arg(record, 9)
    half = n_rot // 2
    first, step = (1, 2) if arg(record, 10) == 0 else (half, 1)
    positions = ints(arg(record, 11), tokens)
    for i in range(heads * tokens * chunk // chunks, heads * tokens * (chunk + 1) // chunks):
        t, h = i // heads, i % heads
        x = floats(arg(record, 0) + h * arg(record, 5) + t * arg(record, 6), size)
        y = floats(arg(record, 1) + h * arg(record, 7) + t * arg(record, 8), size)
        turn = floats(arg(record, 12) + positions[t] * half * 8, n_rot)
        for j in range(half):
            cos, sin = turn[2 * j], turn[2 * j + 1]
            x0, x1 = x[j * step], x[j * step + first]
            y[j * step] = x0 * cos - x1 * sin
            y[j * step + first] = x0 * sin + x1 * cos
        for j in range(n_rot, size):
            y[j] = x[j]


def hadamard(a, b, record, chunk, chunks, thread):
    """Op: each block of columns times the orthonormal Hadamard matrix in Sylvester's order (its own inverse).

    Arguments: 0 x, 1 y, 2 n, 3 rows ne1, 4 ne2, 5 and 6 bytes of x per step in dimension 1 and 2, 7 columns of a block, a
    power of 2 that divides n. Rows of y lie one after the other.
    """
    n, ne1, size = arg(record, 2), arg(record, 3), arg(record, 7)
    rows, scale = ne1 * arg(record, 4), np.float32(1 / math.sqrt(size))
    for i in range(rows * chunk // chunks, rows * (chunk + 1) // chunks):
        x = floats(arg(record, 0) + i % ne1 * arg(record, 5) + i // ne1 * arg(record, 6), n)
        y = floats(arg(record, 1) + i * n * 4, n)
        for j in range(n):
            y[j] = x[j] * scale
        half = 1
        while half < size:
            for first in range(0, n, 2 * half):
                for j in range(first, first + half):
                    low, high = y[j], y[j + half]
                    y[j], y[j + half] = low + high, low - high
            half *= 2
