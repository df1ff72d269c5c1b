"""Graph of the architecture ``glm4`` (build_glm4 of ik_llama.cpp): dense; what attention and the feed-forward give is
normed before the input is added; ``ffn_up`` holds the gate too."""

from ..graph.template import Ref
from .blocks import Block, Inputs, attend, rotated
from .feed import swiglu

ROPE_MODE = 0  #: rotates pairs of neighbours (LLAMA_ROPE_TYPE_NORM)
F32_BYTES = 4


def layer(b: Block, x: Ref, inputs: Inputs) -> Ref:
    """One layer: attention and feed-forward, each normed before its input is added."""
    t, hp, n = b.t, b.hp, b.ev.n_tokens
    cur = b.norm(x, b.layer_weight("attn_norm.weight"), "attn_norm-{il}")
    q, k, v = _products(b, cur)
    heads = hp.n_head_by_layer[b.il], hp.n_head_kv_by_layer[b.il]
    q, k = (t.reshape(ref, (hp.head_dim_k, count, n)) for ref, count in zip((q, k), heads))
    q, k = (rotated(b, ref, inputs, None, ROPE_MODE, f"{name}cur-{{il}}") for ref, name in ((q, "Q"), (k, "K")))
    t.named(v, "Vcur-{il}")
    cur = t.named(attend(b, q, k, v, inputs), "kqv_out-{il}")
    cur, x = b.selected(inputs, cur, x)
    cur = b.norm(cur, b.layer_weight("post_attention_norm.weight"), "post_attn_norm-{il}")
    mid = t.like("ADD", cur, x, name="ffn_inp-{il}")
    cur = b.norm(mid, b.layer_weight("ffn_norm.weight"), None if b.cx.newer else "ffn_norm-{il}")
    if b.cx.newer:
        t.named(mid, "ffn_norm-{il}")  # the reference names the input, not the norm
    cur = t.named(swiglu(b, cur), "ffn_out-{il}")
    cur = b.norm(cur, b.layer_weight("post_ffw_norm.weight"), "post_mlp_norm-{il}")
    return t.like("ADD", cur, mid, name="l_out-{il}")


def _products(b: Block, cur: Ref) -> tuple[Ref, Ref, Ref]:
    """q, k and v, from one matrix if the model has it; the reference gives them no names yet."""
    t, hp, n = b.t, b.hp, b.ev.n_tokens
    merged = b.optional("attn_qkv.weight")
    if merged is None:
        made = []
        for role in ("attn_q", "attn_k", "attn_v"):
            ref, bias = t.mul_mat(b.layer_weight(f"{role}.weight"), cur), b.optional(f"{role}.bias")
            made.append(ref if bias is None else t.like("ADD", ref, bias))
        return made[0], made[1], made[2]
    qkv = t.named(t.mul_mat(merged, cur), "wqkv-{il}")
    qkv = b.biased(qkv, "attn_qkv.bias", "bqkv-{il}")
    columns = hp.head_dim_v * hp.n_head_kv_by_layer[b.il]
    q, k, v = (
        t.cont(t.view(qkv, (size, n), (qkv.nb[1],), offs=F32_BYTES * first))
        for size, first in ((hp.n_embd, 0), (columns, hp.n_embd), (columns, hp.n_embd + columns))
    )
    return q, k, v
