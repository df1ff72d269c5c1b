"""Multi-head latent attention (build_deepseek2 of ik_llama.cpp): one compressed row of keys and values per token.

A cached row is [rotated part of K, latent]; before May 30 2025 it was [latent, rotated part of K]. Prompts may expand it to
full heads by ``attn_kv_b`` (-mla 2, 3 with flash attention); all other paths absorb ``attn_k_b`` into the query and apply
``attn_v_b`` to the result.
"""

from dataclasses import dataclass

from ..graph.template import Ref
from ..graph.types import F16, row_size
from .blocks import Block, Inputs, attend

MIB = 2**20
PROMPT = 128  #: tokens from which a micro-batch counts as a prompt
F32_BYTES = 4


@dataclass(frozen=True)
class Latent:
    """Sizes of latent attention: heads, columns of K that are rotated and that are not, of V, of the latent."""

    heads: int
    rope: int
    nope: int
    v: int
    lora: int

    @classmethod
    def of(cls, b: Block, heads: int = 0) -> "Latent":
        """Those of a layer; ``heads``: of a part of its heads."""
        hp = b.hp
        heads = heads or hp.n_head_by_layer[b.il]
        return cls(heads, hp.n_rot, hp.head_dim_k - hp.n_rot, hp.head_dim_v, hp.kv_lora_rank)

    @property
    def row(self) -> int:
        """Columns of a cached row."""
        return self.rope + self.lora


def _joined(b: Block, rotated: Ref, other: Ref) -> Ref:
    """The rotated and the other part of q or k, in the order in which cached rows have them."""
    return b.t.concat(other, rotated, 0) if b.latent_first else b.t.concat(rotated, other, 0)


@dataclass
class Projected:
    """Parts of query and key of one layer: q and k rotated or not, and the normed latent."""

    q_nope: Ref
    q_rope: Ref
    k_rope: Ref
    latent: Ref


def is_prompt(b: Block) -> bool:
    """Whether prompt paths are taken (pp_opt)."""
    return b.ev.n_tokens >= PROMPT and (not b.cx.newer or b.cx.mla_attn > 1)


def latent_attention(b: Block, cur: Ref, inputs: Inputs) -> Ref:
    """Attention of the normed input ``cur``, projected back to the embedding's width."""
    t = b.t
    p = _projected_2026(b, cur, inputs) if b.cx.newer else _projected_2025(b, cur, inputs)
    if not b.cx.mla_attn:
        return t.named(_full_heads(b, p, inputs), "kqv_out-{il}")
    size = Latent.of(b)
    cache = t.leaf("cache_kv_l{il}" if b.latent_first else "cache_k_l{il}", b.cx.latent_type, (size.row, b.cx.n_ctx))
    transposed = _store_transposed(b, p.latent, size) if b.cx.mla_attn == 1 and not b.cx.flash_attn else None
    store(b, p, cache, size)
    rows = t.named(t.view(cache, (size.row, b.ev.n_kv), (row_size(cache.type, size.row),)), "kv_cache-{il}")
    if b.cx.mla_attn > 1 and b.cx.flash_attn and is_prompt(b):
        cur = _expanded(b, p, cache, inputs.mask, size)
    else:
        cur = _absorbed(b, p, cache, rows, transposed, inputs.mask, size)
    t.expand(cur)
    return t.named(t.mul_mat(b.layer_weight("attn_output.weight"), cur), "kqv_out-{il}")


# --- projections ------------------------------------------------------------------------------------------------------


def _projected_2025(b: Block, cur: Ref, inputs: Inputs) -> Projected:
    t, size = b.t, Latent.of(b)
    if b.optional("attn_q.weight") is not None:
        q = t.named(t.mul_mat(b.layer_weight("attn_q.weight"), cur), "q-{il}")
    else:
        q = t.named(t.mul_mat(b.layer_weight("attn_q_a.weight"), cur), "q-{il}")
        q = b.norm(q, b.layer_weight("attn_q_a_norm.weight"), "q-{il}")
        q = t.named(t.mul_mat(b.layer_weight("attn_q_b.weight"), q), "q-{il}")
    q_nope, q_rope = (t.named(x, name) for x, name in zip(split_query(b, q, size), ("q_nope-{il}", "q_rope-{il}")))
    q_rope = rotated(b, q_rope, inputs, "q_rope-{il}")
    kv = t.named(t.mul_mat(b.layer_weight("attn_kv_a_mqa.weight"), cur), "kv_rope_compresseed-{il}")
    k_rope, latent = split_key(b, kv, size)
    k_rope = rotated(b, t.named(k_rope, "k_rope-{il}"), inputs, "k_rope-{il}")
    t.named(latent, "kv_compressed-{il}")
    latent = b.norm(latent, b.layer_weight("attn_kv_a_norm.weight"), "kv_compressed-{il}")
    return Projected(q_nope, q_rope, k_rope, latent)


def _projected_2026(b: Block, cur: Ref, inputs: Inputs) -> Projected:
    """Both products first; then all views, named and expanded."""
    t, size = b.t, Latent.of(b)
    merged = b.optional("attn_qk_a_mqa.weight")
    lora = b.optional("attn_q_b.weight")
    if merged is not None:
        q, kv = _merged(b, t.named(t.mul_mat(merged, cur), "mqa-{il}"), lora, size)
    else:
        q = t.mul_mat(b.layer_weight("attn_q.weight" if lora is None else "attn_q_a.weight"), cur)
        kv = t.named(t.mul_mat(b.layer_weight("attn_kv_a_mqa.weight"), cur), "kv_rope_compressed-{il}")
        t.expand(t.named(q, "q-{il}"))
        t.expand(kv)
        if lora is not None:
            q = b.norm(q, b.layer_weight("attn_q_a_norm.weight"), "q-{il}")
            q = t.named(t.mul_mat(lora, q), "q-{il}")
    q_nope, q_rope = split_query(b, q, size)
    k_rope, latent = split_key(b, kv, size)
    for ref, name in ((q_nope, "q_nope"), (q_rope, "q_rope"), (k_rope, "k_rope"), (latent, "kv_compressed")):
        t.named(ref, f"{name}-{{il}}")
    t.expand(q_rope)
    t.expand(k_rope)
    q_rope, k_rope = (rotated(b, x, inputs, f"{name}-{{il}}") for x, name in ((q_rope, "q_rope"), (k_rope, "k_rope")))
    t.expand(q_rope)
    t.expand(k_rope)
    latent = b.norm(latent, b.layer_weight("attn_kv_a_norm.weight"), "kv_compressed-{il}")
    return Projected(q_nope, q_rope, k_rope, latent)


def _merged(b: Block, mqa: Ref, lora: Ref | None, size: Latent) -> tuple[Ref, Ref]:
    """-mqkv: q (or its compressed form) and the latent as views of one product."""
    t, n, row = b.t, b.ev.n_tokens, mqa.nb[1]
    columns = mqa.ne[0] - size.row
    q = t.view(mqa, (columns, n), (row,))
    if lora is not None:
        q = b.norm(q, b.layer_weight("attn_q_a_norm.weight"))
        q = t.named(t.mul_mat(lora, q), "q-{il}")
    return q, t.view(mqa, (size.row, n), (row,), offs=F32_BYTES * columns)


def split_query(b: Block, q: Ref, size: Latent) -> tuple[Ref, Ref]:
    """The part of each head that is not rotated, and the part that is: views [columns, heads, tokens]."""
    t, n, head = b.t, b.ev.n_tokens, F32_BYTES * (size.nope + size.rope)
    nope = t.view(q, (size.nope, size.heads, n), (head, q.nb[1]))
    return nope, t.view(q, (size.rope, size.heads, n), (head, q.nb[1]), offs=F32_BYTES * size.nope)


def split_key(b: Block, kv: Ref, size: Latent) -> tuple[Ref, Ref]:
    """The rotated part of the key, one for all heads, and the latent: views."""
    t, n, row = b.t, b.ev.n_tokens, kv.nb[1]
    rope = t.view(kv, (size.rope, 1, n), (row, row), offs=F32_BYTES * size.lora)
    return rope, t.view(kv, (size.lora, n), (row,))


def rotated(b: Block, x: Ref, inputs: Inputs, name: str | None = None) -> Ref:
    """ROPE of neighbouring pairs, with the factor that undoes YaRN's own."""
    return b.t.like("ROPE", x, inputs.pos, name=name, mode=0, **dict(b.cx.rope))


# --- cache ------------------------------------------------------------------------------------------------------------


def store(b: Block, p: Projected, cache: Ref, size: Latent, hadamard: int = 0, name: str | None = "kvr-{il}") -> None:
    """Writes [rotated K, latent] into the cache."""
    t, stride = b.t, row_size(cache.type, size.row)
    row = _joined(b, t.permute(p.k_rope, 0, 2, 1, 3), p.latent)
    if name is not None:
        t.named(row, name)
    if hadamard:
        row = t.like("HADAMARD", row, block=hadamard)
    to = t.view(cache, (size.row, b.ev.n_tokens), (stride,), offs=stride * b.ev.kv_head, kv_stride=stride)
    t.expand(t.cpy(row, to))


def _store_transposed(b: Block, latent: Ref, size: Latent) -> Ref:
    """-mla 1 without flash attention: the latent is cached once more, transposed; a view of what is cached."""
    t, cx = b.t, b.cx
    cache = t.leaf("cache_kvt_l{il}" if b.latent_first else "cache_v_l{il}", cx.type_v, (size.lora * cx.n_ctx,))
    stride, cell = row_size(cache.type, cx.n_ctx), row_size(cache.type, 1)
    to = t.view(cache, (b.ev.n_tokens, size.lora), (stride,), offs=cell * b.ev.kv_head, kv_stride=cell)
    t.named(to, "kv_cache_trans_view-{il}")
    t.expand(t.cpy(t.transpose(latent), to))
    return t.named(t.view(cache, (b.ev.n_kv, size.lora), (stride,)), "kv_cache_trans-{il}")


def cached_latent(b: Block, cache: Ref, size: Latent, name: str | None = None) -> Ref:
    """The latent part of all cached rows."""
    t, stride = b.t, row_size(cache.type, size.row)
    offs = 0 if b.latent_first else row_size(cache.type, size.rope)
    ref = t.view(cache, (size.lora, b.ev.n_kv), (stride,), offs=offs)
    return ref if name is None else t.named(ref, name)


# --- prompts: full heads ----------------------------------------------------------------------------------------------


def heads_at_once(b: Block, heads: int, columns: int) -> int:
    """How many heads are expanded at a time, so that their f32 values keep within -amb MiB.

    June 2025 halves the number while it is even; August 2026 takes the smallest divisor that does, else single heads.
    """
    limit, mib = b.cx.attn_max_batch, columns * b.ev.n_kv * F32_BYTES // MIB
    if limit <= 0 or mib <= limit:
        return heads
    if b.cx.newer:
        return next((heads // i for i in range(2, heads) if heads % i == 0 and mib // i <= limit), 1)
    at_once = heads
    while at_once % 2 == 0 and mib > limit:
        at_once, mib = at_once // 2, mib // 2
    return at_once


def _expanded(b: Block, p: Projected, cache: Ref, mask: Ref, size: Latent) -> Ref:
    """K and V of some heads at a time, from the cached latent; flash attention over them."""
    t, n_kv = b.t, b.ev.n_kv
    latent = cached_latent(b, cache, size)
    kv_b = b.layer_weight("attn_kv_b.weight")
    part = heads_at_once(b, size.heads, kv_b.ne[1])
    per_head = kv_b.ne[1] // size.heads
    kind = F16 if b.gpus else cache.type
    offs = row_size(cache.type, size.lora) if b.latent_first else 0
    rope = t.view(cache, (size.rope, n_kv, 1), (cache.nb[1], cache.nb[2]), offs=offs)
    if rope.type != kind:
        rope = t.cast(rope, F16)
    rope = t.named(t.repeat(rope, (size.rope, n_kv, part)), "k_rope-{il}")
    q = t.named(t.permute(_joined(b, p.q_rope, p.q_nope), 0, 2, 1, 3), "q_concat-{il}")
    t.expand(q)
    cur: Ref | None = None
    for first in range(0, size.heads, part):
        some = t.view(kv_b, (kv_b.ne[0], per_head * part), (kv_b.nb[1],), offs=kv_b.nb[1] * per_head * first)
        kv = t.named(t.mul_mat(some, latent), "kv_f32-{il}")
        k, v = _keys_and_values(b, kv, rope, kind, part, size)
        query = t.view(q, (q.ne[0], q.ne[1], part), (q.nb[1], q.nb[2]), offs=q.nb[2] * first)
        kqv = t.flash_attn(query, k, v, mask, scale=b.cx.kq_scale, max_bias=0.0, logit_softcap=0.0)
        merged = t.reshape(t.named(kqv, "kqv-{il}"), (size.v * part, b.ev.n_tokens))
        cur = merged if cur is None else t.concat(cur, merged, 0)
        if b.cx.newer:
            t.expand(cur)
    assert cur is not None
    return cur


def _keys_and_values(b: Block, kv: Ref, rope: Ref, kind: int, heads: int, size: Latent) -> tuple[Ref, Ref]:
    t, n_kv, head = b.t, b.ev.n_kv, F32_BYTES * (size.nope + size.v)
    strides = (head * heads, head)
    v = t.named(t.view(kv, (size.v, n_kv, heads), strides, offs=F32_BYTES * size.nope), "v_f32-{il}")
    k = t.named(t.view(kv, (size.nope, n_kv, heads), strides), "k_nope_f32-{il}")
    v = t.named(t.cast(v, kind), "v-{il}")
    k = t.named(t.cast(k, kind), "k_nope-{il}")
    t.expand(k)
    t.expand(v)
    k = t.named(_joined(b, rope, k), "k-{il}")
    t.expand(k)
    return k, v


# --- absorbed ---------------------------------------------------------------------------------------------------------


def _absorbed(
    b: Block, p: Projected, cache: Ref, rows: Ref, transposed: Ref | None, mask: Ref, size: Latent
) -> Ref:
    """The query meets cached rows as they are: k_b before attention, v_b after it."""
    t, cx, n = b.t, b.cx, b.ev.n_tokens
    k_b = b.layer_weight("attn_k_b.weight")
    if k_b.ne[1] != size.lora:
        k_b = t.reshape(k_b, (size.nope, size.lora, size.heads))
    q = t.mul_mat(k_b, t.named(t.permute(p.q_nope, 0, 2, 1, 3), "q_nope_perm-{il}"))
    t.named(q, "q_nope2-{il}")
    q = t.named(_joined(b, t.permute(p.q_rope, 0, 2, 1, 3), q), "q-{il}")
    if cx.flash_attn and cx.mla_attn in (1, 3):
        latent = cached_latent(b, cache, size, "kv_cache_lora-{il}")
        cur = t.flash_attn(q, rows, latent, mask, scale=cx.kq_scale, max_bias=0.0, logit_softcap=0.0)
        cur = t.permute(t.named(cur, "kqv_compressed-{il}"), 0, 2, 1, 3)
        t.named(cur, "kqv_compressed_perm-{il}")
    else:
        if transposed is None:
            latent = cached_latent(b, cache, size)
            t.named(rows, "kv_cache_lora-{il}")  # the reference names the whole rows
            transposed = t.named(t.cont(t.transpose(latent)), "kv_cache_trans-{il}")
        cur = _scores(b, q, rows, transposed, mask)
    v_b = b.layer_weight("attn_v_b.weight")
    if v_b.ne[1] != size.v:
        v_b = t.named(t.reshape(v_b, (size.lora, size.v, size.heads)), "wv_b-{il}")
    cur = t.named(t.mul_mat(v_b, cur), "kqv-{il}")
    if n > 1 or not cx.newer:
        cur = t.named(t.cont(t.permute(cur, 0, 2, 1, 3)), "kqv_perm-{il}")
    shape = (size.v * size.heads, n)
    merged = t.reshape(cur, shape) if cx.newer else t.view(cur, shape, (F32_BYTES * shape[0],))
    return t.named(merged, "kqv_2d-{il}")


def _scores(b: Block, q: Ref, rows: Ref, transposed: Ref, mask: Ref) -> Ref:
    """Scores, softmax and product as ops of their own; some heads at a time if -amb asks for it."""
    t, limit = b.t, b.cx.attn_max_batch
    soft_max = {"scale": b.cx.kq_scale, "max_bias": 0.0}
    mib = rows.ne[1] * q.ne[1] * q.ne[2] * F32_BYTES // MIB
    if limit > 0 and mib > limit:
        return _scores_by_part(b, q, rows, transposed, mask, -(-mib // limit), soft_max)
    turn = not is_prompt(b)
    if turn:
        q = t.named(t.permute(q, 0, 2, 1, 3), "q_perm-{il}")
    kq = t.named(t.mul_mat(rows, q), "kq-{il}")
    if turn:
        kq = t.named(t.cont(t.permute(kq, 0, 2, 1, 3)), "kq_perm-{il}")
    kq = t.like("SOFT_MAX", kq, mask, name="kq_soft_max_ext-{il}", **soft_max)
    if turn:
        kq = t.named(t.permute(kq, 0, 2, 1, 3), "kq_soft_max_ext_perm-{il}")
    cur = t.named(t.mul_mat(transposed, kq), "kqv_compressed-{il}")
    return t.named(t.permute(cur, 0, 2, 1, 3), "kqv_compressed_perm-{il}") if turn else cur


def _scores_by_part(
    b: Block, q: Ref, rows: Ref, transposed: Ref, mask: Ref, parts: int, soft_max: dict[str, float]
) -> Ref:
    t, heads = b.t, q.ne[2]
    part = -(-heads // min(parts, heads))
    result: Ref | None = None
    for first in range(0, heads, part):
        shape = (q.ne[0], q.ne[1], min(part, heads - first))
        some = t.view(q, shape, (q.nb[1], q.nb[2]), offs=q.nb[2] * first)
        kq = t.like("SOFT_MAX", t.mul_mat(rows, some), mask, **soft_max)
        kqv = t.mul_mat(transposed, kq)
        result = kqv if result is None else t.concat(result, kqv, 2)
        t.expand(result)
    assert result is not None
    return t.named(result, "kqv_compressed-{il}")


# --- without a latent cache -------------------------------------------------------------------------------------------


def _full_heads(b: Block, p: Projected, inputs: Inputs) -> Ref:
    """-mla 0: K and V of all heads are computed and cached."""
    t, n, size = b.t, b.ev.n_tokens, Latent.of(b)
    kv = t.named(t.mul_mat(b.layer_weight("attn_kv_b.weight"), p.latent), "kv-{il}")
    head = F32_BYTES * (size.nope + size.v)
    k = t.named(t.view(kv, (size.nope, size.heads, n), (head, head * size.heads)), "k_nope-{il}")
    v = t.view(kv, (size.v, size.heads, n), (head, head * size.heads), offs=F32_BYTES * size.nope)
    v = t.named(t.cont(t.named(v, "v_states-{il}")), "v_states-{il}")
    v = t.named(t.view(v, (size.v * size.heads, n), (F32_BYTES * size.v * size.heads,)), "v_states-{il}")
    q = t.named(t.concat(p.q_nope, p.q_rope, 0), "q_states-{il}")
    k_rope = t.repeat(p.k_rope, p.q_rope.ne)
    k = t.named(t.concat(k, k_rope, 0), "k_states-{il}")
    return attend(b, q, k, v, inputs)
