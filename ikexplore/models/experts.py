"""The experts' feed-forward (llm_build_moe_ffn of ik_llama.cpp), as of June 2025 and of August 2026."""

from dataclasses import dataclass

from ..errors import ModelError
from ..graph.template import Ref, Template
from .blocks import Block
from .feed import feed_forward_2025, feed_forward_2026


@dataclass(frozen=True)
class Routing:
    """How an architecture turns the router's scores into weights: the gate, whether they are normalised, a factor.

    before: the scores themselves choose the experts, whose input is weighted, not their output (llama4).
    """

    gate: str = "softmax"  #: or "sigmoid", or "softmax_weight": the softmax of the chosen scores
    normalise: bool = True
    scale: float | None = None  #: None: the architecture has no factor
    unary: str = "SILU"  #: what an expert's gate goes through; "SWIGLU_OAI" for gpt-oss
    before: bool = False

    def scaled(self, newer: bool) -> bool:
        """Whether there is a SCALE: since 2026 only for factors other than 1."""
        return self.scale is not None and (not newer or abs(self.scale - 1) > 1e-5)


SOFTMAX = Routing()


def _probabilities(b: Block, cur: Ref, routing: Routing) -> tuple[Ref, Ref]:
    """The router's probabilities, and those that choose: with the bias of ``exp_probs_b`` where there is one."""
    t = b.t
    logits = t.named(t.mul_mat(b.layer_weight("ffn_gate_inp.weight"), cur), "ffn_moe_logits-{il}")
    logits = b.biased(logits, "ffn_gate_inp.bias", "ffn_moe_logits_biased-{il}")
    if routing.gate == "softmax":
        probs = t.like("SOFT_MAX", logits, name="ffn_moe_probs-{il}", scale=1.0, max_bias=0.0)
    elif routing.gate == "sigmoid":
        probs = t.like("UNARY", logits, name="ffn_moe_probs-{il}", unary="SIGMOID")
    elif routing.gate == "softmax_weight":
        probs = t.named(logits, "ffn_moe_probs-{il}")
    else:
        raise ModelError(f"{b.hp.arch}.expert_gating_func is {routing.gate}; softmax, sigmoid and softmax_weight have graphs")
    if routing.before:
        return probs, logits
    bias = b.optional("exp_probs_b.bias")
    return probs, probs if bias is None else t.like("ADD", probs, bias, name="ffn_moe_probs_biased-{il}")


def _select(t: Template, scores: Ref, used: int, ser: tuple[int, float] | None) -> tuple[Ref, Ref]:
    """ggml_top_k(_thresh): the sorted row numbers, and a view of the first ``used`` of each row."""
    if ser is not None and ser[0] > 0 and ser[1] > 0:
        order = t.argsort_thresh(scores, *ser)
    else:
        order = t.argsort(scores, name=f"{t.name_of(scores)} (sort)" if t.name_of(scores) else None)
    return order, t.view(order, (used, *order.ne[1:]), order.nb[1:])


def _weigh(b: Block, probs: Ref, chosen: Ref, routing: Routing) -> Ref:
    """The chosen experts' probabilities, normalised to a sum of 1 per token and scaled if asked: [1, used, tokens]."""
    t, n, used = b.t, probs.ne[1], b.hp.n_expert_used
    weights = t.get_rows(t.reshape(probs, (1, b.hp.n_expert, n)), chosen)
    t.named(weights, "ffn_moe_weights-{il}")
    if routing.gate == "softmax_weight":
        weights = t.like("SOFT_MAX", t.reshape(weights, (used, n)), scale=1.0, max_bias=0.0)
        weights = t.named(t.reshape(weights, (1, used, n)), "ffn_moe_weights_softmax-{il}")
    if routing.normalise:
        weights = t.reshape(weights, (used, n))
        total = t.named(t.sum_rows(weights), "ffn_moe_weights_sum-{il}")
        weights = t.like("DIV", weights, total, name="ffn_moe_weights_norm-{il}")
        weights = t.reshape(weights, (1, used, n))
    if routing.scaled(b.cx.newer):
        weights = t.like("SCALE", weights, name="ffn_moe_weights_scaled-{il}", scale=routing.scale)
    return weights


def experts_2025(b: Block, cur: Ref, routing: Routing = SOFTMAX) -> Ref:
    """Routes each row of ``cur`` to its experts and adds up what they give."""
    t, used, n = b.t, b.hp.n_expert_used, cur.ne[1]
    probs, choosing = _probabilities(b, cur, routing)
    order, chosen = _select(t, choosing, used, b.cx.smart_expert_reduction)
    t.named(order, "ffn_moe_argsort-{il}")
    t.named(chosen, "ffn_moe_topk-{il}")
    weights = _weigh(b, probs, chosen, routing)
    x = _weighted_input(b, t.reshape(cur, (cur.ne[0], 1, n)), weights, routing)
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
    if routing.before:
        return _sum_2025(b, down)
    weighted = t.like("MUL", down, weights)
    t.named(x, "ffn_moe_weighted-{il}")  # the reference names the reshaped input, not the product
    return _sum_2025(b, weighted)


def _weighted_input(b: Block, x: Ref, weights: Ref, routing: Routing) -> Ref:
    """The experts' input [cols, 1, tokens], once per chosen expert and weighted where the architecture does so."""
    if not routing.before:
        return x
    t = b.t
    repeated = t.repeat(x, (x.ne[0], b.hp.n_expert_used, x.ne[2]))
    return t.like("MUL", repeated, weights, name="ffn_moe_weighted-{il}")


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


def experts_2026(b: Block, cur: Ref, routing: Routing = SOFTMAX) -> Ref:
    """As ``experts_2025``; the weights are expanded first, and weighting and adding may be one op."""
    t, used, n = b.t, b.hp.n_expert_used, cur.ne[1]
    probs, choosing = _probabilities(b, cur, routing)
    _, chosen = _select(t, choosing, used, None)
    t.named(chosen, "ffn_moe_topk-{il}")
    weights = _weigh(b, probs, chosen, routing)
    t.expand(weights)
    x = _weighted_input(b, t.reshape(cur, (cur.ne[0], 1, n)), weights, routing)
    par = t.named(_up_gate_2026(b, x, chosen, routing.unary), "ffn_moe_gate_par-{il}")
    down = t.mul_mat_id(b.layer_weight("ffn_down_exps.weight"), par, chosen)
    t.named(down, "ffn_moe_down-{il}")
    down = _biased(b, down, "ffn_down_exps.bias", chosen, "ffn_moe_down_biased-{il}")
    if b.cx.fused_mmad and not routing.before:
        return t.named(t.mul_multi_add(down, weights), "ffn_moe_weighted-{il}")
    weighted = down if routing.before else t.like("MUL", down, weights, name="ffn_moe_weighted-{il}")
    first = t.view(weighted, (weighted.ne[0], n), (weighted.nb[2],))
    return t.like("MULTI_ADD", first, n=used, stride=weighted.nb[1])


def summed_2026(b: Block, routed: Ref) -> Ref:
    """Gives the sum of the experts the name it has where the input is added next and the sum is an op of its own."""
    return routed if b.t.op_of(routed) == "MUL_MULTI_ADD" else b.t.named(routed, "ffn_out-{il}")


def _biased(b: Block, x: Ref, role: str, chosen: Ref, name: str) -> Ref:
    """``x`` plus each row's expert's bias, where the model has one."""
    bias = b.optional(role)
    return x if bias is None else b.t.named(b.t.like("ADD_ID", x, bias, chosen), name)


def _up_gate_2026(b: Block, x: Ref, chosen: Ref, unary: str) -> Ref:
    t = b.t
    both = b.optional("ffn_gate_up_exps.weight")
    if both is not None:
        bias = b.optional("ffn_gate_up_exps.bias")
        return t.moe_up_gate(both, None, x, chosen, unary, *(() if bias is None else (bias,)))
    up, gate = b.layer_weight("ffn_up_exps.weight"), b.layer_weight("ffn_gate_exps.weight")
    biases = [b.optional(f"ffn_{which}_exps.bias") for which in ("up", "gate")]
    fused = b.cx.fused_moe and up.type == gate.type
    if fused and up.ne == gate.ne:
        return t.moe_up_gate(up, gate, x, chosen, unary, *(biases if any(biases) else ()))
    up_rows, gate_rows = t.mul_mat_id(up, x, chosen), t.mul_mat_id(gate, x, chosen)
    if not fused:
        t.named(up_rows, "ffn_moe_up-{il}")
        t.named(gate_rows, "ffn_moe_gate-{il}")
        t.expand(up_rows)
        t.expand(gate_rows)
        up_rows = _biased(b, up_rows, "ffn_up_exps.bias", chosen, "ffn_moe_up_biased-{il}")
        gate_rows = _biased(b, gate_rows, "ffn_gate_exps.bias", chosen, "ffn_moe_gate_biased-{il}")
    if unary == "SWIGLU_OAI":
        return t.like("UNARY", gate_rows, up_rows, unary=unary)
    return t.like("FUSED_MUL_UNARY", gate_rows, up_rows, unary=unary)


def expert_block_2026(b: Block, x: Ref, routing: Routing = SOFTMAX, norm: str = "ffn_norm") -> Ref:
    """llm_build_std_moe_ffn: norm (a role), routed experts with the input added, shared experts where there are some."""
    t = b.t
    cur = b.norm(x, b.layer_weight(f"{norm}.weight"), "ffn_inp_normed-{il}")
    routed = t.named(experts_2026(b, cur, routing), "routed_out-{il}")
    routed = t.like("ADD", routed, x, name="routed_out_with_inp-{il}")
    t.expand(routed)
    if b.optional("ffn_up_shexp.weight") is None:
        return t.named(routed, "l_out-{il}")
    shared = t.named(feed_forward_2026(b, cur, "_shexp"), "ffn_shexp_out-{il}")
    whole = t.like("ADD", routed, shared, name="l_out-{il}")
    t.expand(whole)
    return whole


def experts_and_shared(b: Block, cur: Ref, routing: Routing = SOFTMAX) -> Ref:
    """Routed and shared experts of the normed input, added up (deepseek2, dots1)."""
    t, newer = b.t, b.cx.newer
    routed = (experts_2026 if newer else experts_2025)(b, cur, routing)
    t.named(routed, "ffn_moe_out-{il}")
    shared = t.named((feed_forward_2026 if newer else feed_forward_2025)(b, cur, "_shexp"), "ffn_shexp-{il}")
    return t.like("ADD", routed, shared, name="ffn_out-{il}")
