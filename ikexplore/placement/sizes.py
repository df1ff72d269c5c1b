"""What the loader of August 2026 thinks a layer needs (get_layer_sizes): tensors, cache, and an estimate of compute."""

from dataclasses import dataclass

import numpy as np

from ..gguf.types import TYPES
from ..graph.types import QUANTIZED, row_size
from ..models.columns import Columns
from ..models.context import Context
from ..models.hparams import HParams

MIB = 2**20
_ROLES = {
    "experts": ("ffn_gate_exps", "ffn_up_exps", "ffn_down_exps", "ffn_gate_up_exps"),
    "shared": ("ffn_gate_shexp", "ffn_up_shexp", "ffn_down_shexp"),
    "dense": ("ffn_gate", "ffn_up", "ffn_down"),
}


@dataclass(frozen=True)
class LayerSizes:
    """Bytes. ``tensors`` and ``cache`` have an entry per layer and one for the output; ``compute`` is the largest."""

    tensors: tuple[float, ...]
    cache: tuple[float, ...]
    compute: float

    @property
    def total(self) -> list[float]:
        """Tensors and cache together, per layer, then the output."""
        return [a + b for a, b in zip(self.tensors, self.cache)]

    @property
    def required(self) -> int:
        """Bytes of the whole model and its cache, cut off after every layer as the reference does."""
        total = 0
        for size in self.total:
            total = int(total + size)
        return total


def layer_sizes(hp: HParams, cols: Columns, cx: Context, n_ctx: int, n_ubatch: int) -> LayerSizes:
    """Sizes for a cache of ``n_ctx`` cells (as given by -c) and micro-batches of ``n_ubatch`` tokens."""
    n = hp.n_layer
    tensors = np.bincount(cols.layer + 1, weights=cols.nbytes, minlength=n + 1)[1:].tolist()
    tensors[hp.n_layer_run :] = [0.0] * hp.n_nextn
    output = [row for name, row in cols.row.items() if name == "output.weight"]
    embd = cols.row.get("token_embd.weight")
    tensors.append(float(cols.nbytes[output[0]] if output else cols.nbytes[embd] if embd is not None else 0))
    compute: float = 4 * n_ubatch * (2 * hp.n_embd + _widest(hp, cols))
    if hp.is_mla:
        tensors[:n] = [size + _computed(cols, il) for il, size in enumerate(tensors[:n])]
        compute = max(compute, *(_expanded(cols, cx, il, n_ctx) for il in range(n)))
    cache = [float(_cache(hp, cx, il, n_ctx)) for il in range(n)]
    n_output = cx.n_outputs_reserved or n_ubatch
    logits = hp.n_vocab * n_output * 4
    cache.append(max(float(logits), float(compute)) - compute)
    return LayerSizes(tuple(tensors), tuple(cache), float(compute))


def _widest(hp: HParams, cols: Columns) -> int:
    """Columns of feed-forward results that the widest layer holds at once, by the loader's estimate."""
    widest = 0
    for kind, roles in _ROLES.items():
        width = np.zeros(hp.n_layer_run, np.int64)
        for role in roles:
            rows = cols.rows(f"blk.{{il}}.{role}.weight")[: hp.n_layer_run]
            width += np.where(rows < 0, 0, cols.ne[rows, 1])
        widest = max(widest, int(width.max()) * (hp.n_expert_used if kind == "experts" else 1))
    return widest


def _computed(cols: Columns, il: int) -> int:
    """Bytes of the tensors of latent attention that loading will compute, by the loader's estimate."""
    k_b, v_b, kv_b = (int(cols.rows(f"blk.{{il}}.attn_{which}.weight")[il]) for which in ("k_b", "v_b", "kv_b"))
    if kv_b >= 0:
        return sum(int(cols.nbytes[kv_b]) // 2 for row in (k_b, v_b) if row < 0)
    if min(k_b, v_b) < 0:
        return 0
    kind = int(cols.type_id[k_b])
    row = row_size(TYPES["q8_0"].id if QUANTIZED[kind] else kind, int(cols.ne[v_b, 0]))
    return int(row * (cols.ne[v_b, 1] + cols.ne[k_b, 1]) * cols.ne[v_b, 2] * 2)


def _expanded(cols: Columns, cx: Context, il: int, n_ctx: int) -> float:
    """Bytes of K and V in f32 for the heads that -mla 3 expands at a time, by the loader's estimate."""
    v_b = int(cols.rows("blk.{il}.attn_v_b.weight")[il])
    if cx.mla_attn != 3 or v_b < 0:
        return 0.0
    columns, heads = int(cols.ne[v_b, 1]), int(cols.ne[v_b, 2])
    mib, at_once, limit = 8 * columns * heads * n_ctx / MIB, heads, cx.attn_max_batch
    if limit > 0 and mib > limit:
        at_once = next((heads // i for i in range(2, heads) if heads % i == 0 and mib / i <= limit), 1)
    return 8.0 * columns * at_once * n_ctx


def _cache(hp: HParams, cx: Context, il: int, n_ctx: int) -> int:
    if cx.mla_attn:
        row = row_size(cx.latent_type, hp.kv_lora_rank + hp.n_rot) * n_ctx
        both = cx.mla_attn == 1 and not cx.flash_attn
        return row + (row_size(cx.type_v, hp.kv_lora_rank * n_ctx) if both else 0)
    heads = hp.n_head_kv_by_layer[il]
    k = row_size(cx.type_k, hp.head_dim_k) * heads * n_ctx
    return k + row_size(cx.type_v, hp.head_dim_v * heads) * n_ctx
