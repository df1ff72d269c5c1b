"""What the loader asks for, beyond the tensors of the file: copies of some, and names that need not exist."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..errors import ModelError
from ..models.columns import Added, Columns
from ..models.model import Model
from .rules import Rule, first_match

_BIASES = ("attn_q.bias", "attn_k.bias", "attn_v.bias")
_DENSE_BIASES = ("ffn_gate.bias", "ffn_down.bias", "ffn_up.bias")
_FUSED = ("attn_qkv.weight", "attn_qkv.bias")
_NEXTN = ("eh_proj", "embed_tokens", "enorm", "hnorm", "shared_head_head", "shared_head_norm")
#: roles that the loader of an architecture asks for in every layer without needing them; it reports overrides of
#: missing ones too
OPTIONAL: dict[str, tuple[str, ...]] = {
    "ernie4_5": (*_BIASES, "attn_output.bias"),
    "ernie4_5-moe": (*_BIASES, "attn_output.bias"),
    "glm4": (*_FUSED, *_BIASES),
    "glm4moe": ("attn_q_norm.weight", "attn_k_norm.weight"),
    "granite": (*_BIASES, "attn_output.bias", *_DENSE_BIASES),
    "granitemoe": (*_BIASES, "attn_output.bias"),
    "llama": (*_BIASES, "attn_output.bias", *_DENSE_BIASES),
    "mistral3": (*_BIASES, "attn_output.bias", *_DENSE_BIASES),
    "phi3": ("attn_qkv.weight",),
    "seed_oss": _BIASES,
}
#: tensors outside the layers that every layer gets a copy of, by architecture
PER_LAYER = {
    "llama": ("rope_freqs.weight",),
    "llama4": ("rope_freqs.weight",),
    "mistral3": ("rope_freqs.weight",),
    "phi3": ("rope_factors_long.weight", "rope_factors_short.weight"),
}
#: architectures whose output is always a copy of the embedding, in June 2025
TIED_2025 = ("cohere2", "gemma2", "gemma3")


def with_copies(cols: Columns) -> Columns:
    """Adds the copies that loading makes: of frequencies for every layer but the first, of the embedding as output.

    Raises ModelError for a model without an embedding.
    """
    if "token_embd.weight" not in cols.index:
        raise ModelError("the model has no tensor 'token_embd.weight'; every model needs it")
    added = []
    if "output.weight" not in cols.index:
        added.append(Added("token_embd.weight", "output.weight", -1, int(cols.rows("token_embd.weight")[-1])))
    for name in sorted({name for names in PER_LAYER.values() for name in names}):
        row = int(cols.rows(name)[-1])
        if row >= 0:
            layer = cols.layer.copy()
            layer[row] = 0
            cols = replace(cols, layer=layer)
            added += [Added(name, name, il, row) for il in range(1, cols.n_layer)]
    return cols.with_added(added) if added else cols


def overridden(
    model: Model, cols: Columns, rules: Sequence[Rule], not_asked: np.ndarray, host: str, newer: bool
) -> dict[str, int]:
    """How often the loader says that a rule decided, per buffer name; ``host`` is what it calls CPU."""
    if not rules:
        return {}
    asked = [name for name, skip in zip(cols.names, not_asked.tolist()) if not skip]
    if "output.weight" not in cols.names and (newer or model.arch not in TIED_2025):
        asked.append("output.weight")
    asked += _asked_in_vain(model, cols)
    first = first_match(rules, tuple(asked))
    counts = Counter(rules[i].buffer for i in first[first >= 0].tolist())
    return {host if buffer == "CPU" else buffer: n for buffer, n in counts.items()}


def _asked_in_vain(model: Model, cols: Columns) -> list[str]:
    """Names that the loader asks for and the model does not have."""
    arch, hp = model.arch, model.hparams

    def missing(role: str, first: int = 0) -> list[str]:
        layers = np.flatnonzero(cols.rows(f"blk.{{il}}.{role}")[:-1] < 0)
        return [f"blk.{il}.{role}" for il in layers if il >= first]

    names = []
    for role in OPTIONAL.get(arch, ()):
        if not (role in _DENSE_BIASES and hp.is_moe) and not (arch == "glm4" and role in _BIASES and _fused(cols)):
            names += missing(role)
    if arch in ("deepseek2", "dots1", "ernie4_5-moe"):
        names += missing("exp_probs_b.bias", hp.n_layer_dense_lead)
    if arch == "deepseek2":
        for role in ("attn_kv_b", "attn_k_b", "attn_v_b"):
            names += missing(f"{role}.weight")
    for name in PER_LAYER.get(arch, ()):
        if name not in cols.index:
            names += [name] * cols.n_layer
    for role in _NEXTN if hp.n_nextn else ():
        name = f"blk.{hp.n_layer - 1}.nextn.{role}.weight"
        names += [] if name in cols.row else [name] * hp.n_nextn
    return names


def _fused(cols: Columns) -> bool:
    """Whether q, k and v are one tensor in the file."""
    return "blk.{il}.attn_qkv.weight" in cols.index
