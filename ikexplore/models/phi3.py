"""Graph of the architecture ``phi3`` (build_phi3 of ik_llama.cpp): q, k and v from one matrix, up and gate from one; the
query is scaled, not the scores; long contexts turn at other frequencies."""

from ..graph.template import Ref
from .blocks import Block, Inputs, attend, rotated
from .feed import swiglu

ROPE_MODE = 2  #: rotates the halves of a head against each other (LLAMA_ROPE_TYPE_NEOX)
F32_BYTES = 4


def layer(b: Block, x: Ref, inputs: Inputs) -> Ref:
    """One layer: attention and feed-forward, each with its input added."""
    t, hp = b.t, b.hp
    long = b.cx.n_ctx // b.cx.n_seq_max > hp.rope_orig_ctx
    factors = b.find("rope_factors_long.weight" if long else "rope_factors_short.weight")
    cur = b.norm(x, b.layer_weight("attn_norm.weight"), "attn_norm-{il}")
    q, k, v = _heads(b, cur)
    q = rotated(b, q, inputs, factors, ROPE_MODE, "Qcur-{il}")
    q = t.like("SCALE", q, name="Qcur-{il}", scale=hp.head_dim_k**-0.5)
    k = rotated(b, k, inputs, factors, ROPE_MODE, "Kcur-{il}")
    cur = t.named(attend(b, q, k, v, inputs, tell=False), "kqv_out-{il}")
    cur, x = b.selected(inputs, cur, x)
    mid = t.like("ADD", cur, x)
    cur = b.norm(mid, b.layer_weight("ffn_norm.weight"), None if b.cx.newer else "ffn_norm-{il}")
    if b.cx.newer:
        t.named(mid, "ffn_norm-{il}")  # the reference names the input, not the norm
    cur = t.named(swiglu(b, cur), "ffn_out-{il}")
    return t.like("ADD", mid, cur, name="l_out-{il}")


def _heads(b: Block, cur: Ref) -> tuple[Ref, Ref, Ref]:
    t, hp, n, size = b.t, b.hp, b.ev.n_tokens, b.hp.head_dim_k
    heads, heads_kv = hp.n_head_by_layer[b.il], hp.n_head_kv_by_layer[b.il]
    columns, row = hp.head_dim_v * heads_kv, F32_BYTES
    qkv = t.named(t.mul_mat(b.layer_weight("attn_qkv.weight"), cur), "wqkv-{il}")
    q = t.view(qkv, (size, heads, n), (row * size, qkv.nb[1]))
    k = t.view(qkv, (size, heads_kv, n), (row * size, qkv.nb[1]), offs=row * hp.n_embd)
    v = t.view(qkv, (columns, n), (qkv.nb[1],), offs=row * (hp.n_embd + columns))
    return t.named(q, "Qcur-{il}"), t.named(k, "Kcur-{il}"), t.named(v, "Vcur-{il}")
