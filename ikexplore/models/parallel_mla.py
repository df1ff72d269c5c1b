"""Latent attention divided by heads (-sm graph, August 2026): build_deepseek2_tp_attention of ik_llama.cpp.

Every GPU computes the latent and holds the whole cache; queries, k_b, v_b and the output are divided.
"""

from ..graph.template import Ref
from ..graph.types import F16, row_size
from .blocks import Block, Inputs
from .mla import F32_BYTES, Latent, Projected, cached_latent, is_prompt, rotated, split_key, split_query, store
from .parallel import Sum, cast_for_sum, gpus_of, summed

MIN_KV = 1024  #: cells of the cache from which prompts expand it to full heads


def latent_tag(b: Block) -> str:
    return f"{{il*1000+{b.part}}}"


def latent_attention(b: Block, x: Sum, inputs: Inputs, readers: tuple[int, ...]) -> Sum:
    """Attention with the layer's input added, which the first GPU does."""
    t = b.t
    results: dict[int, Ref] = {}
    for gpu in gpus_of(b, "attn_output.weight"):
        b.part = gpu
        own = x.on(gpu)
        cur = t.mul_mat(b.layer_weight("attn_output.weight"), _attend(b, own, inputs))
        if not results:
            cur = t.like("ADD", cur, own)
        results[gpu] = cast_for_sum(b, cur)
        t.expand(results[gpu])
    b.part = None
    if not b.last or inputs.out_ids is None:
        return summed(b, results, readers, "ffn_inp-{il}")
    total = summed(b, results, (), "attn_combined-{il}")
    return Sum(t.named(t.get_rows(total.whole, inputs.out_ids), "ffn_inp-{il}"))


def _attend(b: Block, x: Ref, inputs: Inputs) -> Ref:
    t, cx = b.t, b.cx
    normed = b.norm(x, b.layer_weight("attn_norm.weight"))
    lora = b.optional("attn_q_b.weight")
    q = t.mul_mat(b.layer_weight("attn_q.weight" if lora is None else "attn_q_a.weight"), normed)
    t.expand(q)
    if lora is not None:
        q = t.mul_mat(lora, b.norm(q, b.layer_weight("attn_q_a_norm.weight")))
    t.named(q, f"q-{latent_tag(b)}")
    size = Latent.of(b, q.ne[0] // b.hp.head_dim_k)
    q_nope, q_rope = split_query(b, q, size)
    kv = t.mul_mat(b.layer_weight("attn_kv_a_mqa.weight"), normed)
    t.expand(kv)
    k_rope, latent = split_key(b, kv, size)
    q_rope, k_rope = rotated(b, q_rope, inputs), rotated(b, k_rope, inputs)
    latent = b.norm(latent, b.layer_weight("attn_kv_a_norm.weight"))
    cache = t.leaf(f"cache_k_l{{il}}.{b.part}", cx.latent_type, (size.row, cx.n_ctx), gpu=b.part)
    p = Projected(q_nope, q_rope, k_rope, latent)
    store(b, p, cache, size, name=None)
    rows = t.view(cache, (size.row, b.ev.n_kv), (row_size(cache.type, size.row),))
    t.named(rows, f"kv_cache-{latent_tag(b)}")
    expand = is_prompt(b) and b.ev.n_kv >= MIN_KV and b.optional("attn_kv_b.weight") is not None
    return _expanded(b, p, cache, inputs.mask, size) if expand else _absorbed(b, p, cache, rows, inputs.mask, size)


def _expanded(b: Block, p: Projected, cache: Ref, mask: Ref, size: Latent) -> Ref:
    """Full heads of this GPU: V by v_b, K by its own transposed copy of k_b, which the loader calls attn_kv_b."""
    t, n_kv, tag = b.t, b.ev.n_kv, latent_tag(b)
    latent = cached_latent(b, cache, size, f"kv_cache_nope_pp-{tag}")
    rope = t.view(cache, (size.rope, n_kv, 1), (row_size(cache.type, size.row), cache.nb[2]))
    t.named(rope, f"kv_cache_rope_pp-{tag}")
    if rope.type != F16:
        rope = t.cast(rope, F16)
    rope = t.named(t.repeat(rope, (size.rope, n_kv, size.heads)), f"k_rope_rep_pp-{tag}")
    made = {}
    for name, role, columns in (("v_2d_pp", "attn_v_b", size.v), ("k_nope_2d_pp", "attn_kv_b", size.nope)):
        weight = t.reshape(b.layer_weight(f"{role}.weight"), (size.lora, size.heads * columns))
        flat = t.named(t.mul_mat(weight, latent), f"{name}-{tag}")
        made[name] = t.view(flat, (columns, n_kv, size.heads), (flat.nb[1], F32_BYTES * columns))
    v, k = t.cast(made["v_2d_pp"], F16), t.cast(made["k_nope_2d_pp"], F16)
    t.expand(v)
    t.expand(k)
    k = t.concat(rope, k, 0)
    t.expand(t.named(k, f"k_full_pp-{tag}"))
    q = t.permute(t.concat(p.q_rope, p.q_nope, 0), 0, 2, 1, 3)
    t.expand(t.named(q, f"q_concat_pp-{tag}"))
    cur = t.flash_attn(q, k, v, mask, scale=b.cx.kq_scale, max_bias=0.0, logit_softcap=0.0)
    return t.reshape(t.named(cur, f"kqv_pp-{tag}"), (size.v * size.heads, b.ev.n_tokens))


def _absorbed(b: Block, p: Projected, cache: Ref, rows: Ref, mask: Ref, size: Latent) -> Ref:
    t, n = b.t, b.ev.n_tokens
    q = t.mul_mat(b.layer_weight("attn_k_b.weight"), t.permute(p.q_nope, 0, 2, 1, 3))
    q = t.concat(t.permute(p.q_rope, 0, 2, 1, 3), q, 0)
    latent = cached_latent(b, cache, size, f"kv_cache_lora-{latent_tag(b)}")
    cur = t.flash_attn(q, rows, latent, mask, scale=b.cx.kq_scale, max_bias=0.0, logit_softcap=0.0)
    cur = t.permute(t.named(cur, f"kqv_compressed-{latent_tag(b)}"), 0, 2, 1, 3)
    cur = t.mul_mat(b.layer_weight("attn_v_b.weight"), cur)
    if n > 1:
        cur = t.cont(t.permute(cur, 0, 2, 1, 3))
    return t.reshape(cur, (size.v * size.heads, n))
