"""Launches for the cache and for attention: storing K and V, flash attention, and the products without it."""

from dataclasses import replace

from .launches import GpuLowering, Operand
from .ops import NUMBER, SIZE, copy, lowers

#: numbers of the types of cached rows in ops_attention.cu
CACHED = {"f32": 0, "f16": 1, "bf16": 2, "q8_0": 4}
TILE, QUERIES = 128, 8  #: as in ops_attention.cu
WANTED_BLOCKS = 256  #: positions are shared out until there are about so many blocks
MOST_PARTS = 64


@lowers("CPY")
def cpy(g: GpuLowering, row: int) -> None:
    graph = g.graph
    source, target = graph.srcs[row, :2].tolist()
    if graph.name[g.root[source]].startswith("KQ_mask"):  # what a token may see follows from its position
        return
    x = g.source(row, 0)
    if target == row:  # a cast
        y = g.result(row)
        if x.type == "q8_0" and y.type in ("f16", "f32"):
            widen(g, x, y.at, y.type, y.nb)
        elif y.type == "q8_0":
            _store_q8_0(g, x, y.at, x.ne[:3], x.nb[1:3], y.nb[1], 0)
        else:
            copy(g, x, y.at, y.type, y.nb)
        return
    y = g.source(row, 1)
    step, tokens = int(graph.params[target]["kv_head_stride"]), graph.n_tokens
    base = y.at + -graph.kv_head * step
    if x.nb[0] != SIZE.get(x.type, 0):  # V without flash attention: a row of the cache per channel
        if y.type not in NUMBER:
            raise g.lacks(f"a {y.type} V cache without flash attention")
        copy(g, x, base, y.type, (step, y.nb[1], 0, 0), per_past=step)
        return
    n = y.ne[0] if y.ne[1] > 1 else x.count // tokens  # K: head by head; V: all heads at once
    rows = x.count // n
    if not x.contiguous and (n != x.ne[0] or x.ne[2] * x.ne[3] > 1):
        raise g.lacks("storing a tensor with gaps into the cache")
    x_step = 4 * n if x.contiguous else x.nb[1]
    y_step = step * tokens // rows
    if y.type == "q8_0":
        _store_q8_0(g, x, base, (n, rows, 1), (x_step, 0), y_step, step)
    elif y.type in NUMBER:
        size = SIZE[y.type]
        copy(g, x, base, y.type, (size, y_step, 0, 0), (4, x_step, 0, 0), (n, rows, 1, 1), step)
    else:
        raise g.lacks(f"a KV cache of type {y.type} (f32, f16, bf16 and q8_0 have them)")


def _store_q8_0(g: GpuLowering, x: Operand, at: object, ne: tuple[int, ...], nb: tuple[int, ...], y_step: int,
                per_past: int) -> None:
    """Rows [ne] of x at strides nb as q8_0, y_step bytes apart, later by per_past bytes a position."""
    if x.type != "f32" or ne[0] % 32:
        raise g.lacks(f"{ne[0]} columns of {x.type} as q8_0")
    args = [x.at, at, *ne, *nb, y_step, g.memory.past if per_past else 0, per_past]
    g.each("store_q8_0", ne[0] // 32 * ne[1] * ne[2], args, "ops_rows")


def widen(g: GpuLowering, x: Operand, at: object, to: str, steps: tuple[int, ...]) -> None:
    """Rows of a q8_0 cache as half or float32, with other strides."""
    if x.ne[3] > 1:
        raise g.lacks("decoding a cache in four dimensions")
    g.each("widen_q8_0", x.count, [x.at, at, NUMBER[to], *x.ne[:3], *x.nb[1:3], *steps[1:3]], "ops_rows")


@lowers("CONT")
def cont(g: GpuLowering, row: int) -> None:
    x, y = g.source(row, 0), g.result(row)
    size = SIZE.get(x.type)
    if size is not None:
        copy(g, x, y.at, x.type, (size, size * x.ne[0], size * x.ne[0] * x.ne[1], size * x.ne[0] * x.ne[1] * x.ne[2]))
        return
    n, rows = x.ne[1], x.ne[0]  # cached latents, transposed: blocks run the other way then
    if x.type != "q8_0" or x.ne[2] * x.ne[3] > 1 or x.nb[0] < x.nb[1]:
        raise g.lacks(f"CONT of {x.type}")
    wide, turned = g.take(4 * n * rows), g.take(4 * n * rows)
    widen(g, replace(x, ne=(n, rows, 1, 1), nb=(x.nb[1], x.nb[0], 0, 0)), wide, "f32", (4, 4 * n, 0, 0))
    floats = replace(x, at=wide, type="f32", ne=(rows, n, 1, 1), nb=(4 * n, 4, 0, 0))
    copy(g, floats, turned, "f32", (4, 4 * rows, 0, 0))
    _store_q8_0(g, replace(floats, at=turned), y.at, (rows, n, 1), (4 * rows, 0), y.nb[1], 0)
    g.give(wide, turned)


@lowers("FLASH_ATTN_EXT")
def flash_attention(g: GpuLowering, row: int) -> None:
    q, k, v = (g.source(row, j) for j in range(3))
    params, srcs = g.graph.params[row], [*g.graph.srcs[row].tolist(), -1]
    for x in (k, v):
        if x.type not in CACHED:
            raise g.lacks(f"attention over a {x.type} cache (f32, f16, bf16 and q8_0 have one)")
    if params.get("max_bias") or params.get("logit_softcap"):
        raise g.lacks("ALiBi or softcap in attention")
    (dk, tokens, heads), dv, kv_heads = q.ne[:3], v.ne[0], k.ne[2]
    if dv > 4 * TILE:
        raise g.lacks(f"heads of {dv}")
    group = heads // kv_heads
    blocks = -(-tokens * group // QUERIES)
    parts = max(1, min(MOST_PARTS, WANTED_BLOCKS // (blocks * kv_heads), -(-k.ne[1] // TILE)))
    work = g.take(4 * tokens * heads * parts * (dv + 2))
    shared = 4 * (QUERIES * dk + QUERIES * TILE + 3 * QUERIES)
    args = [q.at, k.at, v.at, work, CACHED[k.type], CACHED[v.type], dk, dv, tokens, group, *q.nb[1:3], *k.nb[1:3], *v.nb[1:3],
            float(params["scale"]), g.memory.past, int(params.get("n_swa", 0))]
    g.launch("ops_attention", "flash_attention", (blocks, kv_heads, parts), args, block=TILE, shared=shared)
    sinks = g.source(row, 4).at if srcs[4] >= 0 else 0
    args = [work, g.result(row).at, parts, dv, heads, sinks]
    g.launch("ops_attention", "merge_parts", tokens * heads, args, block=min(TILE, -(-dv // 32) * 32))
    (g.give_late if tokens == 1 else g.give)(work)


def strided(g: GpuLowering, row: int, a: Operand, b: Operand) -> None:
    """Products of attention without -fa: K q and V^T p. Only positions that are filled matter."""
    y = g.result(row)
    if a.type not in CACHED or b.type != "f32":
        raise g.lacks(f"a product of {a.type} and {b.type} that are no weights")
    over_positions = g.graph.op[_behind(g, b.row)] == "SOFT_MAX"
    m, n, heads = a.ne[1], b.ne[1], b.ne[2]
    args = [a.at, b.at, y.at, CACHED[a.type], a.ne[0], m, n, heads, heads // a.ne[2], *a.nb[1:3], *b.nb[1:3], *y.nb[1:3],
            g.memory.past, int(over_positions)]
    g.each("strided_product", m * n * heads, args, "ops_attention")


def _behind(g: GpuLowering, row: int) -> int:
    """The row that computes what a row shows."""
    while g.graph.is_view_op[row]:
        row = int(g.graph.srcs[row, 0])
    return row
