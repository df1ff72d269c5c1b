"""Graph of the architecture ``hunyuan-moe`` (build_hunyuan_moe of ik_llama.cpp): as ``qwen3moe``, with a shared expert and
q and k normed head by head."""

from ..graph.template import Ref
from . import parallel
from .blocks import Block, Inputs, attention_2026
from .experts import SOFTMAX, expert_block_2026

ROPE_MODE = 2  #: rotates the halves of a head against each other (LLAMA_ROPE_TYPE_NEOX)


def layer(b: Block, x: Ref, inputs: Inputs) -> Ref:
    """One layer: attention and experts, each with its input added."""
    return expert_block_2026(b, attention_2026(b, x, inputs, ROPE_MODE))


def divided(b: Block, x: parallel.Sum, inputs: Inputs, readers: tuple[int, ...]) -> parallel.Sum:
    """A layer that all GPUs compute together (-sm graph)."""
    mid = parallel.attention(b, x, inputs, ROPE_MODE, parallel.gpus_of(b, "ffn_down_exps.weight"))
    return parallel.experts(b, mid, SOFTMAX, readers)
