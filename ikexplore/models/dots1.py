"""Graph of the architecture ``dots1`` (build_dots1 of ik_llama.cpp): q and k normed head by head; experts after the first
layers, of which some are shared by all tokens."""

from ..graph.template import Ref
from .blocks import Block, Inputs, attention_2025
from .deepseek2 import routing
from .experts import experts_and_shared
from .feed import feed_forward_2026

ROPE_MODE = 2  #: rotates the halves of a head against each other (LLAMA_ROPE_TYPE_NEOX)


def layer(b: Block, x: Ref, inputs: Inputs) -> Ref:
    """One layer: attention and feed-forward, each with its input added."""
    t = b.t
    cur, x = attention_2025(b, x, inputs, ROPE_MODE)  # this architecture kept the older order
    mid = t.like("ADD", cur, x, name="ffn_inp-{il}")
    cur = b.norm(mid, b.layer_weight("ffn_norm.weight"), "ffn_norm-{il}")
    if b.il < b.hp.n_layer_dense_lead:
        cur = t.named(feed_forward_2026(b, cur), "ffn_out-{il}")
    else:
        cur = experts_and_shared(b, cur, routing(b))
    return t.like("ADD", cur, mid, name="l_out-{il}")
