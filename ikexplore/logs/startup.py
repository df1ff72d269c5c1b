"""Lines that a program prints while it loads: context figures, buffers, graph, placement of tensors.

The wording is that of src/llama.cpp and src/llama-load-tensors.cpp of ik_llama.cpp (June 2025, August 2026) and of
mainline's llama-context.cpp, llama-kv-cache*.cpp and llama-model.cpp (2025). A rule returns KNOWN, HOLD or UNKNOWN.
"""

import re
from functools import lru_cache

from .numbers import NUM, pointed, real, value
from .state import BUFFERS, CONTEXT, HOLD, KNOWN, LOAD, TENSORS, UNKNOWN, State

_MIB = re.compile(rf"=\s*({NUM})\s*MiB")
_SPLITS = re.compile(r"graph splits\s*=\s*(\d{1,9})\b")
_NODES = re.compile(r"graph nodes\s*=\s*(\d{1,9})\b")
_COPIES = re.compile(r"n_copies\s*=\s*(\d{1,6})\b")
_OFFLOADED = re.compile(r"offloaded (\d{1,6}/\d{1,6}) layers")
_OVERRIDE = re.compile(
    rf"[Tt]ensor (\S{{1,200}}) (?:\((?:size = )?{NUM} MiB[^)]{{0,60}}\) )?buffer type overrid\w{{1,6}} to "
    r"((?:(?!Tensor )[^\s`])+)"
)
_BOTH = re.compile(rf"(?:V|kv\^T|V-cache)[^:]{{0,20}}: +(?:{NUM} MiB|not used)")
_LAYER = re.compile(r"blk\.(\d{1,6})\.(.+)")
_REPACKED = re.compile(r"=== Repacked (\d{1,9}) tensors")
_FAILED = re.compile(rf"allocating ({NUM}) MiB on device (\d{{1,4}}): cudaMalloc failed")
_PINNED = re.compile(rf"failed to (?:allocate|register) ({NUM}) MiB of pinned memory")
_VK_FAILED = re.compile(r"memory allocation of size (\d{1,18}) failed")
_POLICY = re.compile(r"Setting offload policy for (all ops|op \S+) to (ON|OFF)")
_LAYER_SIZE = re.compile(rf"Layer +(\d{{1,5}}): +({NUM}), +({NUM}), +({NUM})(?: +({NUM}))? +MiB")
_TOTAL_SIZE = re.compile(r"Memory (required|available)[^:]{0,60}: (\d{1,12}) MiB")
_DEVICE_MIB = re.compile(rf"Device (\d{{1,4}}): +({NUM}) MiB")
_KEY = re.compile(r"[a-z][a-z0-9_]{1,40}")
_CTX_SIZE = re.compile(rf"ggml ctx size\s*=\s*({NUM}) MiB")

#: what the parts of a context print that holds no figure
QUIET = (
    "constructing llama_context", "layer ", "n_ctx_per_seq (", "n_ctx_seq (", "creating", "offloading", "loading model",
    "ggml ctx size", "reallocating output buffer", "max_nodes", "worst-case", "reserving", "set_abort_callback",
    "tensor '",
    "setting up", "enabling", "attaching", "using", "dense parameters loaded", "repacking up/gate", "merging up/gate",
    "enumerating", "backend_ptrs", "layer", "reserve took", "resolving fused", "fused Gated",
    "Flash Attention was auto",
)  # fmt: skip


def context(state: State, head: str, rest: str) -> int:
    """A line of the part that makes the context or the KV cache."""
    if "buffer size" in rest:
        return buffer(state, head, rest)
    if "graph " in rest and (found := graph(state, rest, head)):
        return found
    if "KV self size" in rest or ("size = " in rest and "cells" in rest and "MiB" in rest):
        return kv_self(state, rest)
    if "n_copies" in rest and (copies := _COPIES.search(rest)):
        state.want(BUFFERS, restart=state.cur is not None and "graph_splits" in state.cur.startup)
        return state.put("n_copies", int(copies.group(1)))
    if "size per device" in rest and state.cur is not None:
        state.after = "kv_mib_per_device"
        return state.noise("startup")
    key, equals, text = rest.partition("=")
    key, text = key.strip().replace(" ", "_"), text.strip()
    if equals and text and _KEY.fullmatch(key) and (head not in KV_HEADS or key in ("kv_size", "n_layer")):
        return _figure(state, head, key, text)
    return failure(state, rest) or (state.noise("startup") if rest.lstrip().startswith(QUIET) else UNKNOWN)


KV_HEADS = frozenset((
    "llama_kv_cache_init", "llama_kv_cache_unified", "llama_kv_cache_unified_iswa", "llama_kv_cache",
    "llama_kv_cache_iswa",
    "llama_memory_recurrent", "llama_memory_hybrid", "create_memory",
))  # fmt: skip


def _figure(state: State, head: str, key: str, text: str) -> int:
    if head in KV_HEADS:
        state.want(BUFFERS)
        return state.put("kv_cache", pointed(f"{key} = {text}"))
    cur = state.cur
    if cur is not None and key in cur.startup and cur.source.get(key) == state.no - 1:
        return state.noise("repeated line")
    state.want(CONTEXT, key)
    state.marks.add(head)
    state.marks.add(key)
    if key in ("ser", "cuda_params"):
        return state.put(key, text)
    first = text.split(None, 1)[0]
    number = value(first)
    if not isinstance(number, str):
        state.rest(text[len(first) :])
    return state.put(key, text if isinstance(number, str) else number)


_BUFFERS = {
    "model": "model_mib", "KV": "kv_mib", "output": "output_mib", "compute": "compute_mib", "RS": "rs_mib",
    "LoRA": "other_mib", "shadow": "other_mib", "per-step": "other_mib",
}  # fmt: skip


def buffer(state: State, head: str, rest: str) -> int:
    """A line with "buffer size": model, KV, output or compute buffer of one device."""
    left, _, right = rest.partition("buffer size")
    found = _MIB.match(right.lstrip())
    if not found:
        return HOLD if not right.strip(" =\t.,0123456789M") else UNKNOWN
    mib = real(found.group(1))
    words = left.split()
    kind = words[-1] if words and words[-1] in _BUFFERS else "model"
    name = left.rstrip().removesuffix(kind)
    # without a known function in front, what precedes the name may be anything
    name = (name if head else name.rpartition(": ")[2]).strip()
    if not name:
        return UNKNOWN
    _size(state, head, _BUFFERS[kind], name, mib)
    state.rest(right.lstrip()[found.end() :])
    return KNOWN


def _size(state: State, head: str, key: str, name: str, mib: float) -> int:
    cur = state.cur
    have = cur.startup if cur is not None else {}
    again = any(name == other for other, _ in have.get(key, ()))
    done = "graph_splits" in have or "graph_nodes" in have
    if key == "model_mib":
        state.want(TENSORS)
    elif key == "compute_mib" and again and head == "sched_reserve":
        state.use()
        have[key] = [(other, old) for other, old in have[key] if other != name]
    else:
        once = again and ("compute_mib" in have if key == "kv_mib" else done)
        early = key == "kv_mib" and (done or state.failed)
        state.want(BUFFERS, restart=once or early)
    return state.add(key, (name, mib))


def kv_self(state: State, rest: str) -> int:
    """The size of the whole KV cache; mainline prints one line per cache when there are two."""
    found = _MIB.search(rest)
    text = rest.partition("MiB")[2].lstrip(", ").strip()
    if not found or not (state.forced or _BOTH.search(text)):
        return HOLD
    have = state.cur.startup if state.cur is not None else {}
    state.want(BUFFERS, restart="kv_self_mib" in have and ("compute_mib" in have or "KV self" in rest))
    have = state.cur.startup if state.cur is not None else {}
    total, texts = have.get("kv_self_mib", 0.0), have.get("kv_self_text")
    state.put("kv_self_text", pointed(text) if not texts else f"{texts}; {pointed(text)}")
    return state.put("kv_self_mib", round(total + real(found.group(1)), 2))


def graph(state: State, rest: str, head: str = "") -> int:
    """Numbers of graph nodes and splits; mainline prints them again when it reserves anew."""
    for key, pattern in (("graph_nodes", _NODES), ("graph_splits", _SPLITS)):
        found = pattern.search(rest)
        if not found:
            continue
        cur, number = state.cur, int(found.group(1))
        if cur is not None and cur.startup.get(key) == number and cur.source.get(key) == state.no - 1:
            return state.noise("repeated line")
        state.want(BUFFERS, "" if head == "sched_reserve" else key)
        state.put(key, number)
        behind = rest[found.end() :]
        if "bs=" in behind:
            state.put("graph_splits_text", rest[found.start(1) :].strip())
        else:
            state.rest(behind)
        return KNOWN
    return UNKNOWN


def tensors(state: State, head: str, rest: str) -> int:
    """A line of the part that loads tensors."""
    if "buffer size" in rest:
        return buffer(state, head, rest)
    state.marks.add(head)
    if found := _OFFLOADED.search(rest):
        state.want(TENSORS, "offloaded_layers")
        return state.put("offloaded_layers", found.group(1))
    if found := _CTX_SIZE.search(rest):
        state.want(TENSORS)
        return state.put("ctx_size_mib", real(found.group(1)))
    if "need to compute" in rest:
        return state.noise("computed tensors")
    if rest.lstrip().startswith(QUIET) or "(mmap = " in rest:
        state.want(TENSORS)
        return state.noise("startup")
    return failure(state, rest)


def override(state: State, text: str) -> int:
    """Tensors that -ot put elsewhere; several may be glued into one line."""
    words = text.split()
    if len(words) == 7 and words[2:4] == ["buffer", "type"] and words[5] == "to" and "Tensor" not in words[6]:
        return _overridden(state, words[1], words[6])
    known = UNKNOWN
    for found in _OVERRIDE.finditer(text):
        known = _overridden(state, found.group(1), found.group(2))
    return known


def _overridden(state: State, name: str, device: str) -> int:
    run = state.want(TENSORS, restart=state.cur is not None and "model_mib" in state.cur.startup)
    layer, kind = _layer_and_kind(name)
    state.overrides.setdefault(device, {}).setdefault(kind, set()).add(layer)
    return state.put("overridden_tensors", run.startup.get("overridden_tensors", 0) + 1)


@lru_cache(maxsize=8192)
def _layer_and_kind(name: str) -> tuple[int, str]:
    """(3, "ffn_up_exps") of blk.3.ffn_up_exps.weight; layer -1 of a tensor outside of the layers."""
    found = _LAYER.fullmatch(name)
    layer, kind = (int(found.group(1)), found.group(2)) if found else (-1, name)
    return layer, kind.removesuffix(".weight")


def repacked(state: State, text: str) -> int:
    """How many tensors -rtr repacked. It goes to stdout, so it may come late."""
    found = _REPACKED.search(text)
    if not found:
        return UNKNOWN
    cur = state.cur
    state.want(LOAD, restart=True) if cur is None or "repacked_tensors" in cur.startup else state.use()
    state.add("repack_lines", text[max(0, found.start() - 9) :].strip())
    return state.put("repacked_tensors", int(found.group(1)))


def sizes(state: State, text: str) -> int:
    """Tables of sizes per layer and per device, and the offload policy (August 2026)."""
    if found := _LAYER_SIZE.search(text):
        state.want(LOAD)
        layer, *mib = found.groups()
        return state.add("layer_sizes_mib", [int(layer), *(real(x) for x in mib if x is not None)])
    if found := _TOTAL_SIZE.search(text):
        state.want(LOAD)
        return state.put(f"memory_{found.group(1)}_mib", int(found.group(2)))
    if found := _POLICY.search(text):
        if state.cur is None:
            return UNKNOWN
        state.use()
        return state.add("offload_policy", (found.group(1).removeprefix("op "), found.group(2) == "ON"))
    if state.cur is not None and state.after in ("model_mib_per_device", "kv_mib_per_device"):
        found = _DEVICE_MIB.search(text)
        if found:
            state.use()
            return state.add(state.after, (f"Device {found.group(1)}", real(found.group(2))))
    return UNKNOWN


def failure(state: State, text: str) -> int:
    """Memory that could not be had."""
    if found := _FAILED.search(text):
        state.want(BUFFERS) if state.cur is None else state.use()
        state.add("alloc_failed", {"device": f"CUDA{found.group(2)}", "mib": real(found.group(1))})
        return state.note(text.strip(), failure=True)
    if found := _VK_FAILED.search(text):
        state.want(BUFFERS) if state.cur is None else state.use()
        state.add("alloc_failed", {"device": None, "mib": int(found.group(1)) / 2**20})
        return state.note(text.strip(), failure=True)
    if found := _PINNED.search(text):
        if state.cur is None:
            return UNKNOWN
        state.use()
        state.add("pinned_failed_mib", real(found.group(1)))
        return state.note(text.strip())
    return UNKNOWN
