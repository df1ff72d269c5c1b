"""Graph of the architecture ``seed_oss`` (build_seedoss of ik_llama.cpp): dense, with biases on q, k and v."""

from ..graph.template import Ref
from . import parallel
from .blocks import Block, Inputs, attention_2026
from .feed import feed_forward_block_2026

ROPE_MODE = 2  #: rotates the halves of a head against each other (LLAMA_ROPE_TYPE_NEOX)
NORM = "post_attention_norm"  #: what other models call ffn_norm


def layer(b: Block, x: Ref, inputs: Inputs) -> Ref:
    """One layer: attention and feed-forward, each with its input added."""
    mid = attention_2026(b, x, inputs, ROPE_MODE)
    return b.t.named(feed_forward_block_2026(b, mid, NORM), "l_out-{il}")


def divided(b: Block, x: parallel.Sum, inputs: Inputs, readers: tuple[int, ...]) -> parallel.Sum:
    """A layer that all GPUs compute together (-sm graph)."""
    mid = parallel.attention(b, x, inputs, ROPE_MODE, parallel.gpus_of(b, "ffn_down.weight"))
    return parallel.feed_forward(b, mid, readers, NORM)
