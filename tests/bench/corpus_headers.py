"""Headers for models that people only name in their logs: from the key-value dump and the counts of types."""

import re
from collections import Counter
from functools import cache
from pathlib import Path

import ikexplore as ikx
from ikexplore.gguf.types import TYPES, tensor_bytes, type_info
from ikexplore.models.model import Tensor

HEADERS = Path(__file__).resolve().parent.parent / "data" / "schedule" / "models"
PLAIN = "f32"
#: roles in the order in which quantizers spend bits on them, least first; up and gate of a layer go together
ORDER = (("ffn_gate_exps", "ffn_up_exps"), ("ffn_down_exps",), ("ffn_gate", "ffn_up"), ("ffn_gate_shexp", "ffn_up_shexp"),
         ("attn_q", "attn_k", "attn_q_a", "attn_q_b", "attn_kv_a_mqa"), ("attn_output",), ("ffn_down", "ffn_down_shexp"),
         ("attn_v", "attn_kv_b", "attn_k_b", "attn_v_b"), ("token_embd",), ("output",))  # fmt: skip


@cache
def shared_headers() -> dict[str, ikx.Model]:
    """The headers that travel with the tests, by name."""
    return {path.name.split(".json")[0]: ikx.Model.from_header(path) for path in sorted(HEADERS.glob("*.json.gz"))}


def counts(model: ikx.Model) -> Counter:
    return Counter(t.type for t in model.tensors.values())


def by_name(name: str) -> ikx.Model | None:
    """A shared header whose model and type stand in the file's name."""
    plain = name.lower().replace("_", "-")
    for known, model in shared_headers().items():
        size, kind = re.fullmatch(r"(.+?)-((?:mix-)?i?q\d.*)", known.removesuffix(".json")).groups()
        if size in plain and kind.replace("_", "-") in plain:
            return model
    return None


def like(arch: str, n_layer: int, n_embd: int) -> ikx.Model | None:
    """A shared header of the same architecture and size; its types may be others."""
    for model in shared_headers().values():
        hp = model.hparams
        if (model.arch, hp.n_layer, hp.n_embd) == (arch, n_layer, n_embd):
            return model
    return None


Row = tuple[str, tuple[int, ...], bool]
#: norms and biases beside the matrices of attention, by architecture: role -> the number whose length it has
SMALL = {
    "qwen2": {"attn_q.bias": "q", "attn_k.bias": "k", "attn_v.bias": "v"},
    "qwen3": {"attn_q_norm": "head", "attn_k_norm": "head"},
    "qwen3moe": {"attn_q_norm": "head", "attn_k_norm": "head"},
    "gemma3": {"attn_q_norm": "head", "attn_k_norm": "head", "post_attention_norm": "embd", "post_ffw_norm": "embd"},
    "glm4": {"post_attention_norm": "embd", "post_ffw_norm": "embd"},
}
TIED = ("gemma3",)  #: the embedding is the output too


def rows_of(meta: dict, arch: str, latent: tuple[str, ...]) -> list[Row]:
    """(name, shape, plain) of every tensor of a model with these numbers."""
    hp = ikx.Model([], meta).hparams
    rows: list[Row] = [("token_embd.weight", (hp.n_embd, hp.n_vocab), False), ("output_norm.weight", (hp.n_embd,), True)]
    if arch not in TIED:
        rows.append(("output.weight", (hp.n_embd, hp.n_vocab), False))
    for il in range(hp.n_layer):
        layer = [("attn_norm", (hp.n_embd,), True), ("ffn_norm", (hp.n_embd,), True)]
        layer += _latent_rows(hp, latent) if arch == "deepseek2" else _attention_rows(hp, arch)
        layer += _feed_rows(hp, arch, il)
        rows += [(f"blk.{il}.{role}" + ("" if "." in role else ".weight"), shape, plain) for role, shape, plain in layer]
    return rows


def _latent_rows(hp, latent: tuple[str, ...]) -> list[Row]:
    n, heads = hp.n_embd, hp.n_head
    lora, nope, width = hp.kv_lora_rank, hp.head_dim_k - hp.n_rot, heads * hp.head_dim_k
    rows = [("attn_kv_a_norm", (lora,), True), ("attn_kv_a_mqa", (n, lora + hp.n_rot), False)]
    if hp.q_lora_rank:
        rows += [("attn_q_a_norm", (hp.q_lora_rank,), True), ("attn_q_a", (n, hp.q_lora_rank), False),
                 ("attn_q_b", (hp.q_lora_rank, width), False)]  # fmt: skip
    else:
        rows.append(("attn_q", (n, width), False))
    shapes = {"attn_kv_b": (lora, heads * (nope + hp.head_dim_v)), "attn_k_b": (nope, lora, heads),
              "attn_v_b": (lora, hp.head_dim_v, heads)}  # fmt: skip
    rows += [(role, shapes[role], False) for role in latent]
    return [*rows, ("attn_output", (heads * hp.head_dim_v, n), False)]


def _attention_rows(hp, arch: str) -> list[Row]:
    n = hp.n_embd
    size = {"q": hp.n_head * hp.head_dim_k, "k": hp.n_head_kv * hp.head_dim_k, "v": hp.n_head_kv * hp.head_dim_v}
    rows = [(f"attn_{which}", (n, size[which]), False) for which in "qkv"]
    rows.append(("attn_output", (hp.n_head * hp.head_dim_v, n), False))
    size |= {"head": hp.head_dim_k, "embd": n}
    return rows + [(role, (size[which],), True) for role, which in SMALL.get(arch, {}).items()]


def _feed_rows(hp, arch: str, il: int) -> list[Row]:
    n, e, ff = hp.n_embd, hp.n_expert, hp.n_ff_exp
    if arch == "llama4":
        routed = (il + 1) % hp.n_moe_step == 0
    else:
        routed = e > 0 and il >= hp.n_layer_dense_lead
    if not routed:
        up = [("ffn_up", (n, 2 * hp.n_ff), False)] if arch == "glm4" else [
            ("ffn_gate", (n, hp.n_ff), False), ("ffn_up", (n, hp.n_ff), False)]  # fmt: skip
        return [*up, ("ffn_down", (hp.n_ff, n), False)]
    rows = [("ffn_gate_inp", (n, e), True), ("ffn_gate_exps", (n, ff, e), False),
            ("ffn_up_exps", (n, ff, e), False), ("ffn_down_exps", (ff, n, e), False)]  # fmt: skip
    shared = ff if arch == "llama4" else hp.n_ff_shexp
    if shared:
        rows += [("ffn_gate_shexp", (n, shared), False), ("ffn_up_shexp", (n, shared), False),
                 ("ffn_down_shexp", (shared, n), False)]  # fmt: skip
    if arch == "deepseek2" and hp.expert_gating_func == "sigmoid":
        rows.append(("exp_probs_b.bias", (e,), True))
    return rows


def derived(meta: dict, kinds: dict[str, int]) -> ikx.Model | None:
    """A header with these numbers, its types dealt by their counts; None where they do not add up."""
    arch = meta["general.architecture"]
    wanted = {kind.lower(): n for kind, n in kinds.items() if kind.lower() in TYPES}
    quantized = sum(n for kind, n in wanted.items() if kind != PLAIN)
    for latent in (("attn_kv_b", "attn_k_b", "attn_v_b"), ("attn_k_b", "attn_v_b"), ("attn_kv_b",)):
        rows = rows_of(meta, arch, latent)
        big = [(name, shape) for name, shape, plain in rows if not plain]
        if not wanted or len(big) == quantized:
            break
    else:
        return None
    order = sorted(big, key=lambda row: _rank(row[0]))
    types = sorted((k for k in wanted if k != PLAIN), key=lambda kind: TYPES[kind].block_bytes / TYPES[kind].block)
    dealt = [kind for kind in types for _ in range(wanted[kind])] or ["q4_k"] * len(big)
    of = {}
    for name, shape in sorted(order, key=lambda row: row[1][0] % 256 == 0):  # what few types fit comes first
        at = next((i for i, kind in enumerate(dealt) if shape[0] % TYPES[kind].block == 0), None)
        of[name] = "q8_0" if at is None else dealt.pop(at)
    tensors, offset = [], 0
    for name, shape, _ in rows:
        kind = of.get(name, PLAIN)
        size = tensor_bytes(type_info(kind), shape)
        tensors.append(Tensor(name, shape, kind, size, None, offset))
        offset += -(-size // 32) * 32
    return ikx.Model(tensors, meta)


def _rank(name: str) -> tuple[int, int, str]:
    match = re.match(r"(?:blk\.(\d+)\.)?(\w+)", name)
    layer, role = int(match[1] or 0), match[2]
    return next((i for i, group in enumerate(ORDER) if role in group), len(ORDER)), layer, role
