"""Graph of the architecture ``qwen3`` (build_qwen3 of ik_llama.cpp): dense, q and k normed head by head."""

from ..graph.template import Ref
from . import llama, parallel
from .blocks import Block, Inputs
from .llama import layer_2025, layer_2026

ROPE_MODE = 2  #: rotates the halves of a head against each other (LLAMA_ROPE_TYPE_NEOX)


def layer(b: Block, x: Ref, inputs: Inputs) -> Ref:
    """One layer: attention and feed-forward, each with its input added."""
    return layer_2026(b, x, inputs, ROPE_MODE) if b.cx.newer else layer_2025(b, x, inputs, ROPE_MODE)


def divided(b: Block, x: parallel.Sum, inputs: Inputs, readers: tuple[int, ...]) -> parallel.Sum:
    """A layer that all GPUs compute together (-sm graph)."""
    return llama.divided(b, x, inputs, readers, ROPE_MODE)
