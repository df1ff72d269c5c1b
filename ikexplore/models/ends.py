"""What comes before the first and after the last layer of a graph."""

from math import sqrt

from ..graph.template import Ref, Template
from ..graph.types import F16, F32, I32
from .blocks import Block, Inputs
from .traits import Traits


def first(b: Block, traits: Traits) -> tuple[Template, Ref, Inputs]:
    """The first template: inputs, masks in the type that attention reads, and the embedding, which is its last row."""
    t, at, cx, hp = b.t, b.ev, b.cx, b.hp
    tokens = t.input("inp_tokens", I32, (at.n_tokens,))
    pos = t.input("inp_pos", I32, (at.n_tokens * traits.positions,))
    mask, swa = (_mask(b, name).as_global() for name in ("KQ_mask", "KQ_mask_swa"))
    scale = t.input("inp_scale", F32, (1, 1, at.n_tokens)) if traits.temperature and hp.attn_temp_scale else None
    single = cx.newer and at.n_tokens == 1 and not traits.selects_one
    ids = None if single else t.input("inp_out_ids", I32, (at.n_outputs,)).as_global()
    embd = t.get_rows(b.need("token_embd.weight"), tokens)
    if hp.embedding_scale:
        embd = t.like("SCALE", embd, scale=hp.embedding_scale)
    alone = hp.n_layer_run == 1 and ids is not None
    # the feed-forward of cohere2 gives its input a name, in August 2026
    t.named(embd, "ffn_norm-0" if hp.arch == "cohere2" and cx.newer and not alone else "inp_embd")
    if traits.scaled:
        embd = t.like("SCALE", embd, name="inp_scaled", scale=sqrt(hp.n_embd))
    factor = None if scale is None else scale.as_global()
    return t, embd, Inputs(pos.as_global(), mask, ids, swa if any(hp.window_by_layer) else None, factor)


def _mask(b: Block, name: str) -> Ref:
    """A mask [cells, tokens rounded up]; June 2025 makes it in f32 and casts it for flash attention."""
    mask = b.t.input(name, b.cx.mask_type, (b.ev.n_kv, b.cx.n_mask(b.ev.n_tokens)))
    return b.t.cast(mask, F16) if b.cx.flash_attn and mask.type != F16 else mask


def head(b: Block, x: Ref, traits: Traits) -> Template:
    """Final norm and output; without an output matrix the embedding is used once more."""
    t, hp = b.t, b.hp
    weight = b.need("output_norm.weight")
    if traits.layer_norm:
        cur = b.layer_norm(x, weight, "result_norm", plain="norm")
    else:
        cur = b.norm(x, weight, "result_embd_pooled" if hp.n_nextn else "result_norm")
    after = hp.logit_scale if hp.arch in _LOGIT_SCALE else 0.0
    if after and traits.layer_norm and b.cx.newer:  # August 2026 scales the norm, which is smaller than the result
        cur, after = t.like("SCALE", cur, name="result_norm_scaled", scale=after), 0.0
    output = b.find("output.weight")
    cur = t.mul_mat(output if output is not None else b.need("token_embd.weight"), cur)
    if after:
        cur = t.like("SCALE", cur, scale=after if traits.layer_norm else 1 / after)
    if hp.final_softcap:
        cur = t.like("SOFTCAP", cur, before=1 / hp.final_softcap, after=hp.final_softcap)
    t.expand(t.named(cur, "result_output"))
    return t


#: architectures whose graph scales the logits: cohere2 multiplies, granite divides
_LOGIT_SCALE = ("cohere2", "granite", "granitemoe")
