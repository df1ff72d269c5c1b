"""Graph of the architecture ``gpt-oss`` (build_openai_moe of ik_llama.cpp): experts in every layer, biases everywhere, sinks
in attention, and in every other layer a window of the last positions."""

from ..graph.template import Ref
from .blocks import Block, Inputs, attention_2026
from .experts import Routing, expert_block_2026

ROPE_MODE = 2  #: rotates the halves of a head against each other (LLAMA_ROPE_TYPE_NEOX)


def layer(b: Block, x: Ref, inputs: Inputs) -> Ref:
    """One layer: attention and experts, each with its input added."""
    mid = attention_2026(b, x, inputs, ROPE_MODE)
    routing = Routing(b.hp.expert_gating_func, normalise=False, unary="SWIGLU_OAI")
    return expert_block_2026(b, mid, routing, "post_attention_norm")
