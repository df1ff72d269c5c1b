"""What the loader asks for, beyond the tensors of the file: copies of some, and names that need not exist."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..errors import ModelError
from ..models.columns import Added, Columns
from ..models.model import Model
from .rules import Rule, first_match

#: roles that the loader of an architecture asks for without needing them; it reports overrides for missing ones too
_OPTIONAL = ("attn_q.bias", "attn_k.bias", "attn_v.bias", "attn_output.bias")
_OPTIONAL_DENSE = ("ffn_gate.bias", "ffn_down.bias", "ffn_up.bias")


def with_copies(cols: Columns) -> Columns:
    """Adds the copies that loading makes: of rope_freqs for every layer but the first, of the embedding as output.

    Raises ModelError for a model without an embedding.
    """
    if "token_embd.weight" not in cols.index:
        raise ModelError("the model has no tensor 'token_embd.weight'; every model needs it")
    added = []
    if "output.weight" not in cols.index:
        added.append(Added("token_embd.weight", "output.weight", -1, int(cols.rows("token_embd.weight")[-1])))
    freqs = int(cols.rows("rope_freqs.weight")[-1])
    if freqs >= 0:
        layer = cols.layer.copy()
        layer[freqs] = 0
        cols = replace(cols, layer=layer)
        added += [Added("rope_freqs.weight", "rope_freqs.weight", il, freqs) for il in range(1, cols.n_layer)]
    return cols.with_added(added) if added else cols


def overridden(model: Model, cols: Columns, rules: Sequence[Rule], not_asked: np.ndarray, host: str) -> dict[str, int]:
    """How often the loader says that a rule decided, per buffer name; ``host`` is what it calls CPU."""
    if not rules:
        return {}
    asked = [name for name, skip in zip(cols.names, not_asked.tolist()) if not skip]
    if "output.weight" not in cols.names:
        asked.append("output.weight")
    if model.arch == "deepseek2":
        latent = np.flatnonzero(cols.rows("blk.{il}.attn_kv_b.weight")[:-1] < 0)
        asked += [f"blk.{il}.attn_kv_b.weight" for il in latent]
        for which in ("k_b", "v_b"):
            missing = np.flatnonzero(cols.rows(f"blk.{{il}}.attn_{which}.weight")[:-1] < 0)
            asked += [f"blk.{il}.attn_{which}.weight" for il in missing]
        missing = np.flatnonzero(cols.rows("blk.{il}.exp_probs_b.bias")[:-1] < 0)
        asked += [f"blk.{il}.exp_probs_b.bias" for il in missing if il >= model.hparams.n_layer_dense_lead]
    if model.arch == "llama":
        for role in _OPTIONAL + (() if model.hparams.is_moe else _OPTIONAL_DENSE):
            missing = np.flatnonzero(cols.rows(f"blk.{{il}}.{role}")[:-1] < 0)
            asked += [f"blk.{il}.{role}" for il in missing]
        if "rope_freqs.weight" not in cols.index:
            asked += ["rope_freqs.weight"] * cols.n_layer
    first = first_match(rules, tuple(asked))
    counts = Counter(rules[i].buffer for i in first[first >= 0].tolist())
    return {host if buffer == "CPU" else buffer: n for buffer, n in counts.items()}
