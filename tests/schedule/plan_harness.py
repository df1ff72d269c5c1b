"""Scenarios and small models for the tests of plans."""

import functools
import gzip
import json
from pathlib import Path

import ikexplore as ikx
from ikexplore.gguf.types import tensor_bytes, type_info
from ikexplore.models.model import Tensor

DATA = Path(__file__).resolve().parent.parent / "data" / "schedule"


@functools.cache
def scenarios() -> dict[str, dict]:
    """Exact results of the reference, by id: those of the architectures llama and qwen3moe."""
    with gzip.open(DATA / "scenarios.json.gz") as f:
        return {s["id"]: s for s in json.load(f)}


@functools.cache
def header(name: str) -> ikx.Model:
    """A model without weights."""
    return ikx.Model.from_header(DATA / "models" / f"{name}.json.gz")


def profile_of(scenario: dict) -> str:
    return "2026-08" if scenario["commit"] == "8337e4cd3" else "2025-06"


def inputs(scenario: dict) -> tuple[ikx.Model, ikx.Settings, ikx.Machine]:
    """What a scenario was run with."""
    rig = {k: scenario[k] for k in ("gpus", "cuda_build", "sched_max_copies", "commit", "commit_date")}
    settings = ikx.Settings.parse(scenario["argv"], profile=profile_of(scenario))
    return header(scenario["model"]), settings, ikx.Machine.described(**rig)


def rig(*free_mib: int, copies: int = 1, **more) -> ikx.Machine:
    """Described GPUs CUDA0, CUDA1 ... of compute capability 8.6."""
    gpus = [{"name": f"CUDA{i}", "free_mib": free, "cc": 860} for i, free in enumerate(free_mib)]
    return ikx.Machine.described(gpus=gpus, cuda_build=bool(gpus), sched_max_copies=copies, **more)


def planned(model: ikx.Model, flags: str = "", machine: ikx.Machine | None = None, profile: str = "2025-06") -> ikx.Plan:
    return ikx.plan(model, ikx.Settings.parse(flags, profile=profile), machine or rig(24000))


def small(arch: str = "qwen3moe", n_layer: int = 2, tied: bool = False, types: dict[str, str] | None = None) -> ikx.Model:
    """A model of a few small tensors, without weights. ``types``: role -> type, where it is not q4_k or f32."""
    n_embd, n_ff, n_vocab, heads, kv, dim, experts = 512, 1024, 1000, 8, 4, 64, 8
    key = f"{arch}."
    meta = {
        "general.architecture": arch, "general.name": "small", key + "block_count": n_layer, key + "context_length": 4096,
        key + "embedding_length": n_embd, key + "feed_forward_length": n_ff, key + "attention.head_count": heads,
        key + "attention.head_count_kv": kv, key + "attention.key_length": dim, key + "attention.value_length": dim,
        key + "attention.layer_norm_rms_epsilon": 1e-6, key + "rope.dimension_count": dim, key + "vocab_size": n_vocab,
    }  # fmt: skip
    rows = [("token_embd.weight", (n_embd, n_vocab), "q4_k"), ("output_norm.weight", (n_embd,), "f32")]
    if not tied:
        rows.append(("output.weight", (n_embd, n_vocab), "q6_k"))
    layer = [
        ("attn_norm", (n_embd,), "f32"),
        ("attn_q", (n_embd, heads * dim), "q4_k"),
        ("attn_k", (n_embd, kv * dim), "q4_k"),
        ("attn_v", (n_embd, kv * dim), "q4_k"),
        ("attn_output", (heads * dim, n_embd), "q4_k"),
        ("ffn_norm", (n_embd,), "f32"),
    ]
    if arch.startswith("qwen3"):
        layer += [("attn_q_norm", (dim,), "f32"), ("attn_k_norm", (dim,), "f32")]
    if arch == "qwen3moe":
        meta |= {key + "expert_count": experts, key + "expert_used_count": 2, key + "expert_feed_forward_length": n_ff}
        wide, back = (n_embd, n_ff, experts), (n_ff, n_embd, experts)
        layer += [("ffn_gate_inp", (n_embd, experts), "f32"), ("ffn_gate_exps", wide, "q4_k")]
        layer += [("ffn_up_exps", wide, "q4_k"), ("ffn_down_exps", back, "q6_k")]
    else:
        wide, back = (n_embd, n_ff), (n_ff, n_embd)
        layer += [("ffn_gate", wide, "q4_k"), ("ffn_up", wide, "q4_k"), ("ffn_down", back, "q6_k")]
    for il in range(n_layer):
        rows += [(f"blk.{il}.{role}.weight", shape, (types or {}).get(role, kind)) for role, shape, kind in layer]
    tensors, offset = [], 0
    for name, shape, kind in rows:
        size = tensor_bytes(type_info(kind), shape)
        tensors.append(Tensor(name, shape, kind, size, None, offset))
        offset += -(-size // 32) * 32
    return ikx.Model(tensors, meta)
