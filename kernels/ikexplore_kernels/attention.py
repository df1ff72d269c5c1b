"""Flash attention: softmax(q k^T * scale) v without the matrix in between, causal, grouped heads.

One chunk is a KV head and a block of tokens. Its columns (tokens x query heads of the group) are the lanes of vectors, WIDE
vectors to a strip; keys and values are numbers that are broadcast. So a cache row is used as it is widened, nothing is
transposed per row, and a running maximum or sum is a vector of columns. What a token may see follows from its position, so
that no mask is read.
"""

import numpy as np

from ._cache import inner
from .abi import arg, argf, fill_f32, get_f32, get_i32, get_i64, put_f32, put_i32
from .cache_rows import row16
from .mathv import LOG2E, vexp2
from .simd import *

BLOCK = 64  # cache rows at a time
#: vectors per strip: floats of a strip's maximum, sum and position
STATE = 48
_INFINITE, _SIGN = 0x7F800000, -0x80000000
LOWEST = np.float32(-1e30)  # instead of -inf: the difference of two is a number


@inner
def pad_rows(count):
    """Rows of keys that are multiplied for ``count`` of them."""
    return (count + KEYS - 1) // KEYS * KEYS


@inner
def _keys(q, k, stride, size, count, out):
    """count rows at k to float32 [rows, size] at out; the last again up to a multiple of KEYS rows."""
    for r in range(pad_rows(count)):
        row = k + min(r, count - 1) * stride
        for i in range(0, size, 16):
            store_f32x16(out, (r * size + i) * 4, row16(q, row, i))


@inner
def _values(q, v, stride, size, count, out):
    """count rows at v to float32 [size / 16, BLOCK, 16] at out."""
    for r in range(count):
        for i in range(0, size, 16):
            store_f32x16(out, (i * BLOCK + r * 16) * 4, row16(q, v + r * stride, i))


@inner
def _ask_ahead(record, kv, end, head):
    """Ask for this head's rows of the next block: they lie apart, so that the hardware does not foresee them."""
    for i in (3, 6):
        stride, size = arg(record, i + 1), arg(record, i + 2)
        for r in range(kv + BLOCK, min(kv + 2 * BLOCK, end)):
            for at in range(0, size, 64):
                prefetch_far(arg(record, i), r * stride + head * size + at)


@inner
def _scores(like, w, keys, size, count, x, s):
    """Keys times a strip of queries float32 [size, w, 16]: [rows, w, 16] at s."""
    for r in range(0, count, KEYS):
        acc, at = like, keys + r * size * 4
        for i in range(size):
            acc = outer_fma(acc, at + i * 4, size * 4, x + i * w * 64)
        store_tuple(acc, s + r * w * 64)


@inner
def _hide(s, step, count, kv, window, state):
    """-inf where a column may not see a position."""
    positions = as_i32x16(load_f32x16(state, 128))
    for r in range(count):
        ahead = positions - (kv + r)
        hidden = ahead
        if window != 0:
            hidden = hidden | (splat_i32x16(np.int32(window - 1)) - ahead)
        bound = as_f32x16((hidden & _SIGN) | _INFINITE)
        store_f32x16(s, r * step, vmin(load_f32x16(s, r * step), bound))


@inner
def _weigh(w, s, count, kv, window, some_hidden, state, factors):
    """Scores to weights in place; each column's maximum and sum at ``state`` are carried on.

    Leaves the factors for what was summed before, [w, 16] at ``factors``.
    """
    step = w * 64
    for v in range(w):
        at, mine = s + v * 64, state + v * STATE * 4
        if some_hidden:
            _hide(at, step, count, kv, window, mine)
        old = load_f32x16(mine, 0)
        a, b = old, load_f32x16(at, 0)
        for r in range(count & 1, count, 2):
            a, b = vmax(a, load_f32x16(at, r * step)), vmax(b, load_f32x16(at, r * step + step))
        top = vmax(a, b)
        factor, total = vexp2(old - top), splat_f32x16(np.float32(0))
        for r in range(count):
            x = vexp2(load_f32x16(at, r * step) - top)
            store_f32x16(at, r * step, x)
            total = total + x
        store_f32x16(mine, 0, top)
        store_f32x16(mine, 64, fma(load_f32x16(mine, 64), factor, total))
        store_f32x16(factors, v * 64, factor)


@inner
def _accumulate(like, w, values, size, count, s, factors, o):
    """o [size, w, 16] = o * factors + values . weights; the weights are where the scores were."""
    for d in range(0, size, KEYS):
        acc = strip_scaled(like, o + d * w * 64, factors)
        at = values + (d >> 4) * BLOCK * 64 + (d & 15) * 4
        for r in range(count):
            acc = outer_fma(acc, at + r * 64, 4, s + r * w * 64)
        store_tuple(acc, o + d * w * 64)


@inner
def _width(v, vectors):
    """Vectors of the strip that begins at vector v: whole strips first, the others one by one."""
    return WIDE if vectors - v >= WIDE else 1


@inner
def query(record, head, t0, columns, group, column):
    """Address of a column's query; beyond the last column that one's."""
    use = min(column, columns - 1)
    return arg(record, 0) + (t0 + use // group) * arg(record, 1) + (head * group + use % group) * arg(record, 2)


@inner
def _begin(w, record, t0, columns, group, first, state):
    """A strip's state: maximum, sum, and the position of each column."""
    for v in range(w):
        mine = state + v * STATE * 4
        store_f32x16(mine, 0, splat_f32x16(LOWEST))
        store_f32x16(mine, 64, splat_f32x16(np.float32(0)))
        for c in range(16):
            token = t0 + min(first + v * 16 + c, columns - 1) // group
            put_i32(mine, 128 + c * 4, np.int32(get_i64(arg(record, 18), 0) + token))


@inner
def _queries(w, record, head, t0, columns, group, first, x, room):
    """A strip's queries, scaled, to float32 [size, w, 16] at x; padding repeats the last column."""
    scale = argf(record, 17) * LOG2E  # weights are powers of two
    for v in range(w):
        for i in range(0, arg(record, 12), 16):
            for c in range(16):
                at = query(record, head, t0, columns, group, first + v * 16 + c)
                store_f32x16(room, c * 64, load_f32x16(at, i * 4) * scale)
            store_tuple(transpose16(load_tuple16(room)), room)
            for c in range(16):
                store_f32x16(x, ((i + c) * w + v) * 64, load_f32x16(room, c * 64))


@inner
def _inverse(record, head, group, first, columns, state):
    """What a vector of columns is multiplied by in the end; a head's sink is one more score."""
    top, total = load_f32x16(state, 0), load_f32x16(state, 64)
    if arg(record, 22) != 0:
        for c in range(16):
            use = min(first + c, columns - 1)
            put_f32(state, 128 + c * 4, get_f32(arg(record, 22), 4 * (head * group + use % group)))
        sink = load_f32x16(state, 128) * LOG2E
        both = vmax(top, sink)
        factor = vexp2(top - both)
        return factor / fma(total, factor, vexp2(sink - both))
    return splat_f32x16(np.float32(1)) / total


@inner
def _results(w, record, head, t0, columns, group, first, o, room, state):
    for v in range(w):
        begin = first + v * 16
        inverse = _inverse(record, head, group, begin, columns, state + v * STATE * 4)
        for i in range(0, arg(record, 13), 16):
            for c in range(16):
                store_f32x16(room, c * 64, load_f32x16(o, ((i + c) * w + v) * 64) * inverse)
            store_tuple(transpose16(load_tuple16(room)), room)
            for c in range(begin, min(begin + 16, columns)):
                to = arg(record, 9) + (t0 + c // group) * arg(record, 10) + (head * group + c % group) * arg(record, 11)
                store_f32x16(to, i * 4, load_f32x16(room, (c - begin) * 64))


def attend_with(queries, keys_of, scores):
    """A chunk of ``flash_attention``, compiled with the three pieces that know how q . k is done."""

    @inner
    def strip(like, w, record, keys, values, count, kv, x, o, s, state):
        """One block of positions for one strip of columns."""
        window, factors = arg(record, 21), s + BLOCK * w * 64
        nearest, farthest = get_i32(state, 128), get_i32(state, (w - 1) * STATE * 4 + 188)
        if kv <= farthest:
            scores(like, w, keys, arg(record, 12), count, x, s)
            some_hidden = kv + count - 1 > nearest or (window != 0 and kv <= farthest - window)
            _weigh(w, s, count, kv, window, some_hidden, state, factors)
            _accumulate(like, w, values, arg(record, 13), count, s, factors, o)

    @inner
    def attend(kq, vq, record, chunk, thread):
        group, block, n = arg(record, 15), arg(record, 16), arg(record, 14)
        size, size_v, past = arg(record, 12), arg(record, 13), get_i64(arg(record, 18), 0)
        blocks = (n + block - 1) // block
        head, t0 = chunk // blocks, chunk % blocks * block
        t1 = min(n, t0 + block)
        columns = (t1 - t0) * group
        vectors = (columns + 15) // 16
        keys = arg(record, 19) + thread * arg(record, 20)
        values = keys + size * BLOCK * 4
        s = values + size_v * BLOCK * 4
        x = s + (BLOCK + 1) * WIDE * 64
        o = x + vectors * size * 64
        state = o + vectors * size_v * 64
        v = 0
        while v < vectors:
            w = _width(v, vectors)
            _begin(w, record, t0, columns, group, v * 16, state + v * STATE * 4)
            queries(w, record, head, t0, columns, group, v * 16, x + v * size * 64, s)
            v += w
        fill_f32(o, vectors * size_v * 16, np.float32(0))
        window = arg(record, 21)
        lowest = max(0, past + t0 + 1 - window) if window != 0 else 0
        for kv in range(lowest, past + t1, BLOCK):
            count = min(BLOCK, past + t1 - kv)
            _ask_ahead(record, kv, past + t1, head)
            keys_of(kq, arg(record, 3) + kv * arg(record, 4) + head * arg(record, 5), arg(record, 4), size, count, keys)
            _values(vq, arg(record, 6) + kv * arg(record, 7) + head * arg(record, 8), arg(record, 7), size_v, count, values)
            v = 0
            while v < vectors:
                w, columns_at, sums, mine = _width(v, vectors), x + v * size * 64, o + v * size_v * 64, state + v * STATE * 4
                if w == WIDE:
                    strip(strip_wide(), WIDE, record, keys, values, count, kv, columns_at, sums, s, mine)
                else:
                    strip(strip_one(), 1, record, keys, values, count, kv, columns_at, sums, s, mine)
                v += w
        v = 0
        while v < vectors:
            w = _width(v, vectors)
            _results(w, record, head, t0, columns, group, v * 16, o + v * size_v * 64, s, state + v * STATE * 4)
            v += w

    return attend


_attend = attend_with(_queries, _keys, _scores)


def flash_attention(kq, vq, record, chunk, chunks, thread):
    """Op: attention over a cache whose K has format kq and V format vq.

    Arguments: 0 q (float32), 1 bytes per token, 2 per head; 3 k, 4 bytes per position, 5 per head; 6 v, 7, 8 likewise;
    9 result, 10 bytes per token, 11 per head; 12 head size of q and k, 13 of v, 14 tokens, 15 query heads per KV head,
    16 tokens in a block, 17 scale, 18 address of past (int64), 19 scratch, 20 its bytes per thread, 21 how many positions
    a token sees, itself included (0: all), 22 sinks (float32 per query head: one more score without a value) or 0.
    Chunks: KV heads x blocks of tokens, the blocks of a head side by side. Head sizes are multiples of 16.
    """
    _attend(kq, vq, record, chunk, thread)


def attention_scratch_bytes(size: int, size_v: int, columns: int) -> int:
    """Bytes of scratch per thread for head sizes and columns (tokens of a block x heads of a group)."""
    return 4 * (BLOCK * (size + size_v) + (BLOCK + 1) * WIDE * 16 + -(-columns // 16) * (16 * (size + size_v) + STATE))
