"""Every value filled in: defaults of profile, model and machine, then clamped and padded as the engine does."""

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .declare import NEW, OLD

if TYPE_CHECKING:
    from .core import Settings

#: rows that the attention mask is padded to (GGML_KQ_MASK_PAD); the smallest batch too
MASK_PAD = {OLD: 32, NEW: 16}
#: context that is assumed where neither -c nor a model says
DEFAULT_CTX = 512
_OFFLOAD = 32


@dataclass(frozen=True)
class Resolved:
    """Effective values. Sizes are tokens, MiB or counts as their switch says; ``n_ctx`` is padded to 256 (32 without
    flash attention), ``n_batch`` lies between the mask's padding and ``n_ctx``, ``n_ubatch`` is ``n_batch`` at most."""

    profile: str
    n_ctx: int
    n_batch: int
    n_ubatch: int
    n_gpu_layers: int
    flash_attn: bool
    fused_moe: bool
    fused_up_gate: bool
    fused_mmad: bool
    mla_attn: int
    attn_max_batch: int
    cache_type_k: str
    cache_type_v: str
    no_kv_offload: bool
    rtr: bool
    use_mmap: bool
    n_threads: int
    n_threads_batch: int
    n_parallel: int
    n_cpu_moe: int
    fit_margin: int
    offload_batch_size: int
    offload_batch_size_per_byte: float | None


def resolve(settings: "Settings", model: Any = None, machine: Any = None) -> Resolved:
    """Effective values of ``settings`` for a model (``.hparams.n_ctx_train``) and a machine (``.gpus``, ``.cores``)."""
    s = settings
    n_ctx = s.n_ctx or int(getattr(getattr(model, "hparams", None), "n_ctx_train", 0) or DEFAULT_CTX)
    pad = 256 if s.flash_attn else 32
    n_ctx = -(-n_ctx // pad) * pad
    n_batch = max(min(n_ctx, s.n_batch), MASK_PAD[s.profile])
    n_threads = _threads(s.n_threads, machine)
    cuda = cuda_params(s)
    layers = s.n_gpu_layers
    if machine is not None and not machine.gpus:
        layers = 0
    return Resolved(
        profile=s.profile,
        n_ctx=n_ctx,
        n_batch=n_batch,
        n_ubatch=min(n_batch, s.n_ubatch),
        n_gpu_layers=layers,
        flash_attn=s.flash_attn,
        fused_moe=s.fused_moe,
        fused_up_gate=s.fused_up_gate,
        fused_mmad=s.fused_mmad,
        mla_attn=s.mla_attn,
        attn_max_batch=s.attn_max_batch,
        cache_type_k=s.cache_type_k,
        cache_type_v=s.cache_type_v,
        no_kv_offload=s.no_kv_offload,
        rtr=s.rtr,
        use_mmap=s.use_mmap and not s.rtr,
        n_threads=n_threads,
        n_parallel=s.n_parallel,
        n_threads_batch=n_threads if s.n_threads_batch is None else _threads(s.n_threads_batch, machine),
        n_cpu_moe=s.n_cpu_moe,
        fit_margin=s.fit_margin or 1024,
        offload_batch_size=int(_number(cuda.get("offload-batch-size"), _OFFLOAD)),
        offload_batch_size_per_byte=_number(cuda.get("offload-batch-size-per-byte"), None),
    )


def cuda_params(settings: "Settings") -> dict[str, str]:
    """The key=value pairs of ``-cuda``."""
    parts = (part.partition("=") for part in settings.cuda_params.split(",") if part)
    return {key: value for key, _, value in parts}


def _number(text: str | None, default: Any) -> Any:
    return float(text) if text and re.match(r"^\d+(\.\d*)?$", text) else default


def _threads(given: int | None, machine: Any) -> int:
    """-t: the physical cores when not given, all hardware threads when 0 or negative (as the engine does)."""
    cores = int(getattr(machine, "cores", 0) or _cores())
    if given is None:
        return cores
    return given if given > 0 else int(getattr(machine, "threads", 0) or cores)


def _cores() -> int:
    import psutil

    return psutil.cpu_count(logical=False) or psutil.cpu_count() or 1
