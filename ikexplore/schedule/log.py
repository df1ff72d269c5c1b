"""The lines that the reference prints while it loads a model, made from a plan."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..graph.types import type_name
from ..models.build import ROPE_FIRST
from ..placement.deal import Deal
from ..settings.declare import NEW
from ..settings.ops import OP_NUMBERS

if TYPE_CHECKING:
    from .plan import Plan

MIB = 2**20


def _ggml_name(kind: str) -> str:
    """The reference's spelling of a type: q4_K, q8_KV; the others are lower-case."""
    return kind.replace("_kv", "_KV").replace("_k", "_K") if kind.startswith("q") else kind


def log(plan: Plan) -> str:
    """All lines, in the order of the reference: loading, cache, compute buffers, offload policy."""
    return "\n".join([*_loading(plan), *_context(plan), *_buffers(plan), *_policy(plan)])


def _loading(plan: Plan) -> list[str]:
    p, hp, newer = plan.placement, plan.model.hparams, plan.settings.profile == NEW
    lines = []
    if p.deal.sizes is not None:
        lines += _layer_sizes(p.deal)
    lines += _overrides(plan, newer)
    n_gpu = min(p.deal.n_gpu_layers, hp.n_layer)
    if plan.machine.cuda_build:
        lines.append(f"llm_load_tensors: offloading {n_gpu} repeating layers to GPU")
        if p.deal.n_gpu_layers > hp.n_layer:
            lines.append("llm_load_tensors: offloading non-repeating layers to GPU")
        on_gpu = min(p.deal.n_gpu_layers, hp.n_layer + 1)
        lines.append(f"llm_load_tensors: offloaded {on_gpu}/{hp.n_layer + 1} layers to GPU")
    lines += [f"llm_load_tensors: {name:>10} buffer size = {size:8.2f} MiB" for name, size in plan.model_mib]
    if p.division is not None:
        lines.append("Estimated model buffer size per device:")
        lines += [f"    Device {i}:  {size / MIB:8.2f} MiB" for i, size in enumerate(p.division.used)]
    lines += _computed(plan, newer)
    if plan.repacked:
        lines.append(f"============ Repacked {len(plan.repacked)} tensors")
    return lines


def _computed(plan: Plan, newer: bool) -> list[str]:
    """What latent attention needs and the file lacks (llm_prepare_mla). June 2025 prints one line for k_b and v_b."""
    p = plan.placement
    lines: list[str] = []
    for row in np.flatnonzero(p.computed).tolist():
        name, kind = p.tensors.names[row], type_name(int(p.file_types[row]))
        if not newer and name.endswith("attn_k_b.weight"):
            continue
        shape = p.tensors.ne[row - 1 if not newer and name.endswith("attn_v_b.weight") else row]
        if p.division is not None:
            if name.endswith(".0"):
                size = " x ".join(str(n) for n in [*shape.tolist()[:2], plan.model.hparams.n_head])
                text = f"Computed {name[:-2]} as {size} of type {_ggml_name(kind)}"
                lines.append(f"{text}, split across {len(p.gpus)} devices on dim=2")
            continue
        size = " x ".join(str(n) for n in shape.tolist() if n > 1)
        of = f" of type {_ggml_name(kind)}" if newer else ""
        lines.append(f"Computed {name} as {size}{of} and stored in buffer {p.computed_name(row)}")
    if lines and p.division is None:
        made = "wkv_b" if "attn_kv_b" in lines[0] else "wk_b/wv_b"
        n = len(lines) // (2 if newer and made != "wkv_b" else 1)
        lines.insert(0, f"============ llm_prepare_mla: need to compute {n} {made} tensors")
    return lines


def _layer_sizes(deal: Deal) -> list[str]:
    sizes = deal.sizes
    if sizes is None:
        return []
    lines = ["------------------- Layer sizes:"]
    for il, (tensors, cache) in enumerate(zip(sizes.tensors, sizes.cache)):
        text = f"{tensors / MIB:9.2f}, {cache / MIB:9.2f}, {(tensors + cache) / MIB:9.2f}"
        tail = " MiB (output layer)" if il == len(sizes.tensors) - 1 else f"   {sizes.compute / MIB:9.2f}  MiB"
        lines.append(f"Layer {il:2d}: {text}{tail}")
    lines.append(f"Memory required for model tensors + cache: {sizes.required / MIB:.0f} MiB")
    lines.append(f"Memory available on all devices - compute: {deal.available / MIB:.0f} MiB")
    if sizes.required <= deal.available:
        lines += [f"Setting default device in layer {il:2d} to {deal.default[il]}" for il in deal.dealt]
    if deal.fit is not None:
        lines += [f"Adding experts CPU overrides for layer {il}" for il in deal.fit.cpu_expert_layers]
    return lines


def _overrides(plan: Plan, newer: bool) -> list[str]:
    p, lines = plan.placement, []
    for row in np.flatnonzero(p.rule >= 0).tolist():
        rule = p.rules[p.rule[row]]
        size = f" (size = {p.tensors.nbytes[row] / MIB:.2f} MiB)" if newer else ""
        buffer = p.host_name if newer and rule.buffer == "CPU" else rule.buffer
        lines.append(f"Tensor {p.tensors.names[row]}{size} buffer type overrid{'d' if newer else ''}en to {buffer}")
    return lines


def _context(plan: Plan) -> list[str]:
    p, cx, newer = plan.placement, plan.placement.context, plan.settings.profile == NEW
    head = "llama_init_from_model" if newer else "llama_new_context_with_model"
    width = 13 if newer else 10
    facts: list[tuple[str, object]] = [
        ("n_ctx", cx.n_ctx), ("n_batch", cx.n_batch), ("n_ubatch", cx.n_ubatch), ("flash_attn", int(cx.flash_attn))
    ]  # fmt: skip
    if not newer:
        facts.append(("mla_attn", cx.mla_attn))
    facts += [("attn_max_b", cx.attn_max_batch), ("fused_moe", int(cx.fused_moe))]
    if newer:
        facts += [
            ("grouped er", int(plan.settings.grouped_expert_routing)), ("fused_up_gate", int(cx.fused_up_gate)),
            ("fused_mmad", int(cx.fused_mmad)), ("graph_reuse", int(plan.settings.graph_reuse)),
            ("k_cache_hadam", int(cx.k_hadamard)), ("v_cache_hadam", int(cx.v_hadamard)),
            ("reduce_type", plan.settings.reduce_type),
        ]  # fmt: skip
    lines = [f"{head}: {name:<{width}} = {value}" for name, value in facts]
    lines += [f"llama_kv_cache_init: {name:>10} KV buffer size = {size:8.2f} MiB" for name, size in plan.kv_mib]
    if p.cache_parts:
        lines.append(f"llama_kv_cache_init: KV cache size per device{' (MLA replicated)' if cx.mla_attn else ''}:")
        lines += [f"    Device {i}:  {size / MIB:g} MiB" for i, size in enumerate(p.cache_parts.values())]
    k, v = p.kv_self_bytes
    kinds = _ggml_name(type_name(cx.type_k)), _ggml_name(type_name(cx.type_v))
    names = ("c^KV", "kv^T") if cx.mla_attn else ("K", "V")
    if cx.mla_attn and not newer and plan.rules.date < ROPE_FIRST:
        kinds = _ggml_name(type_name(cx.latent_type)), kinds[1]
    second = f"{names[1]} ({kinds[1]}): {v / MIB:7.2f} MiB"
    if cx.mla_attn and (cx.flash_attn or (v == 0 and not newer and plan.rules.date < ROPE_FIRST)):
        second = "kv^T: not used"
    lines.append(
        f"{head}: KV self size  = {(k + v) / MIB:7.2f} MiB, {names[0]} ({kinds[0]}): {k / MIB:7.2f} MiB, {second}"
    )
    lines += [f"{head}: {name:>10}  output buffer size = {size:8.2f} MiB" for name, size in plan.output_mib]
    return lines


def _buffers(plan: Plan) -> list[str]:
    head = "llama_init_from_model" if plan.settings.profile == NEW else "llama_new_context_with_model"
    lines = []
    if plan.placement.n_copies is not None:
        lines.append(f"{head}: pipeline parallelism enabled (n_copies={plan.placement.n_copies})")
    lines += [f"{head}: {name:>10} compute buffer size = {size:8.2f} MiB" for name, size in plan.compute_mib]
    return [*lines, f"{head}: graph nodes  = {plan.graph_nodes}", f"{head}: graph splits = {plan.graph_splits}"]


def _policy(plan: Plan) -> list[str]:
    lines = []
    for op, on in plan.settings.offload_policy:
        what = "all ops" if OP_NUMBERS[plan.settings.profile].get(op, -1) < 0 else f"op {op}"
        lines.append(f"{'X' * 21} Setting offload policy for {what} to {'ON' if on else 'OFF'}")
    return lines
