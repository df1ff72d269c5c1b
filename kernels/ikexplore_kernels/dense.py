"""Matrix products with weights in f32, f16 or bf16, in float32 arithmetic.

The same three-way split and the same arguments as ``product``, with tiles of float32 columns [k, width]. Rows are
widened and transposed into scratch, 16 at a time, so that a vector holds 16 rows of one column.
"""

import numpy as np
from numba.extending import overload

from ._cache import inner
from .abi import arg, get_f32, get_i64, put_f32
from .cache_rows import row16
from .formats import get
from .formats.base import columns, widen
from .product import clear, finish, gate_up, put, share
from .simd import *

PANEL = 128  # columns of k that are widened at a time


@inner
def _dot(q, w, k, x):
    """A row at w times float32[k] at x."""
    a = splat_f32x16(np.float32(0))
    b, c, d = a, a, a
    i = 0
    while i + 64 <= k:
        a = fma(widen(q, w, 0, 0, i), load_f32x16(x, 4 * i), a)
        b = fma(widen(q, w, 0, 0, i + 16), load_f32x16(x, 4 * i + 64), b)
        c = fma(widen(q, w, 0, 0, i + 32), load_f32x16(x, 4 * i + 128), c)
        d = fma(widen(q, w, 0, 0, i + 48), load_f32x16(x, 4 * i + 192), d)
        i += 64
    while i < k:
        a = fma(widen(q, w, 0, 0, i), load_f32x16(x, 4 * i), a)
        i += 16
    return vsum((a + b) + (c + d))


def _one_column(q, w, stride, k, x, row, m, out):
    """16 rows (those below m) times one column, to float32[16] at out."""
    raise NotImplementedError("for use inside compiled kernels")


def _expand(q, w, stride, k0, n, row, m, out):
    """Columns k0 .. k0 + n of 16 rows from ``row`` on (the last one repeated beyond m) to float32 [n, 16] at out."""
    raise NotImplementedError("for use inside compiled kernels")


def _one_column_rows(q, w, stride, k, x, row, m, out):
    for r in range(min(16, m - row)):
        put_f32(out, 4 * r, _dot(q, w + (row + r) * stride, k, x))


def _one_column_interleaved(q, w, stride, k, x, row, m, out):
    acc = splat_f32x16(np.float32(0))
    for i in range(k):
        acc = fma(columns(q, w, row * stride, i), splat_f32x16(get_f32(x, 4 * i)), acc)
    store_f32x16(out, 0, acc)


def _expand_rows(q, w, stride, k0, n, row, m, out):
    for i in range(0, n, 16):
        for r in range(16):
            store_f32x16(out + i * 64, r * 64, widen(q, w + min(row + r, m - 1) * stride, 0, 0, k0 + i))
        store_tuple(transpose16(load_tuple16(out + i * 64)), out + i * 64)


def _expand_interleaved(q, w, stride, k0, n, row, m, out):
    for i in range(n):
        store_f32x16(out, i * 64, columns(q, w, row * stride, k0 + i))


@overload(_one_column)
def _one_column_of(q, w, stride, k, x, row, m, out):
    return _one_column_rows if get(q.format).interleave == 1 else _one_column_interleaved


@overload(_expand)
def _expand_of(q, w, stride, k0, n, row, m, out):
    return _expand_rows if get(q.format).interleave == 1 else _expand_interleaved


@inner
def _many_columns(n, wa, wb, x, sums):
    fa, fb = load_tile(sums), load_tile(sums + 64 * TILE)
    for i in range(n):
        fa = tile_fma(fa, load_f32x16(wa, i * 64), x + i * 4 * TILE)
        fb = tile_fma(fb, load_f32x16(wb, i * 64), x + i * 4 * TILE)
    store_tuple(fa, sums)
    store_tuple(fb, sums + 64 * TILE)


@inner
def _wide_groups(q, record, w, w2, row, row2, t0, t1, sums):
    """As ``product.wide_groups``, in float32."""
    stride, k, m = arg(record, 1), arg(record, 2), arg(record, 3)
    panel = min(k, PANEL)
    wa = sums + (t1 - t0) * 128 * TILE
    wb = wa + 64 * panel
    clear(sums, (t1 - t0) * 2 * TILE)
    for k0 in range(0, k, panel):
        n = min(panel, k - k0)
        for i in range(2):
            at, r = w if i == 0 or w2 == 0 else w2, row if i == 0 else row2
            _expand(q, at, stride, k0, n, r, m, wa if i == 0 else wb)
        for t in range(t0, t1):
            _many_columns(n, wa, wb, arg(record, 6) + (t * k + k0) * TILE * 4, sums + (t - t0) * 128 * TILE)
            if k0 + n == k:
                finish(record, w2, row, row2, t, sums + (t - t0) * 128 * TILE)


def dense_product(q, b, record, chunk, chunks, thread):
    """Op: as ``product`` for formats without codes; argument 6 is the float32 tiles, 7 and 8 are not used.

    k must be a multiple of 16.
    """
    stride, k, m = arg(record, 1), arg(record, 2), arg(record, 3)
    expert, g0, g1, t0, t1 = share(record, chunk)
    w = arg(record, 0) + expert * arg(record, 4)
    w2 = arg(record, 5) + expert * arg(record, 4) if arg(record, 5) != 0 else 0
    spill = arg(record, 11) + thread * arg(record, 12)
    width = arg(record, 16)
    if t0 == t1:
        return
    if width > 1:
        for g in range(g0, g1, 1 if w2 != 0 else 2):
            _wide_groups(q, record, w, w2, g * 16, g * 16 if w2 != 0 else min(g + 1, g1 - 1) * 16, t0, t1, spill)
        return
    for g in range(g0, g1):
        row = g * 16
        for t in range(t0, t1):
            x = arg(record, 6) + t * k * 4
            for i in range(2 if w2 != 0 else 1):
                _one_column(q, w if i == 0 else w2, stride, k, x, row, m, spill + 64 * i)
            if w2 != 0:
                gate_up(spill, spill + 64, 1)
            put(spill, arg(record, 10) + t * 8, 1, row, min(16, m - row))


def dense_scratch_bytes(k: int, tiles: int) -> int:
    """Bytes of scratch per thread that ``dense_product`` needs for rows of k columns and so many tiles."""
    return 128 * TILE * max(1, tiles) + 128 * min(k, PANEL)


def strided_product(q, b, record, chunk, chunks, thread):
    """Op: batched product of two views, y[h, j, i] = w[h / group, i, :] . x[h, j, :], for attention without -fa.

    Arguments: 0 w, 1 bytes from row to row, 2 from head to head; 3 x (float32), 4 from column to column, 5 from head to
    head; 6 y, 7 from column to column, 8 from head to head; 9 k, 10 rows, 11 columns, 12 heads of x, 13 heads of x per
    head of w, 14 address of the number of rows that matter or 0 (the rest is left alone), 15 address of the k that
    matters or 0. Chunks share out heads x columns.
    """
    k, m, n, heads = arg(record, 9), arg(record, 10), arg(record, 11), arg(record, 12)
    if arg(record, 14) != 0:
        m = min(m, get_i64(arg(record, 14), 0))
    if arg(record, 15) != 0:
        k = min(k, (get_i64(arg(record, 15), 0) + 15) // 16 * 16)
    for i in range(heads * n * chunk // chunks, heads * n * (chunk + 1) // chunks):
        h, j = i // n, i % n
        w = arg(record, 0) + h // arg(record, 13) * arg(record, 2)
        x = arg(record, 3) + j * arg(record, 4) + h * arg(record, 5)
        y = arg(record, 6) + j * arg(record, 7) + h * arg(record, 8)
        for r in range(m):
            acc = splat_f32x16(np.float32(0))
            for c in range(0, k, 16):
                acc = fma(row16(q, w + r * arg(record, 1), c), load_f32x16(x, 4 * c), acc)
            put_f32(y, 4 * r, vsum(acc))
