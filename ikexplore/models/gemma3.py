"""Graph of the architecture ``gemma3`` (build_gemma3 of ik_llama.cpp): five layers with a sliding window, then one without.

Heads of q and k are normed, and so is what attention and the feed-forward give.
"""

from ..graph.template import Ref
from .blocks import Block, Inputs, attend, attention_2025, qkv_2026, rotated
from .feed import feed_forward_2025, feed_forward_block_2026

ROPE_MODE = 2  #: rotates the halves of a head against each other (LLAMA_ROPE_TYPE_NEOX)


def layer(b: Block, x: Ref, inputs: Inputs) -> Ref:
    """One layer: attention and feed-forward, each normed before its input is added."""
    cur = _attention_2026(b, x, inputs) if b.cx.newer else attended_2025(b, x, inputs)
    return after_attention(b, cur, x, inputs)


def attended_2025(b: Block, x: Ref, inputs: Inputs) -> Ref:
    """Attention without the selection of rows, which comes after a norm here."""
    return attention_2025(b, x, inputs, ROPE_MODE, select=False)[0]


def _attention_2026(b: Block, x: Ref, inputs: Inputs) -> Ref:
    t = b.t
    cur = b.norm(x, b.layer_weight("attn_norm.weight"), "attn_norm-{il}")
    q, k, v = qkv_2026(b, cur)
    q, k = (rotated(b, x, inputs, None, ROPE_MODE, f"{n}cur-{{il}}") for x, n in ((q, "Q"), (k, "K")))
    return t.named(attend(b, q, k, v, inputs), "kqv_out-{il}")


def after_attention(b: Block, cur: Ref, x: Ref, inputs: Inputs) -> Ref:
    """The rest of a layer: norm, input, feed-forward with GELU, norm, input. ``x`` is the layer's input."""
    t = b.t
    cur = b.norm(cur, b.layer_weight("post_attention_norm.weight"), "attn_post_norm-{il}")
    cur, x = b.selected(inputs, cur, x)
    mid = t.like("ADD", cur, x, name="sa_out-{il}")
    if b.cx.newer:
        cur = feed_forward_block_2026(b, mid, unary="GELU", add=False)
    else:
        cur = b.norm(mid, b.layer_weight("ffn_norm.weight"), "ffn_norm-{il}")
        cur = feed_forward_2025(b, cur, unary="GELU")
    t.named(cur, "ffn_out-{il}")
    cur = b.norm(cur, b.layer_weight("post_ffw_norm.weight"), "ffn_post_norm")
    return t.like("ADD", cur, mid, name="l_out-{il}")
