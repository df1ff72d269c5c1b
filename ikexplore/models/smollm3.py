"""Graph of the architecture ``smollm3`` (build_smollm3 of ik_llama.cpp): dense; every fourth layer does not
rotate its heads."""

from ..graph.template import Ref
from .blocks import Block, Inputs, attend, qkv_2026, rotated
from .feed import feed_forward_block_2026
from .traits import traits_of

ROPE_MODE = 0  #: rotates pairs of neighbours (LLAMA_ROPE_TYPE_NORM)


def layer(b: Block, x: Ref, inputs: Inputs) -> Ref:
    """One layer: attention and feed-forward, each with its input added."""
    t = b.t
    cur = b.norm(x, b.layer_weight("attn_norm.weight"), "attn_norm-{il}")
    q, k, v = qkv_2026(b, cur)
    if not traits_of(b.hp.arch).kind(b.hp, b.il):
        q, k = (rotated(b, ref, inputs, None, ROPE_MODE, f"{name}cur-{{il}}") for ref, name in ((q, "Q"), (k, "K")))
    cur = t.named(attend(b, q, k, v, inputs), "attn_out-{il}")
    cur, x = b.selected(inputs, cur, x)
    mid = t.like("ADD", cur, x, name="ffn_inp-{il}")
    cur = t.named(feed_forward_block_2026(b, mid, add=False), "ffn_out-{il}")
    return t.like("ADD", cur, mid, name="l_out-{il}")
