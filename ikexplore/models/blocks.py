"""Blocks that graph builders share: norms and attention, in the order and under the names of the reference.

Sources: llm_build_* of ik_llama.cpp, at d345a15 (June 2025) and 8337e4c (August 2026). Where the two differ, functions
come in pairs. Names are given when the reference gives them: ggml derives the names of views from them.
"""

from dataclasses import dataclass
from typing import Any

from ..errors import ModelError
from ..graph.template import Ref, Template
from ..graph.types import BLOCK_BYTES, row_size
from .columns import Columns
from .context import Context
from .hparams import HParams


@dataclass(frozen=True)
class Evaluation:
    """What one evaluation computes: tokens, cells of the cache that it reads, rows of output, first cell written."""

    n_tokens: int
    n_kv: int
    n_outputs: int
    kv_head: int


@dataclass(frozen=True)
class Inputs:
    """Tensors that all layers share, as other templates see them."""

    pos: Ref
    mask: Ref
    out_ids: Ref | None  #: None: all tokens give output (a single token, since August 2026)
    mask_swa: Ref | None = None  #: mask of layers that see a window of the last positions only
    scale: Ref | None = None  #: a factor per token (temperature of attention)


@dataclass
class Block:
    """A template in the making for layers like ``il``, and what its functions need to know."""

    t: Template
    hp: HParams
    cx: Context
    cols: Columns
    ev: Evaluation
    il: int = -1
    corrected: bool = False
    gpus: bool = False  #: the engine has a GPU backend
    n_parts: int = 0  #: GPUs among which layers are divided (-sm graph)
    main_gpu: int = 0
    part: int | None = None  #: the GPU whose parts of the weights are meant
    latent_first: bool = False  #: rows of the latent cache as before May 30 2025; see ``mla``
    pin_norms: bool = True  #: a NORM is put on its layer's backend (few tokens, or everything on GPUs)

    def find(self, pattern: str) -> Ref | None:
        """The weight of this layer (``{il}`` in ``pattern``) or of the model; None where the model has none.

        With ``part`` set it is that GPU's part, if the weight is divided.
        """
        if self.part is not None and self.rows(f"{pattern}.{self.part}") >= 0:
            pattern = f"{pattern}.{self.part}"
        row = self.rows(pattern)
        if row < 0:
            return None
        name = pattern if "{il}" in pattern else self.cols.names[row]
        return self.t.weight(name, pattern, int(self.cols.type_id[row]), tuple(self.cols.ne[row].tolist()))

    def rows(self, pattern: str) -> int:
        """The row of ``cols`` that this layer has under a pattern; -1 for none."""
        return int(self.cols.rows(pattern)[self.il])

    def need(self, pattern: str) -> Ref:
        """As ``find``; raises ModelError where the model has none."""
        found = self.find(pattern)
        if found is None:
            name = pattern.replace("{il}", str(self.il))
            raise ModelError(f"the model has no tensor {name!r}; its architecture {self.hp.arch!r} needs it")
        return found

    def layer_weight(self, role: str) -> Ref:
        return self.need(f"blk.{{il}}.{role}")

    def optional(self, role: str) -> Ref | None:
        return self.find(f"blk.{{il}}.{role}")

    @property
    def window(self) -> int:
        """Positions that a token of this layer sees, itself included; 0: all."""
        return self.hp.window_by_layer[self.il]

    @property
    def last(self) -> bool:
        return self.il == self.hp.n_layer_run - 1

    def selected(self, inputs: Inputs, *refs: Ref) -> tuple[Ref, ...]:
        """In the last layer the rows that give output; in all others the tensors as they are."""
        if not self.last or inputs.out_ids is None:
            return refs
        return tuple(self.t.get_rows(ref, inputs.out_ids) for ref in refs)

    def layer_norm(self, x: Ref, weight: Ref, name: str | None = None, plain: str = "norm-{il}") -> Ref:
        """llm_build_norm with LLM_NORM: a NORM, which stays with its layer, times the weight."""
        pinned = {} if plain == "norm" or not self.pin_norms else {"backend": "layer"}
        cur = self.t.like("NORM", x, name=plain, eps=self.hp.norm_eps, **pinned)
        return self.t.like("MUL", cur, weight, name=name)

    def norm(self, x: Ref, weight: Ref, name: str | None = None, **params: Any) -> Ref:
        """llm_build_norm for RMS norms with a weight; the result is f32 whatever ``x`` is."""
        return self.t.norm(x, weight, name=name, eps=self.hp.rms_eps, **params)

    def biased(self, x: Ref, role: str, name: str) -> Ref:
        """``x`` plus the bias of this role where the model has one."""
        bias = self.optional(role)
        return x if bias is None else self.t.named(self.t.like("ADD", x, bias), name)


# --- attention --------------------------------------------------------------------------------------------------------


def attention_2025(
    b: Block, x: Ref, inputs: Inputs, rope_mode: int, normed: Ref | None = None, rope: bool = True,
    q_scale: float = 0.0, select: bool = True, biased_output: bool = True,
) -> tuple[Ref, Ref]:  # fmt: skip
    """Attention of one layer; returns its result and the layer's input, both for the rows that give output.

    normed: the normed input, where it is no RMS norm. rope: False for
    layers that do not rotate. q_scale: a factor of the query. select: False leaves all rows. biased_output: False for
    architectures that leave out a bias of the output.
    """
    t, hp, n = b.t, b.hp, b.ev.n_tokens
    cur = b.norm(x, b.layer_weight("attn_norm.weight"), "attn_norm-{il}") if normed is None else normed
    factors = b.find("rope_freqs.weight")
    heads = {"Qcur": hp.n_head_by_layer[b.il], "Kcur": hp.n_head_kv_by_layer[b.il]}
    made = {}
    for name, role in (("Qcur", "attn_q"), ("Kcur", "attn_k"), ("Vcur", "attn_v")):
        ref = t.mul_mat(b.layer_weight(f"{role}.weight"), cur)
        if q_scale and name == "Qcur":
            ref = t.like("SCALE", ref, scale=q_scale)
        made[name] = b.biased(t.named(ref, f"{name}-{{il}}"), f"{role}.bias", f"{name}-{{il}}")
    for name, role in (("Qcur", "attn_q_norm"), ("Kcur", "attn_k_norm")):
        ref = t.reshape(made[name], (hp.head_dim_k, heads[name], n))
        weight = b.optional(f"{role}.weight")
        if weight is not None:
            ref = b.norm(ref, weight, f"{name}_normed-{{il}}")
        if rope:
            ref = rotated(b, ref, inputs, factors, rope_mode, f"{name}-{{il}}")
        made[name] = t.named(ref, f"{name}-{{il}}")
    cur = attend(b, made["Qcur"], made["Kcur"], made["Vcur"], inputs, biased_output=biased_output)
    t.named(cur, "kqv_out-{il}")
    if select:
        cur, x = b.selected(inputs, cur, x)
    return cur, x


def attention_2026(
    b: Block, x: Ref, inputs: Inputs, rope_mode: int, normed: Ref | None = None, rope: bool = True,
    q_scale: float = 0.0, select: bool = True,
) -> Ref:  # fmt: skip
    """Attention of one layer with the layer's input added (build_std_attention); see ``attention_2025``."""
    t = b.t
    cur = b.norm(x, b.layer_weight("attn_norm.weight"), "attn_norm-{il}") if normed is None else normed
    q, k, v = qkv_2026(b, cur, q_scale)
    factors = b.find("rope_freqs.weight")
    if rope:
        q, k = (rotated(b, ref, inputs, factors, rope_mode, own_base=True) for ref in (q, k))
    t.named(q, "Qcur_roped-{il}")
    t.named(k, "Kcur_roped-{il}")
    if inputs.scale is not None:
        q = t.like("MUL", q, inputs.scale, name="Qcur_temp_scaled-{il}")
    cur = t.named(attend(b, q, k, v, inputs, b.optional("attn_sinks.weight")), "kqv_out-{il}")
    if select and b.last and inputs.out_ids is not None:
        cur = t.get_rows(cur, inputs.out_ids)
        x = t.named(t.get_rows(x, inputs.out_ids), "sainp_get_rows-{il}")
    t.named(cur, "attn_out-{il}")
    return t.like("ADD", cur, x)


def hadamard_size(head_dim: int) -> int:
    """Columns that one Hadamard transform of a head covers; 0: this head size has none."""
    if head_dim & -head_dim == head_dim:
        return head_dim
    return next((size for size in (512, 256, 128, 64) if head_dim % size == 0), 0)


def qkv_2026(b: Block, cur: Ref, q_scale: float = 0.0) -> tuple[Ref, Ref, Ref]:
    """llm_build_mul_mat_qkv: all products first; q and k come as [head_dim, heads, tokens], normed where the model does."""
    for merged in ("attn_qkv", "attn_qk"):
        if b.optional(f"{merged}.weight") is not None:
            return _qkv_merged(b, cur, merged)
    q, k, v = products_2026(b, cur, q_scale, shaped=True)
    return head_norm(b, q, "q"), head_norm(b, k, "k"), v


def products_2026(b: Block, cur: Ref, q_scale: float = 0.0, shaped: bool = False) -> tuple[Ref, Ref, Ref]:
    """q, k and v with their biases, as rows; ``shaped``: q and k as [head_dim, heads, tokens]."""
    t, hp, n = b.t, b.hp, b.ev.n_tokens
    made = []
    for name, role in (("Qcur", "attn_q"), ("Kcur", "attn_k"), ("Vcur", "attn_v")):
        made.append(t.named(t.mul_mat(b.layer_weight(f"{role}.weight"), cur), f"{name}-{{il}}"))
    for ref in made:
        t.expand(ref)
    if q_scale:
        made[0] = t.like("SCALE", made[0], name="Qcur-{il}", scale=q_scale)
    for i, (name, role) in enumerate((("Qcur", "attn_q"), ("Kcur", "attn_k"), ("Vcur", "attn_v"))):
        biased = b.biased(made[i], f"{role}.bias", f"{name}-{{il}}")
        if biased is not made[i]:
            t.expand(biased)
            made[i] = biased
    if shaped:
        for i, heads in enumerate((hp.n_head_by_layer[b.il], hp.n_head_kv_by_layer[b.il])):
            made[i] = t.reshape(made[i], (hp.head_dim_k, heads, n))
    return made[0], made[1], made[2]


def head_norm(b: Block, x: Ref, which: str) -> Ref:
    weight = b.optional(f"attn_{which}_norm.weight")
    return x if weight is None else b.norm(x, weight, f"{which.upper()}cur_normed-{{il}}")


def _qkv_merged(b: Block, cur: Ref, name: str) -> tuple[Ref, Ref, Ref]:
    """-mqkv: one product for q and k, and v too where all three types are equal."""
    t, hp, n = b.t, b.hp, b.ev.n_tokens
    n_head, n_head_kv, size = hp.n_head_by_layer[b.il], hp.n_head_kv_by_layer[b.il], hp.head_dim_k
    merged = b.layer_weight(f"{name}.weight")
    with_v = merged.ne[1] > size * (n_head + n_head_kv)
    qkv = t.named(t.mul_mat(merged, cur), "qkv-{il}")
    qkv = b.biased(qkv, f"{name}.bias", "qkv_b-{il}")
    v = None
    if not with_v:
        v = t.named(t.mul_mat(b.layer_weight("attn_v.weight"), cur), "Vcur-{il}")
        v = b.biased(v, "attn_v.bias", "Vcur-{il}")
        t.expand(qkv)
        t.expand(v)
    row = qkv.nb[1]
    q = t.named(t.view(qkv, (size, n_head, n), (4 * size, row)), "Qcur-{il}")
    k = t.named(t.view(qkv, (size, n_head_kv, n), (4 * size, row), offs=4 * size * n_head), "Kcur-{il}")
    if v is None:
        offs = 4 * size * (n_head + n_head_kv)
        v = t.named(t.view(qkv, (hp.head_dim_v * n_head_kv, n), (row,), offs=offs), "Vcur-{il}")
    for which, ref in (("q", q), ("k", k)):
        normed = head_norm(b, ref, which)
        if normed is not ref:
            t.expand(normed)
        q, k = (normed, k) if which == "q" else (q, normed)
    return q, k, v


def rotated(
    b: Block, x: Ref, inputs: Inputs, factors: Ref | None, mode: int, name: str | None = None, own_base: bool = False
) -> Ref:
    """ROPE of q or k; ``factors`` divide the frequencies.

    mode: as in ggml: 0 neighbours, 2 halves, 8 and 40 with several positions per token. own_base: layers with a window
    keep the base that the model was trained with.
    """
    params = dict(b.cx.rope)
    if b.window and b.hp.rope_swa is not None:
        params["freq_base"], params["freq_scale"] = b.hp.rope_swa
    elif b.window and own_base:
        params["freq_base"] = b.hp.rope_freq_base
    return b.t.like("ROPE", x, inputs.pos, factors, name=name, mode=mode, **params)


def attend(
    b: Block, q: Ref, k: Ref, v: Ref, inputs: Inputs, sinks: Ref | None = None, biased_output: bool = True, tell: bool = True
) -> Ref:
    """llm_build_kv: writes k and v into the cache, attends, projects.

    biased_output: as in ``attention_2025``; tell: False where the architecture keeps the window from the kernel.
    """
    t, mask = b.t, inputs.mask_swa if b.window else inputs.mask
    assert mask is not None
    if b.cx.k_hadamard and (size := hadamard_size(b.hp.head_dim_k)):
        q = t.like("HADAMARD", q, name="Qcur_hadamard-{il}", block=size)
        k = t.like("HADAMARD", k, name="Kcur_hadamard-{il}", block=size)
    if b.cx.v_hadamard and (size := hadamard_size(b.hp.head_dim_v)):
        v = t.like("HADAMARD", v, block=size)
    for ref in (q, k, v):
        t.expand(ref)
    n_kv_heads = b.hp.n_head_kv_by_layer[b.il]
    k_cache = t.leaf("cache_k_l{il}", b.cx.type_k, (b.hp.head_dim_k, n_kv_heads * b.cx.n_ctx))
    v_cache = t.leaf("cache_v_l{il}", b.cx.type_v, (b.hp.head_dim_v * n_kv_heads * b.cx.n_ctx,))
    _store(b, k, v, k_cache, v_cache)
    if b.cx.flash_attn:
        cur = _flash_attention(b, q, k_cache, v_cache, mask, sinks, tell)
    else:
        cur = _attention(b, q, k_cache, v_cache, mask, sinks)
    t.expand(cur)
    cur = t.mul_mat(b.layer_weight("attn_output.weight"), cur)
    bias = b.optional("attn_output.bias") if biased_output else None
    if bias is not None:
        t.named(cur, "kqv_wo-{il}")
        cur = t.like("ADD", cur, bias)
    return cur


def _store(b: Block, k: Ref, v: Ref, k_cache: Ref, v_cache: Ref) -> None:
    """llm_build_kv_store. Without flash attention V is cached transposed: a row per column of the head."""
    t, cx, n, head = b.t, b.cx, b.ev.n_tokens, b.ev.kv_head
    n_kv_heads = b.hp.n_head_kv_by_layer[b.il]
    store_heads(b, k, k_cache, n_kv_heads)
    columns = b.hp.head_dim_v * n_kv_heads
    if cx.flash_attn:
        store_columns(b, v, v_cache, columns, "v_cache_view-{il}")
        return
    stride = int(BLOCK_BYTES[v_cache.type])
    to = t.view(v_cache, (n, columns), (cx.n_ctx * stride,), offs=stride * head, kv_stride=stride)
    t.expand(t.cpy(t.transpose(v), t.named(to, "v_cache_view-{il}")))


def store_heads(b: Block, k: Ref, cache: Ref, heads: int) -> None:
    """Writes ``k`` into the cells of its cache, head by head."""
    row = row_size(cache.type, b.hp.head_dim_k)
    stride, shape = row * heads, (b.hp.head_dim_k, b.ev.n_tokens * heads)
    to = b.t.view(cache, shape, (row,), offs=stride * b.ev.kv_head, kv_stride=stride)
    b.t.expand(b.t.cpy(k, to))


def store_columns(b: Block, v: Ref, cache: Ref, columns: int, name: str) -> None:
    """Writes ``v`` into the cells of its cache, all heads as one row."""
    stride = row_size(cache.type, columns)
    to = b.t.view(cache, (b.ev.n_tokens * columns,), offs=stride * b.ev.kv_head, kv_stride=stride)
    b.t.expand(b.t.cpy(v, b.t.named(to, name)))


def _k_view(b: Block, k_cache: Ref) -> Ref:
    n_kv_heads = b.hp.n_head_kv_by_layer[b.il]
    row = row_size(k_cache.type, b.hp.head_dim_k)
    k = b.t.view(k_cache, (b.hp.head_dim_k, b.ev.n_kv, n_kv_heads), (row * n_kv_heads, row))
    return b.t.named(k, "k-{il}")


def _window(b: Block) -> dict[str, int]:
    return {"n_swa": b.window} if b.window else {}


def _flash_attention(b: Block, q: Ref, k_cache: Ref, v_cache: Ref, mask: Ref, sinks: Ref | None, tell: bool) -> Ref:
    t, hp = b.t, b.hp
    known = {"scale": b.cx.kq_scale, "max_bias": 0.0, "logit_softcap": hp.attn_softcap, **(_window(b) if tell else {})}
    n_kv_heads, n_head = hp.n_head_kv_by_layer[b.il], hp.n_head_by_layer[b.il]
    q = t.named(t.permute(q, 0, 2, 1, 3), "q-{il}")
    k = _k_view(b, k_cache)
    strides = (row_size(v_cache.type, hp.head_dim_v * n_kv_heads), row_size(v_cache.type, hp.head_dim_v))
    v = t.named(t.view(v_cache, (hp.head_dim_v, b.ev.n_kv, n_kv_heads), strides), "v-{il}")
    cur = t.flash_attn(q, k, v, mask, sinks, **known)
    if b.cx.newer:
        t.named(cur, "fa-{il}")
    if b.cx.v_hadamard and (size := hadamard_size(hp.head_dim_v)):
        cur = t.like("HADAMARD", cur, name="fa_h-{il}", block=size)
    return t.reshape(cur, (hp.head_dim_v * n_head, b.ev.n_tokens))


def _attention(b: Block, q: Ref, k_cache: Ref, v_cache: Ref, mask: Ref, sinks: Ref | None) -> Ref:
    """Scores, softmax and product as ops of their own; head by head if -amb asks for it and no head shares its K."""
    t, hp, cx, n_kv = b.t, b.hp, b.cx, b.ev.n_kv
    n_kv_heads, n_head = hp.n_head_kv_by_layer[b.il], hp.n_head_by_layer[b.il]
    q = t.named(t.permute(q, 0, 2, 1, 3), "q-{il}")
    k = _k_view(b, k_cache)
    row = int(BLOCK_BYTES[v_cache.type]) * cx.n_ctx
    v = t.named(t.view(v_cache, (n_kv, hp.head_dim_v, n_kv_heads), (row, row * hp.head_dim_v)), "v-{il}")
    mib = n_kv * q.ne[1] * q.ne[2] * 4 // 2**20
    if cx.attn_max_batch == 0 or cx.attn_max_batch >= mib or n_kv_heads != n_head or sinks is not None:
        kq = t.named(t.mul_mat(k, q), "kq-{il}")
        kq = t.named(_soft_max(b, kq, mask, sinks), "kq_soft_max_ext-{il}")
        kqv = t.named(t.mul_mat(v, kq), "kqv-{il}")
    else:
        kqv = _head_by_head(b, q, k, v, mask)
    merged = t.named(t.permute(kqv, 0, 2, 1, 3), "kqv_merged-{il}")
    pinned = {} if cx.offload_kqv else {"backend": "CPU"}
    cur = t.cont(merged, (hp.head_dim_v * n_head, b.ev.n_tokens), **pinned)
    return t.named(cur, "kqv_merged_cont-{il}")


def _soft_max(b: Block, kq: Ref, mask: Ref, sinks: Ref | None = None) -> Ref:
    """Scores to weights; models with a soft cap squash the scores first, in the same op."""
    params: dict[str, Any] = {"scale": b.cx.kq_scale, "max_bias": 0.0, **_window(b)}
    if not b.hp.attn_softcap:
        return b.t.like("SOFT_MAX", kq, mask, sinks, **params)
    return b.t.like("SOFT_CAP_MAX", kq, mask, **params, softcap=b.hp.attn_softcap)


def _head_by_head(b: Block, q: Ref, k: Ref, v: Ref, mask: Ref) -> Ref:
    t = b.t
    result: Ref | None = None
    for head in range(q.ne[2]):
        k_i, q_i, v_i = (_head(t, x, head) for x in (k, q, v))
        kqv = t.mul_mat(v_i, _soft_max(b, t.mul_mat(k_i, q_i), mask))
        result = kqv if result is None else t.concat(result, kqv, 2)
    assert result is not None
    return result


def _head(t: Template, x: Ref, head: int) -> Ref:
    return t.view(x, (x.ne[0], x.ne[1], 1), (x.nb[1], x.nb[2]), offs=x.nb[2] * head)
