"""Quantized matrix products: y[column, row] = x[column, :] . w[row, :] for every format with integer codes.

Sixteen rows are worked on together: a vector holds four consecutive weights ("a quad") of each of 16 rows, a quad of
activations, broadcast, multiplies a whole vector, and no horizontal sum is ever needed. ``unpack`` of the format
delivers such vectors from whatever the layout in memory is. One column is multiplied with them as they come; tiles of
columns by way of expanded weights in scratch, two groups of 16 rows and a panel of columns at a time.
"""

import numpy as np
from numba.extending import overload

from ._cache import inner
from .abi import arg, call_part, get_f32, get_i32, get_i64, has_parts, put_f32
from .formats._format import SEVEN, SHIFTED
from .formats.base import PIECE, block_bytes16, by_eight, dots, halves, has_min, has_rest, streams, turn, unpack
from .mathv import vsilu
from .simd import *

ONE_COLUMN, EXPAND = 0, 1  # places of the parts
AHEAD = 8192  # bytes of 16 rows that are asked for before they are read: a quarter of the first-level cache
PANEL, SHORT = 512, 256  # columns of k that are expanded at a time: two groups' codes stay in the first-level cache


part_of = inner(forceinline=True)


@part_of
def ask_ahead(q, w, stride, b, count, groups):
    """Ask for what ``count`` blocks take, AHEAD bytes further on, beyond the end of the rows ``groups`` groups further on.

    A group is as many streams through memory as it has rows (or interleaved groups of rows), side by side. The hardware
    foresees few of them, and what it fetches waits in the second-level cache; these lines come into the first one.
    """
    rows = 16 // streams(q)
    at = (b * block_bytes16(q) + AHEAD) // streams(q)
    if at >= rows * stride:
        at += (16 * groups - rows) * stride
    for i in range(streams(q)):
        for line in range(0, count * block_bytes16(q) // streams(q), 64):
            prefetch(w, i * rows * stride + at + line)


@part_of
def dot(q, acc, codes, x):
    """acc + codes times a quad of activations, in the way that fits the type, see `Format.dots`."""
    if dots(q) == SEVEN:
        return dpbusd7(acc, codes, x)
    if dots(q) == SHIFTED:
        return dpbusd_shifted(acc, codes, x)
    return dpbusd(acc, codes, x)


@part_of
def one_block(q, w, base, stride, b, x, d, s, acc):
    """acc + block b of 16 rows at w + base times the same block of one column: f32x16."""
    s0, s1, m0, m1, v = unpack(q, w, base, stride, b)
    first = second = splat_i32x16(np.int32(0))
    if not has_min(q):
        first = splat_i32x16(get_i32(s, 8 * b if halves(q) else 4 * b))
        if halves(q):
            second = splat_i32x16(get_i32(s, 8 * b + 4))
    o = b * 32
    first = dot(q, first, v[0], bcast4(x, o))
    second = dot(q, second, v[4], bcast4(x, o + 16))
    first = dot(q, first, v[1], bcast4(x, o + 4))
    second = dot(q, second, v[5], bcast4(x, o + 20))
    first = dot(q, first, v[2], bcast4(x, o + 8))
    second = dot(q, second, v[6], bcast4(x, o + 24))
    first = dot(q, first, v[3], bcast4(x, o + 12))
    second = dot(q, second, v[7], bcast4(x, o + 28))
    dx = get_f32(d, 4 * b)
    if halves(q):
        acc = fma(to_f32x16(first), s0 * dx, acc)
        acc = fma(to_f32x16(second), s1 * dx, acc)
        if has_min(q):
            acc = acc - m0 * get_f32(s, 8 * b) - m1 * get_f32(s, 8 * b + 4)
    else:
        acc = fma(to_f32x16(first + second), s0 * dx, acc)
        if has_min(q):
            acc = acc - m0 * get_f32(s, 4 * b)
    return acc


@part_of
def two_blocks(q, w, base, stride, b, x, d, s, acc):
    return one_block(q, w, base, stride, b + 1, x, d, s, one_block(q, w, base, stride, b, x, d, s, acc))


@part_of
def four_blocks(q, w, base, stride, b, x, d, s, acc):
    return two_blocks(q, w, base, stride, b + 2, x, d, s, two_blocks(q, w, base, stride, b, x, d, s, acc))


@part_of
def eight_blocks(q, w, base, stride, b, x, d, s, acc):
    return four_blocks(q, w, base, stride, b + 4, x, d, s, four_blocks(q, w, base, stride, b, x, d, s, acc))


def blocks(q, w, base, stride, b, x, d, s, acc):
    """acc + ``turn`` blocks from b on, written out one after the other."""
    raise NotImplementedError("for use inside compiled kernels")


@overload(blocks, jit_options=PIECE)
def _blocks_of(q, w, base, stride, b, x, d, s, acc):
    of = {1: one_block, 2: two_blocks, 4: four_blocks, 8: eight_blocks}[q.turn]
    return lambda q, w, base, stride, b, x, d, s, acc: of(q, w, base, stride, b, x, d, s, acc)


def one_column(q, w, stride, k, x, d, s, out):
    """Part: 16 rows at w times one column, to float32[16] at out.

    In blocks that are written out the compiler loads and widens once what they have in common (headers, words of codes);
    too many of them no longer fit where a core keeps decoded instructions.
    """
    acc = splat_f32x16(np.float32(0))
    whole = k // 32 // turn(q) * turn(q)
    for b in range(0, whole, turn(q)):
        ask_ahead(q, w, stride, b, turn(q), 1)
        acc = blocks(q, w, 0, stride, b, x, d, s, acc)
    if has_rest(q):
        for b in range(whole, k // 32):
            acc = one_block(q, w, 0, stride, b, x, d, s, acc)
    store_f32x16(out, 0, acc)


@part_of
def put_block(q, unpacked, i, codes, scales, mins):
    """What ``unpack`` gave to place i of codes uint8 [k / 4, 16, 4], scales and mins float32 [k / sub, 16]."""
    s0, s1, m0, m1, v = unpacked
    at = i * (128 if halves(q) else 64)
    store_f32x16(scales, at, trimmed(s0))
    if has_min(q):
        store_f32x16(mins, at, m0)
    if halves(q):
        store_f32x16(scales, at + 64, trimmed(s1))
        if has_min(q):
            store_f32x16(mins, at + 64, m1)
    store_tuple(v, codes + i * 512)


@part_of
def expand_two(q, w, base, stride, b, i, codes, scales, mins):
    """Two blocks; both are unpacked before anything is stored, as a store ends what the compiler knows of memory."""
    first, second = unpack(q, w, base, stride, b), unpack(q, w, base, stride, b + 1)
    ask_ahead(q, w, stride, b, 2, 2)
    put_block(q, first, i, codes, scales, mins)
    put_block(q, second, i + 1, codes, scales, mins)


def expand(q, w, stride, b0, n, codes, scales, mins):
    """Part: n blocks of the 16 rows at w from b0 (a multiple of 8) on, unpacked: codes, scales and mins as in ``put_block``."""
    if by_eight(q):
        for i in range(0, n, 8):
            b = (b0 & -8) + i  # says to the compiler that it is one
            expand_two(q, w, 0, stride, b, i, codes, scales, mins)
            expand_two(q, w, 0, stride, b + 2, i + 2, codes, scales, mins)
            expand_two(q, w, 0, stride, b + 4, i + 4, codes, scales, mins)
            expand_two(q, w, 0, stride, b + 6, i + 6, codes, scales, mins)
    else:
        for i in range(n):
            unpacked = unpack(q, w, 0, stride, b0 + i)
            ask_ahead(q, w, stride, b0 + i, 1, 2)
            put_block(q, unpacked, i, codes, scales, mins)


@inner
def quads(q, pair, codes, others, n, x):
    """n quads of two groups' codes times those of a tile at x, added to a pair of tiles.

    Without 32 registers the loops must not be unrolled: the compiler would load activations for all of them first.
    """
    if dots(q) == SHIFTED:
        first, second = pair
        for j in range(unforeseen(n)):
            first = tile_dpbusd_shifted(first, load_u8x64(codes, j * 64), x + j * 4 * TILE)
        for j in range(unforeseen(n)):
            second = tile_dpbusd_shifted(second, load_u8x64(others, j * 64), x + j * 4 * TILE)
        return first, second
    if dots(q) == SEVEN:
        for j in range(unforeseen(n)):
            pair = tiles_dpbusd7(pair, load_u8x64(codes, j * 64), load_u8x64(others, j * 64), x + j * 4 * TILE)
        return pair
    for j in range(n):
        pair = tiles_dpbusd(pair, load_u8x64(codes, j * 64), load_u8x64(others, j * 64), x + j * 4 * TILE)
    return pair


@inner
def many_columns(q, n, part, other, x, d, s, sums, ahead):
    """Two expanded groups of 16 rows (part, other: codes, scales, mins) times n columns of k of one tile, added to sums.

    Activations ``ahead`` bytes further on, which the next call reads, are asked for.
    """
    fa, fb = load_tile(sums), load_tile(sums + 64 * TILE)
    step = 4 * TILE
    sub = 16 if halves(q) else 32
    for b in range(n // sub):
        sx = s + b * step
        i = tile(splat_i32x16(np.int32(MAGIC_BITS))) if has_min(q) else tile_i32(fa, sx)
        pair = quads(q, (i, i), part[0] + b * sub * 16, other[0] + b * sub * 16, sub // 4, x + b * sub * TILE)
        for j in range(b * sub * TILE, (b + 1) * sub * TILE, 64):
            prefetch(x, ahead + j)
        dx = d + b * sub // 32 * step
        fa = tile_scale_add(fa, pair[0], load_f32x16(part[1], b * 64), dx)
        fb = tile_scale_add(fb, pair[1], load_f32x16(other[1], b * 64), dx)
        if has_min(q):
            fa = tile_fms(fa, load_f32x16(part[2], b * 64), sx)
            fb = tile_fms(fb, load_f32x16(other[2], b * 64), sx)
    store_tuple(fa, sums)
    store_tuple(fb, sums + 64 * TILE)


@inner
def put(spill, columns, count, row, lanes):
    """Columns' 16 values, 64 bytes apart at spill, to the columns' addresses + 4 row; address 0 is padding."""
    for c in range(count):
        to = get_i64(columns, 8 * c)
        if to != 0:
            if lanes == 16:
                store_f32x16(to, 4 * row, load_f32x16(spill, 64 * c))
            else:
                for r in range(lanes):
                    put_f32(to, 4 * (row + r), get_f32(spill, 64 * c + 4 * r))


@inner
def ask_to_write(record, t, row, row2):
    """Ask for the lines that ``finish`` will write for tile t."""
    for c in range(TILE):
        to = get_i64(arg(record, 10), (t * TILE + c) * 8)
        prefetch_write(to, 4 * row)
        prefetch_write(to, 4 * row2)


@inner
def gate_up(spill, gate, count):
    """At spill: up * silu(gate), for ``count`` columns."""
    for c in range(count):
        store_f32x16(spill, 64 * c, load_f32x16(spill, 64 * c) * vsilu(load_f32x16(gate, 64 * c)))


@inner
def one_group(record, w, w2, x, d, s, spill):
    """One column, 16 rows, with w2 fused in as the gate when there is one."""
    for i in range(2 if w2 != 0 else 1):
        call_part(record, ONE_COLUMN, w if i == 0 else w2, arg(record, 1), arg(record, 2), x, d, s, spill + 64 * i)
    if w2 != 0:
        gate_up(spill, spill + 64, 1)


@inner
def wide_groups(q, record, w, w2, row, row2, t0, t1, sums):
    """16 rows of w from ``row`` on and 16 more (from row2 on, or of the gate w2) times tiles t0..t1."""
    stride, k = arg(record, 1), arg(record, 2)
    sub = 16 if halves(q) else 32
    panel = min(k, PANEL if t1 - t0 > 2 else SHORT)  # few tiles: memory is waited for, which wants short turns
    codes = sums + (t1 - t0) * 128 * TILE
    part = (codes, codes + 16 * panel, codes + 16 * panel + 64 * (panel // sub))
    size = 16 * panel + 128 * (panel // sub)
    other = (part[0] + size, part[1] + size, part[2] + size)
    clear(sums, (t1 - t0) * 2 * TILE)
    for k0 in range(0, k, panel):
        n = min(panel, k - k0)
        for i in range(2):
            at = w + row * stride if i == 0 else (w2 if w2 != 0 else w) + row2 * stride
            to = codes + i * size
            call_part(record, EXPAND, at, stride, k0 // 32, n // 32, to, to + 16 * panel, to + 16 * panel + 64 * (panel // sub))
        for t in range(t0, t1):
            x, d = arg(record, 6) + (t * k + k0) * TILE, arg(record, 7) + (t * k + k0) // 32 * TILE * 4
            s = arg(record, 8) + (t * k + k0) // sub * TILE * 4
            if k0 + n == k:
                ask_to_write(record, t, row, row2)
            many_columns(q, n, part, other, x, d, s, sums + (t - t0) * 128 * TILE, k * TILE)
            if k0 + n == k:
                finish(record, w2, row, row2, t, sums + (t - t0) * 128 * TILE)


@inner
def clear(address, n):
    """n f32x16 of zeros."""
    for i in range(n):
        store_f32x16(address, 64 * i, splat_f32x16(np.float32(0)))


@inner
def finish(record, w2, row, row2, t, spill):
    """The sums of two groups of rows for tile t to where they belong, gated when there is a gate."""
    m, columns = arg(record, 3), arg(record, 10) + t * TILE * 8
    if w2 != 0:
        gate_up(spill, spill + 64 * TILE, TILE)
    else:
        put(spill + 64 * TILE, columns, TILE, row2, min(16, m - row2))
    put(spill, columns, TILE, row, min(16, m - row))


@inner
def start_row(g, m):
    """First row of group g; the last group of a matrix overlaps the one before rather than run past the end."""
    return max(0, min(g * 16, m - 16))


@inner
def share(record, chunk):
    """What a chunk works on: (expert, first group, last group, first tile, last tile)."""
    parts, groups = arg(record, 15), (arg(record, 3) + 15) // 16
    expert, part = chunk // parts, chunk % parts
    t0, t1 = 0, arg(record, 9)
    if arg(record, 13) != 0:
        t0, t1 = get_i64(arg(record, 13), 8 * expert), get_i64(arg(record, 13), 8 * expert + 8)
    return expert, groups * part // parts, groups * (part + 1) // parts, t0, t1


@has_parts(one_column, expand)
def product(q, b, record, chunk, chunks, thread):
    """Op: a matrix product, or one per expert, plain or as up * silu(gate).

    Arguments: 0 weights, 1 bytes per row, 2 k, 3 rows m, 4 bytes per expert, 5 gate weights or 0, 6 q, 7 d, 8 s of the
    activation tiles, 9 tiles, 10 address of each column's result, 11 scratch, 12 its bytes per thread, 13 first tile of
    each expert (int64 [experts + 1]) or 0, 14 experts, 15 chunks per expert, 16 width of the tiles.
    Quantized matrices of fewer than 16 rows must lie in 16 rows of readable memory.
    """
    stride, k, m = arg(record, 1), arg(record, 2), arg(record, 3)
    sub = 16 if halves(q) else 32
    expert, g0, g1, t0, t1 = share(record, chunk)
    w = arg(record, 0) + expert * arg(record, 4)
    w2 = arg(record, 5) + expert * arg(record, 4) if arg(record, 5) != 0 else 0
    spill = arg(record, 11) + thread * arg(record, 12)
    width = arg(record, 16)
    lanes = min(16, m)
    if t0 == t1:
        return
    if width > 1:
        for g in range(g0, g1, 1 if w2 != 0 else 2):
            row = start_row(g, m)
            wide_groups(q, record, w, w2, row, row if w2 != 0 else start_row(min(g + 1, g1 - 1), m), t0, t1, spill)
        return
    for g in range(g0, g1):
        row = start_row(g, m)
        for t in range(t0, t1):
            x, d, s = arg(record, 6) + t * k, arg(record, 7) + t * (k // 32) * 4, arg(record, 8) + t * (k // sub) * 4
            one_group(record, w + row * stride, w2 + row * stride if w2 != 0 else 0, x, d, s, spill)
            put(spill, arg(record, 10) + t * 8, 1, row, lanes)


def scratch_bytes(k: int, sub: int, tiles: int) -> int:
    """Bytes of scratch per thread that ``product`` needs for rows of k columns and so many tiles."""
    panel = min(k, PANEL)
    return 128 * TILE * max(1, tiles) + 2 * (16 * panel + 128 * (panel // sub))
