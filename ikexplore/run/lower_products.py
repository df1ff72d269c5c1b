"""Lowering of matrix products: plain, a matrix per head, fused up and gate, and the experts'."""

from dataclasses import replace
from typing import Any

import numpy as np

from ikexplore_kernels import dense, elementwise, product, route, tiles

from ..errors import ModelError
from .lower import At, Lowering, Tiles, offset_kind
from .lower_attention import strided
from .lower_ops import add_by_id, gate_kind, gated, lowers
from .weights import Weight

# -- matrix products ---------------------------------------------------------------------------------------------


def _check(g: Lowering, weight: Weight, k: int) -> None:
    if weight.columns != k:
        raise ModelError(f"{weight.name} has rows of {weight.columns}, but is multiplied with columns of {k}")


def _emit_product(g: Lowering, w: Weight, gate: Any, t: Tiles, table: Any, experts: tuple[Any, int] = (0, 0)) -> None:
    """A product of weight ``w``, with ``gate`` the gate's address or 0. experts: address of first tiles, how many."""
    m, k = w.rows, w.columns
    first_tile, n_experts = experts
    if w.format.dense:
        op, scratch = dense.dense_product, g.need_scratch(dense.dense_scratch_bytes(k, t.most or t.count))
        x = [t.q, 0, 0]
    else:
        op, scratch = product.product, g.need_scratch(product.scratch_bytes(k, w.format.code.sub, t.most or t.count))
        assert t.s is not None
        x = [t.q, t.d, t.s[offset_kind(w.format)]]
    groups = -(-m // 16)
    if t.width == 1:
        parts = g.share(groups, m * w.row_bytes)
    else:
        parts = max(1, min(groups // 2, 4 * g.threads)) if g.threads > 1 else 1
        if n_experts:
            parts = max(1, min(parts, 16 * g.threads // n_experts))
    args = [w.address, w.row_bytes, k, m, w.matrix_bytes if n_experts else 0, gate, *x, t.count, table,
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
        strided(g, row, a, b)
        return
    _check(g, weight, g.ne(b)[0])
    if weight.matrices > 1:
        _by_matrix(g, row, weight, b)
        return
    t = g.ready(b, weight.columns, weight.format.dense)
    _emit_product(g, weight, 0, t, _table(g, row))


def _by_matrix(g: Lowering, row: int, weight: Weight, b: int) -> None:
    """A product per head: matrix h times columns [k, n, h], as the experts' products with a fixed choice."""
    (k, n, heads), nb, m = g.ne(b)[:3], g.nb(b), weight.rows
    if heads != weight.matrices or g.graph.type[b] != "f32":
        raise ModelError(f"{weight.name} has {weight.matrices} matrices, but is multiplied with {heads} of {g.graph.type[b]}")
    width = 1 if n == 1 else tiles.TILE
    many = -(-n // width)
    sources = g.address_grid(g.at(b), nb[1], nb[2], n, heads, width)
    results = g.address_grid(g.at(row), 4 * m, 4 * m * n, n, heads, width)
    first = np.arange(heads + 1, dtype=np.int64) * many
    g.keep.append(first)
    kinds = set() if weight.format.dense else {offset_kind(weight.format)}
    t = g.make_tiles(sources.ctypes.data, heads * many, width, k, weight.format.dense, kinds)
    t.most = many
    _emit_product(g, weight, 0, t, results.ctypes.data, experts=(first.ctypes.data, heads))
    g.give(*(At(offset) for offset in t.blocks))


@lowers("FUSED_UP_GATE")
def fused_up_gate(g: Lowering, row: int) -> None:
    kind = gate_kind(g, row)
    up, gate = g.weight(g.srcs[row][0]), g.weight(g.srcs[row][1])
    x = g.srcs[row][2]
    assert up is not None and gate is not None
    _check(g, up, g.ne(x)[0])
    if up.format is gate.format and kind == elementwise.SILU_MUL:
        _emit_product(g, up, gate.address, g.ready(x, up.columns, up.format.dense), _table(g, row))
        return
    ne = g.ne(row)
    block = g.take(4 * int(np.prod(ne)))
    n = ne[1] * ne[2] * ne[3]
    table = g.address_table(block, ne[0] * 4, n, 1 if n == 1 else tiles.TILE).ctypes.data
    _emit_product(g, gate, 0, g.ready(x, gate.columns, gate.format.dense), table)
    _emit_product(g, up, 0, g.ready(x, up.columns, up.format.dense), _table(g, row))
    gated(g, kind, block, g.at(row), g.at(row), ne[0], n)
    g.give(block)


# -- experts -----------------------------------------------------------------------------------------------------


class _Experts:
    """The router's choice as tiles of one expert matrix's columns; ``free()`` gives the memory back."""

    def __init__(self, g: Lowering, row: int, x: int, ids: int, n_experts: int):
        self.g, self.n = g, n_experts
        slots, tokens = g.ne(ids)[0], g.ne(ids)[1] * g.ne(ids)[2]
        self.width = 1 if tokens == 1 else tiles.TILE
        self.count, self.most = route.most_tiles(tokens, slots, n_experts, self.width), -(-tokens // self.width)
        self.table, self.sources = g.take(8 * (n_experts + 1)), g.take(8 * self.count * self.width)
        self.results, self.fill = g.take(8 * self.count * self.width), g.take(8 * n_experts)
        ne, step, m = g.ne(x), g.ne(x)[0] * 4, g.ne(row)[0] * 4
        per_slot = step if ne[1] > 1 else 0
        args = [g.at(ids), g.nb(ids)[1], slots, tokens, n_experts, self.width, g.at(x), step * ne[1], per_slot,
                g.at(row), m * slots, m, self.table, self.sources, self.results, self.fill, g.ne(row)[0]]
        g.emit(route.route, args)
        self._tiles: dict[bool, Tiles] = {}

    def ready(self, weights: list[Weight]) -> Tiles:
        """Tiles that serve the given matrices, all dense or all quantized."""
        is_dense = weights[0].format.dense
        kinds = {offset_kind(w.format) for w in weights if not w.format.dense}
        end = self.table + 8 * self.n
        t = self.g.make_tiles(self.sources, self.count, self.width, weights[0].columns, is_dense, kinds, end)
        t.most = self.most
        self._tiles[is_dense] = t
        return t

    def product(self, w: Weight, gate: Any, t: Tiles) -> None:
        _emit_product(self.g, w, gate, t, self.results, (self.table, self.n))

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
    srcs = g.graph.srcs[row].tolist()
    up, gate = g.weight(srcs[0]), g.weight(srcs[1]) if srcs[1] >= 0 else None
    x, ids = srcs[2:4]
    biases = [s for s in srcs[4:6] if s >= 0]
    assert up is not None
    _check(g, up, g.ne(x)[0])
    if gate is not None and up.format is not gate.format:
        raise ModelError(f"{up.name} is {up.format.name} and {gate.name} {gate.format.name}: fused they must be one type; "
                         "turn fused MoE off (-no-fmoe)")
    kind = gate_kind(g, row)
    if gate is None:  # merged: the gate's rows come first
        half = up.rows // 2
        stride, gate_at = up.matrix_bytes, up.address
        up = replace(up, address=gate_at + half * up.row_bytes, rows=half, stride=stride)
    else:
        gate_at = gate.address
    experts = _Experts(g, row, x, ids, up.matrices)
    t = experts.ready([up])
    if kind == elementwise.SILU_MUL and not biases:
        experts.product(up, gate_at, t)
    else:
        _gate_then_up(g, row, experts, t, up, gate_at, biases, kind)
    experts.free()


def _gate_then_up(
    g: Lowering, row: int, experts: "_Experts", t: Tiles, up: Weight, gate_at: int, biases: list[int], kind: int
) -> None:
    """Both products, then biases and the activation: the gate's results go where the product's should, then aside."""
    ids = g.graph.srcs[row].tolist()[3]
    n, slots, tokens = g.ne(row)[:3]
    aside = g.take(4 * n * slots * tokens)
    experts.product(replace(up, address=gate_at), 0, t)
    whole = [n, slots, tokens, 4, 4 * n, 4 * n * slots]
    g.emit(elementwise.copy_rows, [g.at(row), aside, *whole, *whole[3:], 4], g.share(slots * tokens, 8 * n * slots * tokens))
    experts.product(up, 0, t)
    if biases:
        merged = len(biases) == 1  # rows of 2 n: the gate's first
        up_bias, gate_bias = (g.at(biases[0]) + 4 * n, g.at(biases[0])) if merged else (g.at(s) for s in biases)
        for at, bias in ((g.at(row), up_bias), (aside, gate_bias)):
            add_by_id(g, at, at, bias, row, ids, 4 * n * (1 + merged))
    gated(g, kind, aside, g.at(row), g.at(row), n, slots * tokens)
    g.give(aside)


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


@lowers("ARGSORT", "ARGSORT_THRESH")
def argsort(g: Lowering, row: int) -> None:
    n, rows_ = g.ne(row)[0], int(np.prod(g.ne(row)[1:]))
    used = [g.ne(i)[0] for i in range(row, len(g.graph)) if g.root[i] == row and g.graph.op[i] == "VIEW"]
    params = g.graph.params[row]
    args = [g.at(g.srcs[row][0]), g.at(row), n, rows_, max(used, default=n), n * 4, params.get("min_entries", 0),
            float(params.get("thresh", 0))]
    g.emit(elementwise.top_k, args, g.share(rows_, rows_ * n * 8))
