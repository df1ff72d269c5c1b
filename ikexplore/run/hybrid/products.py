"""Launches for matrix products: a few columns by the types' own kernels, prompts by decoding to half and a library's product.

Experts' products of prompts are sorted by expert: the host reads the router's choice, and each expert that was chosen is one
product over its own columns.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from ikexplore_kernels.cuda import products as kernels
from ikexplore_kernels.formats import get

from .attention import strided, widen
from .launches import NUMBERS, GpuLowering, Operand, Place
from .ops import copy, gate_kind, gated, lowers

FEW = 8  #: columns up to which a product is made of dot products
DECODED = 32 << 20  #: numbers of a weight that are decoded at a time
FLOATS = ("f32", "bf16", "bf16_r16")  #: types whose range half does not have


# -- plain products ------------------------------------------------------------------------------------------------------


@lowers("MUL_MAT")
def mul_mat(g: GpuLowering, row: int) -> None:
    a, b = g.sources(row)
    if not a.weight:
        strided(g, row, a, b)
        return
    y = g.result(row)
    if a.ne[2] * a.ne[3] == 1:
        if b.rows > b.ne[1] and not b.contiguous:
            raise g.lacks("a product with columns that have gaps in two dimensions")
        b = replace(b, ne=(b.ne[0], b.rows, 1, 1), nb=(b.nb[0], b.nb[1] if b.ne[1] > 1 else b.ne[0] * b.nb[0], 0, 0))
        product(g, a, b, y.at, 4 * y.ne[0])
        return
    if a.ne[2] != b.ne[2] or a.ne[3] * b.ne[3] > 1:
        raise g.lacks(f"{a.ne[2]} matrices times {b.ne[2]}")
    if b.ne[1] == 1 and b.type == "f32" and b.nb[0] == 4 and a.nb[2] == a.ne[1] * a.nb[1] and a.ne[2] <= NUMBERS:
        _one_column_each(g, a, b, y)
        return
    for h in range(a.ne[2]):  # a matrix per head
        one = replace(a, at=a.at + h * a.nb[2], ne=(*a.ne[:2], 1, 1))
        columns = replace(b, row=-1, at=b.at + h * b.nb[2], ne=(*b.ne[:2], 1, 1))
        product(g, one, columns, y.at + h * y.nb[2], 4 * y.ne[0])


def _one_column_each(g: GpuLowering, a: Operand, b: Operand, y: Operand) -> None:
    """A matrix per head and a column for each, as MLA has them for a token: experts of which everyone is chosen once."""
    k, m, heads = a.ne[:3]
    columns = replace(b, row=-1, ne=(k, heads, 1, 1), nb=(4, b.nb[2], 0, 0))
    ready, stride = _ready(g, columns, a.type), y.nb[2] // 4
    kernels.gemv_experts(g.recorder, a.type, a.at, ready, y.at, m, k, g.memory.numbers, 1, heads, heads, stride=stride)


def product(g: GpuLowering, w: Operand, x: Operand, y: Any, y_step: int) -> None:
    """y[column] = w x[column]; w one matrix, x float32 columns x.nb[1] bytes apart, y columns y_step bytes apart."""
    if x.type != "f32" or x.nb[0] != 4:
        x = _as_floats(g, x)
    k, m, n = w.ne[0], w.ne[1], x.ne[1]
    if n > FEW:
        wide = "f32" if w.type in FLOATS else "f16"
        _by_library(g, w, _columns(g, x, wide), n, y, y_step, wide)
        return
    kernels.gemv(g.recorder, w.type, w.at, _ready(g, x, w.type), y, m, k, n, stride=y_step // 4)


def _ready(g: GpuLowering, x: Operand, kind: str) -> Any:
    """Columns as the type's dot products take them: (codes, scales), or float32 of a dense type."""
    return _columns(g, x, "f32") if get(kind).dense else _eight_bits(g, x)


def _as_floats(g: GpuLowering, x: Operand) -> Operand:
    """Rows of the cache as float32 columns without gaps, made once for all that read them."""
    k, n = x.ne[0], x.ne[1]

    def make() -> tuple[Any, list[Place]]:
        to = g.take(4 * n * k)
        steps = (4, 4 * k, 4 * k * n, 4 * k * n)
        if x.type == "q8_0":
            widen(g, x, to, "f32", steps)
        else:
            copy(g, x, to, "f32", steps)
        return to, [to]

    return replace(x, at=g.kept(_key(g, x, "wide"), x.row, make), type="f32", nb=(4, 4 * k, 4 * k * n, 4 * k * n))


def _key(g: GpuLowering, x: Operand, what: str) -> Any:
    return (x.row if x.row >= 0 else (g.row, x.at), what)


def _columns(g: GpuLowering, x: Operand, wide: str) -> Any:
    """Columns of x without gaps as half or float32, made once for all that read them."""
    k, n = x.ne[0], x.ne[1]
    if wide == "f32" and x.nb[1] == 4 * k:
        return x.at

    def make() -> tuple[Any, list[Place]]:
        to = g.take(n * k * (2 if wide == "f16" else 4))
        g.each("to_half" if wide == "f16" else "gather", n * k, [x.at, to, k, n, x.nb[1], 0, 1])
        return to, [to]

    return g.kept(_key(g, x, wide), x.row, make)


def _eight_bits(g: GpuLowering, x: Operand) -> tuple[Any, Any]:
    """Columns of x in blocks of 8 bits, made once for all that read them."""
    k, n = x.ne[0], x.ne[1]
    if k % 32:
        raise g.lacks(f"a product over {k} columns, no multiple of 32")

    def make() -> tuple[Any, list[Place]]:
        blocks: list[Any] = [g.take(size) for size in kernels.activation_bytes(n, k)]
        kernels.quantize(g.recorder, x.at, blocks[0], blocks[1], n, k, x.nb[1] // 4)
        return tuple(blocks), blocks

    return g.kept(_key(g, x, "q8"), x.row, make)


def _by_library(g: GpuLowering, w: Operand, x: Any, n: int, y: Any, y_step: int, wide: str) -> None:
    """Decodes the weight, some rows at a time, and multiplies them with the columns of x [n, k] of the type ``wide``."""
    k, m = w.ne[0], w.ne[1]
    size = 2 if wide == "f16" else 4
    step = max(16, DECODED // k // 16 * 16)
    plain = w.type == wide
    to: Any = x if plain else g.take(min(step, m) * k * size)
    for first in range(0, m, m if plain else step):
        many = m if plain else min(step, m - first)
        at = w.at + first * w.nb[1]
        if not plain:
            kernels.decode(g.recorder, w.type, at, to, many, k, half=wide == "f16")
        g.host(_Matmul(wide, many, n, k, at if plain else to, x, y + 4 * first, y_step // 4))
    if not plain:
        g.give(to)


class _Matmul:
    """float32 y[n, m] (rows ld apart) = x[n, k] w[m, k]^T, numbers of w and x of one type, by the runtime's library."""

    def __init__(self, wide: str, m: int, n: int, k: int, w: Any, x: Any, y: Any, ld: int):
        self.wide, self.shape, self.at, self.ld = wide, (m, n, k), (w, x, y), ld

    def __call__(self, device: Any, resolve: Callable[[Any], int]) -> None:
        w, x, y = (resolve(at) for at in self.at)
        device.matmul(self.wide, *self.shape, w, x, y, self.ld)


@lowers("FUSED_UP_GATE")
def fused_up_gate(g: GpuLowering, row: int) -> None:
    kind, y = gate_kind(g, row), g.result(row)
    up, gate, x = g.sources(row)
    x = replace(x, ne=(x.ne[0], x.rows, 1, 1))
    m, n = y.ne[0], x.ne[1]
    block = g.take(4 * m * n)
    product(g, gate, x, block, 4 * m)
    product(g, up, x, y.at, 4 * m)
    gated(g, kind, block, y.at, y.at, m, n)
    (g.give_late if n <= FEW else g.give)(block)


# -- experts --------------------------------------------------------------------------------------------------------------


@lowers("MUL_MAT_ID")
def mul_mat_id(g: GpuLowering, row: int) -> None:
    w, x, ids = g.sources(row)
    y = g.result(row)
    _experts(g, [(w, y.at)], x, ids, y.ne[0])


@lowers("MOE_FUSED_UP_GATE")
def moe_fused_up_gate(g: GpuLowering, row: int) -> None:
    srcs, kind, y = [*g.graph.srcs[row].tolist(), -1, -1][:6], gate_kind(g, row), g.result(row)
    up, x, ids = g.source(row, 0), g.source(row, 2), g.source(row, 3)
    biases = [g.source(row, j) for j in (4, 5) if srcs[j] >= 0]
    m, count = y.ne[0], y.rows
    merged = srcs[1] < 0  # the gate's rows come first
    aside = g.take(4 * m * count * (1 + merged))
    if merged:
        _experts(g, [(up, aside)], x, ids, 2 * m)
        products, steps = (aside, aside + 4 * m), (8 * m, 8 * m)
    else:
        _experts(g, [(g.source(row, 1), aside), (up, y.at)], x, ids, m)
        products, steps = (aside, y.at), (4 * m, 4 * m)
    bias: tuple[Any, Any, int] = (0, 0, 0)
    if len(biases) == 1:
        bias = (biases[0].at, biases[0].at + 4 * m, 8 * m)
    elif biases:
        bias = (biases[1].at, biases[0].at, 4 * m)
    gated(g, kind, *products, y.at, m, count, steps, bias, ids)
    (g.give_late if ids.ne[1] * ids.ne[2] <= FEW else g.give)(aside)


def _experts(g: GpuLowering, weights: list[tuple[Operand, Any]], x: Operand, ids: Operand, m: int) -> None:
    """y[token, slot] = w[ids[token, slot]] x[token, slot] for each (w, address of y); x may have one slot for all."""
    slots, tokens = ids.ne[0], ids.ne[1] * ids.ne[2]
    if x.type != "f32" or x.nb[0] != 4:
        raise g.lacks(f"experts' columns of {x.type}")
    for w, _ in weights:
        if w.ne[1] != m:
            raise g.lacks(f"experts of {w.ne[1]} rows for {m}")
    if tokens <= FEW:
        for w, y in weights:
            _few(g, w, x, ids, slots, tokens, y)
    else:
        _sorted(g, weights, x, ids, slots, tokens)


def _few(g: GpuLowering, w: Operand, x: Operand, ids: Operand, slots: int, tokens: int, y: Any) -> None:
    k, m = w.ne[:2]
    if x.ne[1] > 1 and x.nb[2] != x.nb[1] * x.ne[1]:
        raise g.lacks("experts' columns with gaps")
    step = x.nb[1] if x.ne[1] > 1 else x.nb[2]
    columns = replace(x, ne=(k, x.ne[1] * tokens, 1, 1), nb=(4, step, 0, 0))
    ready, chosen = _ready(g, columns, w.type), _dense_ids(g, ids, slots, tokens)
    if w.nb[2] != w.ne[1] * w.nb[1]:
        raise g.lacks("experts with gaps between them")
    kernels.gemv_experts(g.recorder, w.type, w.at, ready, y, m, k, chosen, tokens, slots, x.ne[1])


def _dense_ids(g: GpuLowering, ids: Operand, slots: int, tokens: int) -> Any:
    """The router's choice without gaps."""
    if tokens == 1 or ids.nb[1] == 4 * slots:
        return ids.at

    def make() -> tuple[Any, list[Place]]:
        to = g.take(4 * slots * tokens)
        copy(g, replace(ids, ne=(slots, tokens, 1, 1)), to, "i32", (4, 4 * slots, 0, 0))
        return to, [to]

    return g.kept((ids.row, "ids"), ids.row, make)


def _sorted(g: GpuLowering, weights: list[tuple[Operand, Any]], x: Operand, ids: Operand, slots: int, tokens: int) -> None:
    """Each expert's columns together, as half or float32; a product per expert; results back to their places."""
    if x.ne[1] > 1 and x.nb[2] != x.nb[1] * x.ne[1]:
        raise g.lacks("experts' columns with gaps")
    work = _Sorted(weights, x, _dense_ids(g, ids, slots, tokens), slots, slots * tokens)
    blocks = {name: g.take(size) for name, size in work.sizes().items()}
    work.at = blocks
    g.host(work)
    g.give(*blocks.values())


class _Sorted:
    """The experts' products of a prompt, driven by the host: it needs to know how many columns each expert got."""

    def __init__(self, weights: list[tuple[Operand, Any]], x: Operand, ids: Any, slots: int, pairs: int):
        self.weights, self.x, self.ids, self.slots, self.pairs = weights, x, ids, slots, pairs
        (self.k, self.m, self.n_expert), kind = weights[0][0].ne[:3], weights[0][0].type
        self.wide = "f32" if kind in FLOATS else "f16"
        self.size = 4 if self.wide == "f32" else 2
        self.at: dict[str, Place] = {}

    def sizes(self) -> dict[str, int]:
        """Bytes of scratch by purpose."""
        return {"decoded": self.m * self.k * self.size, "columns": self.pairs * self.k * self.size,
                "results": 4 * self.pairs * self.m, "counts": 4 * self.n_expert, "starts": 4 * self.n_expert + 4,
                "order": 4 * self.pairs}  # fmt: skip

    def __call__(self, device: Any, resolve: Callable[[Any], int]) -> None:
        at = {name: resolve(place) for name, place in self.at.items()}
        blocks = (at[name] for name in ("counts", "starts", "order"))
        kernels.group_experts(device.runtime, resolve(self.ids), self.pairs, self.n_expert, *blocks)
        starts = device.download(at["starts"], 4 * self.n_expert + 4).view(np.int32)
        n, x = int(starts[-1]), self.x
        each, step = (1, x.nb[1]) if x.ne[1] > 1 else (self.slots, x.nb[2])
        gather = "to_half" if self.wide == "f16" else "gather"
        device.each(gather, n * self.k, [resolve(x.at), at["columns"], self.k, n, step, at["order"], each])
        for w, y in self.weights:
            self._product(device, w, resolve(w.at), starts, at)
            if n < self.pairs:  # those that no expert was chosen for
                device.runtime.fill(resolve(y), 0, 4 * self.pairs * self.m)
            if n:
                args = [at["results"], at["order"], resolve(y), n, self.m]
                device.each("scatter_rows", n * self.m, args, "experts")

    def _product(self, device: Any, w: Operand, base: int, starts: np.ndarray, at: dict[str, int]) -> None:
        for expert in np.flatnonzero(np.diff(starts)).tolist():
            first, last = int(starts[expert]), int(starts[expert + 1])
            matrix = base + expert * w.nb[2]
            if w.type != self.wide:
                kernels.decode(device.runtime, w.type, matrix, at["decoded"], self.m, self.k, half=self.wide == "f16")
                matrix = at["decoded"]
            columns, results = at["columns"] + first * self.k * self.size, at["results"] + 4 * first * self.m
            device.matmul(self.wide, self.m, last - first, self.k, matrix, columns, results, self.m)
