"""A slow, obvious twin of every kernel: the graph's ops in float32 NumPy, with weights decoded from the file.

Arrays are C order, ggml's ne reversed: [ne3, ne2, ne1, ne0]. ``OPS[op](values, row)`` gives a node's result from its sources;
semantics are those of ggml's ops. Nothing here is fast, and nothing is shared with the kernels but the decoders.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from ikexplore_kernels.formats import get

from ..errors import ModelError
from ..graph import Graph
from ..graph.types import type_name
from ..machine import Machine
from ..models import Model
from ..placement import place
from ..settings import Settings
from .made import made_bytes
from .rope_table import rope_table
from .trace import Values

CACHED = 1 << 28  #: decoded weights that are kept, in floats


class Weights:
    """Decoded matrices of a model, kept as long as they are few: in the file's types, and those that loading makes.

    ``tensors``: what there is at run time without repacking, as ``placement`` has it.
    """

    def __init__(self, model: Model, settings: Settings):
        cpu = replace(Machine.detect(), gpus=(), cuda_build=False)
        self.tensors = place(model, settings.replace(rtr=False, overrides=(), split_mode="layer"), cpu).tensors
        self.model, self._row = model, {name: i for i, name in enumerate(self.tensors.names)}
        self._kept: dict[str, np.ndarray] = {}
        self._size = 0

    def __contains__(self, name: str) -> bool:
        return name in self._row

    def type(self, name: str) -> str:
        return type_name(int(self.tensors.type_id[self._row[name]]))

    def shape(self, name: str) -> tuple[int, ...]:
        """[ne3, ne2, ne1, ne0]"""
        return tuple(self.tensors.ne[self._row[name]].tolist()[::-1])

    def raw(self, name: str) -> np.ndarray:
        """The tensor's bytes, uint8 [nbytes]."""
        return self.model.data(name) if name in self.model.tensors else made_bytes(self.model, name, get(self.type(name)))

    def floats(self, name: str) -> np.ndarray:
        """float32 [ne3, ne2, ne1, ne0]"""
        found = self._kept.get(name)
        if found is None:
            shape, f = self.shape(name), get(self.type(name))
            found = f.decode(self.raw(name).reshape(-1, f.row_bytes(shape[-1])), shape[-1]).reshape(shape)
            if self._size + found.size <= CACHED:
                self._kept[name], self._size = found, self._size + found.size
        return found

    def rows(self, name: str, ids: np.ndarray) -> np.ndarray:
        """float32 [len(ids), columns]: only those rows are decoded, where rows stand alone."""
        f, columns = get(self.type(name)), self.shape(name)[-1]
        if f.interleave > 1:
            return self.floats(name).reshape(-1, columns)[ids]
        return f.decode(np.ascontiguousarray(self.raw(name).reshape(-1, f.row_bytes(columns))[ids]), columns)


def product_factor(kind: str) -> float:
    """What the reference's matrix products multiply a type with (IQ2_KT, IQ3_KT)."""
    return get(kind).product_factor


class NaiveValues(Values):
    """Values that the ops below read: weights from the file, the rest from ``inner``, or ``instead`` by row."""

    def __init__(self, weights: Weights, inner: Values, instead: dict[int, np.ndarray] | None = None):
        super().__init__(inner.graph)
        self.weights, self.inner, self.instead = weights, inner, instead or {}

    @property
    def past(self) -> int:
        return self.inner.past

    def is_weight(self, row: int) -> bool:
        return row < self.graph.n_leafs and self.graph.name[row] in self.weights

    def array(self, row: int) -> np.ndarray:
        return self.instead[row] if row in self.instead else self.inner.array(row)

    def floats(self, row: int, product: bool = False) -> np.ndarray:
        """float32 values; ``product``: with the factor of a weight's type."""
        if row in self.instead:
            return self.instead[row]
        x = self.weights.floats(self.graph.name[row]) if self.is_weight(row) else self.inner.floats(row)
        factor = product_factor(self.graph.type[row]) if product and self.is_weight(self.root[row]) else 1.0
        return x * np.float32(factor) if factor != 1 else x

    def sources(self, row: int) -> list[int]:
        return [s for s in self.graph.srcs[row].tolist() if s >= 0]


Op = Callable[[NaiveValues, int], np.ndarray]
OPS: dict[str, Op] = {}


def _op(*names: str) -> Callable[[Op], Op]:
    def register(fn: Op) -> Op:
        OPS.update(dict.fromkeys(names, fn))
        return fn

    return register


def compute(m: NaiveValues, row: int) -> np.ndarray:
    """A node's result. Raises ModelError for an op that has no twin yet."""
    op = m.graph.op[row]
    if op not in OPS:
        raise _lacks(m, row, op)
    return OPS[op](m, row)


def _lacks(m: NaiveValues, row: int, what: str) -> ModelError:
    return ModelError(f"{m.graph.name[row]}: the naive path has no {what} yet; compare two settings instead")


def _shape(graph: Graph, row: int) -> tuple[int, ...]:
    return tuple(graph.ne[row].tolist()[::-1])


# --- products ---------------------------------------------------------------------------------------------------------


@_op("MUL_MAT")
def mul_mat(m: NaiveValues, row: int) -> np.ndarray:
    a, b = m.sources(row)
    w, x = m.floats(a, product=True), m.floats(b)
    w = np.repeat(w, x.shape[1] // w.shape[1], axis=1)
    return x @ w.swapaxes(-1, -2)


@_op("FUSED_UP_GATE")
def fused_up_gate(m: NaiveValues, row: int) -> np.ndarray:
    up, gate, x = m.sources(row)
    xs = m.floats(x)
    return _gated(m, row, *(xs @ m.floats(w, True).swapaxes(-1, -2) for w in (gate, up)))


def _routed(m: NaiveValues, weight: int, x: int, ids: int) -> np.ndarray:
    """float32 [tokens, slots, rows]: each token's columns through the experts that it was sent to."""
    w, xs, chosen = m.floats(weight, True)[0], m.floats(x)[0], m.array(ids)[0, 0]
    xs = np.broadcast_to(xs, (*chosen.shape, xs.shape[-1]))
    out = np.zeros((*chosen.shape, w.shape[1]), np.float32)
    for expert in np.unique(chosen):
        out[chosen == expert] = xs[chosen == expert] @ w[expert].T
    return out


@_op("MUL_MAT_ID")
def mul_mat_id(m: NaiveValues, row: int) -> np.ndarray:
    return _routed(m, *m.sources(row))[None]


@_op("MOE_FUSED_UP_GATE")
def moe_fused_up_gate(m: NaiveValues, row: int) -> np.ndarray:
    up, gate, x, ids, *biases = m.graph.srcs[row].tolist()
    pairs = zip((gate, up), (biases[1], biases[0]) if len(biases) > 1 else (-1, -1))
    if gate < 0:  # merged, the gate's rows first
        return _gated(m, row, *np.split(_biased(m, up, x, ids, (biases or [-1])[0]), 2, axis=-1))[None]
    return _gated(m, row, *(_biased(m, w, x, ids, bias) for w, bias in pairs))[None]


def _biased(m: NaiveValues, weight: int, x: int, ids: int, bias: int) -> np.ndarray:
    """``_routed``, plus the row of a bias for each expert where there is one."""
    out = _routed(m, weight, x, ids)
    return out if bias < 0 else out + m.floats(bias)[0, 0][m.array(ids)[0, 0]]


def _gated(m: NaiveValues, row: int, gate: np.ndarray, up: np.ndarray) -> np.ndarray:
    """activation(gate) * up; SWIGLU_OAI (gpt-oss): silu of slope 1.702 of a gate up to 7, times up within 7, plus 1."""
    if str(m.graph.params[row].get("unary")).upper() == "SWIGLU_OAI":
        gate, up = np.minimum(gate, 7), np.clip(up, -7, 7)
        return gate * _sigmoid(np.float32(1.702) * gate) * (up + 1)
    return _unary(m, row)(gate) * up


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


UNARY: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "silu": lambda x: x * _sigmoid(x), "sigmoid": _sigmoid, "relu": lambda x: np.maximum(x, 0), "tanh": np.tanh,
}


def _unary(m: NaiveValues, row: int) -> Callable[[np.ndarray], np.ndarray]:
    kind = str(m.graph.params[row].get("unary")).lower()
    if kind not in UNARY:
        raise _lacks(m, row, f"activation {kind}")
    return UNARY[kind]


# --- rows and copies --------------------------------------------------------------------------------------------------


@_op("GET_ROWS")
def get_rows(m: NaiveValues, row: int) -> np.ndarray:
    a, b = m.sources(row)
    ids = m.array(b)[0]
    if m.is_weight(a) and ids.shape[:2] == (1, 1):
        return m.weights.rows(m.graph.name[a], ids.reshape(-1)).reshape(_shape(m.graph, row))
    return np.take_along_axis(m.floats(a), ids[..., None].astype(np.int64), axis=2)


@_op("CPY")
def cpy(m: NaiveValues, row: int) -> np.ndarray:
    """What the target's type makes of the source: float32 in the target's shape."""
    kind, ne = m.graph.type[row], _shape(m.graph, row)
    x = np.ascontiguousarray(m.floats(m.sources(row)[0]), np.float32).reshape(ne)
    if kind == "f32":
        return x
    if kind == "f16":
        return x.astype(np.float16).astype(np.float32)
    f = get(kind)
    rows = x.reshape(-1, ne[-1])
    return f.decode(f.encode(rows), ne[-1]).reshape(ne)


@_op("CONT")
def cont(m: NaiveValues, row: int) -> np.ndarray:
    return np.ascontiguousarray(m.floats(m.sources(row)[0])).reshape(_shape(m.graph, row))


@_op("REPEAT")
def repeat(m: NaiveValues, row: int) -> np.ndarray:
    x = m.floats(m.sources(row)[0])
    return np.tile(x, [want // have for want, have in zip(_shape(m.graph, row), x.shape)])


@_op("CONCAT")
def concat(m: NaiveValues, row: int) -> np.ndarray:
    return np.concatenate([m.floats(s) for s in m.sources(row)], axis=3 - int(m.graph.params[row]["axis"]))


# --- attention --------------------------------------------------------------------------------------------------------


def _seen(m: NaiveValues, row: int, tokens: int, n_kv: int) -> np.ndarray:
    """bool [tokens, n_kv]: what a token may see follows from its position and the window."""
    if m.graph.params[row].get("max_bias") or m.graph.params[row].get("logit_softcap"):
        raise _lacks(m, row, "ALiBi or softcap")
    back = m.past + np.arange(tokens)[:, None] - np.arange(n_kv)
    window = m.graph.params[row].get("n_swa", 0)
    return (back >= 0) & (back < window) if window else back >= 0


@_op("SOFT_MAX")
def soft_max(m: NaiveValues, row: int) -> np.ndarray:
    x, mask, sinks = [*m.graph.srcs[row].tolist(), -1, -1][:3]
    scores = m.floats(x) * np.float32(m.graph.params[row].get("scale", 1.0))
    seen = _seen(m, row, scores.shape[2], scores.shape[3]) if mask >= 0 else np.True_
    return _softmax(m, scores, seen, sinks)


def _softmax(m: NaiveValues, scores: np.ndarray, seen: Any, sinks: int) -> np.ndarray:
    """Over the last axis of [1, heads, tokens, n]; a head's sink takes part in the sum and gives nothing."""
    x = np.where(seen, scores, -np.inf)
    sink = m.floats(sinks).reshape(1, -1, 1, 1) if sinks >= 0 else np.float32(-np.inf)
    top = np.maximum(x.max(axis=-1, keepdims=True), sink)
    e = np.exp(x - top)
    return e / (e.sum(axis=-1, keepdims=True) + np.exp(sink - top))


@_op("FLASH_ATTN_EXT")
def flash_attn(m: NaiveValues, row: int) -> np.ndarray:
    q, k, v, _, sinks = [*m.graph.srcs[row].tolist(), -1][:5]
    params = m.graph.params[row]
    qs, ks, vs = m.floats(q), m.floats(k), m.floats(v)
    end = m.past + qs.shape[2]
    group = qs.shape[1] // ks.shape[1]
    ks, vs = (np.repeat(x[:, :, :end], group, axis=1) for x in (ks, vs))
    p = _softmax(m, qs @ ks.swapaxes(-1, -2) * np.float32(params["scale"]), _seen(m, row, qs.shape[2], end), sinks)
    return (p @ vs).swapaxes(1, 2)


@_op("ROPE")
def rope(m: NaiveValues, row: int) -> np.ndarray:
    source, positions, *factors = m.sources(row)
    params, x, at = m.graph.params[row], m.floats(source).copy(), m.array(positions).reshape(-1)
    if params["mode"] not in (0, 2):
        raise _lacks(m, row, f"rope mode {params['mode']}")
    table = rope_table(params, int(at.max()) + 1, m.floats(factors[0]).reshape(-1) if factors else None)[at]
    n = int(params["n_dims"])
    first, second = (slice(0, n, 2), slice(1, n, 2)) if params["mode"] == 0 else (slice(0, n // 2), slice(n // 2, n))
    cos, sin = table[None, :, None, :, 0], table[None, :, None, :, 1]
    a, b = x[..., first].copy(), x[..., second].copy()
    x[..., first], x[..., second] = a * cos - b * sin, a * sin + b * cos
    return x


# --- experts and elements ---------------------------------------------------------------------------------------------


@_op("ARGSORT")
def argsort(m: NaiveValues, row: int) -> np.ndarray:
    return np.argsort(-m.floats(m.sources(row)[0]), axis=-1, kind="stable").astype(np.int32)


@_op("MUL_MULTI_ADD")
def mul_multi_add(m: NaiveValues, row: int) -> np.ndarray:
    x, w = m.sources(row)
    return (m.floats(x) * m.floats(w)).sum(axis=2)[:, None]


@_op("MULTI_ADD")
def multi_add(m: NaiveValues, row: int) -> np.ndarray:
    return m.floats(m.root[m.sources(row)[0]]).sum(axis=2)[:, None]


@_op("ADD_ID")
def add_id(m: NaiveValues, row: int) -> np.ndarray:
    x, bias, ids = m.sources(row)
    return m.floats(x) + m.floats(bias)[0, 0][m.array(ids)[0, 0]][None]


@_op("FUSED_RMS_NORM", "RMS_NORM")
def rms_norm(m: NaiveValues, row: int) -> np.ndarray:
    x, *weight = m.sources(row)
    xs = m.floats(x)
    scale = 1 / np.sqrt(np.square(xs, dtype=np.float64).mean(axis=-1, keepdims=True) + m.graph.params[row]["eps"])
    return (xs * scale).astype(np.float32) * (m.floats(weight[0]) if weight else np.float32(1))


@_op("ADD", "SUB", "MUL", "DIV")
def binary(m: NaiveValues, row: int) -> np.ndarray:
    x, z = (m.floats(s) for s in m.sources(row))
    return {"ADD": np.add, "SUB": np.subtract, "MUL": np.multiply, "DIV": np.divide}[m.graph.op[row]](x, z)


@_op("SCALE")
def scale(m: NaiveValues, row: int) -> np.ndarray:
    return m.floats(m.sources(row)[0]) * np.float32(m.graph.params[row]["scale"])


@_op("UNARY")
def unary(m: NaiveValues, row: int) -> np.ndarray:
    x, *up = m.sources(row)
    return _gated(m, row, m.floats(x), m.floats(up[0])) if up else _unary(m, row)(m.floats(x))


@_op("FUSED_MUL_UNARY")
def fused_mul_unary(m: NaiveValues, row: int) -> np.ndarray:
    x, z = m.sources(row)
    return _gated(m, row, m.floats(x), m.floats(z))


@_op("HADAMARD")
def hadamard(m: NaiveValues, row: int) -> np.ndarray:
    """Blocks of columns times the orthonormal Hadamard matrix: +1 where the two numbers share an even count of bits."""
    x, size = m.floats(m.sources(row)[0]), int(m.graph.params[row]["block"])
    shared = np.arange(size)[:, None] & np.arange(size)
    signs = np.array([[1 - 2 * (bin(n).count("1") & 1) for n in line] for line in shared.tolist()], np.float32)
    return (x.reshape(*x.shape[:-1], -1, size) @ signs / np.float32(np.sqrt(size))).reshape(x.shape)


@_op("SUM_ROWS")
def sum_rows(m: NaiveValues, row: int) -> np.ndarray:
    return m.floats(m.sources(row)[0]).sum(axis=-1, keepdims=True)
