"""Hyper-parameters of a model, read from GGUF metadata with ggml's defaults.

Field names are the GGUF keys shortened. Which key has which default: ``llm_load_hparams`` of ik_llama.cpp.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..errors import ModelError
from .hparams_own import OWN

MAX_LAYERS = 4096  # far above any model; keeps absurd headers from becoming absurd loops
#: architecture -> every so manieth layer sees all positions, the others before it a window (sliding_window_pattern); 1: none
WINDOW_PERIOD = {"cohere2": 4, "gemma2": 2, "gemma3": 6, "gpt-oss": 2, "llama4": 4, "phi3": 1}
GATING = {1: "softmax", 2: "sigmoid", 3: "softmax_weight", 4: "sqrt_softplus"}  # expert_gating_func


@dataclass(frozen=True)
class HParams:
    """Numbers that describe a model. Counts are ints; 0 means "has none"; ``*_by_layer`` has n_layer entries."""

    arch: str
    n_layer: int
    n_embd: int
    n_vocab: int
    n_ctx_train: int
    n_ff: int
    n_head: int
    n_head_kv: int
    head_dim_k: int
    head_dim_v: int
    n_rot: int
    rms_eps: float
    norm_eps: float
    n_expert: int
    n_expert_used: int
    n_ff_exp: int
    n_expert_shared: int
    n_ff_shexp: int
    n_layer_dense_lead: int
    expert_weights_scale: float
    expert_weights_norm: bool
    expert_gating_func: str
    q_lora_rank: int
    kv_lora_rank: int
    n_swa: int
    rope_freq_base: float
    rope_scaling_type: str  #: "none", "linear", "yarn", "longrope" ...
    rope_scale: float  #: the factor by which the context was stretched (freq_scale = 1 / rope_scale)
    rope_orig_ctx: int
    rope_attn_factor: float
    rope_yarn_log_mul: float
    logit_scale: float
    n_nextn: int = 0  #: last layers that predict further tokens; plain evaluation does without them
    n_moe_step: int = 0  #: of so many layers the last has experts
    n_deepstack: int = 0  #: image features beside the embedding; text fills one part of ``n_embd``
    attention_scale: float = 0.0  #: factor of the scores, where the model has its own
    attn_softcap: float = 0.0  #: bound of the scores; 0: none
    final_softcap: float = 0.0
    embedding_scale: float = 0.0
    residual_scale: float = 0.0
    attn_temp_scale: float = 0.0
    rope_sections: tuple[int, ...] = ()
    rope_swa: tuple[float, float] | None = None  #: base and scale of layers with a sliding window; None: as the others
    n_head_by_layer: tuple[int, ...] = field(repr=False, default=())
    n_head_kv_by_layer: tuple[int, ...] = field(repr=False, default=())
    n_ff_by_layer: tuple[int, ...] = field(repr=False, default=())

    @property
    def window_by_layer(self) -> tuple[int, ...]:
        """How many positions a token of each layer sees, itself included; 0: all. llama4: 1 where it sees a chunk."""
        period = WINDOW_PERIOD.get(self.arch, 0)
        windowed = [period > 0 and (period == 1 or il % period < period - 1) for il in range(self.n_layer)]
        return tuple(self.n_swa if has else 0 for has in windowed)

    @property
    def n_layer_run(self) -> int:
        """Layers that evaluation goes through; the others are not loaded."""
        return self.n_layer - self.n_nextn

    @property
    def n_gqa(self) -> int:
        """Query heads that share a KV head (of layer 0)."""
        return self.n_head // self.n_head_kv if self.n_head_kv else 0

    @property
    def is_moe(self) -> bool:
        """Whether the model has experts."""
        return self.n_expert > 0

    @property
    def is_mla(self) -> bool:
        """Whether attention keeps one compressed KV row per token (deepseek2)."""
        return self.kv_lora_rank > 0


class _Keys:
    """Typed look-ups of ``<arch>.<key>``; a missing required key or a wrong kind is a ModelError."""

    def __init__(self, metadata: Mapping[str, Any], arch: str):
        self.metadata, self.arch = metadata, arch

    def raw(self, key: str) -> Any:
        return self.metadata.get(f"{self.arch}.{key}")

    def _missing(self, key: str) -> ModelError:
        return ModelError(f"the header has no {self.arch}.{key}; a model of architecture {self.arch!r} needs it")

    def _wrong(self, key: str, value: Any, rule: str) -> ModelError:
        text = repr(value)
        return ModelError(f"{self.arch}.{key} is {text[:60]}{'...' if len(text) > 60 else ''}; it must be {rule}")

    def whole(self, key: str, default: int | None = None, low: int = 0, high: int = 2**31 - 1) -> int:
        value = self.raw(key)
        if value is None:
            if default is None:
                raise self._missing(key)
            return default
        if isinstance(value, (bool, str)) or not isinstance(value, (int, np.integer)) or not low <= value <= high:
            raise self._wrong(key, value, f"a whole number from {low} to {high}")
        return int(value)

    def real(self, key: str, default: float | None) -> float:
        value = self.raw(key)
        if value is None:
            if default is None:
                raise self._missing(key)
            return default
        if isinstance(value, (bool, str)) or not isinstance(value, (int, float, np.number)) or not np.isfinite(value):
            raise self._wrong(key, value, "a finite number")
        return float(value)

    def flag(self, key: str, default: bool) -> bool:
        value = self.raw(key)
        if value is None:
            return default
        if not isinstance(value, (bool, np.bool_)):
            raise self._wrong(key, value, "true or false")
        return bool(value)

    def text(self, key: str, default: str) -> str:
        value = self.raw(key)
        if value is None:
            return default
        if not isinstance(value, str):
            raise self._wrong(key, value, "text")
        return value

    def per_layer(self, key: str, n_layer: int, default: tuple[int, ...] | None = None) -> tuple[int, ...]:
        """One number for all layers, or an array with (at least) one per layer."""
        value = self.raw(key)
        if value is None:
            if default is None:
                raise self._missing(key)
            return default
        if isinstance(value, (list, tuple, np.ndarray)):
            items = np.asarray(value[:n_layer])
            if items.ndim != 1 or len(items) < n_layer or items.dtype.kind not in "iu" or (items < 0).any():
                raise self._wrong(key, value, f"a whole number, or {n_layer} of them")
            return tuple(int(v) for v in items)
        return (self.whole(key),) * n_layer


def _vocab_size(keys: _Keys, metadata: Mapping[str, Any], embd_rows: int) -> int:
    """vocab_size wins over the length of the token list, that over the rows of token_embd."""
    if keys.raw("vocab_size") is not None:
        return keys.whole("vocab_size")
    tokens = metadata.get("tokenizer.ggml.tokens")
    if tokens is not None and not isinstance(tokens, str) and hasattr(tokens, "__len__"):
        return len(tokens)
    return embd_rows


def _rope(keys: _Keys, n_ctx_train: int) -> dict[str, Any]:
    scale = keys.real("rope.scaling.factor", keys.real("rope.scale_linear", 0.0))
    kind = keys.text("rope.scaling.type", "linear" if scale else "none").lower()
    return {
        "rope_freq_base": keys.real("rope.freq_base", 10000.0),
        "rope_scaling_type": kind,
        "rope_scale": scale or 1.0,
        "rope_orig_ctx": keys.whole("rope.scaling.original_context_length", n_ctx_train) or n_ctx_train,
        "rope_attn_factor": keys.real("rope.scaling.attn_factor", 1.0),
        "rope_yarn_log_mul": keys.real("rope.scaling.yarn_log_multiplier", 0.0),
    }


def _default_gating(keys: _Keys) -> int:
    """What ik_llama.cpp takes for files that do not record the gate: GLM-4.7-Flash is told by its 47 or 48 layers."""
    if keys.arch == "gpt-oss":
        return 3
    return 2 if keys.arch == "deepseek2" and keys.whole("block_count") in (47, 48) else 1


def _experts(keys: _Keys, n_ff: int) -> dict[str, Any]:
    n_expert = keys.whole("expert_count", 0)
    n_used = keys.whole("expert_used_count", 0)
    if n_expert and not 1 <= n_used <= n_expert:
        raise ModelError(f"{keys.arch}.expert_used_count is {n_used}; it must be 1 to expert_count ({n_expert})")
    gating = keys.whole("expert_gating_func", 0) or _default_gating(keys)
    if gating not in GATING:
        known = ", ".join(f"{k} ({v})" for k, v in GATING.items())
        raise ModelError(f"{keys.arch}.expert_gating_func is {gating}; known are {known}")
    # ik_llama.cpp: without its own key an expert is n_ff / n_expert_used wide
    n_ff_exp = keys.whole("expert_feed_forward_length", n_ff // n_used if n_expert else 0)
    n_shared = keys.whole("expert_shared_count", 0)
    return {
        "n_expert": n_expert,
        "n_expert_used": n_used,
        "n_ff_exp": n_ff_exp,
        "n_expert_shared": n_shared,
        "n_ff_shexp": keys.whole("expert_shared_feed_forward_length", n_ff_exp * n_shared),
        "n_layer_dense_lead": keys.whole("leading_dense_block_count", 0),
        "expert_weights_scale": keys.real("expert_weights_scale", 0.0) or 1.0,
        "expert_weights_norm": keys.flag("expert_weights_norm", False),
        "expert_gating_func": GATING[gating],
    }


def _attention(keys: _Keys, n_layer: int, n_embd: int) -> dict[str, Any]:
    """Head counts and sizes; n_head and n_head_kv are those of layer 0."""
    arch = keys.arch
    heads = keys.per_layer("attention.head_count", n_layer, default=(0,) * n_layer)
    heads_kv = keys.per_layer("attention.head_count_kv", n_layer, default=heads)
    for q, kv in zip(heads, heads_kv):
        if kv and q % kv:
            raise ModelError(f"{arch}: {q} query heads cannot share {kv} KV heads; head_count must be a multiple")
    n_head = heads[0]
    dim_k = keys.whole("attention.key_length", n_embd // n_head if n_head else 0)
    dim_v = keys.whole("attention.value_length", n_embd // n_head if n_head else 0)
    n_rot = keys.whole("rope.dimension_count", dim_k)
    if arch == "deepseek2" and heads_kv[0] == 1 and n_head > 1:
        # llama.cpp's newer files describe the compressed KV head; ik_llama.cpp goes back to the full heads
        heads_kv = heads
        dim_k, dim_v = keys.whole("attention.key_length_mla"), keys.whole("attention.value_length_mla")
    if arch in ("llama", "falcon", "deci") and n_head and n_rot != dim_k:
        raise ModelError(f"{arch}.rope.dimension_count is {n_rot}; this architecture rotates whole heads of {dim_k}")
    return {
        "n_head": n_head,
        "n_head_kv": heads_kv[0],
        "head_dim_k": dim_k,
        "head_dim_v": dim_v,
        "n_rot": n_rot,
        "n_head_by_layer": heads,
        "n_head_kv_by_layer": heads_kv,
    }


def hparams(metadata: Mapping[str, Any], embd_rows: int = 0) -> HParams:
    """Hyper-parameters from GGUF metadata.

    embd_rows: rows of token_embd, the vocabulary's size when nothing else tells it.
    Raises ModelError when a key that every model needs is missing or makes no sense.
    """
    arch = metadata.get("general.architecture")
    if not isinstance(arch, str) or not arch:
        raise ModelError("the header has no general.architecture; this is no model, or its conversion went wrong")
    keys = _Keys(metadata, arch)
    n_layer = keys.whole("block_count", low=1, high=MAX_LAYERS)
    n_embd = keys.whole("embedding_length", low=1)
    n_ctx_train = keys.whole("context_length", low=1)
    attention = _attention(keys, n_layer, n_embd)
    ff = keys.per_layer("feed_forward_length", n_layer, default=(0,) * n_layer)
    values: dict[str, Any] = dict(
        arch=arch,
        n_layer=n_layer,
        n_embd=n_embd,
        n_vocab=_vocab_size(keys, metadata, embd_rows),
        n_ctx_train=n_ctx_train,
        n_ff=max(ff),
        rms_eps=keys.real("attention.layer_norm_rms_epsilon", 0.0),
        norm_eps=keys.real("attention.layer_norm_epsilon", 0.0),
        q_lora_rank=keys.whole("attention.q_lora_rank", 0),
        kv_lora_rank=keys.whole("attention.kv_lora_rank", 0),
        n_swa=keys.whole("attention.sliding_window", 0),
        logit_scale=keys.real("logit_scale", 0.0),
        n_ff_by_layer=ff,
        **attention,
        **_experts(keys, max(ff)),
        **_rope(keys, n_ctx_train),
    )
    own = OWN.get(arch)
    return HParams(**values if own is None else values | own(keys, HParams(**values)))
