"""Graph of the architecture ``qwen2`` (build_qwen2 of ik_llama.cpp): dense, with biases on q, k and v."""

from ..graph.template import Ref
from .blocks import Block, Inputs, attend, products_2026, rotated
from .feed import feed_forward_block_2026
from .llama import layer_2025

ROPE_MODE = 2  #: rotates the halves of a head against each other (LLAMA_ROPE_TYPE_NEOX)


def layer(b: Block, x: Ref, inputs: Inputs) -> Ref:
    """One layer: attention and feed-forward, each with its input added."""
    if not b.cx.newer:
        return layer_2025(b, x, inputs, ROPE_MODE)
    t, hp, n = b.t, b.hp, b.ev.n_tokens
    cur = b.norm(x, b.layer_weight("attn_norm.weight"), "attn_norm-{il}")
    q, k, v = products_2026(b, cur)
    q = t.reshape(q, (hp.head_dim_k, hp.n_head_by_layer[b.il], n))
    q = rotated(b, q, inputs, None, ROPE_MODE, "Qcur-{il}")
    k = t.reshape(k, (hp.head_dim_k, hp.n_head_kv_by_layer[b.il], n))
    k = rotated(b, k, inputs, None, ROPE_MODE, "Kcur-{il}")
    cur = t.named(attend(b, q, k, v, inputs), "kqv_out-{il}")
    cur, x = b.selected(inputs, cur, x)
    mid = t.like("ADD", cur, x)
    cur = t.named(feed_forward_block_2026(b, mid, add=False), "ffn_out-{il}")
    return t.like("ADD", cur, mid, name="l_out-{il}")
