"""What settings mean for a model: the numbers with which the reference makes its context (llama_context_params)."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import SettingsError
from ..graph.types import BF16, BLOCK, F16, F32, QUANTIZED, type_id, type_name
from ..settings import Settings
from ..settings.declare import NEW
from ..settings.resolve import MASK_PAD
from .hparams import HParams
from .model import Model
from .traits import traits_of


@dataclass(frozen=True)
class Context:
    """Numbers that hold for all evaluations of one model with one set of switches."""

    profile: str
    n_ctx: int  #: cells of the KV cache, rounded up as the reference does
    n_batch: int
    n_ubatch: int
    n_seq_max: int
    n_outputs_reserved: int  #: rows of output for which buffers are reserved (-wgt); 0: all tokens
    flash_attn: bool
    attn_max_batch: int  #: MiB
    fused_moe: bool
    fused_up_gate: bool
    fused_mmad: bool
    smart_expert_reduction: tuple[int, float] | None  #: -ser; the graphs of 2026-08 do without
    k_hadamard: bool
    v_hadamard: bool
    type_k: int  #: ggml type id
    type_v: int
    reduce_type: int  #: ggml type id in which -sm graph adds up parts
    mla_attn: int  #: -mla as it is in effect; 0 for models without latent attention
    kq_scale: float  #: factor of attention's scores
    offload_kqv: bool
    offload_batch: int  #: tokens, or rows, from which a GPU fetches host weights
    offload_batch_per_byte: float | None
    rope: tuple[tuple[str, Any], ...]  #: parameters of ROPE without its mode
    split_mode: str = "layer"  #: -sm as it is in effect

    @property
    def newer(self) -> bool:
        """Whether the rules of August 2026 hold."""
        return self.profile == NEW

    @property
    def latent_type(self) -> int:
        """ggml type id of the latent cache of -mla 1 to 3."""
        return self.type_k if self.flash_attn or self.mla_attn == 1 else self.type_v

    @property
    def mask_pad(self) -> int:
        """Rows of the mask are a multiple of this (GGML_KQ_MASK_PAD)."""
        return MASK_PAD[self.profile]

    @property
    def mask_type(self) -> int:
        """ggml type id of the mask that is an input."""
        return F16 if self.newer and self.flash_attn else F32

    def n_mask(self, n_tokens: int) -> int:
        """Rows of the mask for a micro-batch."""
        return -(-n_tokens // self.mask_pad) * self.mask_pad


def _rope(model: Model, settings: Settings) -> tuple[tuple[str, Any], ...]:
    hp = model.hparams
    kind = settings.rope_scaling or hp.rope_scaling_type
    trained = 1.0 / (hp.rope_scale or 1.0)
    scale = settings.rope_freq_scale or trained
    if kind == "none":
        scale = 1.0
    if settings.profile == NEW:  # attention takes the model's own scale there, whatever --rope-freq-scale says
        scale = trained
    ext = settings.yarn_ext_factor
    if ext is None or ext < 0:
        ext = 1.0 if kind == "yarn" else 0.0
    attn = settings.yarn_attn_factor
    fast, slow = settings.yarn_beta_fast, settings.yarn_beta_slow
    return (
        ("n_dims", hp.n_rot),
        *((("sections", hp.rope_sections),) if hp.rope_sections else ()),
        ("n_ctx_orig", settings.yarn_orig_ctx or hp.rope_orig_ctx),
        ("freq_base", float(settings.rope_freq_base or hp.rope_freq_base)),
        ("freq_scale", float(np.float32(scale))),
        ("ext_factor", float(ext)),
        ("attn_factor", float((1.0 if attn is None or attn < 0 else attn) * hp.rope_attn_factor)),
        ("beta_fast", 32.0 if fast is None or fast < 0 else float(fast)),
        ("beta_slow", 1.0 if slow is None or slow < 0 else float(slow)),
    )


#: architectures that scale the query and not the scores
_QUERY_SCALED = ("gemma2", "granite", "granitemoe", "phi3")


def _score_scale(hp: HParams) -> float:
    """Factor of attention's scores."""
    if hp.arch == "gemma3":
        return float(np.float32(hp.attention_scale))
    if hp.arch in _QUERY_SCALED and (hp.attention_scale or hp.arch == "phi3"):
        return 1.0
    return float(np.float32(1.0) / np.sqrt(np.float32(hp.head_dim_k)))


def _latent(model: Model, rope: tuple[tuple[str, Any], ...]) -> tuple[float, tuple[tuple[str, Any], ...]]:
    """Scale of attention, and rope with the factor that undoes YaRN's own (build_deepseek2); float32 as there."""
    hp, given, one = model.hparams, dict(rope), np.float32(1)
    stretch = np.log(one / np.float32(given["freq_scale"]), dtype=np.float32)
    mscale = np.float32(given["attn_factor"]) * (one + np.float32(hp.rope_yarn_log_mul) * stretch)
    given["attn_factor"] = float(one / (one + np.float32(0.1) * stretch))
    return float(mscale * mscale / np.sqrt(np.float32(hp.head_dim_k))), tuple(given.items())


MLA_ON_REQUEST = "2025-05-12"  #: 409: before, k_b and v_b were computed whatever -mla said, and kv_b never


def before(machine: Any, date: str) -> bool:
    """Whether a machine's engine is older than ``date``; one that does not say is not."""
    return bool(getattr(machine, "commit_date", None)) and machine.commit_date < date


def _mla(model: Model, settings: Settings, machine: Any) -> int:
    hp = model.hparams
    if not hp.is_mla:
        return 0
    if settings.profile != NEW and before(machine, MLA_ON_REQUEST) and "blk.0.attn_kv_b.weight" not in model.tensors:
        return 1  # there was no other way yet for files of llama.cpp
    if settings.profile == NEW and 0 < settings.n_gpu_layers < hp.n_layer:
        return 3  # the newer engine changes any other value when only some layers are on GPUs
    return settings.mla_attn


def _cache_type(settings: Settings, field: str, head_dim: int) -> int:
    number = type_id(getattr(settings, field))
    if head_dim % BLOCK[number]:
        flag = Settings.switch(field).flag
        raise SettingsError(
            f"{flag} {type_name(number)} stores blocks of {BLOCK[number]} columns, which do not divide this model's "
            f"heads of {head_dim}; use {flag} f16"
        )
    return number


class _AnyMachine:
    """What resolving asks of a machine; threads and GPUs play no part in a context, and counting cores takes time."""

    gpus, cores, threads = ((),), 1, 1


def context(model: Model, settings: Settings, machine: Any = None) -> Context:
    """The context that the reference would make (llama_new_context_with_model / llama_init_from_model).

    machine: its commit date tells which of the older rules hold.

    Raises SettingsError for cache types that the reference refuses.
    """
    hp, newer, found = model.hparams, settings.profile == NEW, settings.resolved(model, _AnyMachine)
    type_k = _cache_type(settings, "cache_type_k", hp.head_dim_k)
    type_v = _cache_type(settings, "cache_type_v", hp.head_dim_v)
    if not found.flash_attn and type_v not in (F16, BF16):
        raise SettingsError(f"-ctv {type_name(type_v)} needs flash attention; add -fa, or use -ctv f16")
    rope, kq_scale = _rope(model, settings), _score_scale(hp)
    if hp.is_mla:
        kq_scale, rope = _latent(model, rope)
    n_batch = found.n_batch
    if newer and settings.n_ctx:  # the newer engine clips the batch to -c before it rounds -c up
        n_batch = max(min(n_batch, settings.n_ctx), MASK_PAD[NEW])
    return Context(
        profile=settings.profile,
        n_ctx=found.n_ctx,
        n_batch=n_batch,
        n_ubatch=min(n_batch, found.n_ubatch),
        n_seq_max=max(1, found.n_parallel),
        n_outputs_reserved=settings.worst_graph_tokens,
        flash_attn=found.flash_attn,
        attn_max_batch=found.attn_max_batch,
        fused_moe=found.fused_moe,
        fused_up_gate=found.fused_up_gate,
        fused_mmad=found.fused_mmad,
        smart_expert_reduction=tuple(settings.smart_expert_reduction) or None if not newer else None,
        k_hadamard=settings.k_cache_hadamard and bool(QUANTIZED[type_k]),
        v_hadamard=settings.v_cache_hadamard and bool(QUANTIZED[type_v]),
        type_k=type_k,
        type_v=type_v,
        reduce_type=type_id(settings.reduce_type) if newer else F32,
        mla_attn=_mla(model, settings, machine),
        kq_scale=kq_scale,
        offload_kqv=not found.no_kv_offload,
        offload_batch=found.offload_batch_size if newer else 32,
        offload_batch_per_byte=found.offload_batch_size_per_byte if newer else None,
        rope=rope,
        split_mode="layer" if settings.split_mode == "graph" and not traits_of(hp.arch).graph_split else settings.split_mode,
    )
