"""Graph of the architecture ``cohere2`` (build_cohere2 of ik_llama.cpp): attention and feed-forward read the same norm, which
has a mean; three layers rotate within a sliding window, the fourth does neither."""

from ..graph.template import Ref
from .blocks import Block, Inputs, attention_2025, attention_2026
from .feed import feed_forward_2025, feed_forward_2026

ROPE_MODE = 0  #: rotates pairs of neighbours (LLAMA_ROPE_TYPE_NORM)


def layer(b: Block, x: Ref, inputs: Inputs) -> Ref:
    """One layer: its input, feed-forward and attention, added up."""
    return _layer_2026(b, x, inputs) if b.cx.newer else _layer_2025(b, x, inputs)


def _layer_2025(b: Block, x: Ref, inputs: Inputs) -> Ref:
    t = b.t
    normed = b.layer_norm(x, b.layer_weight("attn_norm.weight"), "attn_norm-{il}")
    cur, _ = attention_2025(b, x, inputs, ROPE_MODE, normed, rope=b.window > 0, select=False)
    cur, x, normed = b.selected(inputs, cur, x, normed)
    fed = t.named(feed_forward_2025(b, normed), "ffn_out-{il}")
    return t.like("ADD", t.like("ADD", fed, x), cur, name="l_out-{il}")


def _layer_2026(b: Block, x: Ref, inputs: Inputs) -> Ref:
    """Attention comes with the layer's input added; the feed-forward makes its own norm of the input."""
    t, weight = b.t, b.layer_weight("attn_norm.weight")
    normed = b.layer_norm(x, weight, "attn_norm-{il}")
    cur = attention_2026(b, x, inputs, ROPE_MODE, normed, rope=b.window > 0, select=False)
    t.named(cur, "attn_out-{il}")
    rows = b.last and inputs.out_ids is not None
    cur, x = b.selected(inputs, cur, x)
    if rows:
        t.named(x, "ffn_norm-{il}")  # the reference names the feed-forward's input, not its norm
    fed = feed_forward_2026(b, b.layer_norm(x, weight))
    out = t.like("ADD", fed, cur)
    before_last = b.il == b.hp.n_layer - 2 and inputs.out_ids is not None
    return t.named(out, "l_out-{il}" if b.last or before_last else "ffn_norm-{il+1}")
