"""Graph of the architecture ``gemma2`` (build_gemma2 of ik_llama.cpp): every second layer has a sliding window.

The query is scaled, scores and logits are bounded by a soft cap; the rest is as in ``gemma3``.
"""

from ..graph.template import Ref
from .blocks import Block, Inputs, attend, products_2026, rotated
from .gemma3 import ROPE_MODE, after_attention


def layer(b: Block, x: Ref, inputs: Inputs) -> Ref:
    """One layer: attention and feed-forward, each normed before its input is added."""
    t, hp, n = b.t, b.hp, b.ev.n_tokens
    cur = b.norm(x, b.layer_weight("attn_norm.weight"), "attn_norm-{il}")
    if b.cx.newer:
        q, k, v = products_2026(b, cur)
    else:
        q, k, v = (
            t.named(t.mul_mat(b.layer_weight(f"attn_{which}.weight"), cur), f"{which.upper()}cur-{{il}}") for which in "qkv"
        )
    q = t.reshape(q, (hp.head_dim_k, hp.n_head_by_layer[b.il], n))
    q = rotated(b, q, inputs, None, ROPE_MODE, "Qcur-{il}")
    q = t.like("SCALE", q, name="Qcur_scaled-{il}", scale=hp.attention_scale)
    k = t.reshape(k, (hp.head_dim_k, hp.n_head_kv_by_layer[b.il], n))
    k = rotated(b, k, inputs, None, ROPE_MODE, "Kcur-{il}")
    cur = t.named(attend(b, q, k, v, inputs), "kqv_out-{il}")
    return after_attention(b, cur, x, inputs)
