"""Hyper-parameters that one architecture has for itself (the cases of ``llm_load_hparams`` of ik_llama.cpp).

Each function takes the typed look-ups of ``<arch>.<key>`` and what all models have, and gives the fields that differ.
"""

from __future__ import annotations

from collections.abc import Callable
from math import sqrt
from typing import TYPE_CHECKING, Any

from ..errors import ModelError

if TYPE_CHECKING:
    from .hparams import HParams, _Keys

GEMMA3_27B, GEMMA2_27B = 62, 46  #: layers by which the largest model is told, which scales its scores differently
SMALL_GEMMA2 = (26, 42)
LLAMA4_CHUNK = 8192  #: tokens of a chunk; its layers have a window in name only


def _window(keys: _Keys, default: int | None = None) -> int:
    return keys.whole("attention.sliding_window", default)


def _gemma2(keys: _Keys, hp: HParams) -> dict[str, Any]:
    if hp.n_layer not in (*SMALL_GEMMA2, GEMMA2_27B):
        raise ModelError(f"gemma2 with {hp.n_layer} layers; ik_llama.cpp knows 26, 42 and 46")
    size = hp.n_embd // hp.n_head if hp.n_layer == GEMMA2_27B else hp.head_dim_k
    return {
        "n_swa": _window(keys, 4096),
        "attention_scale": 1 / sqrt(size),
        "attn_softcap": keys.real("attn_logit_softcapping", 50.0),
        "final_softcap": keys.real("final_logit_softcapping", 30.0),
    }


def _gemma3(keys: _Keys, hp: HParams) -> dict[str, Any]:
    size = hp.n_embd // hp.n_head if hp.n_layer == GEMMA3_27B else hp.head_dim_k
    return {"n_swa": _window(keys), "attention_scale": 1 / sqrt(size), "rope_swa": (10000.0, 1.0)}


def _llama4(keys: _Keys, hp: HParams) -> dict[str, Any]:
    return {
        "n_swa": 1,
        "n_ff_exp": keys.whole("expert_feed_forward_length"),
        "n_moe_step": keys.whole("interleave_moe_layer_step", low=1),
        "attn_temp_scale": 0.1,
    }


def _phi3(keys: _Keys, hp: HParams) -> dict[str, Any]:
    """June 2025 has a window in every model; older files do not say which, and it is told by their sizes."""
    guess = 0
    if hp.n_layer in (32, 40) and hp.n_ctx_train == 4096:
        guess = 2047
    elif hp.n_layer == 32 and hp.n_head_kv == 32 and hp.n_ctx_train == 131072:
        guess = 262144
    elif hp.n_layer == 40 and hp.n_ctx_train == 131072:
        guess = 131072
    return {"n_swa": _window(keys, guess)}


def _cohere2(keys: _Keys, hp: HParams) -> dict[str, Any]:
    return {"n_swa": _window(keys), "logit_scale": keys.real("logit_scale", None)}


def _granite(keys: _Keys, hp: HParams) -> dict[str, Any]:
    return {
        "logit_scale": keys.real("logit_scale", None),
        "residual_scale": keys.real("residual_scale", None),
        "embedding_scale": keys.real("embedding_scale", None),
        "attention_scale": keys.real("attention.scale", None),
    }


def _glm4moe(keys: _Keys, hp: HParams) -> dict[str, Any]:
    return {"n_nextn": keys.whole("nextn_predict_layers", 0, high=hp.n_layer - 1)}


def _ernie(keys: _Keys, hp: HParams) -> dict[str, Any]:
    return {
        "n_moe_step": keys.whole("interleave_moe_layer_step", low=1),
        "n_ff_shexp": keys.whole("expert_shared_feed_forward_length", 0),
    }


def _mistral3(keys: _Keys, hp: HParams) -> dict[str, Any]:
    return {"attn_temp_scale": keys.real("attention.temperature_scale", 0.1)}


def _qwen3vl(keys: _Keys, hp: HParams) -> dict[str, Any]:
    deepstack = keys.whole("n_deepstack_layers", 0)
    sections = keys.per_layer("rope.dimension_sections", 4)
    return {"n_deepstack": deepstack, "rope_sections": sections}


OWN: dict[str, Callable[[_Keys, HParams], dict[str, Any]]] = {
    "cohere2": _cohere2,
    "ernie4_5-moe": _ernie,
    "gemma2": _gemma2,
    "gemma3": _gemma3,
    "glm4moe": _glm4moe,
    "granite": _granite,
    "granitemoe": _granite,
    "llama4": _llama4,
    "mistral3": _mistral3,
    "phi3": _phi3,
    "qwen3vl": _qwen3vl,
    "qwen3vlmoe": _qwen3vl,
}
