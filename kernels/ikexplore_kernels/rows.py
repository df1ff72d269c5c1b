"""Rows in and out: embeddings decoded from any format, rows picked by number, activations stored into the KV cache."""

import numpy as np

from ._cache import inner
from .abi import arg, floats, get_f32, get_i32, get_i64, get_u8, ints, put_f32, put_u16
from .cache_encode import encode_rows
from .cache_rows import row16
from .formats.base import bias, has_min, unpack, widen
from .simd import *

F32, F16, BF16 = range(3)


@inner
def _decode_block(q, w, base, stride, b, lane, scratch, y):
    """Columns 32 b .. 32 b + 31 of one of 16 rows, to float32 at y; scratch takes 1 KiB."""
    s0, s1, m0, m1, v = unpack(q, w, base, stride, b)
    store_tuple((s0, s1, m0, m1), scratch)
    store_tuple(v, scratch + 256)
    for j in range(32):
        h = j // 16
        code = np.int32(get_u8(scratch, 256 + j // 4 * 64 + lane * 4 + j % 4)) - bias(q)
        x = get_f32(scratch, 64 * h + 4 * lane) * np.float32(code)
        put_f32(y, 4 * j, np.float32(x - get_f32(scratch, 128 + 64 * h + 4 * lane)) if has_min(q) else x)


def get_rows(q, b, record, chunk, chunks, thread):
    """Op: float32 rows of a quantized matrix. Arguments: 0 w, 1 bytes per row, 2 k, 3 rows m (at least 16 readable),
    4 numbers (int32), 5 how many, 6 y, 7 scratch, 8 its bytes per thread (at least 1024)."""
    stride, k, m, n = arg(record, 1), arg(record, 2), arg(record, 3), arg(record, 5)
    numbers = ints(arg(record, 4), n)
    scratch = arg(record, 7) + thread * arg(record, 8)
    for i in range(n * chunk // chunks, n * (chunk + 1) // chunks):
        first = max(0, min(numbers[i] // 16 * 16, m - 16))
        for j in range(k // 32):
            y = arg(record, 6) + (i * k + j * 32) * 4
            _decode_block(q, arg(record, 0), first * stride, stride, j, numbers[i] - first, scratch, y)


def get_rows_dense(q, b, record, chunk, chunks, thread):
    """Op: ``get_rows`` for f32, f16, bf16; k a multiple of 16."""
    k, n = arg(record, 2), arg(record, 5)
    numbers = ints(arg(record, 4), n)
    for i in range(n * chunk // chunks, n * (chunk + 1) // chunks):
        for j in range(0, k, 16):
            store_f32x16(arg(record, 6), (i * k + j) * 4, widen(q, arg(record, 0) + numbers[i] * arg(record, 1), 0, 0, j))


def pick_rows(a, b, record, chunk, chunks, thread):
    """Op: float32 rows by number. Arguments: 0 x, 1 bytes per row, 2 n, 3 numbers (int32), 4 how many, 5 y."""
    n, many = arg(record, 2), arg(record, 4)
    numbers = ints(arg(record, 3), many)
    for i in range(many * chunk // chunks, many * (chunk + 1) // chunks):
        x, y = floats(arg(record, 0) + numbers[i] * arg(record, 1), n), floats(arg(record, 5) + i * n * 4, n)
        for j in range(n):
            y[j] = x[j]


def pick_values(a, b, record, chunk, chunks, thread):
    """Op: y[t, s] = x[t, chosen[t, s]]. Arguments: 0 x, 1 values per row of x, 2 chosen (int32), 3 bytes from row to row
    of chosen (-1: the value is 0), 4 slots, 5 rows, 6 y."""
    nx, slots, n = arg(record, 1), arg(record, 4), arg(record, 5)
    for t in range(n * chunk // chunks, n * (chunk + 1) // chunks):
        x, y = floats(arg(record, 0) + t * nx * 4, nx), floats(arg(record, 6) + t * slots * 4, slots)
        chosen = ints(arg(record, 2) + t * arg(record, 3), slots)
        for s in range(slots):
            y[s] = x[chosen[s]] if chosen[s] >= 0 else np.float32(0)


@inner
def _half(bits):
    """float32 bits to f16 bits, to nearest even; what is too large becomes infinite."""
    size = bits & 0x7FFFFFFF
    sign = (bits >> 16) & 0x8000
    if size > 0x7F800000:
        return sign | 0x7E00
    if size >= 0x477FF000:
        return sign | 0x7C00
    if size >= 0x38800000:
        return sign | ((size - 0x38000000 + 0xFFF + ((size >> 13) & 1)) >> 13)
    shift = 126 - (size >> 23)
    if shift > 24:
        return sign
    mantissa = (size & 0x7FFFFF) | 0x800000
    low = mantissa >> shift
    rest, tie = mantissa - (low << shift), 1 << (shift - 1)
    if rest > tie or (rest == tie and low & 1):
        low += 1
    return sign | low


@inner
def _brain(bits):
    """float32 bits to bf16 bits, to nearest even; NaN stays NaN."""
    if bits & 0x7FFFFFFF > 0x7F800000:
        return (bits >> 16) | 64
    return (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16


@inner
def _store_16(kind, x, y, n, step):
    """float32[n] at x to two-byte numbers at y, y + step, ..."""
    for j in range(n):
        wide = np.int64(get_i32(x, 4 * j)) & 0xFFFFFFFF
        put_u16(y, j * step, np.uint16(_half(wide) if kind == 1 else _brain(wide)))


def store(a, b, record, chunk, chunks, thread):
    """Op: float32 rows into a cache or a tensor of f32, f16 or bf16.

    Arguments: 0 x, 1 bytes from row to row of x, 2 n, 3 rows, 4 y, 5 bytes from row to row of y, 6 bytes from number to
    number of y (two-byte types only), 7 type (F32, F16, BF16), 8 address of past (int64) or 0, 9 bytes of y per position
    before it, 10 rows until x goes on by 11 bytes from the first of them.
    """
    n, rows, kind = arg(record, 2), arg(record, 3), arg(record, 7)
    base = _after_past(record)
    for i in range(rows * chunk // chunks, rows * (chunk + 1) // chunks):
        x, y = _source(record, i), base + i * arg(record, 5)
        if kind == 0:
            for j in range(n):
                put_f32(y, 4 * j, get_f32(x, 4 * j))
        else:
            _store_16(kind, x, y, n, arg(record, 6))


@inner
def _after_past(record):
    past = get_i64(arg(record, 8), 0) if arg(record, 8) != 0 else 0
    return arg(record, 4) + past * arg(record, 9)


@inner
def _source(record, i):
    many = arg(record, 10)
    return arg(record, 0) + i % many * arg(record, 1) + i // many * arg(record, 11)


def store_quantized(q, b, record, chunk, chunks, thread):
    """Op: ``store`` for quant types. Argument 6 is float32 [n] of ones, 7 is not used; 12 scratch, 13 its bytes per
    thread (``formats.work_bytes(n)``). Rows that lie together on both sides are encoded together."""
    n, rows, many = arg(record, 2), arg(record, 3), arg(record, 10)
    base, work = _after_past(record), arg(record, 12) + thread * arg(record, 13)
    first, last = rows * chunk // chunks, rows * (chunk + 1) // chunks
    if many >= rows and arg(record, 1) == 4 * n:
        encode_rows(q, _source(record, first), arg(record, 6), base + first * arg(record, 5), last - first, n, work)
        return
    for i in range(first, last):
        encode_rows(q, _source(record, i), arg(record, 6), base + i * arg(record, 5), 1, n, work)


def widen_rows(q, b, record, chunk, chunks, thread):
    """Op: rows of a cache type to float32. Arguments: 0 x, 1 bytes from row to row, 2 n (a multiple of 16), 3 rows, 4 y."""
    n, rows = arg(record, 2), arg(record, 3)
    for i in range(rows * chunk // chunks, rows * (chunk + 1) // chunks):
        x, y = arg(record, 0) + i * arg(record, 1), arg(record, 4) + i * n * 4
        for j in range(0, n, 16):
            store_f32x16(y, 4 * j, row16(q, x, j))
