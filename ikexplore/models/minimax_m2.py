"""Graph of the architecture ``minimax-m2`` (build_minimaxm2 of ik_llama.cpp): q and k are normed as whole rows, a part of
each head is rotated; experts in every layer."""

from ..graph.template import Ref
from .blocks import Block, Inputs, attend, rotated
from .experts import Routing, expert_block_2026

ROPE_MODE = 2  #: rotates the halves of a head against each other (LLAMA_ROPE_TYPE_NEOX)


def layer(b: Block, x: Ref, inputs: Inputs) -> Ref:
    """One layer: attention and experts, each with its input added."""
    t, hp, n = b.t, b.hp, b.ev.n_tokens
    cur = b.norm(x, b.layer_weight("attn_norm.weight"), "attn_norm-{il}")
    q, k, v = (
        t.named(t.mul_mat(b.layer_weight(f"attn_{which}.weight"), cur), f"{which.upper()}cur-{{il}}") for which in "qkv"
    )
    q = b.norm(q, b.layer_weight("attn_q_norm.weight"), "Qcur_normed-{il}")
    k = b.norm(k, b.layer_weight("attn_k_norm.weight"), "Kcur_normed-{il}")
    q = t.reshape(q, (hp.head_dim_k, hp.n_head_by_layer[b.il], n))
    k = t.reshape(k, (hp.head_dim_k, hp.n_head_kv_by_layer[b.il], n))
    q, k = (rotated(b, ref, inputs, None, ROPE_MODE, f"{name}cur-{{il}}") for ref, name in ((q, "Q"), (k, "K")))
    cur = t.named(attend(b, q, k, v, inputs, biased_output=False), "kqv_out-{il}")
    cur, x = b.selected(inputs, cur, x)
    mid = t.like("ADD", cur, x, name="ffn_inp-{il}")
    return expert_block_2026(b, mid, Routing(hp.expert_gating_func))
