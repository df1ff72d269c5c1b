"""Graph of the architecture ``deepseek2`` (build_deepseek2 of ik_llama.cpp): latent attention, experts after the first
layers, of which some are shared by all tokens."""

from ..graph.template import Ref
from . import parallel, parallel_mla
from .blocks import Block, Inputs
from .experts import Routing, experts_and_shared
from .feed import feed_forward_2025, feed_forward_2026
from .mla import latent_attention


def routing(b: Block) -> Routing:
    """How this model weighs its experts."""
    return Routing(b.hp.expert_gating_func, b.hp.expert_weights_norm, b.hp.expert_weights_scale)


def layer(b: Block, x: Ref, inputs: Inputs) -> Ref:
    """One layer: attention and feed-forward, each with its input added."""
    t, newer = b.t, b.cx.newer
    cur = b.norm(x, b.layer_weight("attn_norm.weight"), "attn_norm-{il}")
    cur = latent_attention(b, cur, inputs)
    if b.last and inputs.out_ids is not None:
        cur, x = t.get_rows(cur, inputs.out_ids), t.get_rows(x, inputs.out_ids)
        if newer:
            t.named(cur, "last_attn-{il}")
            t.named(x, "last_ffn_inp-{il}")
    mid = t.like("ADD", cur, x, name="ffn_inp-{il}")
    cur = b.norm(mid, b.layer_weight("ffn_norm.weight"), "ffn_norm-{il}")
    feed_forward = feed_forward_2026 if newer else feed_forward_2025
    if b.il < b.hp.n_layer_dense_lead:
        cur = t.named(feed_forward(b, cur), "ffn_out-{il}")
    else:
        cur = experts_and_shared(b, cur, routing(b))
    return t.like("ADD", cur, mid, name="l_out-{il}")


def divided(b: Block, x: parallel.Sum, inputs: Inputs, readers: tuple[int, ...]) -> parallel.Sum:
    """A layer that all GPUs compute together (-sm graph)."""
    dense = b.il < b.hp.n_layer_dense_lead
    down = "ffn_down.weight" if dense else "ffn_down_exps.weight"
    mid = parallel_mla.latent_attention(b, x, inputs, parallel.gpus_of(b, down))
    return parallel.feed_forward(b, mid, readers) if dense else parallel.experts(b, mid, routing(b), readers)
