"""Graphs of the architectures ``qwen3vl`` and ``qwen3vlmoe`` for text (build_qwen3vl, build_qwen3vlmoe of ik_llama.cpp): as
``qwen3`` and ``qwen3moe``, with four positions per token."""

from ..graph.template import Ref
from . import llama, parallel
from .blocks import Block, Inputs, attend, head_norm, products_2026, rotated
from .experts import experts_2026

ROPE_MODE = 40  #: several positions per token, their columns mixed (LLAMA_ROPE_TYPE_IMROPE)


def layer(b: Block, x: Ref, inputs: Inputs) -> Ref:
    """A layer of ``qwen3vl``."""
    return llama.layer_2026(b, x, inputs, ROPE_MODE)


def divided(b: Block, x: parallel.Sum, inputs: Inputs, readers: tuple[int, ...]) -> parallel.Sum:
    """A layer of ``qwen3vl`` that all GPUs compute together (-sm graph)."""
    return llama.divided(b, x, inputs, readers, ROPE_MODE)


def moe_layer(b: Block, x: Ref, inputs: Inputs) -> Ref:
    """A layer of ``qwen3vlmoe``."""
    t, hp, n = b.t, b.hp, b.ev.n_tokens
    cur = b.norm(x, b.layer_weight("attn_norm.weight"), "attn_norm-{il}")
    q, k, v = products_2026(b, cur)
    q = head_norm(b, t.reshape(q, (hp.head_dim_k, hp.n_head_by_layer[b.il], n)), "q")
    k = head_norm(b, t.reshape(k, (hp.head_dim_k, hp.n_head_kv_by_layer[b.il], n)), "k")
    q, k = (rotated(b, ref, inputs, None, ROPE_MODE, f"{name}cur-{{il}}") for ref, name in ((q, "Q"), (k, "K")))
    cur = t.named(attend(b, q, k, v, inputs), "kqv_out-{il}")
    cur, x = b.selected(inputs, cur, x)
    mid = t.like("ADD", cur, x, name="ffn_inp-{il}")
    cur = b.norm(mid, b.layer_weight("ffn_norm.weight"), "ffn_norm-{il}")
    cur = t.named(experts_2026(b, cur), "ffn_moe_out-{il}")
    return t.like("ADD", cur, mid, name="l_out-{il}")
