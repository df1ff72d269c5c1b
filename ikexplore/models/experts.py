"""The experts' feed-forward (llm_build_moe_ffn of ik_llama.cpp), as of June 2025 and of August 2026."""

from typing import Any

from ..graph.template import Ref, Template
from .blocks import Block


def _select(t: Template, scores: Ref, used: int, ser: tuple[int, float] | None) -> tuple[Ref, Ref]:
    """ggml_top_k(_thresh): the sorted row numbers, and a view of the first ``used`` of each row."""
    if ser is not None and ser[0] > 0 and ser[1] > 0:
        order = t.argsort_thresh(scores, *ser)
    else:
        order = t.argsort(scores, name=f"{t.name_of(scores)} (sort)" if t.name_of(scores) else None)
    return order, t.view(order, (used, *order.ne[1:]), order.nb[1:])


def _weigh(t: Template, probs: Ref, chosen: Ref, n_expert: int, used: int) -> Ref:
    """The chosen experts' probabilities, normalised to a sum of 1 per token: [1, used, tokens]."""
    n = probs.ne[1]
    weights = t.get_rows(t.reshape(probs, (1, n_expert, n)), chosen)
    t.named(weights, "ffn_moe_weights-{il}")
    weights = t.reshape(weights, (used, n))
    total = t.named(t.sum_rows(weights), "ffn_moe_weights_sum-{il}")
    weights = t.like("DIV", weights, total, name="ffn_moe_weights_norm-{il}")
    return t.reshape(weights, (1, used, n))


def _about(b: Block) -> dict[str, Any]:
    return {"n_expert": b.hp.n_expert, "n_expert_used": b.hp.n_expert_used}


def experts_2025(b: Block, cur: Ref) -> Ref:
    """Routes each row of ``cur`` to its experts: softmax gating, weights normalised."""
    t, used, n = b.t, b.hp.n_expert_used, cur.ne[1]
    logits = t.named(t.mul_mat(b.layer_weight("ffn_gate_inp.weight"), cur), "ffn_moe_logits-{il}")
    probs = t.like("SOFT_MAX", logits, name="ffn_moe_probs-{il}", scale=1.0, max_bias=0.0)
    order, chosen = _select(t, probs, used, b.cx.smart_expert_reduction)
    t.named(order, "ffn_moe_argsort-{il}")
    t.named(chosen, "ffn_moe_topk-{il}")
    weights = _weigh(t, probs, chosen, b.hp.n_expert, used)
    x = t.reshape(cur, (cur.ne[0], 1, n))
    up, gate = b.layer_weight("ffn_up_exps.weight"), b.layer_weight("ffn_gate_exps.weight")
    if b.cx.fused_moe and up.type == gate.type and up.ne == gate.ne:
        par = t.moe_up_gate(up, gate, x, chosen, "SILU")
    else:
        up_rows, gate_rows = t.mul_mat_id(up, x, chosen), t.mul_mat_id(gate, x, chosen)
        if not b.cx.fused_moe:
            t.named(up_rows, "ffn_moe_up-{il}")
            t.named(gate_rows, "ffn_moe_gate-{il}")
        par = t.like("FUSED_MUL_UNARY", gate_rows, up_rows, unary="SILU")
    t.named(par, "ffn_moe_gate_par-{il}")
    down = t.mul_mat_id(b.layer_weight("ffn_down_exps.weight"), par, chosen)
    t.named(down, "ffn_moe_down-{il}")
    weighted = t.like("MUL", down, weights)
    t.named(x, "ffn_moe_weighted-{il}")  # the reference names the reshaped input, not the product
    return _sum_2025(b, weighted)


def _sum_2025(b: Block, weighted: Ref) -> Ref:
    """Adds up the experts' rows of each token: [cols, used, tokens] to [cols, tokens]."""
    t, used = b.t, b.hp.n_expert_used
    shape, strides = (weighted.ne[0], weighted.ne[2]), (weighted.nb[2],)
    first = t.view(weighted, shape, strides)
    if used == 1:
        return t.cont(first)
    if used == 2:
        return t.like("ADD", first, t.view(weighted, shape, strides, offs=weighted.nb[1]))
    return t.like("MULTI_ADD", first, n=used, stride=weighted.nb[1])


def experts_2026(b: Block, cur: Ref) -> Ref:
    """As ``experts_2025``; the weights are expanded first, and weighting and adding may be one op."""
    t, used, n = b.t, b.hp.n_expert_used, cur.ne[1]
    logits = t.named(t.mul_mat(b.layer_weight("ffn_gate_inp.weight"), cur), "ffn_moe_logits-{il}")
    probs = t.like("SOFT_MAX", logits, name="ffn_moe_probs-{il}", scale=1.0, max_bias=0.0)
    _, chosen = _select(t, probs, used, None)
    t.named(chosen, "ffn_moe_topk-{il}")
    weights = _weigh(t, probs, chosen, b.hp.n_expert, used)
    t.expand(weights)
    x = t.reshape(cur, (cur.ne[0], 1, n))
    par = t.named(_up_gate_2026(b, x, chosen), "ffn_moe_gate_par-{il}")
    down = t.mul_mat_id(b.layer_weight("ffn_down_exps.weight"), par, chosen)
    t.named(down, "ffn_moe_down-{il}")
    if b.cx.fused_mmad:
        return t.named(t.mul_multi_add(down, weights), "ffn_moe_weighted-{il}")
    weighted = t.like("MUL", down, weights, name="ffn_moe_weighted-{il}")
    first = t.view(weighted, (weighted.ne[0], n), (weighted.nb[2],))
    return t.like("MULTI_ADD", first, n=used, stride=weighted.nb[1])


def _up_gate_2026(b: Block, x: Ref, chosen: Ref) -> Ref:
    t = b.t
    both = b.optional("ffn_gate_up_exps.weight")
    if both is not None:
        return t.moe_up_gate(both, None, x, chosen, "SILU")
    up, gate = b.layer_weight("ffn_up_exps.weight"), b.layer_weight("ffn_gate_exps.weight")
    if b.cx.fused_moe and up.type == gate.type and up.ne == gate.ne:
        return t.moe_up_gate(up, gate, x, chosen, "SILU")
    up_rows, gate_rows = t.mul_mat_id(up, x, chosen), t.mul_mat_id(gate, x, chosen)
    if not (b.cx.fused_moe and up.type == gate.type):
        t.named(up_rows, "ffn_moe_up-{il}")
        t.named(gate_rows, "ffn_moe_gate-{il}")
        t.expand(up_rows)
        t.expand(gate_rows)
    return t.like("FUSED_MUL_UNARY", gate_rows, up_rows, unary="SILU")
