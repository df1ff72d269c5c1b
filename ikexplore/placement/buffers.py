"""Sizes of the buffers that hold weights, cache and output, as the reference prints them."""

from collections.abc import Sequence
from math import prod

import numpy as np

from ..graph.types import GPU_ROW_PADDING, gpu_padding, row_size
from ..models.columns import Columns
from ..models.context import Context
from ..models.hparams import HParams

GPU_ALIGN = 128
HOST_ALIGN = 32
ROW_ROUNDING = 128  #: rows that -sm row keeps together (mmq_y of GPUs since compute capability 7.0)
CPU_EXTRA = 32  #: what a plain CPU buffer adds to its size (TENSOR_ALIGNMENT)


def round_up(size: np.ndarray | int, align: int) -> np.ndarray | int:
    """``size`` up to the next multiple of ``align``."""
    return -(-size // align) * align


def gpu_sizes(type_ids: np.ndarray, ne: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Bytes that tensors of ``size`` bytes take in a CUDA buffer."""
    return np.asarray(round_up(size + gpu_padding(type_ids, ne[:, 0]), GPU_ALIGN))


def held_bytes(cols: Columns, rows: np.ndarray, gpu: bool) -> int:
    """Bytes of a buffer that is allocated for these tensors (rows may come more than once)."""
    if gpu:
        return int(gpu_sizes(cols.type_id[rows], cols.ne[rows], cols.nbytes[rows]).sum())
    return int(np.asarray(round_up(cols.nbytes[rows], HOST_ALIGN)).sum())


def split_bytes(cols: Columns, rows: np.ndarray, shares: Sequence[float]) -> tuple[int, list[int]]:
    """Bytes of -sm row's buffer, and of each GPU's part: its rows of each matrix, with padding (ggml-cuda split buffer).

    shares: running sums of the GPUs' shares, up to 1.
    """
    n_rows = cols.ne[rows, 1] * cols.ne[rows, 2] * cols.ne[rows, 3]
    points = np.array([0.0, *shares[:-1]], np.float32)
    lows = (n_rows[:, None].astype(np.float32) * points).astype(np.int64)
    lows -= lows % ROW_ROUNDING
    highs = np.column_stack([lows[:, 1:], n_rows])
    pad = gpu_padding(cols.type_id[rows], cols.ne[rows, 0])
    parts = (highs - lows) * cols.nb[rows, 1][:, None] + (highs > lows) * pad[:, None]
    total = int(np.asarray(round_up(parts.sum(axis=1), GPU_ALIGN)).sum())
    return total, parts.sum(axis=0).tolist()


def mapped_bytes(cols: Columns, rows: np.ndarray) -> list[int]:
    """Bytes between the first and the last byte of these tensors in the memory map of each file that holds some."""
    spans = []
    for file in np.unique(cols.file[rows]):
        here = rows[cols.file[rows] == file]
        spans.append(int((cols.offset[here] + cols.nbytes[here]).max() - cols.offset[here].min()))
    return spans


def cache_shapes(hp: HParams, cx: Context, il: int) -> tuple[tuple[int, tuple[int, ...]], ...]:
    """Type id and shape of the tensors that hold a layer's cache: K by heads, V as one row.

    Latent attention: one row of both per token; with -mla 1 and no flash attention the latent once more, transposed.
    """
    if cx.mla_attn:
        latent = (cx.latent_type, (hp.kv_lora_rank + hp.n_rot, cx.n_ctx))
        if cx.flash_attn or cx.mla_attn > 1:
            return (latent,)
        return latent, (cx.type_v, (hp.kv_lora_rank * cx.n_ctx,))
    heads = hp.n_head_kv_by_layer[il]
    return (
        (cx.type_k, (hp.head_dim_k, heads * cx.n_ctx)),
        (cx.type_v, (hp.head_dim_v * heads * cx.n_ctx,)),
    )


def cache_bytes(hp: HParams, cx: Context, slots: Sequence[int]) -> tuple[dict[int, int], int, int]:
    """Bytes of the cache's buffer per slot (-1: host, without ``CPU_EXTRA``), then of all K and of all V tensors."""
    buffers: dict[int, int] = {}
    total_k = total_v = 0
    seen: dict[tuple[int, bool], tuple[int, int, int]] = {}
    for il, slot in enumerate(slots):
        key = (hp.n_head_kv_by_layer[il], slot >= 0)
        if key not in seen:
            seen[key] = _layer_cache(hp, cx, il, slot >= 0)
        held, k, v = seen[key]
        buffers[slot] = buffers.get(slot, 0) + held
        total_k, total_v = total_k + k, total_v + v
    return buffers, total_k, total_v


def divided_cache(hp: HParams, cx: Context, cols: Columns, n_gpu: int, slots: Sequence[int]) -> tuple[int, list[int]]:
    """-sm graph: bytes of the divided cache's buffer, and of what each GPU holds of it.

    K and V follow attn_k and attn_v; latent attention keeps the whole cache on every GPU that has heads.
    """
    alloc, used = 0, [0] * n_gpu
    for il, slot in enumerate(slots):
        if slot < 0:
            continue
        tensors: list[tuple[int, dict[int, tuple[int, int]]]] = []
        if cx.mla_attn:
            holders = [g for g in range(n_gpu) if cols.rows(f"blk.{{il}}.attn_output.weight.{g}")[il] >= 0]
            tensors.append((cx.latent_type, dict.fromkeys(holders, (hp.kv_lora_rank + hp.n_rot, cx.n_ctx))))
        else:
            for role, kind, columns in (("attn_k", cx.type_k, hp.head_dim_k), ("attn_v", cx.type_v, 0)):
                rows = {g: int(cols.rows(f"blk.{{il}}.{role}.weight.{g}")[il]) for g in range(n_gpu)}
                sizes = {g: int(cols.ne[row, 1]) * cx.n_ctx for g, row in rows.items() if row >= 0}
                shapes = {g: (columns, n // columns) if columns else (n, 1) for g, n in sizes.items()}
                tensors.append((kind, shapes))
        for kind, shapes in tensors:
            for g, (columns, n) in shapes.items():
                used[g] += row_size(kind, columns) * n
            alloc += int(round_up(sum(padded(kind, shape) for shape in shapes.values()), GPU_ALIGN))
    return alloc, used


def padded(kind: int, shape: Sequence[int]) -> int:
    """Bytes of a part of a divided tensor: there the last row of any type is padded."""
    missing = -shape[0] % GPU_ROW_PADDING
    extra = row_size(kind, shape[0] + missing) - row_size(kind, shape[0]) if missing else 0
    return row_size(kind, shape[0]) * prod(shape[1:]) + extra


def _layer_cache(hp: HParams, cx: Context, il: int, gpu: bool) -> tuple[int, int, int]:
    """Bytes that a layer's cache takes in its buffer, bytes of K, bytes of V."""
    held, plain = 0, []
    for kind, shape in cache_shapes(hp, cx, il):
        size = row_size(kind, shape[0]) * prod(shape[1:])
        plain.append(size)
        if gpu:
            size += int(gpu_padding(np.array([kind]), np.array(shape[:1]))[0])
        held += int(round_up(size, GPU_ALIGN if gpu else HOST_ALIGN))
    return held, plain[0], sum(plain[1:])
