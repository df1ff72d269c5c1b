"""Lowering of attention: the cache, its types, softmax, flash attention and products with cached rows."""

from typing import Any

import numpy as np

from ikexplore_kernels import attention, attention_8bit, attention_one, cache_rows, dense, elementwise, norm, rows
from ikexplore_kernels.formats import Format
from ikexplore_kernels.formats._format import work_bytes

from ..errors import ModelError, SettingsError
from .lower import Lowering
from .lower_ops import copy, dense_strides, lowers

#: types that a cache can have: what ``rows.store`` calls them; None: stored by the format's encoder
STORE = {"f32": rows.F32, "f16": rows.F16, "bf16": rows.BF16}
QUANTIZED = ("q8_0", "q8_kv", "q6_0", "q5_1", "q5_0", "q4_1", "q4_0", "iq4_nl")


def check_cache_type(kind: str) -> None:
    if kind not in STORE and kind not in QUANTIZED:
        known = ", ".join((*STORE, *QUANTIZED))
        raise SettingsError(f"a KV cache of type {kind}: this engine has {known}; choose one of these")


# -- storing -----------------------------------------------------------------------------------------------------


@lowers("CPY")
def cpy(g: Lowering, row: int) -> None:
    source, target = g.srcs[row][0], g.srcs[row][1]
    if g.graph.name[g.root[source]].startswith("KQ_mask"):  # nothing reads masks, see ``Inputs.address``
        return
    if g.graph.type[source] != "f32":
        raise ModelError(f"{g.graph.name[source]}: this engine copies f32 into other types, not {g.graph.type[source]}")
    check_cache_type(g.graph.type[target])
    ne, nb, f = g.ne(source), g.nb(source), g.format(target)
    if target == row:  # a cast
        n_rows = ne[1] * ne[2] * ne[3]
        _store(g, [g.at(source), nb[1], ne[0], n_rows], g.at(row), g.nb(row)[1], f, 0, ne[1], nb[2])
        return
    step, tokens = g.graph.params[target]["kv_head_stride"], g.graph.n_tokens
    base = g.at(target) - g.graph.kv_head * step
    if nb[0] != 4:  # V without flash attention: a row of the cache per channel
        args = [g.at(source), nb[0], ne[1], ne[0]]
        _store(g, args, base, step, f, step, number=g.nb(target)[1])
        return
    n = g.ne(target)[0] if g.ne(target)[1] > 1 else int(np.prod(ne)) // tokens  # K: head by head; V: all heads at once
    n_rows = int(np.prod(ne)) // n
    x_step = 4 * n if g.contiguous(source) else nb[1]
    if not g.contiguous(source) and (n != ne[0] or ne[2] * ne[3] > 1):
        raise ModelError(f"{g.graph.name[source]} has gaps; this engine cannot put that into the cache")
    _store(g, [g.at(source), x_step, n, n_rows], base, step * tokens // n_rows, f, step)


def _store(g: Lowering, x: list, y: Any, y_step: int, f: Format, per_position: int, many: int = 0, more: int = 0,
           number: int = 2) -> None:
    """Rows [address, bytes from row to row, n, rows] to y in format f; after ``many`` rows x goes on by ``more`` bytes."""
    n, n_rows = x[2], x[3]
    past = g.inputs.past.ctypes.data if per_position else 0
    chunks = g.share(n_rows, n_rows * n * 8)
    if f.dense:
        g.emit(rows.store, [*x, y, y_step, number, STORE[f.name], past, per_position, many or n_rows, more], chunks)
        return
    if number != 2:
        raise SettingsError("a quantized V cache needs flash attention (-fa)")
    ones = np.ones(n, np.float32)
    g.keep.append(ones)
    size = work_bytes(n)
    g.emit(rows.store_quantized, [*x, y, y_step, ones.ctypes.data, 0, past, per_position, many or n_rows, more,
                                  g.need_scratch(size), "scratch"], chunks, f)


@lowers("CONT")
def cont(g: Lowering, row: int) -> None:
    source = g.srcs[row][0]
    f, ne, nb = g.format(source), g.ne(source), g.nb(source)
    if f.block == 1 or nb[0] == f.block_bytes:
        copy(g, source, g.at(row), dense_strides(g, source))
        return
    wide = g.widened(g.at(source), nb[0], ne[1], ne[0], f)  # cached latents, transposed: blocks run the other way then
    turned = g.take(4 * ne[0] * ne[1])
    args = [wide, turned, ne[0], ne[1], 1, 4 * ne[1], 4, 0, 4, 4 * ne[0], 0, 4]
    g.emit(elementwise.copy_rows, args, g.share(ne[1], 8 * ne[0] * ne[1]))
    _store(g, [turned, 4 * ne[0], ne[0], ne[1]], g.at(row), g.nb(row)[1], f, 0)
    g.give(wide, turned)


# -- scores ------------------------------------------------------------------------------------------------------


def strided(g: Lowering, row: int, a: int, b: int) -> None:
    """Products of attention without -fa: K q and V^T p. Only positions that are filled matter."""
    ne_a, ne_b, nb_a, nb_b, nb = g.ne(a), g.ne(b), g.nb(a), g.nb(b), g.nb(row)
    seen = g.inputs.past.ctypes.data + 8
    over_positions = g.graph.op[g.behind(b)] == "SOFT_MAX"
    args = [g.at(a), nb_a[1], nb_a[2], g.at(b), nb_b[1], nb_b[2], g.at(row), nb[1], nb[2], ne_a[0], ne_a[1], ne_b[1],
            ne_b[2], ne_b[2] // ne_a[2], 0 if over_positions else seen, seen if over_positions else 0]
    g.emit(dense.strided_product, args, g.share(ne_b[1] * ne_b[2], 4 * int(np.prod(ne_a)) * ne_b[1]), g.format(a))


@lowers("SOFT_MAX")
def soft_max(g: Lowering, row: int) -> None:
    source, params = g.srcs[row][0], g.graph.params[row]
    if params.get("max_bias"):
        raise ModelError(f"{g.graph.name[row]}: this engine has no kernel for ALiBi (max_bias) yet")
    ne = g.ne(row)
    _, mask, sinks = g.graph.srcs[row].tolist()[:3]
    past = g.inputs.past.ctypes.data if mask >= 0 else 0
    args = [g.at(source), g.at(row), ne[0], ne[1], ne[2] * ne[3], float(params.get("scale", 1.0)), past,
            params.get("n_swa", 0), g.at(sinks) if sinks >= 0 else 0]
    n_rows = int(np.prod(ne[1:]))
    g.emit(norm.soft_max, args, g.share(n_rows, n_rows * ne[0] * 16))


@lowers("FLASH_ATTN_EXT")
def flash_attn_ext(g: Lowering, row: int) -> None:
    q, k, v, _, sinks = [*g.graph.srcs[row].tolist(), -1][:5]
    for i in (k, v):
        check_cache_type(g.graph.type[i])
    if g.graph.type[v] == "q8_kv":
        raise SettingsError("q8_KV has one scale for all heads of a row, so V cannot be read head by head; use it for K only")
    (size, tokens, heads), nb_q, nb_k, nb_v = g.ne(q)[:3], g.nb(q), g.nb(k), g.nb(v)
    size_v, kv_heads = g.ne(v)[0], g.ne(k)[2]
    sources = [g.at(q), nb_q[1], nb_q[2], g.at(k), nb_k[1], nb_k[2], g.at(v), nb_v[1], nb_v[2]]
    params = g.graph.params[row]
    group, scale, past = heads // kv_heads, float(params["scale"]), g.inputs.past.ctypes.data
    window, sinks_at = params.get("n_swa", 0), g.at(sinks) if sinks >= 0 else 0
    if tokens == 1:
        some = max(1, kv_heads // max(1, g.threads // 4))  # KV heads of a chunk: many threads also share out heads
        parts = -(-4 * g.threads // -(-kv_heads // some)) if g.threads > 1 else 1
        scratch = g.need_scratch(attention_one.part_scratch_bytes(size, size_v))
        block = g.take(4 * heads * parts * (16 + size_v))
        args = [*sources, block, parts, some, size, size_v, kv_heads, group, 1, scale, past, scratch, "scratch", window]
        g.emit(attention_one.attention_part, args, -(-kv_heads // some) * parts, g.format(k), g.format(v))
        g.emit(attention_one.merge_parts, [block, parts, size_v, heads, g.at(row), size_v * 4, sinks_at])
        g.give(block)
        return
    many = max(1, min(tokens, 96 // group))  # tokens of a chunk
    if g.threads > 1:  # enough chunks for all
        many = max(1, min(many, -(-tokens * kv_heads // (4 * g.threads))))
    scratch = g.need_scratch(attention.attention_scratch_bytes(size, size_v, many * group))
    args = [*sources, g.at(row), size_v * heads * 4, size_v * 4, size, size_v, tokens, group, many, scale, past,
            scratch, "scratch", window, sinks_at]
    in_8_bits = g.k_bits == 8 and g.graph.type[k] in cache_rows.CODES
    op = attention_8bit.flash_attention_8bit if in_8_bits else attention.flash_attention
    g.emit(op, args, kv_heads * -(-tokens // many), g.format(k), g.format(v))
