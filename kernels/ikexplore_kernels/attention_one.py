"""Attention of a single token: bound by reading the cache, so its positions are shared out among the threads.

A chunk takes some KV heads and one part of the positions; it leaves a maximum, a sum and an unscaled result for each query
head. ``merge_parts`` puts the parts together.
"""

import math

import numpy as np

from ._cache import inner
from .abi import arg, argf, fill_f32, get_f32, get_i64, put_f32
from .cache_rows import ask_rows, row16
from .mathv import vexp
from .simd import *

STEP = 32  # positions at a time


@inner
def _widen(q, rows, stride, size, count, out):
    """count cache rows to float32 [count, size] at out."""
    for r in range(count):
        for i in range(0, size, 16):
            store_f32x16(out, (r * size + i) * 4, row16(q, rows + r * stride, i))


@inner
def _scores(x, keys, size, scale, count, s):
    """float32[32] at s = scale * x . key; -inf from count on."""
    for half in range(0, count, 16):
        acc = splat16(splat_f32x16(np.float32(0)))
        for i in range(0, size, 16):
            acc = rows16_fma(acc, keys + (half * size + i) * 4, size * 4, load_f32x16(x, i * 4))
        store_f32x16(s, half * 4, sums16(acc) * scale)
    for r in range(count, STEP):
        put_f32(s, r * 4, np.float32(-np.inf))


@inner
def _weigh(s, state):
    """Scores to weights in place; maximum and sum at ``state`` are carried on. The factor for what was summed before."""
    a, b = load_f32x16(s, 0), load_f32x16(s, 64)
    old = get_f32(state, 0)
    new = max(old, vtop(vmax(a, b)))
    factor = np.float32(math.exp(old - new))
    a, b = vexp(a - new), vexp(b - new)
    store_f32x16(s, 0, a)
    store_f32x16(s, 64, b)
    put_f32(state, 0, new)
    put_f32(state, 4, get_f32(state, 4) * factor + vsum(a + b))
    return factor


@inner
def _add_values(values, size, count, s, factor, o):
    """float32[size] at o = o * factor + weights . values."""
    i = 0
    while i + 64 <= size:
        a, b = load_f32x16(o, i * 4) * factor, load_f32x16(o, i * 4 + 64) * factor
        c, d = load_f32x16(o, i * 4 + 128) * factor, load_f32x16(o, i * 4 + 192) * factor
        for r in range(count):
            p, at = splat_f32x16(get_f32(s, r * 4)), (r * size + i) * 4
            a = fma(load_f32x16(values, at), p, a)
            b = fma(load_f32x16(values, at + 64), p, b)
            c = fma(load_f32x16(values, at + 128), p, c)
            d = fma(load_f32x16(values, at + 192), p, d)
        store_f32x16(o, i * 4, a)
        store_f32x16(o, i * 4 + 64, b)
        store_f32x16(o, i * 4 + 128, c)
        store_f32x16(o, i * 4 + 192, d)
        i += 64
    while i < size:
        a = load_f32x16(o, i * 4) * factor
        for r in range(count):
            a = fma(load_f32x16(values, (r * size + i) * 4), splat_f32x16(get_f32(s, r * 4)), a)
        store_f32x16(o, i * 4, a)
        i += 16


@inner
def _ask_ahead(record, kv, last, head, h0, h1):
    """Ask for this head's share of the next step: whole rows of all heads, as they lie in memory one after the other."""
    count = max(0, min(STEP, last - kv - STEP))
    first, end = count * (head - h0) // (h1 - h0), count * (head - h0 + 1) // (h1 - h0)
    for i in (3, 6):
        stride, per_head = arg(record, i + 1), arg(record, i + 2)
        ask_rows(arg(record, i) + (kv + STEP) * stride, stride, first, end, h0 * per_head, (h1 - h0) * per_head)


def attention_part(kq, vq, record, chunk, chunks, thread):
    """Op: one part of the positions for some KV heads.

    Arguments as ``flash_attention`` with one token; 9 is the partial results, float32 [heads, parts, 16 + size of v]
    (maximum, sum, then from 16 on the result), 10 the number of parts, 11 the KV heads of a chunk, 14 the KV heads; 16 is
    not used. Chunks: groups of KV heads x parts. All heads of a few positions, then of the next: so memory is read in order.
    """
    size, size_v, group, parts, heads = arg(record, 12), arg(record, 13), arg(record, 15), arg(record, 10), arg(record, 11)
    n = get_i64(arg(record, 18), 0) + 1
    h0, part = chunk // parts * heads, chunk % parts
    h1 = min(h0 + heads, arg(record, 14))
    lowest = max(0, n - arg(record, 21)) if arg(record, 21) != 0 else 0
    steps = (n - lowest + STEP - 1) // STEP
    first, last = lowest + steps * part // parts * STEP, min(n, lowest + steps * (part + 1) // parts * STEP)
    keys = arg(record, 19) + thread * arg(record, 20)
    values = keys + STEP * size * 4
    s = values + STEP * size_v * 4
    row = (16 + size_v) * 4
    out = arg(record, 9) + part * row
    for c in range(h0 * group, h1 * group):
        put_f32(out, c * parts * row, np.float32(-np.inf))
        fill_f32(out + c * parts * row + 4, 15 + size_v, np.float32(0))
    for kv in range(first, last, STEP):
        count = min(STEP, last - kv)
        for head in range(h0, h1):
            _ask_ahead(record, kv, last, head, h0, h1)
            _widen(kq, arg(record, 3) + kv * arg(record, 4) + head * arg(record, 5), arg(record, 4), size, count, keys)
            _widen(vq, arg(record, 6) + kv * arg(record, 7) + head * arg(record, 8), arg(record, 7), size_v, count, values)
            for c in range(head * group, head * group + group):
                state = out + c * parts * row
                _scores(arg(record, 0) + c * arg(record, 2), keys, size, argf(record, 17), count, s)
                _add_values(values, size_v, count, s, _weigh(s, state), state + 64)


def merge_parts(a, b, record, chunk, chunks, thread):
    """Op: partial results to the result. Arguments: 0 parts (see ``attention_part``), 1 number of parts, 2 size of v,
    3 heads, 4 result, 5 its bytes per head, 6 sinks (float32 per head) or 0. Chunks share out heads."""
    parts, size, heads = arg(record, 1), arg(record, 2), arg(record, 3)
    row = (16 + size) * 4
    for h in range(heads * chunk // chunks, heads * (chunk + 1) // chunks):
        at, out = arg(record, 0) + h * parts * row, arg(record, 4) + h * arg(record, 5)
        top, total = np.float32(-np.inf), np.float32(0)
        for p in range(parts):
            top = max(top, get_f32(at, p * row))
        if arg(record, 6) != 0:
            sink = get_f32(arg(record, 6), 4 * h)
            top = max(top, sink)
            total = np.float32(math.exp(sink - top))
        fill_f32(out, size, np.float32(0))
        for p in range(parts):
            factor = np.float32(math.exp(get_f32(at, p * row) - top))
            total += factor * get_f32(at, p * row + 4)
            for i in range(0, size, 16):
                part = load_f32x16(at, p * row + 64 + i * 4)
                store_f32x16(out, i * 4, fma(part, splat_f32x16(factor), load_f32x16(out, i * 4)))
        for i in range(0, size, 16):
            store_f32x16(out, i * 4, load_f32x16(out, i * 4) / splat_f32x16(total))


def part_scratch_bytes(size: int, size_v: int) -> int:
    """Bytes of scratch per thread that ``attention_part`` needs."""
    return 4 * STEP * (size + size_v + 1)
