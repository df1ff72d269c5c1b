"""Element by element: sums, products, gating, copies of rows, and the router's bookkeeping. All float32."""

import numpy as np

from ._cache import inner
from .abi import arg, argf, floats, get_f32, get_i32, get_u16, ints, put_f32, put_u16
from .mathv import vexp, vsilu
from .simd import *

ADD, MUL, DIV, SILU_MUL, SWIGLU_OAI = range(5)
SCALE, SIGMOID = range(2)

#: gpt-oss: the gate's slope, and what gate and value are clipped to
_ALPHA, _LIMIT = np.float32(1.702), np.float32(7)


@inner
def _combine(kind, x, z):
    if kind == 0:
        return x + z
    if kind == 1:
        return x * z
    return x / z


@inner
def _gated(kind, x, z):
    """silu(x) * z, or with SWIGLU_OAI silu of slope 1.702 of x up to 7, times z between -7 and 7, plus 1."""
    if kind == 3:
        return vsilu(x) * z
    x = vmin(x, splat_f32x16(_LIMIT))
    z = vmax(vmin(z, splat_f32x16(_LIMIT)), splat_f32x16(-_LIMIT))
    return x / (vexp(x * -_ALPHA) + np.float32(1)) * (z + np.float32(1))


@inner
def _gated_one(kind, x, z):
    if kind == 3:
        return np.float32(x / (1 + np.exp(-x)) * z)
    x, z = min(x, _LIMIT), max(min(z, _LIMIT), -_LIMIT)
    return np.float32(x / (1 + np.exp(-_ALPHA * x)) * (z + 1))


@inner
def _row_of_z(record, i):
    """Rows of z go round; with ids they are named: one per row of x."""
    if arg(record, 8) == 0:
        return i % arg(record, 6)
    slots = arg(record, 10)
    return np.int64(get_i32(arg(record, 8), i // slots * arg(record, 9) + i % slots * 4))


def binary(a, b, record, chunk, chunks, thread):
    """Op: y = x + z, x * z, x / z or a gate's silu(x) * z over rows; z may have one value or one row for several rows of x.

    Arguments: 0 x, 1 z, 2 y, 3 n, 4 rows, 5 values in a row of z (n or 1), 6 rows of z (rows % rows of z is taken),
    7 kind (ADD, MUL, DIV, SILU_MUL, SWIGLU_OAI), 8 numbers of the rows of z (int32, per row of x) or 0, 9 bytes and 10
    how many from token to token of 8, 11 and 12 bytes from row to row of z and of x where not 0 (there are
    no gaps then). Rows of y lie one after the other.
    """
    n, rows, nz, kind = arg(record, 3), arg(record, 4), arg(record, 5), arg(record, 7)
    step_z = arg(record, 11) if arg(record, 11) != 0 else nz * 4
    step_x = arg(record, 12) if arg(record, 12) != 0 else n * 4
    for i in range(rows * chunk // chunks, rows * (chunk + 1) // chunks):
        x, y = floats(arg(record, 0) + i * step_x, n), floats(arg(record, 2) + i * n * 4, n)
        z = floats(arg(record, 1) + _row_of_z(record, i) * step_z, nz)
        j = 0
        if kind >= 3:
            while j + 16 <= n:
                store_f32x16(y, j, _gated(kind, load_f32x16(x, j), load_f32x16(z, j)))
                j += 16
            for l in range(j, n):
                y[l] = _gated_one(kind, x[l], z[l])
        elif nz == 1:
            for l in range(n):
                y[l] = _combine(kind, x[l], z[0])
        else:
            for l in range(n):
                y[l] = _combine(kind, x[l], z[l])


def unary(a, b, record, chunk, chunks, thread):
    """Op: y = factor * x + bias (SCALE), or 1 / (1 + e**-x) (SIGMOID). Arguments: 0 x, 1 y, 2 how many, 3 kind, 4 factor,
    5 bias."""
    n, kind = arg(record, 2), arg(record, 3)
    for i in range(n * chunk // chunks, n * (chunk + 1) // chunks):
        x = get_f32(arg(record, 0), 4 * i)
        if kind == 0:
            put_f32(arg(record, 1), 4 * i, x * argf(record, 4) + argf(record, 5))
        else:
            put_f32(arg(record, 1), 4 * i, np.float32(1 / (1 + np.exp(-np.float64(x)))))


def multi_add(a, b, record, chunk, chunks, thread):
    """Op: y[t] = sum over slots of x[t, slot], each times w[t, slot] when there are weights.

    Arguments: 0 x, 1 bytes from token to token, 2 from slot to slot, 3 slots, 4 w or 0, 5 bytes from token to token,
    6 y, 7 n, 8 tokens.
    """
    n, tokens = arg(record, 7), arg(record, 8)
    for t in range(tokens * chunk // chunks, tokens * (chunk + 1) // chunks):
        y = floats(arg(record, 6) + t * n * 4, n)
        for j in range(n):
            y[j] = 0
        for s in range(arg(record, 3)):
            x = floats(arg(record, 0) + t * arg(record, 1) + s * arg(record, 2), n)
            w = np.float32(1)
            if arg(record, 4) != 0:
                w = floats(arg(record, 4) + t * arg(record, 5) + s * 4, 1)[0]
            for j in range(n):
                y[j] += w * x[j]


def sum_rows(a, b, record, chunk, chunks, thread):
    """Op: y[i] = sum of row i. Arguments: 0 x, 1 y, 2 n, 3 rows."""
    n, rows = arg(record, 2), arg(record, 3)
    y = floats(arg(record, 1), rows)
    for i in range(rows * chunk // chunks, rows * (chunk + 1) // chunks):
        x, total = floats(arg(record, 0) + i * n * 4, n), 0.0
        for j in range(n):
            total += x[j]
        y[i] = total


def top_k(a, b, record, chunk, chunks, thread):
    """Op: int32 y[row] = the columns of row in falling order of x, the first k of them; ties in rising order of column.

    Arguments: 0 x, 1 y, 2 n, 3 rows, 4 k, 5 bytes from row to row of y, 6 how many columns stay whatever they are (0: all
    k), 7 the part of the largest x below which others become -1.
    """
    n, rows, k = arg(record, 2), arg(record, 3), arg(record, 4)
    for i in range(rows * chunk // chunks, rows * (chunk + 1) // chunks):
        x, y = floats(arg(record, 0) + i * n * 4, n), ints(arg(record, 1) + i * arg(record, 5), k)
        have = 0
        for j in range(n):
            at = have
            while at > 0 and x[y[at - 1]] < x[j]:
                at -= 1
            if at >= k:
                continue
            have = min(have + 1, k)
            for l in range(have - 1, at, -1):
                y[l] = y[l - 1]
            y[at] = j
        if arg(record, 6) != 0:
            least = x[y[0]] * argf(record, 7)
            for l in range(arg(record, 6), have):
                if x[y[l]] < least:
                    y[l] = -1


def copy_rows(a, b, record, chunk, chunks, thread):
    """Op: copy in up to three dimensions with any strides. Arguments: 0 x, 1 y, 2 to 4 ne, 5 to 7 bytes per step of x, 8
    to 10 of y, 11 bytes of a number (4, or 2). Chunks share out dimensions 1 and 2."""
    n, ne1, size = arg(record, 2), arg(record, 3), arg(record, 11)
    rows = ne1 * arg(record, 4)
    together = arg(record, 5) == size and arg(record, 8) == size
    for i in range(rows * chunk // chunks, rows * (chunk + 1) // chunks):
        x = arg(record, 0) + i % ne1 * arg(record, 6) + i // ne1 * arg(record, 7)
        y = arg(record, 1) + i % ne1 * arg(record, 9) + i // ne1 * arg(record, 10)
        j = 0
        while together and j * size + 64 <= n * size:
            store_u8x64(y, j * size, load_u8x64(x, j * size))
            j += 64 // size
        for l in range(j, n):
            if size == 4:
                put_f32(y, l * arg(record, 8), get_f32(x, l * arg(record, 5)))
            else:
                put_u16(y, l * arg(record, 8), get_u16(x, l * arg(record, 5)))
