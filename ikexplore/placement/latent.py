"""Tensors of latent attention that loading computes where the file lacks them (llm_prepare_mla)."""

from dataclasses import dataclass

import numpy as np

from ..errors import ModelError
from ..graph.types import BF16, F16, QUANTIZED
from ..gguf.types import TYPES
from ..models.columns import Added, Columns
from ..models.model import Model

_K_B, _V_B, _KV_B = ("blk.{il}.attn_%s.weight" % which for which in ("k_b", "v_b", "kv_b"))
_Q8_0, _Q8_0_R8 = TYPES["q8_0"].id, TYPES["q8_0_r8"].id
#: interleaved types, by ggml's numbers: k_b computed from one of them is interleaved too
_INTERLEAVED = range(TYPES["q4_0_r8"].id, TYPES["q8_k_r8"].id + 1)


@dataclass(frozen=True)
class Computed:
    """New tensors and where they live: beside the tensor that each is computed from."""

    added: tuple[Added, ...]
    place: np.ndarray  #: int8 per tensor

    def __len__(self) -> int:
        return len(self.added)


def computed_tensors(model: Model, cols: Columns, where: np.ndarray, mla: int) -> Computed:
    """What the loader adds with -mla ``mla``. where: place per tensor.

    Raises ModelError for a layer that has neither ``attn_kv_b`` nor both of ``attn_k_b`` and ``attn_v_b``.
    """
    if not model.hparams.is_mla:
        return Computed((), np.empty(0, np.int8))
    rows = [cols.rows(pattern)[:-1].tolist() for pattern in (_K_B, _V_B, _KV_B)]
    added: list[Added] = []
    for il, (k_b, v_b, kv_b) in enumerate(zip(*rows)):
        if kv_b < 0 and min(k_b, v_b) < 0:
            raise ModelError(f"layer {il} has no attn_kv_b, and not both of attn_k_b and attn_v_b; MLA needs them")
        if k_b < 0 and mla > 0:
            added += _from_kv_b(model, cols, il, kv_b)
        if kv_b < 0 and mla != 1:
            added.append(_from_parts(model, cols, il, k_b, v_b))
    return Computed(tuple(added), np.array([where[a.like] for a in added], np.int8))


def _from_kv_b(model: Model, cols: Columns, il: int, row: int) -> list[Added]:
    hp, kind = model.hparams, int(cols.type_id[row])
    heads, nope = hp.n_head_by_layer[il], hp.head_dim_k - hp.n_rot
    if QUANTIZED[kind]:
        kind = _Q8_0_R8 if kind in _INTERLEAVED else _Q8_0
    k_b = Added(_K_B.replace("{il}", str(il)), _K_B, il, row, (nope, hp.kv_lora_rank, heads), kind)
    v_b = Added(_V_B.replace("{il}", str(il)), _V_B, il, row, (hp.kv_lora_rank, hp.head_dim_v, heads))
    return [k_b, v_b]


def _from_parts(model: Model, cols: Columns, il: int, k_b: int, v_b: int) -> Added:
    hp, kinds = model.hparams, {int(cols.type_id[k_b]), int(cols.type_id[v_b])}
    kind = next((plain for plain in (BF16, F16) if kinds == {plain}), _Q8_0)
    columns = hp.n_head_by_layer[il] * (hp.head_dim_k - hp.n_rot + hp.head_dim_v)
    return Added(_KV_B.replace("{il}", str(il)), _KV_B, il, k_b, (hp.kv_lora_rank, columns), kind)
