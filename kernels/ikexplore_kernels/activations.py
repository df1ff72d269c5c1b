"""Activations made ready for matrix products: tiles of columns, in 8 bits or in float32.

A *column* is one row of the activation matrix in memory, given by its address (0: padding). ``width`` columns make
a tile: 1 for a single token, TILE otherwise. Within a tile the columns lie side by side:

    q int8    [k / 4, width, 4]     codes, four along k ("a quad") per column
    d float32 [k / 32, width]       scale of 32 values, see ``quantize_row``
    s         [k / sub, width]      what a weight format needs for its offset: int32 -bias * sum(q), plus MAGIC_BITS where
                                    width > 1 (see ``tile_scale_add``), or float32 d * sum(q); a bias of more than 64 is
                                    SHIFT less (see ``target``)

One quantization serves every product that reads the tensor; only ``s`` differs by format.
"""

import numpy as np

from ._cache import inner
from .abi import arg, fill_f32, floats, get_f32, get_i32, get_i64, ints, put_f32, put_i32
from .formats._format import MOST_OF_SEVEN
from .simd import *

_MAGIC = np.float32(12582912)  # 1.5 * 2**23: adding it leaves the rounded integer in the low bits
_STEPS = np.float32(127), np.float32(125), np.float32(123)
_TINY = np.float32(2e-36)  # 127 / this is finite; blocks of smaller values count as zeros
_SQUARES = tuple(np.float32(1 / float(n) ** 2) for n in _STEPS)


@inner
def _error(low, high, inv, step):
    """Squared error of 32 values rounded to multiples of 1 / inv; ``step`` is a measure of 1 / inv ** 2."""
    magic, inv = splat_f32x16(_MAGIC), splat_f32x16(inv)
    x, y = low * inv, high * inv
    x, y = x - ((x + magic) - magic), y - ((y + magic) - magic)
    return vsum(fma(x, x, y * y)) * step


@inner
def _steps(low, high, r):
    """The number of steps for 32 values of at most 1 / r: 127, 125 or 123, whichever leaves the least error."""
    best, e = _error(low, high, r * _STEPS[0], _SQUARES[0]), _error(low, high, r * _STEPS[1], _SQUARES[1])
    f = _error(low, high, r * _STEPS[2], _SQUARES[2])
    steps = _STEPS[1] if e < best else _STEPS[0]
    best = e if e < best else best
    return _STEPS[2] if f < best else steps


@inner
def quantize_row(x, k, q, sums, d, step):
    """float32[k] at x -> int8[k] at q, int32 sums of 16 at sums, scales at d, d + step, ...

    Rounding is what separates these products from exact arithmetic: the best of three numbers of steps, and then the
    scale that fits the codes best in least squares, leave 7 % less of it than Q8_0's largest magnitude / 127 (normal values).
    Three passes, since one alone would wait for its sums across lanes.
    """
    magic = splat_f32x16(_MAGIC)
    for b in range(k // 32):
        put_f32(d, b * step, vtop(vmax(vabs(load_f32x16(x, b * 128)), vabs(load_f32x16(x, b * 128 + 64)))))
    for b in range(k // 32):
        top = get_f32(d, b * step)
        r = np.float32(0) if top <= _TINY else np.float32(1) / top + (top - top)  # not finite: NaN, which results shall show
        put_f32(d, b * step, r * _steps(load_f32x16(x, b * 128), load_f32x16(x, b * 128 + 64), r))
    for b in range(k // 32):
        low, high, inv = load_f32x16(x, b * 128), load_f32x16(x, b * 128 + 64), get_f32(d, b * step)
        u, v = low * splat_f32x16(inv) + magic, high * splat_f32x16(inv) + magic
        first, second = to_i8x16(as_i32x16(u)), to_i8x16(as_i32x16(v))
        store_i8x16(q, b * 32, first)
        store_i8x16(q, b * 32 + 16, second)
        u, v = u - magic, v - magic
        squares = vsum(fma(u, u, v * v))
        put_f32(d, b * step, vsum(fma(low, u, high * v)) / squares if inv != 0 else inv)
        put_i32(sums, 8 * b, vsum(to_i32x16(first)))
        put_i32(sums, 8 * b + 4, vsum(to_i32x16(second)))


@inner
def _clear_row(k, q, sums, d, step):
    fill_f32(q, k // 4, np.float32(0))
    fill_f32(sums, k // 16, np.float32(0))
    for b in range(k // 32):
        put_f32(d, b * step, np.float32(0))


@inner
def _interleave(rows, k, width, q):
    """int8 rows [width, k] -> quads side by side."""
    quads, out = ints(rows, width * k // 4), ints(q, width * k // 4)
    n = k // 4
    for j in range(n):
        for c in range(width):
            out[j * width + c] = quads[c * n + j]


@inner
def _offsets(bias, sub, sums, d, s, k, width):
    """The array s of one weight format (bias < 0: a format with minima) from the sums of 16, int32 [width, k / 16]."""
    minima, start = bias < 0, 0
    if width > 1:
        start = MAGIC_BITS
    if bias > MOST_OF_SEVEN:
        bias -= SHIFT
    for c in range(width):
        for b in range(k // sub):
            at = 4 * (c * (k // 16) + b * sub // 16)
            total = np.int64(get_i32(sums, at))
            if sub == 32:
                total += get_i32(sums, at + 4)
            if minima:
                put_f32(s, 4 * (b * width + c), np.float32(total * floats(d, width * k // 32)[b * sub // 32 * width + c]))
            else:
                put_i32(s, 4 * (b * width + c), np.int32(start - bias * total))


@inner
def _tile(record, t, width, k, rows):
    q, d = arg(record, 4) + t * k * width, arg(record, 5) + t * (k // 32) * width * 4
    columns = arg(record, 0) + t * width * 8
    sums = rows + width * k
    for c in range(width):
        to = q if width == 1 else rows + c * k
        x = get_i64(columns, 8 * c)
        if x != 0:
            quantize_row(x, k, to, sums + c * (k // 4), d + 4 * c, 4 * width)
        else:
            _clear_row(k, to, sums + c * (k // 4), d + 4 * c, 4 * width)
    if width > 1:
        _interleave(rows, k, width, q)
    for v in range(arg(record, 9)):
        bias, sub = arg(record, 10 + 3 * v), arg(record, 11 + 3 * v)
        s = arg(record, 12 + 3 * v) + t * (k // sub) * width * 4
        _offsets(bias, sub, sums, d, s, k, width)


@inner
def tiles_of(record, chunk, chunks):
    """This chunk's range of tiles; their number is argument 1, or with experts the end of the table (argument 8)."""
    tiles = arg(record, 1)
    if arg(record, 8) != 0:
        tiles = get_i64(arg(record, 8), 0)
    return tiles * chunk // chunks, tiles * (chunk + 1) // chunks


def quantize(a, b, record, chunk, chunks, thread):
    """Op: columns to 8-bit tiles.

    Arguments: 0 column addresses, 1 tiles, 2 width, 3 k, 4 q, 5 d, 6 scratch, 7 its bytes per thread (at least
    width * k * 5 / 4), 8 address of the number of tiles or 0, 9 number of formats served, then bias (-1: minima), sub and s
    of each.
    """
    width, k = arg(record, 2), arg(record, 3)
    rows = arg(record, 6) + thread * arg(record, 7)
    first, last = tiles_of(record, chunk, chunks)
    for t in range(first, last):
        _tile(record, t, width, k, rows)


def gather(a, b, record, chunk, chunks, thread):
    """Op: columns to float32 tiles [k, width]. Arguments as ``quantize``; 4 is the result, 5 to 7 are not used."""
    width, k = arg(record, 2), arg(record, 3)
    first, last = tiles_of(record, chunk, chunks)
    for t in range(first, last):
        out = floats(arg(record, 4) + t * k * width * 4, k * width)
        for c in range(width):
            column = get_i64(arg(record, 0), (t * width + c) * 8)
            if column != 0:
                x = floats(column, k)
                for j in range(k):
                    out[j * width + c] = x[j]
            else:
                for j in range(k):
                    out[j * width + c] = 0
