"""Which rule reads a line: by the name of the function in front of its first colon, or else by words in its middle."""

import re
from collections.abc import Callable

from . import loader, results, startup, tables
from .clean import Glue, has
from .state import KNOWN, UNKNOWN, State

_CONTEXT_HEADS = (
    "llama_new_context_with_model", "llama_init_from_model", "llama_context", "sched_reserve",
    "llama_init_from_gpt_params", *startup.KV_HEADS,
)  # fmt: skip
_TENSOR_HEADS = ("llm_load_tensors", "load_tensors")
_LOADER_HEADS = ("llama_model_loader",)
_VOCAB_HEADS = ("llm_load_vocab", "llm_load_arch", "llama_model_load", "llama_model_load_internal", "load_vocab",
                "load_arch", "load_hparams", "validate_override", "llama_load_model_from_file",
                "init_tokenizer")  # fmt: skip
_DEVICE_HEADS = (
    "ggml_cuda_init", "ggml_vulkan", "ggml_metal_init", "ggml_metal_device_init", "llama_model_load_from_file_impl",
    "llama_model_load_from_file", "ggml_sycl_init", "ggml_opencl", "llama_prepare_model_devices",
)  # fmt: skip
_META_HEADS = ("llm_load_print_meta", "print_info")
_TIMING_HEADS = ("llama_print_timings", "llama_perf_context_print", "llama_perf_sampler_print", "common_perf_print")
_PERPLEXITY_HEADS = ("perplexity", "perplexity_v2", "kl_divergence", "compute_imatrix")
_TROUBLE_HEADS = ("ggml_backend_cuda_buffer_type_alloc_buffer", "ggml_gallocr_reserve_n", "ggml_cuda_host_malloc",
                  "ggml_backend_sched_alloc_splits", "CUDA error", "terminate called", "ggml_abort")  # fmt: skip
#: functions whose lines carry no figure unless something went wrong
_NOISE_HEADS = frozenset((
    "ggml_backend_cuda_synchronize", "ggml_backend_cuda_cpy_tensor_async", "ggml_backend_cuda_buffer_cpy_tensor",
    "ggml_backend_cuda_graph_compute", "common_init_from_params", "llama_output_reserve", "sampling", "sampling order",
    "generate", "llama_numa_init", "ggml_backend_register", "set_process_priority", "llama_set_adapter_lora",
    "ggml_backend_cuda_context", "sampler seed", "sampler params", "sampler chain", "got exception",
    "warming up the model with an empty run", "common_chat_params_init", "mtmd_init_from_file", "clip_model_loader",
    "llama_adapter_lora_init_impl",
))  # fmt: skip
GLUED = Glue((*_CONTEXT_HEADS, *_TENSOR_HEADS, *_LOADER_HEADS, *_VOCAB_HEADS, *_DEVICE_HEADS, *_META_HEADS,
               *_TIMING_HEADS, "perplexity", "compute_imatrix", "system_info", "system info", "main",
               *_TROUBLE_HEADS[:4], *_NOISE_HEADS))  # fmt: skip
_QUIET_MAIN = ("built with", "seed", "chat template", "interactive mode", "server is listening", "binding",
               "HTTP server", "loading model", "model loaded", "llama threadpool", "prompt:")  # fmt: skip


def _main(state: State, head: str, rest: str) -> int:
    if (found := tables.main_line(state, rest)) or (found := loader.build(state, rest.strip())):
        return found
    if rest.lstrip().startswith(_QUIET_MAIN):
        return state.noise("startup")
    return results.trouble(state, rest)


def _context(state: State, head: str, rest: str) -> int:
    return startup.context(state, head, rest) or results.trouble(state, rest)


def _tensors(state: State, head: str, rest: str) -> int:
    return startup.tensors(state, head, rest) or results.trouble(state, rest)


def _loader(state: State, head: str, rest: str) -> int:
    return loader.loader(state, rest) or results.trouble(state, rest)


def _vocab(state: State, head: str, rest: str) -> int:
    return loader.quiet(state, rest.strip()) or results.trouble(state, rest)


def _devices(state: State, head: str, rest: str) -> int:
    return loader.devices(state, rest) or loader.device(state, rest)


def _timing(state: State, head: str, rest: str) -> int:
    return results.timing(state, rest) or state.noise("timings")


def _perplexity(state: State, head: str, rest: str) -> int:
    return results.perplexity(state, rest) or results.trouble(state, rest)


def _system(state: State, head: str, rest: str) -> int:
    return loader.system_info(state, f"{head}:{rest}")


def _trouble(state: State, head: str, rest: str) -> int:
    if found := startup.failure(state, rest):
        return found
    if "reallocating" in rest:
        return state.noise("startup")
    return state.note(f"{head}: {rest.strip()}", failure="failed" in rest or "error" in head)


def _noise(state: State, head: str, rest: str) -> int:
    return state.noise(head)


#: head -> rule(state, head, what follows the colon) -> KNOWN, HOLD or UNKNOWN
RULES: dict[str, Callable[[State, str, str], int]] = {
    **dict.fromkeys(_NOISE_HEADS, _noise),
    **dict.fromkeys(_CONTEXT_HEADS, _context),
    **dict.fromkeys(_TENSOR_HEADS, _tensors),
    **dict.fromkeys(_LOADER_HEADS, _loader),
    **dict.fromkeys((*_VOCAB_HEADS, "load"), _vocab),
    **dict.fromkeys(_DEVICE_HEADS, _devices),
    **dict.fromkeys(_META_HEADS, loader.meta),
    **dict.fromkeys(_TIMING_HEADS, _timing),
    **dict.fromkeys(_PERPLEXITY_HEADS, _perplexity),
    **dict.fromkeys(_TROUBLE_HEADS, _trouble),
    **dict.fromkeys(("system_info", "system info"), _system),
    "main": _main,
}


def starts_log(text: str) -> bool:
    """Whether a line begins with the name of a function that logs."""
    head, colon, _ = text.partition(":")
    return bool(colon) and head in RULES


#: words in the middle of a line that some rule knows; plain searches are faster than one pattern
_KEYS = (
    "buffer ", "graph ", "KV self", " time ", "Repacked", "system", "Final est", "compute cap", "Device ", "Layer ",
    "Memory ",
    "offload", "n_kv_max", "version: ", "build", "seconds per", "per device", "tg_", "uma: ", "using device",
)  # fmt: skip
_SWEEP_MARK = re.compile(r"=+ tg_(?:start|end) for n_kv = \d{1,9}")


def _marks(state: State, text: str) -> int:
    """Lines that say where they are and no more."""
    if _SWEEP_MARK.match(text):
        # in front of the first row there is a head and no run yet
        return state.noise("sweep mark") or (KNOWN if state.head_line else UNKNOWN)
    if "size per device" in text and state.cur is not None:
        state.after = "kv_mib_per_device" if "KV" in text else "model_mib_per_device"
        return state.noise("startup")
    return UNKNOWN


def _system_line(state: State, text: str) -> int:
    return loader.system_info(state, text) if text.startswith("system") else UNKNOWN


#: (words of which a line has one, rule), tried in this order
_BY_WORD: tuple[tuple[tuple[str, ...], Callable[[State, str], int]], ...] = (
    ((" time ",), results.timing),
    (("Final est",), results.final),
    (("Repacked",), startup.repacked),
    (("compute cap", "Device "), loader.device),
    (("Layer ", "Memory ", "policy", "Device "), startup.sizes),
    (("tg_", "per device"), _marks),
    (("uma: ",), loader.devices),
    (("using device",), loader.using),
    (("n_kv_max",), tables.main_line),
    (("system",), _system_line),
    (("seconds per",), results.perplexity),
    (("version: ", "build"), loader.build),
)


def keyed(state: State, text: str) -> int:
    """A line that is known by words in its middle."""
    if not ("=" in text or ":" in text) or not has(text, _KEYS):
        return UNKNOWN
    for words, rule in _BY_WORD:
        if has(text, words) and (found := rule(state, text)):
            return found
    return _cut_head(state, text) if has(text, ("buffer size", "graph ", "KV self size", "offloaded ")) else UNKNOWN


def _cut_head(state: State, text: str) -> int:
    """A figure whose function's name was cut off or is of another version."""
    if "buffer size" in text and "MiB" in text and "=" in text:
        return startup.buffer(state, "", text)
    if "offloaded " in text:
        return startup.tensors(state, "", text)
    if "KV self size" in text and "MiB" in text:
        return startup.kv_self(state, text.partition("KV self size")[2])
    return startup.graph(state, text)
