"""Graph of the architecture ``mistral3`` (build_mistral3 of ik_llama.cpp): as ``llama``, the query with a temperature per
token; with experts where the model has them."""

from ..graph.template import Ref
from . import llama, parallel
from .blocks import Block, Inputs, attention_2026
from .experts import expert_block_2026
from .feed import feed_forward_block_2026

ROPE_MODE = 0  #: rotates pairs of neighbours (LLAMA_ROPE_TYPE_NORM)


def layer(b: Block, x: Ref, inputs: Inputs) -> Ref:
    """One layer: attention and feed-forward, each with its input added."""
    mid = attention_2026(b, x, inputs, ROPE_MODE)
    if b.hp.is_moe:
        return expert_block_2026(b, mid)
    return b.t.named(feed_forward_block_2026(b, mid), "l_out-{il}")


def divided(b: Block, x: parallel.Sum, inputs: Inputs, readers: tuple[int, ...]) -> parallel.Sum:
    """A dense layer that all GPUs compute together (-sm graph)."""
    return llama.divided(b, x, inputs, readers, ROPE_MODE)
