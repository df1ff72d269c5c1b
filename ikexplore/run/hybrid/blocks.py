"""Which kernels of ``formats/<type>.cu`` decode and multiply a type, and what they are launched with.

Each function gives what ``GpuLowering.launch`` takes: module, kernel, grid, arguments, threads of a block.
"""

from typing import Any

import numpy as np

from ikexplore_kernels.formats import get

THREADS = 256
WARPS = 8  #: of a block, at most
Launched = tuple[str, str, Any, list[Any], Any]


def decode(kind: str, at: Any, to: Any, rows: int, columns: int, wide: str, ids: Any = 0) -> Launched:
    """Rows of a type to "f32" or, as products take them, "f16"; with ids (int32) the rows that they name."""
    each = 1 if get(kind).dense else 32
    kernel = f"decode_{kind}" if wide == "f32" else f"decode_half_{kind}"
    return kind, kernel, -(-rows * columns // each // THREADS), [at, ids, to, rows, columns, columns], THREADS


def activation_bytes(k: int, n: int) -> tuple[int, int]:
    """Bytes of n columns in 8 bits: of the codes, and of the scales with sums."""
    return n * k, n * k // 32 * 8


def quantize(x: Any, step: int, codes: Any, scales: Any, k: int, n: int) -> Launched:
    """n float32 columns, ``step`` numbers apart, in 8 bits."""
    return "activations", "quantize_q8", (-(-k // 512), n), [x, codes, scales, k, step], 128


def gemv(kind: str, w: Any, x: tuple[Any, ...], y: Any, k: int, m: int, n: int, step: int) -> Launched:
    """y[column, row] for 1 to 8 columns; x: (codes, scales), or (float32 columns,) of a dense type;
    columns of y ``step`` numbers apart."""
    grid, block = _shape(kind, k, m)
    if n == 1:
        return kind, f"gemv_{kind}", (grid, 1), [w, *x, y, np.int32(m), k, step, 0, 0, np.int32(1), np.int32(1)], block
    return kind, f"gemv_many_{kind}", (grid, 1), [w, *x, y, np.int32(m), k, step, np.int32(n)], block


def gemv_ids(kind: str, w: Any, expert_bytes: int, x: tuple[Any, ...], y: Any, k: int, m: int, slots: int, tokens: int,
             x_rows: int, ids: Any) -> Launched:
    """A column per (token, slot) with the matrix that ids names; x has x_rows columns a token: 1 or as many as slots."""
    grid, block = _shape(kind, k, m)
    args = [w, *x, y, np.int32(m), k, m, ids, expert_bytes, np.int32(slots), np.int32(x_rows)]
    return kind, f"gemv_{kind}", (grid, slots * tokens), args, block


def _shape(kind: str, k: int, m: int) -> tuple[int, tuple[int, int, int]]:
    """Blocks, and threads of one: warps that share a row (or a group of interleaved rows), rows or groups of a block."""
    f = get(kind)
    parts = k // 2 if f.dense else k // 32
    lanes, share = 32 // f.interleave, 1
    while share < WARPS and parts > 4 * lanes * share:
        share *= 2
    together = max(1, WARPS // 2 // share)
    return -(-m // (f.interleave * together)), (32, share, together)
