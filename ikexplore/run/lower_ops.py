"""One function per op of ggml's graphs: emits the instructions that compute it. Registered by op name in ``OPS``."""

from collections.abc import Callable
from typing import Any

import numpy as np

from ikexplore_kernels import attention, attention_one, dense, elementwise, norm, product, route, rows, tiles

from ..errors import ModelError
from .lower import At, Lowering, Tiles, offset_kind
from .weights import Weight

OPS: dict[str, Callable[[Lowering, int], None]] = {}


def lowers(*names: str) -> Callable:
    """Registers a function for the ops of these names."""

    def register(fn: Callable[[Lowering, int], None]) -> Callable[[Lowering, int], None]:
        OPS.update(dict.fromkeys(names, fn))
        return fn

    return register


# -- rows in and out ---------------------------------------------------------------------------------------------


@lowers("GET_ROWS")
def get_rows(g: Lowering, row: int) -> None:
    source, numbers = g.srcs[row]
    n = int(np.prod(g.ne(numbers)))
    weight = g.weight(source)
    if weight:
        k, scratch = weight.columns, g.need_scratch(1024)
        args = [weight.address, weight.row_bytes, k, weight.rows, g.at(numbers), n, g.at(row), scratch, "scratch"]
        op = rows.get_rows_dense if weight.format.dense else rows.get_rows
        g.emit(op, args, g.share(n, n * k * 16), weight.format)
    elif g.ne(source)[0] == 1:  # the router's weights: one number per (token, expert)
        slots, tokens, width = g.ne(numbers)[0], g.ne(numbers)[1], g.ne(source)[1]
        g.emit(rows.pick_values, [g.at(source), width, g.at(numbers), g.nb(numbers)[1], slots, tokens, g.at(row)])
    else:
        k = g.ne(source)[0]
        g.emit(rows.pick_rows, [g.at(source), g.nb(source)[1], k, g.at(numbers), n, g.at(row)], g.share(n, n * k * 8))


STORE = {"f32": rows.F32, "f16": rows.F16, "bf16": rows.BF16, "q8_0": rows.Q8_0}


@lowers("CPY")
def cpy(g: Lowering, row: int) -> None:
    source, target = g.srcs[row][0], g.srcs[row][1]
    if g.graph.name[source] == "KQ_mask":  # nothing reads the mask, see ``Inputs.address``
        return
    kind, past = g.graph.type[target], g.inputs.past.ctypes.data
    if kind not in STORE:
        raise ModelError(f"a KV cache of type {kind}: this engine stores f16, bf16, q8_0 and f32; choose one of these")
    ne, step = g.ne(source), g.graph.params[target]["kv_head_stride"]
    base = g.at(target) - g.graph.kv_head * step
    if g.nb(source)[0] != 4:  # V without flash attention: a row of the cache per channel
        if kind == "q8_0":
            raise ModelError("a quantized V cache needs flash attention (-fa)")
        tokens, n = ne[0], ne[1]
        args = [g.at(source), g.nb(source)[0], n, tokens, base, step, g.nb(target)[1], STORE[kind], past, step]
    else:
        tokens = g.graph.n_tokens
        n = int(np.prod(ne)) // tokens
        args = [g.at(source), n * 4, n, tokens, base, step, 2, STORE[kind], past, step]
    g.emit(rows.store, args, g.share(tokens, tokens * n * 8))


@lowers("CONT")
def cont(g: Lowering, row: int) -> None:
    source = g.srcs[row][0]
    ne, nb = g.ne(source), g.nb(source)
    step = [4, 4 * ne[0], 4 * ne[0] * ne[1]]
    g.emit(elementwise.copy_rows, [g.at(source), g.at(row), *ne[:3], *nb[:3], *step],
           g.share(ne[1] * ne[2], 8 * int(np.prod(ne))))


# -- matrix products ---------------------------------------------------------------------------------------------


def _check(g: Lowering, weight: Weight, k: int) -> None:
    if weight.columns != k:
        raise ModelError(f"{weight.name} has rows of {weight.columns}, but is multiplied with columns of {k}")


def _emit_product(g: Lowering, w: Weight, gate: Any, t: Tiles, table: Any, at: int = 0, m: int | None = None,
                  experts: tuple[Any, int] = (0, 0)) -> None:
    """A product of weight ``w`` (its bytes from ``at`` on, m rows), with ``gate`` the gate's address or 0."""
    m, k = m or w.rows, w.columns
    first_tile, n_experts = experts
    if w.format.dense:
        op, scratch = dense.dense_product, g.need_scratch(dense.dense_scratch_bytes(k, t.count))
        x = [t.q, 0, 0]
    else:
        op, scratch = product.product, g.need_scratch(product.scratch_bytes(k, w.format.code.sub, t.count))
        assert t.s is not None
        x = [t.q, t.d, t.s[offset_kind(w.format)]]
    groups = -(-m // 16)
    if t.width == 1:
        parts = g.share(groups, m * w.row_bytes)
    else:
        parts = max(1, min(groups // 2, 4 * g.threads)) if g.threads > 1 else 1
        if n_experts:
            parts = max(1, min(parts, 16 * g.threads // n_experts))
    args = [w.address + at, w.row_bytes, k, m, w.matrix_bytes if n_experts else 0, gate, *x, t.count, table,
            scratch, "scratch", first_tile, n_experts, parts, t.width]
    g.emit(op, args, parts * max(1, n_experts), w.format)


def _table(g: Lowering, row: int) -> Any:
    """Addresses of the columns of a product's result."""
    ne = g.ne(row)
    n = ne[1] * ne[2] * ne[3]
    return g.address_table(g.at(row), ne[0] * 4, n, 1 if n == 1 else tiles.TILE).ctypes.data


@lowers("MUL_MAT")
def mul_mat(g: Lowering, row: int) -> None:
    a, b = g.srcs[row]
    weight = g.weight(a)
    if weight is None:
        _strided(g, row, a, b)
        return
    _check(g, weight, g.ne(b)[0])
    t = g.ready(b, weight.columns, weight.format.dense)
    _emit_product(g, weight, 0, t, _table(g, row))


def _strided(g: Lowering, row: int, a: int, b: int) -> None:
    """K q and V^T p of attention without -fa: only positions that are filled matter."""
    ne_a, ne_b, nb_a, nb_b, nb = g.ne(a), g.ne(b), g.nb(a), g.nb(b), g.nb(row)
    seen = g.inputs.past.ctypes.data + 8
    over_positions = g.srcs[row][1] >= g.graph.n_leafs and g.graph.op[b] == "SOFT_MAX"
    args = [g.at(a), nb_a[1], nb_a[2], g.at(b), nb_b[1], nb_b[2], g.at(row), nb[1], nb[2], ne_a[0], ne_a[1], ne_b[1],
            ne_b[2], ne_b[2] // ne_a[2], 0 if over_positions else seen, seen if over_positions else 0]
    g.emit(dense.strided_product, args, g.share(ne_b[1] * ne_b[2], 4 * int(np.prod(ne_a)) * ne_b[1]), g.format(a))


def _unary(g: Lowering, row: int) -> None:
    unary = g.graph.params[row].get("unary")
    if str(unary).lower() != "silu":
        raise ModelError(f"{g.graph.name[row]}: this engine has no kernel for the activation {unary} yet")


@lowers("FUSED_UP_GATE")
def fused_up_gate(g: Lowering, row: int) -> None:
    _unary(g, row)
    up, gate = g.weight(g.srcs[row][0]), g.weight(g.srcs[row][1])
    x = g.srcs[row][2]
    assert up is not None and gate is not None
    _check(g, up, g.ne(x)[0])
    if up.format is gate.format:
        _emit_product(g, up, gate.address, g.ready(x, up.columns, up.format.dense), _table(g, row))
        return
    ne = g.ne(row)
    block = g.take(4 * int(np.prod(ne)))
    n = ne[1] * ne[2] * ne[3]
    table = g.address_table(block, ne[0] * 4, n, 1 if n == 1 else tiles.TILE).ctypes.data
    _emit_product(g, gate, 0, g.ready(x, gate.columns, gate.format.dense), table)
    _emit_product(g, up, 0, g.ready(x, up.columns, up.format.dense), _table(g, row))
    _silu_mul(g, block, g.at(row), g.at(row), ne[0], n)
    g.give(block)


def _silu_mul(g: Lowering, x: Any, z: Any, y: Any, n: int, count: int) -> None:
    g.emit(elementwise.binary, [x, z, y, n, count, n, count, elementwise.SILU_MUL], g.share(count, 12 * n * count))


# -- experts -----------------------------------------------------------------------------------------------------


class _Experts:
    """The router's choice as tiles of one expert matrix's columns; ``free()`` gives the memory back."""

    def __init__(self, g: Lowering, row: int, x: int, ids: int, n_experts: int):
        self.g, self.n = g, n_experts
        slots, tokens = g.ne(ids)[0], g.ne(ids)[1] * g.ne(ids)[2]
        self.width = 1 if tokens == 1 else tiles.TILE
        self.count = route.most_tiles(tokens, slots, n_experts, self.width)
        self.table, self.sources = g.take(8 * (n_experts + 1)), g.take(8 * self.count * self.width)
        self.results, self.fill = g.take(8 * self.count * self.width), g.take(8 * n_experts)
        ne, step, m = g.ne(x), g.ne(x)[0] * 4, g.ne(row)[0] * 4
        per_slot = step if ne[1] > 1 else 0
        args = [g.at(ids), g.nb(ids)[1], slots, tokens, n_experts, self.width, g.at(x), step * ne[1], per_slot,
                g.at(row), m * slots, m, self.table, self.sources, self.results, self.fill]
        g.emit(route.route, args)
        self._tiles: dict[bool, Tiles] = {}

    def ready(self, weights: list[Weight]) -> Tiles:
        """Tiles that serve the given matrices, all dense or all quantized."""
        is_dense = weights[0].format.dense
        kinds = {offset_kind(w.format) for w in weights if not w.format.dense}
        end = self.table + 8 * self.n
        t = self.g.make_tiles(self.sources, self.count, self.width, weights[0].columns, is_dense, kinds, end)
        self._tiles[is_dense] = t
        return t

    def product(self, w: Weight, gate: Any, t: Tiles, at: int = 0, m: int | None = None) -> None:
        _emit_product(self.g, w, gate, t, self.results, at, m, (self.table, self.n))

    def free(self) -> None:
        self.g.give(self.table, self.sources, self.results, self.fill)
        for t in self._tiles.values():
            self.g.give(*(At(offset) for offset in t.blocks))


@lowers("MUL_MAT_ID")
def mul_mat_id(g: Lowering, row: int) -> None:
    weight, x, ids = g.weight(g.srcs[row][0]), g.srcs[row][1], g.srcs[row][2]
    assert weight is not None
    _check(g, weight, g.ne(x)[0])
    experts = _Experts(g, row, x, ids, weight.matrices)
    experts.product(weight, 0, experts.ready([weight]))
    experts.free()


@lowers("MOE_FUSED_UP_GATE")
def moe_fused_up_gate(g: Lowering, row: int) -> None:
    _unary(g, row)
    srcs = g.srcs[row]
    up, gate = g.weight(srcs[0]), g.weight(srcs[1]) if len(srcs) == 4 else None
    x, ids = srcs[-2], srcs[-1]
    assert up is not None
    _check(g, up, g.ne(x)[0])
    experts = _Experts(g, row, x, ids, up.matrices)
    if gate is None:  # merged: the gate's rows come first
        half = up.rows // 2
        experts.product(up, up.address, experts.ready([up]), at=half * up.row_bytes, m=half)
    elif up.format is gate.format:
        experts.product(up, gate.address, experts.ready([up]))
    else:
        raise ModelError(f"{up.name} is {up.format.name} and {gate.name} {gate.format.name}: fused they must be one type; "
                         "turn fused MoE off (-no-fmoe)")
    experts.free()


@lowers("MUL_MULTI_ADD")
def mul_multi_add(g: Lowering, row: int) -> None:
    x, w = g.srcs[row]
    n, slots, tokens = g.ne(x)[:3]
    args = [g.at(x), g.nb(x)[2], g.nb(x)[1], slots, g.at(w), slots * 4, g.at(row), n, tokens]
    g.emit(elementwise.multi_add, args, g.share(tokens, tokens * slots * n * 4))


@lowers("MULTI_ADD")
def multi_add(g: Lowering, row: int) -> None:
    x = g.srcs[row][0]
    n, tokens = g.ne(x)[:2]
    slots = g.ne(g.root[x])[1]
    args = [g.at(x), g.nb(x)[1], n * 4, slots, 0, 0, g.at(row), n, tokens]
    g.emit(elementwise.multi_add, args, g.share(tokens, tokens * slots * n * 4))


@lowers("ARGSORT")
def argsort(g: Lowering, row: int) -> None:
    n, rows_ = g.ne(row)[0], int(np.prod(g.ne(row)[1:]))
    used = [g.ne(i)[0] for i in range(row, len(g.graph)) if g.root[i] == row and g.graph.op[i] == "VIEW"]
    args = [g.at(g.srcs[row][0]), g.at(row), n, rows_, max(used, default=n), n * 4]
    g.emit(elementwise.top_k, args, g.share(rows_, rows_ * n * 8))


# -- norms, positions, attention ---------------------------------------------------------------------------------


@lowers("FUSED_RMS_NORM", "RMS_NORM")
def rms_norm(g: Lowering, row: int) -> None:
    source = g.srcs[row][0]
    weight = g.at(g.srcs[row][1]) if len(g.srcs[row]) > 1 else 0
    ne, nb, to = g.ne(source), g.nb(source), g.nb(row)
    n_rows = ne[1] * ne[2] * ne[3]
    args = [g.at(source), g.at(row), weight, ne[0], ne[1], ne[2] * ne[3], nb[1], nb[2], to[1], to[2],
            float(g.graph.params[row]["eps"])]
    g.emit(norm.rms_norm, args, g.share(n_rows, n_rows * ne[0] * 8))


@lowers("ROPE")
def rope(g: Lowering, row: int) -> None:
    source, positions = g.srcs[row][:2]
    params = g.graph.params[row]
    factors = g.weight(g.srcs[row][2]) if len(g.srcs[row]) > 2 else None
    table = g.rope(params, factors)
    ne, nb, to = g.ne(source), g.nb(source), g.nb(row)
    if params["mode"] not in (0, 2):
        raise ModelError(f"{g.graph.name[row]}: this engine has no kernel for rope mode {params['mode']} yet")
    args = [g.at(source), g.at(row), ne[0], ne[1], ne[2], nb[1], nb[2], to[1], to[2], params["n_dims"],
            params["mode"], g.at(positions), table.ctypes.data]
    g.emit(norm.rope, args, g.share(ne[1] * ne[2], 8 * int(np.prod(ne))))


@lowers("SOFT_MAX")
def soft_max(g: Lowering, row: int) -> None:
    source, params = g.srcs[row][0], g.graph.params[row]
    if params.get("max_bias"):
        raise ModelError(f"{g.graph.name[row]}: this engine has no kernel for ALiBi (max_bias) yet")
    ne = g.ne(row)
    past = g.inputs.past.ctypes.data if len(g.srcs[row]) > 1 else 0
    args = [g.at(source), g.at(row), ne[0], ne[1], ne[2] * ne[3], float(params.get("scale", 1.0)), past]
    n_rows = int(np.prod(ne[1:]))
    g.emit(norm.soft_max, args, g.share(n_rows, n_rows * ne[0] * 16))


@lowers("FLASH_ATTN_EXT")
def flash_attn_ext(g: Lowering, row: int) -> None:
    q, k, v = g.srcs[row][:3]
    for i in (k, v):
        if g.graph.type[i] not in STORE:
            raise ModelError(f"a KV cache of type {g.graph.type[i]}: this engine has f16, bf16, q8_0 and f32")
    (size, tokens, heads), nb_q, nb_k, nb_v = g.ne(q)[:3], g.nb(q), g.nb(k), g.nb(v)
    size_v, kv_heads = g.ne(v)[0], g.ne(k)[2]
    sources = [g.at(q), nb_q[1], nb_q[2], g.at(k), nb_k[1], nb_k[2], g.at(v), nb_v[1], nb_v[2]]
    group, scale, past = heads // kv_heads, float(g.graph.params[row]["scale"]), g.inputs.past.ctypes.data
    if tokens == 1:
        parts = -(-2 * g.threads // kv_heads) if g.threads > 1 else 1
        scratch = g.need_scratch(attention_one.part_scratch_bytes(size, size_v))
        block = g.take(4 * heads * parts * (16 + size_v))
        args = [*sources, block, parts, 0, size, size_v, 1, group, 1, scale, past, scratch, "scratch"]
        g.emit(attention_one.attention_part, args, kv_heads * parts, g.format(k), g.format(v))
        g.emit(attention_one.merge_parts, [block, parts, size_v, heads, g.at(row), size_v * 4])
        g.give(block)
        return
    many = max(1, min(tokens, 48 // group))  # tokens of a chunk
    if g.threads > 1:  # enough chunks for all
        many = max(1, min(many, -(-tokens * kv_heads // (4 * g.threads))))
    scratch = g.need_scratch(attention.attention_scratch_bytes(size, size_v, many * group))
    args = [*sources, g.at(row), size_v * heads * 4, size_v * 4, size, size_v, tokens, group, many, scale, past,
            scratch, "scratch"]
    g.emit(attention.flash_attention, args, kv_heads * -(-tokens // many), g.format(k), g.format(v))


# -- element by element ------------------------------------------------------------------------------------------

_KINDS = {"ADD": elementwise.ADD, "MUL": elementwise.MUL, "DIV": elementwise.DIV}


@lowers("ADD", "MUL", "DIV")
def binary(g: Lowering, row: int) -> None:
    x, z = g.srcs[row]
    ne, nz = g.ne(x), g.ne(z)
    n_rows, z_rows = int(np.prod(ne[1:])), int(np.prod(nz[1:]))
    args = [g.at(x), g.at(z), g.at(row), ne[0], n_rows, nz[0], z_rows, _KINDS[g.graph.op[row]]]
    g.emit(elementwise.binary, args, g.share(n_rows, n_rows * ne[0] * 12))


@lowers("FUSED_MUL_UNARY")
def fused_mul_unary(g: Lowering, row: int) -> None:
    _unary(g, row)
    x, z = g.srcs[row]
    _silu_mul(g, g.at(x), g.at(z), g.at(row), g.ne(row)[0], int(np.prod(g.ne(row)[1:])))


@lowers("SUM_ROWS")
def sum_rows(g: Lowering, row: int) -> None:
    source = g.srcs[row][0]
    n, n_rows = g.ne(source)[0], int(np.prod(g.ne(source)[1:]))
    g.emit(elementwise.sum_rows, [g.at(source), g.at(row), n, n_rows], g.share(n_rows, n_rows * n * 4))
