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
    """Exact results of the reference, by id."""
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


def small(
    arch: str = "qwen3moe",
    n_layer: int = 2,
    tied: bool = False,
    types: dict[str, str] | None = None,
    latent: tuple[str, ...] = ("attn_kv_b",),
    **sizes: int,
) -> ikx.Model:
    """A model of a few small tensors, without weights.

    types: role -> type, where it is not q4_k or f32. latent: which matrices of latent attention the file has (deepseek2).
    sizes: n_embd, n_ff, n_vocab, heads, kv, dim, experts, used, q_lora, dense, where they are not the usual ones.
    """
    z = {"n_embd": 512, "n_ff": 1024, "n_vocab": 1000, "heads": 8, "kv": 4, "dim": 64, "experts": 8, "used": 2,
         "q_lora": 0, "dense": 1, **sizes}  # fmt: skip
    n_embd, n_ff, heads, kv, dim = z["n_embd"], z["n_ff"], z["heads"], z["kv"], z["dim"]
    key = f"{arch}."
    meta = {
        "general.architecture": arch, "general.name": "small", key + "block_count": n_layer, key + "context_length": 4096,
        key + "embedding_length": n_embd, key + "feed_forward_length": n_ff, key + "attention.head_count": heads,
        key + "attention.head_count_kv": kv, key + "attention.key_length": dim, key + "attention.value_length": dim,
        key + "attention.layer_norm_rms_epsilon": 1e-6, key + "rope.dimension_count": dim, key + "vocab_size": z["n_vocab"],
    }  # fmt: skip
    rows = [("token_embd.weight", (n_embd, z["n_vocab"]), "q4_k"), ("output_norm.weight", (n_embd,), "f32")]
    if not tied:
        rows.append(("output.weight", (n_embd, z["n_vocab"]), "q6_k"))
    shared = [("attn_norm", (n_embd,), "f32"), ("ffn_norm", (n_embd,), "f32")]
    if arch == "deepseek2":
        meta |= {key + "attention.head_count_kv": heads, key + "attention.key_length": 192, key + "rope.dimension_count": 64,
                 key + "attention.value_length": 128, key + "attention.kv_lora_rank": 512, key + "expert_gating_func": 2,
                 key + "leading_dense_block_count": z["dense"], key + "expert_weights_norm": True,
                 key + "expert_weights_scale": 2.5, key + "expert_shared_count": 1}  # fmt: skip
        shared += [("attn_kv_a_norm", (512,), "f32"), ("attn_kv_a_mqa", (n_embd, 576), "q4_k")]
        if z["q_lora"]:
            meta[key + "attention.q_lora_rank"] = z["q_lora"]
            shared += [("attn_q_a", (n_embd, z["q_lora"]), "q4_k"), ("attn_q_a_norm", (z["q_lora"],), "f32"),
                       ("attn_q_b", (z["q_lora"], heads * 192), "q4_k")]  # fmt: skip
        else:
            shared.append(("attn_q", (n_embd, heads * 192), "q4_k"))
        shapes = {"attn_kv_b": (512, heads * 256), "attn_k_b": (128, 512, heads), "attn_v_b": (512, 128, heads)}
        shared += [(role, shapes[role], "q8_0") for role in latent]
        shared.append(("attn_output", (heads * 128, n_embd), "q4_k"))
    else:
        shared += [("attn_q", (n_embd, heads * dim), "q4_k"), ("attn_k", (n_embd, kv * dim), "q4_k"),
                   ("attn_v", (n_embd, kv * dim), "q4_k"), ("attn_output", (heads * dim, n_embd), "q4_k")]  # fmt: skip
    if arch.startswith("qwen3"):
        shared += [("attn_q_norm", (dim,), "f32"), ("attn_k_norm", (dim,), "f32")]
    wide, back, e = (n_embd, n_ff), (n_ff, n_embd), z["experts"]
    dense = [("ffn_gate", wide, "q4_k"), ("ffn_up", wide, "q4_k"), ("ffn_down", back, "q6_k")]
    moe = [("ffn_gate_inp", (n_embd, e), "f32"), ("ffn_gate_exps", (*wide, e), "q4_k"),
           ("ffn_up_exps", (*wide, e), "q4_k"), ("ffn_down_exps", (*back, e), "q6_k")]  # fmt: skip
    if arch in ("qwen3moe", "deepseek2"):
        meta |= {key + "expert_count": e, key + "expert_used_count": z["used"], key + "expert_feed_forward_length": n_ff}
    if arch == "deepseek2":
        moe += [(role + "_shexp", shape, kind) for role, shape, kind in dense]
    for il in range(n_layer):
        experts = arch == "qwen3moe" or (arch == "deepseek2" and il >= z["dense"])
        layer = shared + (moe if experts else dense)
        rows += [(f"blk.{il}.{role}.weight", shape, (types or {}).get(role, kind)) for role, shape, kind in layer]
        if experts and arch == "deepseek2":
            rows.append((f"blk.{il}.exp_probs_b.bias", (e,), "f32"))
    tensors, offset = [], 0
    for name, shape, kind in rows:
        size = tensor_bytes(type_info(kind), shape)
        tensors.append(Tensor(name, shape, kind, size, None, offset))
        offset += -(-size // 32) * 32
    return ikx.Model(tensors, meta)
