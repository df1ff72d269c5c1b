"""Graph of the architecture ``gpt-oss`` (build_openai_moe of ik_llama.cpp): experts in every layer, biases everywhere, sinks
in attention, and in every other layer a window of the last positions."""

from ..errors import SettingsError
from ..graph.template import Ref
from .blocks import Block, Inputs, attention_2026
from .experts import Routing, experts_2026

ROPE_MODE = 2  #: rotates the halves of a head against each other (LLAMA_ROPE_TYPE_NEOX)


def layer(b: Block, x: Ref, inputs: Inputs) -> Ref:
    """One layer: attention and experts, each with its input added."""
    if not b.cx.newer:
        raise SettingsError("the engine of 2025-06 does not know the architecture 'gpt-oss'; use the profile 2026-08")
    t = b.t
    mid = attention_2026(b, x, inputs, ROPE_MODE)
    cur = b.norm(mid, b.layer_weight("post_attention_norm.weight"), "ffn_inp_normed-{il}")
    routing = Routing(b.hp.expert_gating_func, normalise=False, unary="SWIGLU_OAI")
    cur = t.named(experts_2026(b, cur, routing), "routed_out-{il}")
    cur = t.like("ADD", cur, mid, name="l_out-{il}")
    t.expand(cur)
    return cur
