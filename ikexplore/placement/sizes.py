"""What the loader of August 2026 thinks a layer needs (get_layer_sizes): tensors, cache, and an estimate of compute."""

from dataclasses import dataclass

import numpy as np

from ..graph.types import row_size
from ..models.columns import Columns
from ..models.context import Context
from ..models.hparams import HParams

MIB = 2**20
_ROLES = {
    "experts": ("ffn_gate_exps", "ffn_up_exps", "ffn_down_exps"),
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
    output = [row for name, row in cols.row.items() if name == "output.weight"]
    embd = cols.row.get("token_embd.weight")
    tensors.append(float(cols.nbytes[output[0]] if output else cols.nbytes[embd] if embd is not None else 0))
    compute = 4 * n_ubatch * (2 * hp.n_embd + _widest(hp, cols))
    cache = [float(_cache(hp, cx, il, n_ctx)) for il in range(n)]
    n_output = cx.n_outputs_reserved or n_ubatch
    logits = hp.n_vocab * n_output * 4
    cache.append(max(float(logits), float(compute)) - compute)
    return LayerSizes(tuple(tensors), tuple(cache), float(compute))


def _widest(hp: HParams, cols: Columns) -> int:
    """Columns of feed-forward results that the widest layer holds at once, by the loader's estimate."""
    widest = 0
    for kind, roles in _ROLES.items():
        width = np.zeros(hp.n_layer, np.int64)
        for role in roles:
            rows = cols.rows(f"blk.{{il}}.{role}.weight")[:-1]
            width += np.where(rows < 0, 0, cols.ne[rows, 1])
        widest = max(widest, int(width.max()) * (hp.n_expert_used if kind == "experts" else 1))
    return widest


def _cache(hp: HParams, cx: Context, il: int, n_ctx: int) -> int:
    heads = hp.n_head_kv_by_layer[il]
    k = row_size(cx.type_k, hp.head_dim_k) * heads * n_ctx
    return k + row_size(cx.type_v, hp.head_dim_v * heads) * n_ctx
