"""Launches of the kernels of quant types: grids and blocks, so that callers give addresses and sizes only.

``device`` is a `Runtime`; addresses are ints (see there). Shapes are row-major: weights [rows, cols] in their type,
x [n, cols], y [n, rows], all float32 unless said otherwise.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import formats
from .runtime import Runtime

__all__ = ["activation_bytes", "decode", "gemv", "gemv_experts", "group_experts", "quantize", "row_warps"]

#: columns of activations that one GEMV serves
MOST_COLUMNS = 8
#: a grid's second and third sizes end here
_GRID_Y = 65535


def activation_bytes(n: int, cols: int) -> tuple[int, int]:
    """Bytes of the codes and of the scales that `quantize` writes."""
    return n * cols, n * (cols // 32) * 8


def quantize(device: Runtime, x: int, q: int, s: int, n: int, cols: int, stride: int | None = None, stream: Any = None) -> None:
    """x float32 [n, stride], of which ``cols`` columns (a multiple of 32) count -> int8 codes q and scales s."""
    _multiple(cols, 32)
    stride = cols if stride is None else stride
    for a in range(0, n, _GRID_Y):
        grid = [-(-cols // 512), min(n - a, _GRID_Y)]
        args = [x + a * stride * 4, q + a * cols, s + a * (cols // 32) * 8, np.int64(cols), np.int64(stride)]
        device.launch("activations", "quantize_q8", grid, [128], args, stream=stream)


def decode(
    device: Runtime,
    name: str,
    w: int,
    to: int,
    rows: int,
    cols: int,
    *,
    half: bool = False,
    ids: int = 0,
    stride: int | None = None,
    stream: Any = None,
) -> None:
    """Weights to float32 as ``Format.decode`` gives them, or with ``half`` to half as products take them.

    ``ids``: int32 [rows] at that address, the rows wanted. ``stride``: numbers from row to row of the result, a multiple
    of 8. The result starts at a multiple of 16 bytes.
    """
    f = formats.get(name)
    f.row_bytes(cols)
    each = 1 if f.dense else 32
    args = [w, ids, to, np.int64(rows), np.int64(cols), np.int64(cols if stride is None else stride)]
    grid = [-(-rows * (cols // each) // 128)]
    device.launch(f.name, f"decode_{'half_' if half else ''}{f.name}", grid, [128], args, stream=stream)


def row_warps(rows: int, cols: int, interleave: int) -> tuple[int, int]:
    """Warps that share a row, and rows (groups of interleaved ones) of a block: its second and third size.

    A warp takes 1024 columns of a plain row at a time; few long rows are split so that there are warps for all of a card.
    """
    groups = -(-rows // interleave)
    steps = max(cols // 32 * interleave // 32, 1)  # of one warp
    share = 1
    while share < 4 and share * 2 <= steps and groups * share < 4096:
        share *= 2
    return share, max(4 // share, 1)


def gemv(
    device: Runtime,
    name: str,
    w: int,
    x: tuple[int, int] | int,
    y: int,
    rows: int,
    cols: int,
    n: int = 1,
    *,
    stride: int | None = None,
    stream: Any = None,
) -> None:
    """y[c, rows] = w . x[c] for n columns, one to `MOST_COLUMNS`. ``stride``: numbers from column to column of y.

    x: addresses of codes and scales as `quantize` makes them; of a dense type the address of float32 [n, cols].
    """
    if not 1 <= n <= MOST_COLUMNS:
        raise ValueError(f"a GEMV takes 1 to {MOST_COLUMNS} columns, not {n}: decode the weights and multiply matrices")
    f, stride = formats.get(name), rows if stride is None else stride
    args = [w, *_addresses(x), y, np.int32(rows), np.int64(cols), np.int64(stride)]
    if n == 1:
        args += [0, np.int64(0), np.int32(1), np.int32(1)]
    else:
        args.append(np.int32(n))
    _launch(device, f, "gemv" if n == 1 else "gemv_many", rows, cols, 1, args, stream)


def gemv_experts(
    device: Runtime,
    name: str,
    w: int,
    x: tuple[int, int] | int,
    y: int,
    rows: int,
    cols: int,
    ids: int,
    n_tokens: int,
    used: int,
    x_rows: int,
    *,
    stride: int | None = None,
    stream: Any = None,
) -> None:
    """y[token, slot, rows] = w[ids[token, slot]] . x[token, slot], ids int32 [n_tokens, used]; a negative id gives zeros.

    w: the experts one after another. x has ``x_rows`` rows a token: ``used``, or 1 where all slots share it.
    """
    f, stride = formats.get(name), rows if stride is None else stride
    if x_rows not in (1, used):
        raise ValueError(f"activations have {x_rows} rows a token: it takes 1 or {used}, one for each expert used")
    expert = rows * f.row_bytes(cols)
    step = _GRID_Y // used
    for a in range(0, n_tokens, step):
        count = min(step, n_tokens - a)
        args = [w, *_moved(x, a * x_rows, cols), y + a * used * stride * 4, np.int32(rows), np.int64(cols), np.int64(stride)]
        args += [ids + a * used * 4, np.int64(expert), np.int32(used), np.int32(x_rows)]
        _launch(device, f, "gemv", rows, cols, count * used, args, stream)


def group_experts(
    device: Runtime, ids: int, pairs: int, n_expert: int, counts: int, starts: int, order: int, stream: Any = None
) -> None:
    """Who goes to which expert, for products of many tokens. ids int32 [pairs], negative for none.

    Gives counts int32 [n_expert], starts int32 [n_expert + 1] and order int32 [pairs]: the numbers of an expert's pairs
    are order[starts[e] : starts[e + 1]], in their old order.
    """
    device.launch("experts", "expert_counts", [n_expert], [256], [ids, counts, np.int32(pairs)], stream=stream)
    args = [ids, counts, starts, order, np.int32(pairs), np.int32(n_expert)]
    device.launch("experts", "expert_order", [n_expert], [256], args, stream=stream)


def _launch(device: Runtime, f: Any, kind: str, rows: int, cols: int, columns: int, args: list[Any], stream: Any) -> None:
    share, groups = row_warps(rows, cols, f.interleave)
    grid = [-(-rows // (f.interleave * groups)), columns]
    device.launch(f.name, f"{kind}_{f.name}", grid, [32, share, groups], args, stream=stream)


def _addresses(x: tuple[int, int] | int) -> tuple[int, ...]:
    return x if isinstance(x, tuple) else (x,)


def _moved(x: tuple[int, int] | int, rows: int, cols: int) -> tuple[int, ...]:
    return (x[0] + rows * cols, x[1] + rows * (cols // 32) * 8) if isinstance(x, tuple) else (x + rows * cols * 4,)


def _multiple(cols: int, of: int) -> None:
    if cols <= 0 or cols % of:
        raise ValueError(f"{cols} columns are not a multiple of {of}: quantized weights have rows of whole blocks")
