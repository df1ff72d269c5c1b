"""Flash attention: softmax(q k^T * scale) v without the matrix in between, causal, grouped heads.

One chunk is a KV head and a block of tokens: its columns (tokens x query heads of the group) go in tiles over blocks of
64 cache rows, with a running maximum and sum per column. Keys are widened and transposed once per block and then serve all
columns. What a token may see follows from its position, so that no mask is read.
"""

import math

import numpy as np

from ._cache import inner
from .abi import arg, argf, fill_f32, get_f32, get_i64, put_f32
from .cache_rows import row16
from .mathv import vexp
from .simd import *

BLOCK = 64


@inner
def _keys(q, k, stride, size, count, out):
    """count rows at k to float32 [4, size, 16] at out: 16 rows side by side; beyond count the last row again."""
    for g in range(4):
        for i in range(0, size, 16):
            to = out + (g * size + i) * 64
            for r in range(16):
                store_f32x16(to, r * 64, row16(q, k + min(g * 16 + r, count - 1) * stride, i))
            store_tuple(transpose16(load_tuple16(to)), to)


@inner
def _values(q, v, stride, size, count, out):
    """count rows at v to float32 [count, size] at out."""
    for r in range(count):
        for i in range(0, size, 16):
            store_f32x16(out, (r * size + i) * 4, row16(q, v + r * stride, i))


@inner
def _column(s, first, seen, scale, state):
    """Softmax of one column in place: its 64 scores are 16 each 64 TILE bytes from s on; those from ``first`` to ``seen``
    count.

    Maximum and sum at ``state`` are carried on. Returns the factor for what was summed before.
    """
    best = splat_f32x16(np.float32(-np.inf))
    for g in range(4):
        x = load_f32x16(s, g * 64 * TILE) * scale
        store_f32x16(s, g * 64 * TILE, x)
        if seen < 16 * g + 16 or first > 16 * g:
            _fill_lanes(s + g * 64 * TILE, first - 16 * g, seen - 16 * g, np.float32(-np.inf))
            x = load_f32x16(s, g * 64 * TILE)
        best = vmax(best, x)
    old = get_f32(state, 0)
    new = max(vtop(best), old)
    factor = np.float32(1) if new == old else np.float32(math.exp(old - new))
    put_f32(state, 0, new)
    added = splat_f32x16(np.float32(0))
    for g in range(4):
        store_f32x16(s, g * 64 * TILE, vexp(load_f32x16(s, g * 64 * TILE) - new))
        if seen < 16 * g + 16 or first > 16 * g:
            _fill_lanes(s + g * 64 * TILE, first - 16 * g, seen - 16 * g, np.float32(0))
        added = added + load_f32x16(s, g * 64 * TILE)
    put_f32(state, 4, get_f32(state, 4) * factor + vsum(added))
    return factor


@inner
def _fill_lanes(s, first, last, value):
    """All of 16 lanes but those from first to last."""
    for l in range(16):
        if l < first or l >= last:
            put_f32(s, 4 * l, value)


@inner
def _scores(keys, size, x, s):
    """64 keys times one tile of queries, to [4, TILE, 16] at s."""
    for g in range(0, 4, 2):  # two tiles at a time: enough sums to hide how long one takes
        f = tile(splat_f32x16(np.float32(0)))
        pair, at = (f, f), keys + g * size * 64
        for i in range(size):
            pair = tiles_fma(pair, load_f32x16(at, i * 64), load_f32x16(at, (size + i) * 64), x + i * 4 * TILE)
        store_tuple(pair[0], s + g * 64 * TILE)
        store_tuple(pair[1], s + (g + 1) * 64 * TILE)


@inner
def _accumulate(values, size, count, s, factors, o):
    """o [size / 16, TILE, 16] = o * factor + weights . values; the weights are where the scores were."""
    like = tile(splat_f32x16(np.float32(0)))
    i = 0
    while i + 32 <= size:
        to = o + i * 4 * TILE
        pair = tile_scaled(like, to, factors), tile_scaled(like, to + 64 * TILE, factors)
        for r in range(count):
            at = values + (r * size + i) * 4
            pair = tiles_fma64(pair, load_f32x16(at, 0), load_f32x16(at, 64), s + (r >> 4) * 64 * TILE + (r & 15) * 4)
        store_tuple(pair[0], to)
        store_tuple(pair[1], to + 64 * TILE)
        i += 32
    if i < size:
        f = tile_scaled(like, o + i * 4 * TILE, factors)
        for r in range(count):
            f = tile_fma64(f, load_f32x16(values, (r * size + i) * 4), s + (r >> 4) * 64 * TILE + (r & 15) * 4)
        store_tuple(f, o + i * 4 * TILE)


@inner
def _queries(record, head, t0, columns, group, tiles, x):
    """The block's queries to tiles float32 [tiles, size, TILE] at x; padding repeats the last column."""
    size = arg(record, 12)
    for c in range(tiles * TILE):
        use = min(c, columns - 1)
        at = arg(record, 0) + (t0 + use // group) * arg(record, 1) + (head * group + use % group) * arg(record, 2)
        for i in range(size):
            put_f32(x, ((c // TILE * size + i) * TILE + c % TILE) * 4, get_f32(at, 4 * i))


@inner
def with_sink(sink, state):
    """What a column is divided by, inverted, when a head's sink takes part in its softmax."""
    top = max(get_f32(state, 0), sink)
    factor = np.float32(math.exp(get_f32(state, 0) - top))
    return factor / (get_f32(state, 4) * factor + np.float32(math.exp(sink - top)))


@inner
def _results(record, head, t0, columns, group, state, o):
    size = arg(record, 13)
    for c in range(columns):
        to = arg(record, 9) + (t0 + c // group) * arg(record, 10) + (head * group + c % group) * arg(record, 11)
        inverse = np.float32(1) / get_f32(state, 8 * c + 4)
        if arg(record, 22) != 0:
            inverse = with_sink(get_f32(arg(record, 22), 4 * (head * group + c % group)), state + 8 * c)
        for i in range(0, size, 16):
            store_f32x16(to, i * 4, load_f32x16(o, ((c // TILE * size + i) * TILE + c % TILE * 16) * 4) * inverse)


def flash_attention(kq, vq, record, chunk, chunks, thread):
    """Op: attention over a cache whose K has format kq and V format vq.

    Arguments: 0 q (float32), 1 bytes per token, 2 per head; 3 k, 4 bytes per position, 5 per head; 6 v, 7, 8 likewise;
    9 result, 10 bytes per token, 11 per head; 12 head size of q and k, 13 of v, 14 tokens, 15 query heads per KV head,
    16 tokens in a block, 17 scale, 18 address of past (int64), 19 scratch, 20 its bytes per thread, 21 how many positions
    a token sees, itself included (0: all), 22 sinks (float32 per query head: one more score without a value) or 0.
    Chunks: KV heads x blocks of tokens, the blocks of a head side by side. Head sizes are multiples of 16.
    """
    group, block, n = arg(record, 15), arg(record, 16), arg(record, 14)
    size, size_v, past = arg(record, 12), arg(record, 13), get_i64(arg(record, 18), 0)
    blocks = (n + block - 1) // block
    head, t0 = chunk // blocks, chunk % blocks * block
    t1 = min(n, t0 + block)
    columns = (t1 - t0) * group
    tiles = (columns + TILE - 1) // TILE
    keys = arg(record, 19) + thread * arg(record, 20)
    values = keys + size * BLOCK * 4
    s = values + size_v * BLOCK * 4
    x = s + BLOCK * TILE * 4
    o = x + tiles * size * TILE * 4
    state = o + tiles * size_v * TILE * 4
    factors = state + tiles * TILE * 8
    _queries(record, head, t0, columns, group, tiles, x)
    fill_f32(o, tiles * size_v * TILE, np.float32(0))
    for c in range(tiles * TILE):
        put_f32(state, 8 * c, np.float32(-np.inf))
        put_f32(state, 8 * c + 4, np.float32(0))
    window = arg(record, 21)
    lowest = max(0, past + t0 + 1 - window) if window != 0 else 0
    for kv in range(lowest, past + t1, BLOCK):
        count = min(BLOCK, past + t1 - kv)
        _keys(kq, arg(record, 3) + kv * arg(record, 4) + head * arg(record, 5), arg(record, 4), size, count, keys)
        _values(vq, arg(record, 6) + kv * arg(record, 7) + head * arg(record, 8), arg(record, 7), size_v, count, values)
        for t in range(tiles):
            _scores(keys, size, x + t * size * TILE * 4, s)
            for c in range(TILE):
                use = min(t * TILE + c, columns - 1)
                seen = max(0, min(BLOCK, past + t0 + use // group + 1 - kv))
                low = max(0, past + t0 + use // group + 1 - window - kv) if window != 0 else 0
                factor = np.float32(1)
                if seen > low:
                    factor = _column(s + c * 64, low, seen, argf(record, 17), state + 8 * (t * TILE + c))
                else:
                    for g in range(4):
                        store_f32x16(s, (g * TILE + c) * 64, splat_f32x16(np.float32(0)))
                put_f32(factors, 4 * c, factor)
            _accumulate(values, size_v, count, s, factors, o + t * size_v * TILE * 4)
    _results(record, head, t0, columns, group, state, o)


def attention_scratch_bytes(size: int, size_v: int, columns: int) -> int:
    """Bytes of scratch per thread for head sizes and columns (tokens of a block x heads of a group)."""
    tiles = -(-columns // TILE)
    return 4 * (BLOCK * (size + size_v + TILE) + tiles * TILE * (size + size_v + 2) + TILE)
