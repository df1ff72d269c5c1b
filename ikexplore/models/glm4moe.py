"""Graph of the architecture ``glm4moe`` (build_glm4_moe of ik_llama.cpp; GLM-4.5, 4.6): experts after the first layers, of
which one is shared; biases on q, k and v. The last layer predicts further tokens; plain evaluation does without it."""

from ..graph.template import Ref
from . import parallel
from .blocks import Block, Inputs, attention_2026
from .deepseek2 import routing
from .experts import expert_block_2026
from .feed import feed_forward_block_2026

ROPE_MODE = 2  #: rotates the halves of a head against each other (LLAMA_ROPE_TYPE_NEOX)
NORM = "post_attention_norm"  #: what other models call ffn_norm


def layer(b: Block, x: Ref, inputs: Inputs) -> Ref:
    """One layer: attention and feed-forward, each with its input added."""
    mid = attention_2026(b, x, inputs, ROPE_MODE)
    if b.il < b.hp.n_layer_dense_lead:
        return b.t.named(feed_forward_block_2026(b, mid, NORM), "l_out-{il}")
    return expert_block_2026(b, mid, routing(b), NORM)


def divided(b: Block, x: parallel.Sum, inputs: Inputs, readers: tuple[int, ...]) -> parallel.Sum:
    """A layer that all GPUs compute together (-sm graph)."""
    dense = b.il < b.hp.n_layer_dense_lead
    down = "ffn_down.weight" if dense else "ffn_down_exps.weight"
    mid = parallel.attention(b, x, inputs, ROPE_MODE, parallel.gpus_of(b, down))
    if dense:
        return parallel.feed_forward(b, mid, readers, NORM)
    return parallel.experts(b, mid, routing(b), readers, NORM)
