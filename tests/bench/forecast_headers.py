"""Headers for the models of posted sweeps: the numbers of well-known models by name, types by counts or by the file's name.

A model whose architecture the planner does not know is planned as another of the same shape (``STAND_IN``), and said so.
"""

import json
import re
from functools import cache
from pathlib import Path

import corpus_headers
import corpus_plans

import ikexplore as ikx
from ikexplore.gguf.types import TYPES, tensor_bytes, type_info
from ikexplore.models.build import ARCHITECTURES
from ikexplore.models.model import Tensor

TABLES = Path(__file__).resolve().parent.parent / "data" / "forecast" / "models.json"
KINDS = r"(iq\d_[a-z0-9]+(?:_r\d)?|q\d_k_xl|q\d_k_[sml]|q\d_k|q\d_\d|bf16|f16)"
#: architectures planned by their own graph from the numbers of the table
OWN = ("gemma3", "glm4", "llama4", "qwen2")
NO_RECIPE = {"q3_k_s": "q3_k", "q4_k_s": "q4_k", "q5_k_s": "q5_k", "iq3_m": "iq3_s", "iq2_m": "iq2_s"}


@cache
def tables() -> dict:
    return json.loads(TABLES.read_text())


def model_of(record: dict, records: list[dict]) -> tuple[ikx.Model, str]:
    """The model of a record and what was assumed of it; LookupError says why there is none."""
    about = record["model"]
    name = about.get("name") or ""
    low = (name or " ".join(record["command"] or [])).lower()
    exact = next((file for pattern, file in tables()["exact"] if re.search(pattern, low)), None)
    known = {key.removesuffix(".json"): model for key, model in corpus_headers.shared_headers().items()}
    if exact in known and not re.search("repacked offline", low):
        return known[exact], ""
    arch = about.get("arch")
    if arch in planned_archs() and (about.get("type_counts") or about.get("hparams")):
        found, assumed = corpus_plans.header(record, records)
        if found is not None and "types not printed" not in assumed:
            return found, "; ".join(assumed)
    dims = next((d for pattern, d in tables()["models"] if re.search(pattern, low)), None)
    if dims is None:
        raise LookupError(f"model {name[:40]!r} is not in the table of known models")
    return _named(low, dims, about, arch)


def _named(low: str, dims: dict, about: dict, arch: str | None) -> tuple[ikx.Model, str]:
    as_arch = arch if arch in OWN else "deepseek2" if dims.get("mla") else "qwen3moe" if dims.get("E") else "llama"
    if as_arch not in OWN and not dims.get("mla") and (dims.get("sh") or dims.get("every") or dims.get("dense")):
        raise LookupError(f"no header of architecture {arch} with shared experts is made here")
    if arch == "qwen3" and not dims.get("E"):
        as_arch = "qwen3"
    note = "" if arch in (None, as_arch) else f"planned as {as_arch}"
    meta = _metadata(as_arch, dims)
    counts = {k.lower(): n for k, n in (about.get("type_counts") or {}).items() if k.lower() != "f32"}
    if counts:
        model = corpus_headers.derived(meta, {**counts, "f32": 0}) or _dealt(meta, counts)
        return model, note
    types = _types(low)
    for kind in types:
        if kind not in TYPES:
            raise LookupError(f"type {kind!r} in {low[:40]!r} is not known")
    return _with_types(meta, types), note


def _metadata(arch: str, d: dict) -> dict:
    layers, heads = d["L"], d["h"]
    meta = {"block_count": layers, "embedding_length": d["d"], "context_length": 163840, "vocab_size": d["v"],
            "feed_forward_length": d.get("ff") or d.get("ef"), "attention.head_count": heads,
            "attention.head_count_kv": d.get("kv", heads), "attention.layer_norm_rms_epsilon": 1e-6}  # fmt: skip
    if d.get("mla"):
        meta |= {"attention.key_length": 192, "attention.value_length": 128, "rope.dimension_count": 64,
                 "attention.kv_lora_rank": 512, "expert_shared_count": max(1, d.get("sh", 0) // d["ef"])}  # fmt: skip
        meta |= {"attention.q_lora_rank": d["ql"]} if d["ql"] else {}
        meta |= {"leading_dense_block_count": d["dense"], "expert_gating_func": 2 if d["d"] == 7168 else 1}
    else:
        rotated = d["hd"] // 2 if arch == "glm4" else d["hd"]
        meta |= {"attention.key_length": d["hd"], "attention.value_length": d["hd"], "rope.dimension_count": rotated}
    if d.get("E"):
        meta |= {"expert_count": d["E"], "expert_used_count": d["U"], "expert_feed_forward_length": d["ef"]}
    if arch == "llama4":
        meta |= {"interleave_moe_layer_step": d.get("every", 1)}
    if arch == "gemma3":
        meta |= {"attention.sliding_window": 1024}
    return {"general.architecture": arch, **{f"{arch}.{key}": value for key, value in meta.items()}}


def _types(low: str) -> tuple[str, str, str, str]:
    """(experts or ffn up and gate, down, attention, output) from what a file is called."""
    recipe = tables()["recipe"]
    said = re.search(r"experts (\w+), attn (\w+), output (\w+)", low)
    if said:
        return said[1], said[1], said[2], said[3]
    said = re.search(r"\((\w+) shared/attention, (\w+) rest", low)
    if said:
        return said[2], said[2], said[1], said[1]
    found = re.findall(KINDS, low.split(".gguf")[0].split("-00001")[0])
    kind = found[-1] if found else "q4_k_m"
    kind = NO_RECIPE.get(kind, kind)
    if kind not in recipe and kind.startswith("q"):
        kind = re.sub(r"_[slm]$", "", kind)
    return tuple(recipe.get(kind, (kind, kind, kind, "q6_k" if not kind.startswith(("q8", "f16", "bf16")) else kind)))


def _with_types(meta: dict, types: tuple[str, str, str, str]) -> ikx.Model:
    up, down, attn, out = types
    tensors, offset = [], 0
    for name, shape, plain in corpus_headers.rows_of(meta, meta["general.architecture"], ("attn_kv_b",)):
        role = name.split(".")[-2]
        kind = attn
        if re.match("ffn_(up|gate)(_exps)?$", role):
            kind = up
        elif re.match("ffn_down(_exps)?$", role):
            kind = down
        elif role == "output":
            kind = out
        kind = "f32" if plain else kind
        if shape[0] % TYPES[kind].block:
            kind = "q8_0" if shape[0] % 32 == 0 else "f16"
        size = tensor_bytes(type_info(kind), shape)
        tensors.append(Tensor(name, shape, kind, size, None, offset))
        offset += -(-size // 32) * 32
    return ikx.Model(tensors, meta)


def _dealt(meta: dict, counts: dict[str, int]) -> ikx.Model:
    """Counts that do not add up to this model's tensors: the smallest types to the experts, the rest in order."""
    by_size = sorted((k for k in counts if k in TYPES), key=lambda k: TYPES[k].block_bytes / TYPES[k].block)
    big = max(by_size, key=lambda k: counts[k])
    n = meta[meta["general.architecture"] + ".block_count"]
    low = [k for k in by_size if counts[k] >= n / 3] or [big]
    moe = meta["general.architecture"] in ("deepseek2", "llama4", "qwen3moe")
    up, down = (low[0], low[min(1, len(low) - 1)]) if moe else (big, big)
    return _with_types(meta, (up, down, big if not moe else low[-1], "q6_k" if "q6_k" in counts else big))


def planned_archs() -> tuple[str, ...]:
    return tuple(ARCHITECTURES)
