"""Graphs of the architectures ``ernie4_5`` (dense) and ``ernie4_5-moe`` (build_ernie4_5, build_ernie4_5_moe of
ik_llama.cpp): experts in the last layer of each step, after the first dense ones."""

from ..graph.template import Ref
from . import parallel
from .blocks import Block, Inputs, attention_2025, attention_2026
from .experts import SOFTMAX, expert_block_2026
from .feed import feed_forward_block_2026
from .traits import traits_of

ROPE_MODE = 0  #: rotates pairs of neighbours (LLAMA_ROPE_TYPE_NORM)


def dense_layer(b: Block, x: Ref, inputs: Inputs) -> Ref:
    """A layer of ``ernie4_5``, which kept the older order of attention and drops a bias of its output."""
    t = b.t
    cur, x = attention_2025(b, x, inputs, ROPE_MODE, biased_output=False)
    mid = t.like("ADD", cur, x, name="ffn_inp-{il}")
    cur = t.named(feed_forward_block_2026(b, mid, add=False), "ffn_out-{il}")
    return t.like("ADD", cur, mid, name="l_out-{il}")


def _has_experts(b: Block) -> bool:
    return bool(traits_of(b.hp.arch).kind(b.hp, b.il))


def layer(b: Block, x: Ref, inputs: Inputs) -> Ref:
    """A layer of ``ernie4_5-moe``."""
    mid = attention_2026(b, x, inputs, ROPE_MODE)
    if _has_experts(b):
        return expert_block_2026(b, mid)
    return b.t.named(feed_forward_block_2026(b, mid), "l_out-{il}")


def divided(b: Block, x: parallel.Sum, inputs: Inputs, readers: tuple[int, ...]) -> parallel.Sum:
    """A layer that all GPUs compute together (-sm graph)."""
    experts = _has_experts(b)
    down = "ffn_down_exps.weight" if experts else "ffn_down.weight"
    mid = parallel.attention(b, x, inputs, ROPE_MODE, parallel.gpus_of(b, down))
    return parallel.experts(b, mid, SOFTMAX, readers) if experts else parallel.feed_forward(b, mid, readers)
