"""Graph of the architectures ``granite`` and ``granitemoe`` (build_llama of ik_llama.cpp): as ``llama``, with factors for the
embedding, the query, what each half of a layer adds, and the logits."""

from ..graph.template import Ref
from .blocks import Block, Inputs, attention_2025, attention_2026
from .experts import experts_2025, experts_2026, summed_2026
from .feed import feed_forward_2025, feed_forward_block_2026

ROPE_MODE = 0  #: rotates pairs of neighbours (LLAMA_ROPE_TYPE_NORM)


def layer(b: Block, x: Ref, inputs: Inputs) -> Ref:
    """One layer: attention and feed-forward, each with its input added."""
    return _layer_2026(b, x, inputs) if b.cx.newer else _layer_2025(b, x, inputs)


def _scaled(b: Block, x: Ref) -> Ref:
    factor = b.hp.residual_scale
    return b.t.like("SCALE", x, scale=factor) if factor else x


def _layer_2025(b: Block, x: Ref, inputs: Inputs) -> Ref:
    t = b.t
    cur, x = attention_2025(b, x, inputs, ROPE_MODE, q_scale=b.hp.attention_scale)
    mid = t.like("ADD", _scaled(b, cur), x, name="ffn_inp-{il}")
    cur = b.norm(mid, b.layer_weight("ffn_norm.weight"), "ffn_norm-{il}")
    if b.hp.is_moe:
        cur = t.named(experts_2025(b, cur), "ffn_moe_out-{il}")
    else:
        cur = t.named(feed_forward_2025(b, cur), "ffn_out-{il}")
    return t.like("ADD", _scaled(b, cur), mid, name="l_out-{il}")


def _layer_2026(b: Block, x: Ref, inputs: Inputs) -> Ref:
    """August 2026 scales what it adds together with what it adds to; ``corrected`` does not help here."""
    t = b.t
    mid = _scaled(b, attention_2026(b, x, inputs, ROPE_MODE, q_scale=b.hp.attention_scale))
    if b.hp.is_moe:
        cur = b.norm(mid, b.layer_weight("ffn_norm.weight"), "ffn_norm-{il}")
        cur = t.like("ADD", summed_2026(b, experts_2026(b, cur)), cur, name="ffn_moe_out-{il}")
    else:
        cur = t.named(feed_forward_block_2026(b, mid), "ffn_out-{il}")
    return t.named(_scaled(b, cur), "l_out-{il}")
