"""Graph of the architecture ``qwen3moe`` (build_qwen3moe of ik_llama.cpp): as ``qwen3``, with experts in every layer."""

from ..graph.template import Ref
from . import parallel
from .blocks import Block, Inputs, attention_2025, attention_2026
from .experts import SOFTMAX, expert_block_2026, experts_2025

ROPE_MODE = 2  #: rotates the halves of a head against each other (LLAMA_ROPE_TYPE_NEOX)


def layer(b: Block, x: Ref, inputs: Inputs) -> Ref:
    """One layer: attention and experts, each with its input added."""
    t = b.t
    if not b.cx.newer:
        cur, x = attention_2025(b, x, inputs, ROPE_MODE)
        mid = t.like("ADD", cur, x, name="ffn_inp-{il}")
        cur = b.norm(mid, b.layer_weight("ffn_norm.weight"), "ffn_norm-{il}")
        cur = t.named(experts_2025(b, cur), "ffn_moe_out-{il}")
        return t.like("ADD", cur, mid, name="l_out-{il}")
    return expert_block_2026(b, attention_2026(b, x, inputs, ROPE_MODE))


def divided(b: Block, x: parallel.Sum, inputs: Inputs, readers: tuple[int, ...]) -> parallel.Sum:
    """A layer that all GPUs compute together (-sm graph)."""
    mid = parallel.attention(b, x, inputs, ROPE_MODE, parallel.gpus_of(b, "ffn_down_exps.weight"))
    return parallel.experts(b, mid, SOFTMAX, readers)
