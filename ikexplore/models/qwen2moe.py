"""Graph of the architecture ``qwen2moe`` (build_qwen2moe of ik_llama.cpp): experts whose weights are not normalised, and one
shared expert with a gate of its own."""

from ..graph.template import Ref
from .blocks import Block, Inputs, attend, attention_2025, products_2026, rotated
from .experts import Routing, experts_2025, experts_2026
from .feed import feed_forward_2025, feed_forward_2026

ROPE_MODE = 2  #: rotates the halves of a head against each other (LLAMA_ROPE_TYPE_NEOX)
ROUTING = Routing(normalise=False)


def layer(b: Block, x: Ref, inputs: Inputs) -> Ref:
    """One layer: attention and experts, each with its input added."""
    t, newer = b.t, b.cx.newer
    cur, x = _attention_2026(b, x, inputs) if newer else attention_2025(b, x, inputs, ROPE_MODE)
    mid = t.like("ADD", cur, x, name="ffn_inp-{il}")
    cur = b.norm(mid, b.layer_weight("ffn_norm.weight"), "ffn_norm-{il}")
    routed = (experts_2026 if newer else experts_2025)(b, cur, ROUTING)
    t.named(cur, "ffn_moe_out-{il}")  # the reference names the norm, not what the experts give
    logit = t.named(t.mul_mat(b.layer_weight("ffn_gate_inp_shexp.weight"), cur), "ffn_shexp_gate_inp-{il}")
    gate = t.like("DIV", t.like("UNARY", logit, unary="SILU"), logit, name="ffn_shexp_gate-{il}")
    shared = t.named((feed_forward_2026 if newer else feed_forward_2025)(b, cur, "_shexp"), "ffn_shexp-{il}")
    shared = t.like("MUL", shared, gate, name="ffn_shexp_out-{il}")
    cur = t.like("ADD", routed, shared, name="ffn_out-{il}")
    return t.like("ADD", cur, mid, name="l_out-{il}")


def _attention_2026(b: Block, x: Ref, inputs: Inputs) -> tuple[Ref, Ref]:
    t, hp, n = b.t, b.hp, b.ev.n_tokens
    cur = b.norm(x, b.layer_weight("attn_norm.weight"), "attn_norm-{il}")
    q, k, v = products_2026(b, cur)
    q = t.reshape(q, (hp.head_dim_k, hp.n_head_by_layer[b.il], n))
    k = t.reshape(k, (hp.head_dim_k, hp.n_head_kv_by_layer[b.il], n))
    q, k = (rotated(b, ref, inputs, None, ROPE_MODE, f"{name}cur-{{il}}") for ref, name in ((q, "Q"), (k, "K")))
    cur = t.named(attend(b, q, k, v, inputs), "kqv_out-{il}")
    cur, x = b.selected(inputs, cur, x)
    return cur, x
