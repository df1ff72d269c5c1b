"""Weights merged while loading (August 2026): -mqkv makes one tensor of q, k (and v), -muge one of up and gate."""

from dataclasses import dataclass

import numpy as np

from ..errors import SettingsError
from ..models.columns import Added, Columns
from ..models.model import Model
from ..settings import Settings

#: architectures whose loader merges q, k and v (merge_qkv), and whose graph reads the merged tensor
MERGES_QKV = ("deepseek2", "gemma3", "glm4moe", "gpt-oss", "llama", "llama4", "mistral3", "qwen3", "qwen3moe", "qwen3vl",
              "smollm3")  # fmt: skip
#: of these, those that merge biases too; the others stop at one
MERGES_BIASES = ("glm4moe", "gpt-oss")
#: architectures whose loader merges up and gate of the experts (create_std_ffn_exps)
MERGES_UP_GATE = ("deepseek2", "dots1", "glm4moe", "gpt-oss", "hunyuan-moe", "llama4", "minimax-m2", "qwen2moe",
                  "qwen3moe", "qwen3vlmoe")  # fmt: skip


@dataclass(frozen=True)
class Merged:
    """New tensors, where they live, the tensors that now lie inside them, and those that no override was asked for."""

    added: tuple[Added, ...]
    place: np.ndarray  #: int8 per added tensor
    inside: np.ndarray  #: rows of ``Columns``
    not_asked: np.ndarray  #: bool per row

    @classmethod
    def none(cls, rows: int) -> "Merged":
        """Nothing is merged."""
        return cls((), np.empty(0, np.int8), np.empty(0, np.int64), np.zeros(rows, bool))


def merged_tensors(model: Model, settings: Settings, cols: Columns, slot: np.ndarray, where: np.ndarray) -> Merged:
    """What the loader merges. slot: place of each layer by its number; where: place of each tensor after overrides."""
    added: list[Added] = []
    places: list[int] = []
    inside: list[int] = []
    not_asked = np.zeros(len(cols), bool)
    if settings.merge_qkv and model.arch in MERGES_QKV:
        parts_of = _latent_parts if model.hparams.is_mla else _attention_parts
        for il in range(model.hparams.n_layer_run):
            name, parts = parts_of(cols, il)
            if not parts:
                continue
            biases = _biases(cols, il, ["attn_q", "attn_k", *(["attn_v"] if name == "attn_qkv" else [])], model.arch)
            for suffix, pieces in (("weight", parts), ("bias", biases)):
                if pieces:
                    added.append(_added(cols, f"blk.{{il}}.{name}.{suffix}", il, pieces))
                    places.append(int(slot[il]))  # where the layer is: no rule is asked for the parts
                    inside += pieces
                    not_asked[pieces] = True
    elif settings.merge_qkv and model.arch in ("gemma2", "qwen3vlmoe"):
        raise SettingsError(f"-mqkv is not planned for {model.arch}, whose graph reads q, k and v one by one; leave it out")
    if settings.merge_up_gate_experts and model.arch in MERGES_UP_GATE:
        up, gate = (cols.rows(f"blk.{{il}}.ffn_{which}_exps.weight") for which in ("up", "gate"))
        for il in range(model.hparams.n_layer_run):
            u, g = int(up[il]), int(gate[il])
            if min(u, g) < 0:
                continue
            same = cols.type_id[u] == cols.type_id[g] and (cols.ne[u] == cols.ne[g])[[0, 2]].all()
            if same and where[u] == where[g]:
                biases = _biases(cols, il, ["ffn_gate_exps", "ffn_up_exps"])
                rows = int(cols.ne[u, 1])  # the engine gives the biases as many rows as an expert has, not as there are experts
                for suffix, pieces in (("weight", [g, u]), ("bias", biases)):
                    if pieces:
                        added.append(_added(cols, f"blk.{{il}}.ffn_gate_up_exps.{suffix}", il, pieces, rows))
                        places.append(int(where[u]))
                        inside += pieces
    return Merged(tuple(added), np.array(places, np.int8), np.array(inside, np.int64), not_asked)


def _attention_parts(cols: Columns, il: int) -> tuple[str, list[int]]:
    """Name of the merged tensor and rows of q and k, and of v where all three types are equal."""
    q, k, v = (int(cols.rows(f"blk.{{il}}.attn_{r}.weight")[il]) for r in "qkv")
    if min(q, k, v) < 0 or cols.type_id[q] != cols.type_id[k]:
        return "", []
    if cols.type_id[v] == cols.type_id[q]:
        return "attn_qkv", [q, k, v]
    return "attn_qk", [q, k]


def _latent_parts(cols: Columns, il: int) -> tuple[str, list[int]]:
    """Latent attention: q (or its compressed form) and the latent, where their types are equal."""
    q, lora, kv = (int(cols.rows(f"blk.{{il}}.attn_{r}.weight")[il]) for r in ("q", "q_a", "kv_a_mqa"))
    q = q if lora < 0 else lora
    if min(q, kv) < 0 or cols.type_id[q] != cols.type_id[kv]:
        return "", []
    return "attn_qk_a_mqa", [q, kv]


def _biases(cols: Columns, il: int, roles: list[str], arch: str = "") -> list[int]:
    """Rows of the biases of some tensors; none where one is missing.

    Raises SettingsError for biases of an architecture whose loader stops at them.
    """
    rows = [int(cols.rows(f"blk.{{il}}.{role}.bias")[il]) for role in roles]
    if arch and max(rows) >= 0 and (arch not in MERGES_BIASES or min(rows) < 0):
        raise SettingsError(f"-mqkv: layer {il} has biases of q, k or v, at which the engine stops for {arch}; leave it out")
    return rows if min(rows) >= 0 else []


def _added(cols: Columns, pattern: str, il: int, parts: list[int], bias_rows: int = 1) -> Added:
    first = cols.ne[parts[0]]
    shape = (int(first[0]), int(cols.ne[parts, 1].sum()), int(first[2]))
    if pattern.endswith(".bias"):  # one number per row of the weight
        shape = (int(cols.ne[parts, 0].sum()), bias_rows, 1)
    return Added(pattern.replace("{il}", str(il)), pattern, il, parts[0], shape)
