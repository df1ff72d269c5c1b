"""One function per op of ggml's graphs: emits the instructions that compute it. Registered by op name in ``OPS``.

Here: rows in and out, copies, norms, positions, and what works element by element. Matrix products are in
``lower_products``, attention and the cache in ``lower_attention``.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from ikexplore_kernels import elementwise, norm, rows

from ..errors import ModelError
from .lower import Lowering

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


@lowers("CONCAT")
def concat(g: Lowering, row: int) -> None:
    axis, at = g.graph.params[row]["axis"], g.at(row)
    for source in g.srcs[row]:
        copy(g, source, at, g.nb(row))
        ne, f = g.ne(source), g.format(source)
        at += g.nb(row)[axis] * ne[axis] if axis else f.row_bytes(ne[0])


@lowers("REPEAT")
def repeat(g: Lowering, row: int) -> None:
    source = g.srcs[row][0]
    ne, to = g.ne(source), g.ne(row)
    if any(n not in (1, m) for n, m in zip(ne, to)) or ne[0] != to[0]:
        raise ModelError(f"{g.graph.name[row]}: this engine repeats single rows, heads or matrices only, not {ne} to {to}")
    copy(g, source, g.at(row), g.nb(row), [b if n == m else 0 for b, n, m in zip(g.nb(source), ne, to)], to)


def dense_strides(g: Lowering, row: int) -> list[int]:
    """Strides that a row's values have in a copy without gaps."""
    ne, f = g.ne(row), g.format(row)
    step = f.row_bytes(ne[0])
    return [g.nb(row)[0] if f.block > 1 else f.block_bytes, step, step * ne[1], step * ne[1] * ne[2]]


def copy(g: Lowering, source: int, to: Any, steps: list[int], nb: list[int] | None = None, ne: list[int] | None = None) -> None:
    """Copies a tensor of up to three dimensions to ``to``, whose strides are ``steps``; quantized rows go as they are."""
    f, nb, ne = g.format(source), nb or g.nb(source), list(ne or g.ne(source))
    if ne[3] > 1:
        raise ModelError(f"{g.graph.name[source]} has four dimensions; this engine copies up to three")
    size = 4 if f.block_bytes == 4 and f.block == 1 else 2
    if f.block > 1:  # whole rows of blocks, as two-byte numbers
        ne[0], nb, steps = f.row_bytes(ne[0]) // 2, [2, *nb[1:]], [2, *steps[1:]]
    args = [g.at(source), to, *ne[:3], *nb[:3], *steps[:3], size]
    g.emit(elementwise.copy_rows, args, g.share(ne[1] * ne[2], 2 * size * int(np.prod(ne))))


# -- norms and positions -----------------------------------------------------------------------------------------------


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


@lowers("HADAMARD")
def hadamard(g: Lowering, row: int) -> None:
    source = g.srcs[row][0]
    ne, nb = g.ne(source), g.nb(source)
    args = [g.at(source), g.at(row), *ne[:2], ne[2] * ne[3], *nb[1:3], g.graph.params[row]["block"]]
    g.emit(norm.hadamard, args, g.share(ne[1] * ne[2] * ne[3], 32 * int(np.prod(ne))))


# -- element by element ------------------------------------------------------------------------------------------

_KINDS = {"ADD": elementwise.ADD, "MUL": elementwise.MUL, "DIV": elementwise.DIV}


@lowers("ADD", "MUL", "DIV")
def binary(g: Lowering, row: int) -> None:
    x, z = g.srcs[row]
    ne, nz = g.ne(x), g.ne(z)
    n_rows, z_rows = int(np.prod(ne[1:])), int(np.prod(nz[1:]))
    args = [g.at(x), g.at(z), g.at(row), ne[0], n_rows, nz[0], z_rows, _KINDS[g.graph.op[row]], 0, 0, 0,
            _row_step(g, z), _row_step(g, x)]
    g.emit(elementwise.binary, args, g.share(n_rows, n_rows * ne[0] * 12))


def _row_step(g: Lowering, row: int) -> int:
    """Bytes from row to row of a matrix with gaps; 0 where there are none."""
    if g.contiguous(row):
        return 0
    ne, nb = g.ne(row), g.nb(row)
    if nb[0] != 4 or ne[2] * ne[3] > 1:
        raise ModelError(f"{g.graph.name[row]} has gaps; this engine cannot work on that element by element")
    return nb[1]


@lowers("ADD_ID")
def add_id(g: Lowering, row: int) -> None:
    x, z, ids = g.srcs[row]
    add_by_id(g, g.at(x), g.at(row), g.at(z), row, ids)


def add_by_id(g: Lowering, x: Any, y: Any, z: Any, like: int, ids: int, z_step: int = 0) -> None:
    """y = x + the row of z that ``ids`` names, for rows [n, slots, tokens] of the shape of the row ``like``."""
    n, slots, tokens = g.ne(like)[:3]
    count = slots * tokens
    args = [x, z, y, n, count, n, count, elementwise.ADD, g.at(ids), g.nb(ids)[1], slots, z_step]
    g.emit(elementwise.binary, args, g.share(count, 12 * n * count))


_GATES = {"SILU": elementwise.SILU_MUL, "SWIGLU_OAI": elementwise.SWIGLU_OAI}


def gate_kind(g: Lowering, row: int) -> int:
    """The kernel's number of the activation that a gate goes through."""
    unary = str(g.graph.params[row].get("unary")).upper()
    if unary not in _GATES:
        raise ModelError(f"{g.graph.name[row]}: this engine has no kernel for the activation {unary} yet")
    return _GATES[unary]


def gated(g: Lowering, kind: int, gate: Any, up: Any, y: Any, n: int, count: int) -> None:
    """y = activation(gate) * up over ``count`` rows of n."""
    g.emit(elementwise.binary, [gate, up, y, n, count, n, count, kind], g.share(count, 12 * n * count))


@lowers("FUSED_MUL_UNARY")
def fused_mul_unary(g: Lowering, row: int) -> None:
    x, z = g.srcs[row]
    gated(g, gate_kind(g, row), g.at(x), g.at(z), g.at(row), g.ne(row)[0], int(np.prod(g.ne(row)[1:])))


@lowers("UNARY")
def unary(g: Lowering, row: int) -> None:
    if len(g.srcs[row]) == 2:
        fused_mul_unary(g, row)
        return
    name = str(g.graph.params[row].get("unary")).upper()
    if name != "SIGMOID":
        raise ModelError(f"{g.graph.name[row]}: this engine has no kernel for {name} yet")
    _each(g, row, elementwise.SIGMOID)


@lowers("SCALE")
def scale(g: Lowering, row: int) -> None:
    _each(g, row, elementwise.SCALE, float(g.graph.params[row]["scale"]))


def _each(g: Lowering, row: int, kind: int, factor: float = 1.0, bias: float = 0.0) -> None:
    source, n = g.srcs[row][0], int(np.prod(g.ne(row)))
    if not g.contiguous(source):
        raise ModelError(f"{g.graph.name[source]} has gaps; this engine cannot run {g.graph.op[row]} on that")
    g.emit(elementwise.unary, [g.at(source), g.at(row), n, kind, factor, bias], g.share(n, 16 * n))


@lowers("SUM_ROWS")
def sum_rows(g: Lowering, row: int) -> None:
    source = g.srcs[row][0]
    n, n_rows = g.ne(source)[0], int(np.prod(g.ne(source)[1:]))
    g.emit(elementwise.sum_rows, [g.at(source), g.at(row), n, n_rows], g.share(n_rows, n_rows * n * 4))
