"""One function per op of ggml's graphs: the launches that compute it on a GPU. Registered by op name in ``OPS``.

The kernels' own comments say what each computes; semantics are those of the CPU's ``lower_ops``.
"""

from collections.abc import Callable
from typing import Any

from ikexplore_kernels.cuda import products

from .launches import THREADS, GpuLowering, Operand

Lower = Callable[[GpuLowering, int], None]
OPS: dict[str, Lower] = {}

#: numbers of types in the kernels that copy
NUMBER = {"f32": 0, "f16": 1, "bf16": 2, "i32": 3}
SIZE = {"f32": 4, "f16": 2, "bf16": 2, "i32": 4}
#: numbers of activations in gates.cuh
GATES = {"SILU": 0, "SWIGLU_OAI": 1, "SIGMOID": 2, "RELU": 3, "GELU": 4, "TANH": 5}
_BINARY = {"ADD": 0, "SUB": 1, "MUL": 2, "DIV": 3}


def lowers(*names: str) -> Callable[[Lower], Lower]:
    """Registers a function for the ops of these names."""

    def register(fn: Lower) -> Lower:
        OPS.update(dict.fromkeys(names, fn))
        return fn

    return register


# -- rows in and out ---------------------------------------------------------------------------------------------------


@lowers("GET_ROWS")
def get_rows(g: GpuLowering, row: int) -> None:
    x, ids = g.sources(row)
    y, n, count = g.result(row), x.ne[0], ids.ne[0] * ids.ne[1]
    if n == 1 and not x.weight:  # the router's weights: one number per (token, expert)
        slots, tokens = ids.ne[0], ids.ne[1]
        g.each("pick_values", slots * tokens, [x.at, ids.at, y.at, slots, tokens, x.nb[2], ids.nb[1]])
        return
    if ids.ne[1] > 1 or x.ne[2] > 1:
        raise g.lacks(f"rows by number in {len(x.ne)} dimensions")
    if x.type == "f32":
        g.each("pick_rows", count * n, [x.at, ids.at, y.at, count, 4 * n, x.nb[1], 4])
        return
    products.decode(g.recorder, x.type, x.at, y.at, count, n, ids=ids.at)


def copy(g: GpuLowering, x: Operand, at: Any, to: str, steps: tuple[int, ...], nb: tuple[int, ...] | None = None,
         ne: tuple[int, ...] | None = None, per_past: int = 0) -> None:
    """Copies x to ``at`` with strides ``steps``, from its type to the type ``to``; later by ``per_past`` bytes a position."""
    if x.type not in NUMBER or to not in NUMBER or (x.type != to and "i32" in (x.type, to)):
        raise g.lacks(f"a copy of {x.type} to {to}")
    ne, nb = ne or x.ne, nb or x.nb
    n = ne[0] * ne[1] * ne[2] * ne[3]
    args = [x.at, at, NUMBER[x.type], NUMBER[to], *ne, *nb, *steps, g.memory.past if per_past else 0, per_past]
    g.each("copy", n, args)


@lowers("CONCAT")
def concat(g: GpuLowering, row: int) -> None:
    axis, y = g.graph.params[row]["axis"], g.result(row)
    at = y.at
    for x in g.sources(row):
        copy(g, x, at, y.type, y.nb)
        at += y.nb[axis] * x.ne[axis]


@lowers("REPEAT")
def repeat(g: GpuLowering, row: int) -> None:
    x, y = g.sources(row)[0], g.result(row)
    if any(n not in (1, m) for n, m in zip(x.ne, y.ne)):
        raise g.lacks(f"repeating {x.ne} to {y.ne}")
    nb = tuple(b if n == m else 0 for b, n, m in zip(x.nb, x.ne, y.ne))
    copy(g, x, y.at, y.type, y.nb, nb, y.ne)


# -- norms and positions -------------------------------------------------------------------------------------------------


@lowers("FUSED_RMS_NORM", "RMS_NORM", "NORM")
def norm(g: GpuLowering, row: int) -> None:
    x, *weight = g.sources(row)
    y = g.result(row)
    if x.ne[3] > 1:
        raise g.lacks("a norm in four dimensions")
    kernel = "layer_norm" if g.graph.op[row] == "NORM" else "rms_norm"
    args = [x.at, y.at, weight[0].at if weight else 0, x.ne[0], x.ne[1], x.nb[1], x.nb[2], y.nb[1], y.nb[2],
            float(g.graph.params[row]["eps"])]
    g.per_row(kernel, x.rows, x.ne[0], args)


@lowers("SOFT_MAX")
def soft_max(g: GpuLowering, row: int) -> None:
    params, x, y = g.graph.params[row], g.source(row, 0), g.result(row)
    if params.get("max_bias"):
        raise g.lacks("ALiBi (max_bias)")
    _, mask, sinks = g.graph.srcs[row].tolist()[:3]
    args = [x.at, y.at, x.ne[0], x.ne[1], float(params.get("scale", 1.0)), g.memory.past if mask >= 0 else 0,
            int(params.get("n_swa", 0)), g.source(row, 2).at if sinks >= 0 else 0]
    g.per_row("soft_max", x.rows, x.ne[0], args)


@lowers("ROPE")
def rope(g: GpuLowering, row: int) -> None:
    params, x, y = g.graph.params[row], g.source(row, 0), g.result(row)
    if params["mode"] not in (0, 2):
        raise g.lacks(f"rope mode {params['mode']}")
    factors = int(g.graph.srcs[row, 2])
    n_rot, size, heads, tokens = int(params["n_dims"]), *x.ne[:3]
    args = [x.at, y.at, size, heads, tokens, x.nb[1], x.nb[2], y.nb[1], y.nb[2], n_rot, int(params["mode"]),
            g.turns(params, int(g.graph.tensor[factors]) if factors >= 0 else -1)]
    g.each("rope", (size - n_rot // 2) * heads * tokens, args, "ops_rows")


@lowers("HADAMARD")
def hadamard(g: GpuLowering, row: int) -> None:
    x, y, size = g.source(row, 0), g.result(row), int(g.graph.params[row]["block"])
    if size > 512 or x.ne[3] > 1:
        raise g.lacks(f"Hadamard blocks of {size}")
    args = [x.at, y.at, x.ne[0], x.ne[1], x.nb[1], x.nb[2], size]
    g.launch("ops_rows", "hadamard", x.rows * x.ne[0] // size, args, block=max(32, size // 2))


# -- element by element ---------------------------------------------------------------------------------------------------


@lowers("ADD", "SUB", "MUL", "DIV")
def binary(g: GpuLowering, row: int) -> None:
    x, z = g.sources(row)
    y = g.result(row)
    if (x.type, z.type, y.type) != ("f32", "f32", "f32") or (x.nb[0], z.nb[0]) != (4, 4):
        raise g.lacks(f"{g.graph.op[row]} of {x.type} and {z.type}")
    args = [x.at, z.at, y.at, _BINARY[g.graph.op[row]], *x.ne, *x.nb[1:], *z.ne, *z.nb[1:]]
    g.each("binary", x.count, args)


@lowers("ADD_ID")
def add_id(g: GpuLowering, row: int) -> None:
    x, z, ids = g.sources(row)
    y = g.result(row)
    n, slots, tokens = x.ne[:3]
    g.each("add_id", x.count, [x.at, z.at, ids.at, y.at, n, slots, tokens, z.nb[1], ids.nb[1]])


def gate_kind(g: GpuLowering, row: int) -> int:
    """The kernels' number of the activation that a gate goes through."""
    unary = str(g.graph.params[row].get("unary")).upper()
    if unary not in GATES:
        raise g.lacks(f"the activation {unary}")
    return GATES[unary]


def gated(g: GpuLowering, kind: int, gate: Any, up: Any, y: Any, n: int, rows: int, steps: tuple[int, int] | None = None,
          bias: tuple[Any, Any, int] = (0, 0, 0), ids: Operand | None = None) -> None:
    """y = activation(gate) * up over rows of n; bias: (gate's, up's, bytes per row), whose rows ids name."""
    by = [ids.at, ids.nb[1], ids.ne[0]] if ids and bias[2] else [0, 0, 1]
    args = [gate, up, y, n, rows, *(steps or (4 * n, 4 * n)), kind, *bias[:2], bias[2], *by]
    g.each("gated", n * rows, args)


@lowers("FUSED_MUL_UNARY")
def fused_mul_unary(g: GpuLowering, row: int) -> None:
    x, z = g.sources(row)
    if x.ne[2] * x.ne[3] > 1 and not (x.contiguous and z.contiguous):
        raise g.lacks("gating of tensors with gaps")
    gated(g, gate_kind(g, row), x.at, z.at, g.result(row).at, x.ne[0], x.rows, (x.nb[1], z.nb[1]))


@lowers("UNARY")
def unary(g: GpuLowering, row: int) -> None:
    x, *up = g.sources(row)
    if up:
        fused_mul_unary(g, row)
        return
    kind = gate_kind(g, row)
    if kind == GATES["SWIGLU_OAI"] or not x.contiguous:
        raise g.lacks(f"{g.graph.params[row].get('unary')} of one tensor with these strides")
    g.each("unary", x.count, [x.at, g.result(row).at, x.count, kind])


@lowers("SCALE")
def scale(g: GpuLowering, row: int) -> None:
    x = g.source(row, 0)
    if not x.contiguous:
        raise g.lacks("SCALE of a tensor with gaps")
    g.each("scale", x.count, [x.at, g.result(row).at, x.count, float(g.graph.params[row]["scale"]), 0.0])


@lowers("SUM_ROWS")
def sum_rows(g: GpuLowering, row: int) -> None:
    x = g.source(row, 0)
    if not x.contiguous:
        raise g.lacks("SUM_ROWS of a tensor with gaps")
    g.per_row("sum_rows", x.rows, x.ne[0], [x.at, g.result(row).at, x.ne[0]])


# -- experts ---------------------------------------------------------------------------------------------------------------


@lowers("ARGSORT", "ARGSORT_THRESH")
def argsort(g: GpuLowering, row: int) -> None:
    x, params = g.source(row, 0), g.graph.params[row]
    args = [x.at, g.result(row).at, x.ne[0], int(params.get("min_entries", 0)), float(params.get("thresh", 0))]
    g.launch("ops_elements", "argsort", x.rows, args, block=min(THREADS, -(-x.ne[0] // 32) * 32))


@lowers("MUL_MULTI_ADD")
def mul_multi_add(g: GpuLowering, row: int) -> None:
    x, w = g.sources(row)
    n, slots, tokens = x.ne[:3]
    g.each("multi_add", n * tokens, [x.at, w.at, g.result(row).at, n, tokens, slots, x.nb[2], x.nb[1]])


@lowers("MULTI_ADD")
def multi_add(g: GpuLowering, row: int) -> None:
    x = g.source(row, 0)
    n, tokens = x.ne[:2]
    slots = int(g.graph.ne[g.root[x.row]][1])
    g.each("multi_add", n * tokens, [x.at, 0, g.result(row).at, n, tokens, slots, x.nb[1], 4 * n])
