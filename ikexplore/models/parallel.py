"""-sm graph (August 2026): each half of a layer is computed by all GPUs, each with its part, and then added up.

``Block.part`` is the GPU whose weights are meant. What a REDUCE leaves is the sum on every GPU that gave a part: the
next half reads it there. Sources: build_std_attention, llm_build_ffn, llm_build_std_moe_ffn of ik_llama.cpp.
"""

from ..graph.template import Ref
from ..graph.types import F32, row_size
from .blocks import Block, Inputs, hadamard_size, head_norm, store_columns, store_heads
from .experts import Routing, experts_2026
from .feed import feed_forward_2026, fused_up_gate

REDUCED_IN_F32 = 32  #: up to so many rows parts are added up as they are


def gpus_of(b: Block, role: str) -> tuple[int, ...]:
    """GPUs that hold a part of this layer's tensor; none where it is not divided."""
    return tuple(g for g in range(b.n_parts) if b.rows(f"blk.{{il}}.{role}.{g}") >= 0)


def is_divided(b: Block) -> bool:
    """Whether this layer is divided (layers in host memory are not)."""
    return bool(gpus_of(b, "attn_output.weight"))


def tag(b: Block) -> str:
    """The number in the names of what GPU ``b.part`` computes."""
    return f"{{il+{1000 * ((b.part or 0) + 1)}}}"


class Sum:
    """A value on several GPUs: ``whole`` is the node, ``parts`` what GPU i reads in its place (None: the whole)."""

    def __init__(self, whole: Ref, parts: tuple[Ref | None, ...] = ()):
        self.whole, self.parts = whole, parts

    @property
    def reduced(self) -> bool:
        return bool(self.parts)

    def on(self, gpu: int) -> Ref:
        """get_input_tensor_sm_graph."""
        own = self.parts[gpu] if self.parts else None
        return self.whole if own is None else own


def summed(b: Block, results: dict[int, Ref], readers: tuple[int, ...], name: str) -> Sum:
    """REDUCE of the parts; GPUs among the ``readers`` that have none get a copy of the sum."""
    t = b.t
    last = max(results)
    idle = [(g, t.scratch(results[last])) for g in readers if g not in results]
    whole = t.named(t.reduce([results.get(g) for g in range(b.n_parts)], idle), name)
    t.expand(whole)
    parts = {**results, **dict(idle), last: None}
    return Sum(whole, tuple(parts.get(g) for g in range(b.n_parts)))


def cast_for_sum(b: Block, x: Ref) -> Ref:
    """Parts of many rows are added up in another type (-smf16, -smf32)."""
    if x.ne[1] <= REDUCED_IN_F32 or b.cx.reduce_type == F32:
        return x
    return b.t.cast(x, b.cx.reduce_type)


# --- attention --------------------------------------------------------------------------------------------------------


def attention(b: Block, x: Sum, inputs: Inputs, rope_mode: int, readers: tuple[int, ...]) -> Sum:
    """Attention with the layer's input added; ``readers``: GPUs that read the result."""
    t = b.t
    rows = inputs.out_ids if b.last else None
    results: dict[int, Ref] = {}
    for gpu in gpus_of(b, "attn_output.weight"):
        b.part = gpu
        cur = _attend(b, x.on(gpu), inputs, rope_mode)
        if rows is not None:
            cur = t.named(t.get_rows(cur, rows), f"fa_get_rows-{tag(b)}")
        cur = t.named(t.mul_mat(b.layer_weight("attn_output.weight"), cur), f"kqv_wo-{tag(b)}")
        if not results:
            cur = b.biased(cur, "attn_output.bias", f"kqv_wo_biased-{tag(b)}")
        results[gpu] = cast_for_sum(b, cur)
        t.expand(results[gpu])
    b.part = None
    whole = x.whole
    if rows is not None:
        whole = t.named(t.get_rows(whole, rows), "sainp_get_rows-{il}")
    last = max(results)
    results[last] = t.like("ADD", results[last], whole, name="attn_out_with_input-{il}")
    return summed(b, results, readers, "attn_combined-{il}")


def _attend(b: Block, x: Ref, inputs: Inputs, rope_mode: int) -> Ref:
    t, hp, n = b.t, b.hp, b.ev.n_tokens
    cur = b.norm(x, b.layer_weight("attn_norm.weight"), f"inp_normed-{tag(b)}")
    made = {}
    for name, role in (("Qcur", "attn_q"), ("Kcur", "attn_k"), ("Vcur", "attn_v")):
        made[name] = t.named(t.mul_mat(b.layer_weight(f"{role}.weight"), cur), f"{name}-{{il}}")
    for ref in made.values():
        t.expand(ref)
    for name, role in (("Qcur", "attn_q"), ("Kcur", "attn_k"), ("Vcur", "attn_v")):
        biased = b.biased(made[name], f"{role}.bias", f"{name}-{{il}}")
        if biased is not made[name]:
            t.expand(biased)
            made[name] = biased
    heads, heads_kv = made["Qcur"].ne[0] // hp.head_dim_k, made["Kcur"].ne[0] // hp.head_dim_k
    q = head_norm(b, t.reshape(made["Qcur"], (hp.head_dim_k, heads, n)), "q")
    k = head_norm(b, t.reshape(made["Kcur"], (hp.head_dim_k, heads_kv, n)), "k")
    t.expand(q)
    t.expand(k)
    factors = b.find("rope_freqs.weight")
    q, k = (b.t.like("ROPE", x, inputs.pos, factors, mode=rope_mode, **dict(b.cx.rope)) for x in (q, k))
    t.named(q, f"Qcur-{tag(b)}")
    t.named(k, f"Kcur-{tag(b)}")
    if inputs.scale is not None:
        t.expand(q)
        t.expand(k)
        q = t.like("MUL", q, inputs.scale, name=f"Qcur_temp_scaled-{tag(b)}")
    return _flash_attention(b, *_transformed(b, q, k, made["Vcur"]), heads_kv, inputs.mask)


def _transformed(b: Block, q: Ref, k: Ref, v: Ref) -> tuple[Ref, Ref, Ref]:
    t = b.t
    if b.cx.k_hadamard and (size := hadamard_size(b.hp.head_dim_k)):
        q = t.like("HADAMARD", q, name=f"Qcur_hadamard-{tag(b)}", block=size)
        k = t.like("HADAMARD", k, name=f"Kcur_hadamard-{tag(b)}", block=size)
    if b.cx.v_hadamard and (size := hadamard_size(b.hp.head_dim_v)):
        v = t.like("HADAMARD", v, name=f"Vcur_hadamard-{tag(b)}", block=size)
    for ref in (q, k, v):
        t.expand(ref)
    return q, k, v


def _flash_attention(b: Block, q: Ref, k: Ref, v: Ref, heads_kv: int, mask: Ref) -> Ref:
    t, hp, cx, n_kv = b.t, b.hp, b.cx, b.ev.n_kv
    columns = v.ne[0]
    k_cache = t.leaf(f"cache_k_l{{il}}.{b.part}", cx.type_k, (hp.head_dim_k, heads_kv * cx.n_ctx), gpu=b.part)
    v_cache = t.leaf(f"cache_v_l{{il}}.{b.part}", cx.type_v, (columns * cx.n_ctx,), gpu=b.part)
    store_heads(b, k, k_cache, heads_kv)
    store_columns(b, v, v_cache, columns, f"v_cache_view-{tag(b)}")
    q = t.named(t.permute(q, 0, 2, 1, 3), f"q-{tag(b)}")
    row = row_size(k_cache.type, hp.head_dim_k)
    k = t.named(t.view(k_cache, (hp.head_dim_k, n_kv, heads_kv), (row * heads_kv, row)), f"k-{tag(b)}")
    strides = (row_size(v_cache.type, columns), row_size(v_cache.type, hp.head_dim_v))
    v = t.named(t.view(v_cache, (hp.head_dim_v, n_kv, heads_kv), strides), f"v-{tag(b)}")
    cur = t.flash_attn(q, k, v, mask, scale=cx.kq_scale, max_bias=0.0, logit_softcap=0.0)
    t.named(cur, f"flash_attn-{tag(b)}")
    if cx.v_hadamard and (size := hadamard_size(hp.head_dim_v)):
        cur = t.like("HADAMARD", cur, name=f"flash_attn_h-{tag(b)}", block=size)
    cur = t.reshape(cur, (hp.head_dim_v * q.ne[2], b.ev.n_tokens))
    return t.named(cur, f"flash_attn_reshaped-{tag(b)}")


# --- feed-forward -----------------------------------------------------------------------------------------------------


def _normed(b: Block, x: Sum, split: bool, norm: str) -> Ref:
    """The norm (a role) of this GPU's input; ``split``: the scheduler begins a split there."""
    params = {"new_split": True} if split else {}
    weight = b.layer_weight(f"{norm}.weight")
    return b.norm(x.on(b.part or 0), weight, f"inp_normed-{tag(b)}", **params)


def feed_forward(b: Block, x: Sum, readers: tuple[int, ...], norm: str = "ffn_norm") -> Sum:
    """A dense layer's feed-forward with its input added."""
    t = b.t
    results: dict[int, Ref] = {}
    for gpu in gpus_of(b, "ffn_down.weight"):
        b.part = gpu
        cur = _normed(b, x, not x.reduced, norm)
        up, gate = b.layer_weight("ffn_up.weight"), b.layer_weight("ffn_gate.weight")
        cur = t.named(fused_up_gate(t, up, gate, cur), f"ffn_up_gate-{tag(b)}")
        cur = t.named(t.mul_mat(b.layer_weight("ffn_down.weight"), cur), f"ffn_down-{tag(b)}")
        results[gpu] = cast_for_sum(b, cur)
        t.expand(results[gpu])
    b.part = None
    last = max(results)
    results[last] = t.like("ADD", results[last], x.whole, name="ffn_with_inp-{il}")
    return summed(b, results, readers, "l_out-{il}")


def experts(b: Block, x: Sum, routing: Routing, readers: tuple[int, ...], norm: str = "ffn_norm") -> Sum:
    """The experts' feed-forward with its input added; experts in host memory are computed once, on the main GPU."""
    t = b.t
    gpus = gpus_of(b, "ffn_down_exps.weight")
    if not gpus:
        return _whole_experts(b, x, routing, readers, norm)
    results: dict[int, Ref] = {}
    for gpu in gpus:
        b.part = gpu
        normed = _normed(b, x, True, norm)
        cur = t.named(experts_2026(b, normed, routing), f"routed_out-{tag(b)}")
        if b.optional("ffn_down_shexp.weight") is not None:
            shared = t.named(feed_forward_2026(b, normed, "_shexp"), f"ffn_shexp_out-{tag(b)}")
            cur = t.like("ADD", cur, shared, name=f"ffn_out-{tag(b)}")
        cast = cast_for_sum(b, cur)
        results[gpu] = cur if cast is cur else t.named(cast, f"ffn_out_f16-{tag(b)}")
        t.expand(results[gpu])
    b.part = None
    last = max(results)
    results[last] = t.like("ADD", results[last], x.whole, name="ffn_inp_added-{il}")
    return summed(b, results, readers, "l_out-{il}")


def _whole_experts(b: Block, x: Sum, routing: Routing, readers: tuple[int, ...], norm: str) -> Sum:
    t = b.t
    b.part = b.main_gpu
    cur = b.norm(x.whole, b.layer_weight(f"{norm}.weight"), "ffn_inp_normed-{il}")
    routed = t.named(experts_2026(b, cur, routing), "routed_out-{il}")
    routed = t.like("ADD", routed, x.whole, name="routed_out_with_inp-{il}")
    t.expand(routed)
    gpus = gpus_of(b, "ffn_down_shexp.weight")
    b.part = None
    if not gpus:
        if b.optional("ffn_down_shexp.weight") is None:
            return Sum(t.named(routed, "l_out-{il}"))
        shared = t.named(feed_forward_2026(b, cur, "_shexp"), "ffn_shexp_out-{il}")
        whole = t.like("ADD", routed, shared, name="l_out-{il}")
        t.expand(whole)
        return Sum(whole)
    adds = b.main_gpu if b.main_gpu in gpus else gpus[0]
    results: dict[int, Ref] = {}
    for gpu in gpus:
        b.part = gpu
        normed = b.norm(x.whole, b.layer_weight(f"{norm}.weight"))
        cur = feed_forward_2026(b, normed, "_shexp")
        t.expand(cur)
        t.named(cur, f"ffn_shexp_out-{{il+{1000 * gpu}}}")
        if gpu == adds:
            cur = t.like("ADD", cur, routed, name="ffn_shared_routed_added-{il}")
        results[gpu] = cast_for_sum(b, cur)
        t.expand(results[gpu])
    b.part = None
    return summed(b, results, readers, "l_out-{il}")
