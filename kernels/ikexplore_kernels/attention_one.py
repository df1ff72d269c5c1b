"""Attention of a single token: bound by reading the cache, so its positions are shared out among the threads.

A chunk takes some KV heads and one part of the positions; it leaves a maximum, a sum and an unscaled result for each query
head. ``merge_parts`` puts the parts together. While it works on some positions it asks for the next ones, a line now and
then: many asked for at once fill the core's buffers, and then work waits for memory instead of hiding it.
"""

import math

import numpy as np

from ._cache import inner
from .abi import arg, argf, fill_f32, get_f32, get_i64, put_f32
from .cache_rows import row16
from .mathv import LOG2E, vexp2
from .simd import *

STEP = 32  # positions at a time
LN2 = np.float32(math.log(2))  # weights are powers of two


@inner
def _ahead(record, i, kv, count, h0, h1):
    """What ``_ask`` starts from: cache i's rows of heads h0 to h1 at ``count`` positions from kv on."""
    stride, width = arg(record, i + 1), arg(record, i + 2) * (h1 - h0)
    at = arg(record, i) + kv * stride + h0 * arg(record, i + 2)
    return at, at + width, at + count * stride, stride, width


@inner
def _ask(place):
    """Ask for a line, in the order of memory; the next place. Nothing beyond the last."""
    at, end, limit, stride, width = place
    if at < limit:
        prefetch_far(at, 0)
        at += 64
        if at >= end:
            end += stride
            at = end - width
    return at, end, limit, stride, width


@inner
def _widen(q, rows, stride, size, count, out, place, lines):
    """count cache rows to float32 [count, size] at out, asking for ``lines`` lines at each."""
    for r in range(count):
        row, to = rows + r * stride, out + r * size * 4
        for b in range(size >> 5):  # 32 at a time: their scale is loaded once
            store_f32x16(to, b * 128, row16(q, row, b * 32))
            store_f32x16(to, b * 128 + 64, row16(q, row, b * 32 + 16))
        if size & 16 != 0:
            store_f32x16(to, (size - 16) * 4, row16(q, row, size - 16))
        for _ in range(lines):
            place = _ask(place)
    return place


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
def _scores_of_two(x, y, keys, size, scale, count, s):
    """The same for two queries: float32[2, 32] at s."""
    for eight in range(0, count, 8):
        acc = splat16(splat_f32x16(np.float32(0)))
        for i in range(0, size, 16):
            acc = rows8_fma(acc, keys + (eight * size + i) * 4, size * 4, load_f32x16(x, i * 4), load_f32x16(y, i * 4))
        store_halves(sums16(acc) * scale, s + eight * 4, s + (STEP + eight) * 4)
    for r in range(count, STEP):
        put_f32(s, r * 4, np.float32(-np.inf))
        put_f32(s, (STEP + r) * 4, np.float32(-np.inf))


@inner
def _weigh(s, state):
    """Scores to weights in place; maximum and sum at ``state`` are carried on. The factor for what was summed before."""
    a, b = load_f32x16(s, 0), load_f32x16(s, 64)
    old = get_f32(state, 0)
    new = max(old, vtop(vmax(a, b)))
    factor = vfirst(vexp2(splat_f32x16(old - new)))
    a, b = vexp2(a - new), vexp2(b - new)
    store_f32x16(s, 0, a)
    store_f32x16(s, 64, b)
    put_f32(state, 0, new)
    put_f32(state, 4, get_f32(state, 4) * factor + vsum(a + b))
    return factor


@inner
def _add_values(values, size, count, s, factor, o, place):
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
            place = _ask(place)
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
    return place


@inner
def _add_to_two(values, size, count, s, f, g, o, p, place):
    """``_add_values`` for two queries, whose weights lie one after the other: each value is loaded once."""
    i = 0
    while i + 64 <= size:
        a, b = load_f32x16(o, i * 4) * f, load_f32x16(o, i * 4 + 64) * f
        c, d = load_f32x16(o, i * 4 + 128) * f, load_f32x16(o, i * 4 + 192) * f
        k, l = load_f32x16(p, i * 4) * g, load_f32x16(p, i * 4 + 64) * g
        m, n = load_f32x16(p, i * 4 + 128) * g, load_f32x16(p, i * 4 + 192) * g
        for r in range(count):
            u, v, at = splat_f32x16(get_f32(s, r * 4)), splat_f32x16(get_f32(s, (STEP + r) * 4)), (r * size + i) * 4
            x = load_f32x16(values, at)
            a, k = fma(x, u, a), fma(x, v, k)
            x = load_f32x16(values, at + 64)
            b, l = fma(x, u, b), fma(x, v, l)
            x = load_f32x16(values, at + 128)
            c, m = fma(x, u, c), fma(x, v, m)
            x = load_f32x16(values, at + 192)
            d, n = fma(x, u, d), fma(x, v, n)
            place = _ask(place)
        store_tuple((a, b, c, d), o + i * 4)
        store_tuple((k, l, m, n), p + i * 4)
        i += 64
    while i < size:
        a, k = load_f32x16(o, i * 4) * f, load_f32x16(p, i * 4) * g
        for r in range(count):
            x = load_f32x16(values, (r * size + i) * 4)
            a, k = fma(x, splat_f32x16(get_f32(s, r * 4)), a), fma(x, splat_f32x16(get_f32(s, (STEP + r) * 4)), k)
        store_f32x16(o, i * 4, a)
        store_f32x16(p, i * 4, k)
        i += 16
    return place


@inner
def _group(record, first, group, count, keys, values, s, out, step, place):
    """All queries of a KV head with ``count`` positions, two by two; their partial results are ``step`` bytes apart."""
    size, size_v, scale = arg(record, 12), arg(record, 13), argf(record, 17) * LOG2E
    for c in range(first, first + group, 2):
        x, o = arg(record, 0) + c * arg(record, 2), out + c * step
        if c + 1 < first + group:
            p = o + step
            _scores_of_two(x, x + arg(record, 2), keys, size, scale, count, s)
            f, g = _weigh(s, o), _weigh(s + STEP * 4, p)
            place = _add_to_two(values, size_v, count, s, f, g, o + 64, p + 64, place)
        else:
            _scores(x, keys, size, scale, count, s)
            place = _add_values(values, size_v, count, s, _weigh(s, o), o + 64, place)
    return place


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
    lines_k, lines_v = (arg(record, 5) + 63) // 64, (arg(record, 8) + 63) // 64  # to ask for at each row of a head
    lines_v = max(0, lines_v - (group + 1) // 2 * (size_v // 64))  # the rest while values are added
    for kv in range(first, last, STEP):
        count, more = min(STEP, last - kv), max(0, min(STEP, last - kv - STEP))
        next_k, next_v = _ahead(record, 3, kv + STEP, more, h0, h1), _ahead(record, 6, kv + STEP, more, h0, h1)
        for head in range(h0, h1):
            k, v = arg(record, 3) + head * arg(record, 5), arg(record, 6) + head * arg(record, 8)
            next_k = _widen(kq, k + kv * arg(record, 4), arg(record, 4), size, count, keys, next_k, (lines_k + 1) // 2)
            next_v = _widen(vq, v + kv * arg(record, 7), arg(record, 7), size_v, count, values, next_v, lines_v)
            for _ in range(count * (lines_k // 2)):
                next_k = _ask(next_k)
            next_v = _group(record, head * group, group, count, keys, values, s, out, parts * row, next_v)


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
            sink = get_f32(arg(record, 6), 4 * h) * LOG2E
            top = max(top, sink)
            total = np.float32(math.exp(LN2 * (sink - top)))
        fill_f32(out, size, np.float32(0))
        for p in range(parts):
            factor = np.float32(math.exp(LN2 * (get_f32(at, p * row) - top)))
            total += factor * get_f32(at, p * row + 4)
            for i in range(0, size, 16):
                part = load_f32x16(at, p * row + 64 + i * 4)
                store_f32x16(out, i * 4, fma(part, splat_f32x16(factor), load_f32x16(out, i * 4)))
        for i in range(0, size, 16):
            store_f32x16(out, i * 4, load_f32x16(out, i * 4) / splat_f32x16(total))


def part_scratch_bytes(size: int, size_v: int) -> int:
    """Bytes of scratch per thread that ``attention_part`` needs."""
    return 4 * STEP * (size + size_v + 2)
