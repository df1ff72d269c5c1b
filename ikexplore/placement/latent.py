"""Tensors of latent attention that loading computes where the file lacks them (llm_prepare_mla)."""

from dataclasses import dataclass

import numpy as np

from ..errors import ModelError
from ..gguf.types import TYPES
from ..graph.types import BF16, F16, QUANTIZED
from ..models.columns import Added, Columns
from ..models.model import Model
from .divide import Division

_K_B, _V_B, _KV_B = (f"blk.{{il}}.attn_{which}.weight" for which in ("k_b", "v_b", "kv_b"))
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


def computed_tensors(
    model: Model, cols: Columns, where: np.ndarray, mla: int, division: Division | None
) -> Computed:
    """What the loader adds with -mla ``mla``. where: place per tensor. division: with it, layers that are divided get
    their parts of k_b, v_b and of a transposed k_b (under the name of kv_b), each on its GPU.

    Raises ModelError for a layer that has neither ``attn_kv_b`` nor both of ``attn_k_b`` and ``attn_v_b``.
    """
    if not model.hparams.is_mla:
        return Computed((), np.empty(0, np.int8))
    rows = [cols.rows(pattern)[:-1].tolist() for pattern in (_K_B, _V_B, _KV_B)]
    added: list[Added] = []
    places: list[int] = []
    for il, (k_b, v_b, kv_b) in enumerate(zip(*rows)):
        if kv_b < 0 and min(k_b, v_b) < 0:
            raise ModelError(f"layer {il} has no attn_kv_b, and not both of attn_k_b and attn_v_b; MLA needs them")
        heads = _heads(model, cols, il) if division is not None else {}
        if heads:
            new = _divided(model, cols, il, mla, k_b, kv_b, heads)
            added += [part for _, part in new]
            places += [gpu for gpu, _ in new]
            continue
        n = len(added)
        if k_b < 0 and mla > 0:
            added += _from_kv_b(model, cols, il, kv_b)
        if kv_b < 0 and mla != 1:
            added.append(_from_parts(model, cols, il, k_b, v_b))
        places += [int(where[a.like]) for a in added[n:]]
    return Computed(tuple(added), np.array(places, np.int8))


def _heads(model: Model, cols: Columns, il: int) -> dict[int, int]:
    """GPU -> heads of latent attention that it computes."""
    patterns = [p for p in cols.index if p.startswith("blk.{il}.attn_output.weight.")]
    rows = {int(p.rsplit(".", 1)[1]): int(cols.index[p][il]) for p in patterns}
    return {g: int(cols.ne[row, 0]) // model.hparams.head_dim_v for g, row in sorted(rows.items()) if row >= 0}


def _divided(
    model: Model, cols: Columns, il: int, mla: int, k_b: int, kv_b: int, heads: dict[int, int]
) -> list[tuple[int, Added]]:
    hp = model.hparams
    nope, added = hp.head_dim_k - hp.n_rot, []
    if k_b < 0:
        like = _from_kv_b(model, cols, il, kv_b)
        kind = like[0].type
        wanted = [(a.pattern, a.shape or (), a.type, a.like) for a in like]
    else:
        kind, wanted = int(cols.type_id[k_b]), []
    if k_b < 0 or mla > 1:
        wanted.insert(0, (_KV_B, (hp.kv_lora_rank, nope, 1), kind, kv_b if k_b < 0 else k_b))
    for pattern, shape, number, row in wanted:
        for gpu, n in heads.items():
            name = f"{pattern.replace('{il}', str(il))}.{gpu}"
            added.append((gpu, Added(name, f"{pattern}.{gpu}", il, row, (*shape[:2], n), number)))
    return added


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
