"""Launches for matrix products: a few columns by the types' own kernels, prompts by decoding to half and a library's product.

Experts' products of prompts are sorted by expert: the host reads the router's choice, and each expert that was chosen is one
product over its own columns.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from ikexplore_kernels.formats import get

from ...errors import ModelError
from . import blocks
from .attention import strided, widen
from .launches import GpuLowering, Operand, Place
from .ops import copy, gate_kind, gated, lowers

FEW = 8  #: columns up to which a product is made of dot products
DECODED = 32 << 20  #: numbers of a weight that are decoded at a time
FLOATS = ("f32", "bf16", "bf16_r16")  #: types whose range half does not have


def decode_rows(g: GpuLowering, kind: str, at: Any, to: Any, rows: int, columns: int, target: str) -> None:
    """Whole rows of any type to float32 or half."""
    g.launch(*blocks.decode(kind, at, to, rows, columns, target))


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
    for h in range(a.ne[2]):  # a matrix per head
        one = replace(a, at=a.at + h * a.nb[2], ne=(*a.ne[:2], 1, 1))
        columns = replace(b, row=-1, at=b.at + h * b.nb[2], ne=(*b.ne[:2], 1, 1))
        product(g, one, columns, y.at + h * y.nb[2], 4 * y.ne[0])


def product(g: GpuLowering, w: Operand, x: Operand, y: Any, y_step: int) -> None:
    """y[column] = w x[column]; w one matrix, x float32 columns x.nb[1] bytes apart, y columns y_step bytes apart."""
    if x.type != "f32" or x.nb[0] != 4:
        x = _as_floats(g, x)
    k, m, n = w.ne[0], w.ne[1], x.ne[1]
    if n > FEW:
        wide = "f32" if w.type in FLOATS else "f16"
        _by_library(g, w, _columns(g, x, wide), n, y, y_step, wide)
        return
    g.launch(*blocks.gemv(w.type, w.at, _ready(g, x, w.type), y, k, m, n, y_step // 4))


def _ready(g: GpuLowering, x: Operand, kind: str) -> tuple[Any, ...]:
    """Columns as the type's dot products take them: (codes, scales), or (float32 columns,) of a dense type."""
    return (_columns(g, x, "f32"),) if get(kind).dense else _eight_bits(g, x)


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
        g.each("to_half" if wide == "f16" else "gather", n * k, [x.at, to, k, n, x.nb[1], 0])
        return to, [to]

    return g.kept(_key(g, x, wide), x.row, make)


def _eight_bits(g: GpuLowering, x: Operand) -> tuple[Any, Any]:
    """Columns of x in blocks of 8 bits, made once for all that read them."""
    k, n = x.ne[0], x.ne[1]
    if k % 32:
        raise g.lacks(f"a product over {k} columns, no multiple of 32")

    def make() -> tuple[Any, list[Place]]:
        codes, scales = (g.take(size) for size in blocks.activation_bytes(k, n))
        g.launch(*blocks.quantize(x.at, x.nb[1] // 4, codes, scales, k, n))
        return (codes, scales), [codes, scales]

    return g.kept(_key(g, x, "q8"), x.row, make)


def _by_library(g: GpuLowering, w: Operand, x: Any, n: int, y: Any, y_step: int, wide: str) -> None:
    """Decodes the weight, some rows at a time, and multiplies them with the columns of x [n, k] of the type ``wide``."""
    k, m = w.ne[0], w.ne[1]
    size = 2 if wide == "f16" else 4
    step = max(16, DECODED // k // 16 * 16)
    plain = w.type == wide
    to = x if plain else g.take(min(step, m) * k * size)
    for first in range(0, m, m if plain else step):
        many = m if plain else min(step, m - first)
        at = w.at + first * w.nb[1]
        if not plain:
            decode_rows(g, w.type, at, to, many, k, wide)
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
    g.give(block)


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
    aside = g.take(4 * m * count)
    if srcs[1] >= 0:
        gate = g.source(row, 1)
    else:  # merged: the gate's rows come first
        gate = replace(up, ne=(up.ne[0], m, up.ne[2], 1))
        up = replace(gate, at=gate.at + m * gate.nb[1])
    _experts(g, [(gate, aside), (up, y.at)], x, ids, m)
    bias: tuple[Any, Any, int] = (0, 0, 0)
    if len(biases) == 1:
        bias = (biases[0].at, biases[0].at + 4 * m, 8 * m)
    elif biases:
        bias = (biases[1].at, biases[0].at, 4 * m)
    gated(g, kind, aside, y.at, y.at, m, count, bias=bias, ids=ids)
    g.give(aside)


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
    ready = _ready(g, columns, w.type)
    g.launch(*blocks.gemv_ids(w.type, w.at, w.nb[2], ready, y, k, m, slots, tokens, x.ne[1], _dense_ids(g, ids, slots, tokens)))


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
    count, (k, m) = slots * tokens, weights[0][0].ne[:2]
    wide = "f32" if weights[0][0].type in FLOATS else "f16"
    size = 2 if wide == "f16" else 4
    decoded = g.take(m * k * size)
    columns, results = g.take(count * k * size), g.take(4 * count * m)
    source, target = g.take(4 * count), g.take(4 * count)
    g.host(_Sorted(weights, x, ids, slots, tokens, wide, decoded, columns, results, source, target))
    g.give(decoded, columns, results, source, target)


class _Sorted:
    """The experts' products of a prompt, driven by the host: it needs to know how many columns each expert got."""

    def __init__(self, weights: list[tuple[Operand, Any]], x: Operand, ids: Operand, slots: int, tokens: int, wide: str,
                 decoded: Place, columns: Place, results: Place, source: Place, target: Place):
        self.weights, self.x, self.ids, self.slots, self.tokens, self.wide = weights, x, ids, slots, tokens, wide
        self.decoded, self.columns, self.results, self.source, self.target = decoded, columns, results, source, target

    def __call__(self, device: Any, resolve: Callable[[Any], int]) -> None:
        x, (k, m) = self.x, self.weights[0][0].ne[:2]
        chosen = self._chosen(device, resolve)
        order = np.argsort(chosen, kind="stable")
        order = order[chosen[order] >= 0]
        bounds = np.searchsorted(chosen[order], np.arange(self.weights[0][0].ne[2] + 1))
        if x.nb[1] * x.ne[1] != x.nb[2] and x.ne[1] > 1:
            raise ModelError("experts' columns with gaps have no CUDA kernel yet")
        step = x.nb[1] if x.ne[1] > 1 else x.nb[2]
        rows = order if x.ne[1] > 1 else order // self.slots
        at = {name: resolve(getattr(self, name)) for name in ("decoded", "columns", "results", "source", "target")}
        device.upload(at["source"], rows.astype(np.int32))
        device.upload(at["target"], order.astype(np.int32))
        n = len(order)
        kernel = "to_half" if self.wide == "f16" else "gather"
        device.each(kernel, n * k, [resolve(x.at), at["columns"], k, n, step, at["source"]])
        for w, y in self.weights:
            self._product(device, w, resolve(w.at), bounds, at)
            if n < len(chosen):
                device.each("zeros", len(chosen) * m, [resolve(y), len(chosen) * m])
            device.each("scatter", n * m, [at["results"], resolve(y), m, n, 4 * m, at["target"]])

    def _product(self, device: Any, w: Operand, base: int, bounds: np.ndarray, at: dict[str, int]) -> None:
        (k, m), size = w.ne[:2], 2 if self.wide == "f16" else 4
        for expert in np.flatnonzero(np.diff(bounds)).tolist():
            first, last = int(bounds[expert]), int(bounds[expert + 1])
            matrix = base + expert * w.nb[2]
            if w.type != self.wide:
                device.launch(*blocks.decode(w.type, matrix, at["decoded"], m, k, self.wide))
                matrix = at["decoded"]
            device.matmul(self.wide, m, last - first, k, matrix, at["columns"] + first * k * size,
                          at["results"] + 4 * first * m, m)

    def _chosen(self, device: Any, resolve: Callable[[Any], int]) -> np.ndarray:
        """int32 [tokens * slots]: the router's choice, read by the host."""
        step = self.ids.nb[1]
        raw = device.download(resolve(self.ids.at), step * (self.tokens - 1) + 4 * self.slots)
        wide = np.zeros(step * self.tokens, np.uint8)
        wide[: len(raw)] = raw
        return wide.reshape(self.tokens, step)[:, : 4 * self.slots].copy().view(np.int32).reshape(-1)


