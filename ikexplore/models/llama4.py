"""Graph of the architecture ``llama4`` (build_llama of ik_llama.cpp): three layers with attention in chunks, which rotate
their heads, then one without either, whose query has a temperature; experts in every layer or every second one.

Chunked attention is a mask: layers with a window read ``KQ_mask_swa``.
"""

from ..graph.template import Ref
from .blocks import Block, Inputs, attend, attention_2025, attention_2026, qkv_2026, rotated
from .experts import Routing, experts_2025, experts_2026, summed_2026
from .feed import feed_forward_2025, feed_forward_2026, feed_forward_block_2026

ROPE_MODE = 0  #: rotates pairs of neighbours (LLAMA_ROPE_TYPE_NORM)
ROUTING = Routing("sigmoid", normalise=False, before=True)
MAVERICK = 128  #: experts of the model that does not norm its heads


def layer(b: Block, x: Ref, inputs: Inputs) -> Ref:
    """One layer: attention and feed-forward, each with its input added."""
    t = b.t
    if not b.cx.newer:
        cur, x = _attention_2025(b, x, inputs)
        mid = t.like("ADD", cur, x, name="ffn_inp-{il}")
    elif b.window:
        plain = Inputs(inputs.pos, inputs.mask, inputs.out_ids, inputs.mask_swa)  # no temperature where heads rotate
        cur = mid = attention_2026(b, x, plain, ROPE_MODE)
    else:
        cur, x = _unrotated_2026(b, x, inputs)
        mid = t.like("ADD", cur, x, name="ffn_inp-{il}")
    if b.optional("ffn_gate_inp.weight") is not None:
        return _experts(b, mid, cur)
    if b.cx.newer:
        return t.named(feed_forward_block_2026(b, mid), "l_out-{il}")
    cur = b.norm(mid, b.layer_weight("ffn_norm.weight"), "ffn_norm-{il}")
    cur = t.named(feed_forward_2025(b, cur), "ffn_out-{il}")
    return t.like("ADD", cur, mid, name="l_out-{il}")


def _attention_2025(b: Block, x: Ref, inputs: Inputs) -> tuple[Ref, Ref]:
    t, hp, n = b.t, b.hp, b.ev.n_tokens
    if b.window and hp.n_expert == MAVERICK:
        return attention_2025(b, x, inputs, ROPE_MODE)
    cur = b.norm(x, b.layer_weight("attn_norm.weight"), "attn_norm-{il}")
    made = {}
    for which in "qkv":
        ref = t.named(t.mul_mat(b.layer_weight(f"attn_{which}.weight"), cur), f"{which.upper()}cur-{{il}}")
        made[which] = ref
    q, k = t.reshape(made["q"], (hp.head_dim_k, hp.n_head_by_layer[b.il], n)), made["k"]
    if b.window:
        factors = b.find("rope_freqs.weight")
        k = t.reshape(k, (hp.head_dim_k, hp.n_head_kv_by_layer[b.il], n))
        q, k = (rotated(b, x, inputs, factors, ROPE_MODE, f"{w}cur-{{il}}") for x, w in ((q, "Q"), (k, "K")))
        q, k = (t.like("RMS_NORM", x, name=f"{w}cur_normed-{{il}}", eps=hp.rms_eps) for x, w in ((q, "Q"), (k, "K")))
    else:
        q = t.like("MUL", q, inputs.scale, name="Qcur-{il}")
    cur = t.named(attend(b, q, k, made["v"], inputs), "kqv_out-{il}")
    cur, x = b.selected(inputs, cur, x)
    return cur, x


def _unrotated_2026(b: Block, x: Ref, inputs: Inputs) -> tuple[Ref, Ref]:
    t = b.t
    cur = b.norm(x, b.layer_weight("attn_norm.weight"), "attn_norm-{il}")
    q, k, v = qkv_2026(b, cur)
    q = t.named(t.like("MUL", q, inputs.scale), "Qcur-{il}")
    t.named(k, "Kcur-{il}")
    cur = t.named(attend(b, q, k, v, inputs), "kqv_out-{il}")
    if b.last and inputs.out_ids is not None:
        cur, x = b.selected(inputs, cur, x)
        t.named(cur, "last_attn-{il}")
        t.named(x, "last_ffn_inp-{il}")
    return cur, x


def _experts(b: Block, mid: Ref, attended: Ref) -> Ref:
    """Routed and shared experts. August 2026 adds the normed input where the residual belongs."""
    t = b.t
    cur = b.norm(mid, b.layer_weight("ffn_norm.weight"))
    t.named(attended, "ffn_norm-{il}")  # the reference names what attention gave, not the norm
    if not b.cx.newer:
        routed = experts_2025(b, cur, ROUTING)
        shared = t.named(feed_forward_2025(b, cur, "_shexp"), "ffn_moe_shexp-{il}")
        both = t.like("ADD", routed, shared, name="ffn_moe_out_merged-{il}")
        return t.like("ADD", both, mid, name="l_out-{il}")
    routed = summed_2026(b, experts_2026(b, cur, ROUTING))
    routed = t.like("ADD", routed, mid if b.corrected else cur)
    shared = t.named(feed_forward_2026(b, cur, "_shexp"), "ffn_moe_shexp-{il}")
    return t.like("ADD", routed, shared, name="l_out-{il}")
