"""Lines about the model file, the devices and the build, and the events of a server."""

import re
from typing import Any

from .numbers import pointed, value, whole
from .startup import failure
from .state import CONTEXT, HOLD, KNOWN, LOAD, TENSORS, UNKNOWN, State

_LOADED = re.compile(
    r"loaded meta data with (\d{1,9}) key-value pairs and (\d{1,9}) tensors from (.*) \(version [^()]*(?:\([^()]*\))?\)"
)
_TYPE = re.compile(r"- type +(\S{1,40}): +(\d{1,9}) tensors")
_FILES = re.compile(r"(?:additional (\d{1,6}) GGUFs|loading additional (\d{1,6}) GGUFs)")
_FOUND = re.compile(r"[Ff]ound (\d{1,4}) (\w+) devices")
_DEVICE = re.compile(
    r"Device (\d{1,4}): (.{1,200}?), (?:compute capability (\d{1,3}\.\d{1,2})|(gfx\w{1,20}))([^|]{0,200})"
)
_VRAM = re.compile(r"VRAM: (\d{1,9}) MiB")
_VULKAN = re.compile(r"(?:^|\b)(?:Vulkan)?(\d{1,4})(?: =|:) (.{1,200}?) \| uma: (.{0,300})")
_USING = re.compile(r"using device (\S{1,60}) (?:\((.{1,200}?)\) (?:\([^)]{0,60}\) )?)?- (\d{1,9}) MiB free")
_BUILD = re.compile(r"\bbuild(?: =|:) (\d{1,9}) \((\w{1,40})\)(?: with (.{0,200}))?")
_BENCH_BUILD = re.compile(r"build: ([0-9a-f]{6,40}) \((\d{1,9})\)")
_VERSION = re.compile(r"version: (\d{1,9}) \((\w{1,40})\)")
_INFO_BUILD = re.compile(r'build=(\d{1,9}) commit="(\w{1,40})"')
_EVENT = re.compile(r"(INFO|WARN|ERR|VERB|DBUG|DEBUG) +\[ *([\w ]{1,60})\] ([^|]{0,300})\| (.*)")
_FIELD = re.compile(r'(\w{1,40})=("(?:[^"\\]|\\.){0,4000}"|\S{1,200})')
_DECIMAL_COMMA = re.compile(r"-?\d{1,12},\d")
_THREADS = re.compile(r"n_threads(?:_batch)? = \d{1,9}")

QUIET_LOAD = (
    "Dumping metadata", "- tensor ", "special tokens cache", "token to piece cache", "special_eo", "printing all EOG",
    "- ", "control token", "mismatch in special", "loading model tensors", "missing pre-tokenizer", "setting token",
    "override", "Using metadata override", "model vocab", "GGML_CUDA_FORCE", "bad value", "EOG", "SPM requires",
    "empty token",
    "GGML_CUDA", "using custom", "GGML_SYCL", "max stdio", "unknown type", "control-looking",
)  # fmt: skip


def loader(state: State, rest: str) -> int:
    """llama_model_loader: metadata, types, the file."""
    text = rest.strip()
    if text.startswith("- kv"):
        left, equals, shown = text.partition("=")
        words = left.partition(":")[2].split()
        if len(words) < 2 or not equals:
            return HOLD
        run = state.want(LOAD)
        run.startup.setdefault("metadata", {})[words[0]] = _typed(words[1], shown.strip())
        run.source["metadata"] = state.no
        state.after = "kv"
        return KNOWN
    if found := _TYPE.match(text):
        run = state.want(LOAD, restart=_types_again(state, found.group(1)))
        run.startup.setdefault("type_counts", {})[found.group(1)] = int(found.group(2))
        run.source["type_counts"] = state.no
        return KNOWN
    if text.startswith("loaded meta data"):
        return _loaded(state, text)
    if found := _FILES.search(text):
        state.want(LOAD, restart=state.phase >= TENSORS)
        return state.put("n_files", 1 + int(found.group(1) or found.group(2)))
    return quiet(state, text)


def _loaded(state: State, text: str) -> int:
    found = _LOADED.match(text)
    if not found:
        return HOLD
    state.want(LOAD, "model_file", restart=state.phase >= TENSORS)
    state.put("n_kv_pairs", int(found.group(1)))
    state.put("n_tensors", int(found.group(2)))
    state.after = "loaded"
    return state.put("model_file", found.group(3))


def _types_again(state: State, name: str) -> bool:
    have = state.cur.startup if state.cur is not None else {}
    return name in have.get("type_counts", {}) or ("print_meta" in have and "type_counts" in have)


def _typed(kind: str, text: str) -> Any:
    """A metadata value by its GGUF type; arrays and strings stay text."""
    if kind[:1] in "uif" and kind[1:2].isdigit():
        return value(text)
    return {"true": True, "false": False}.get(text, text) if kind == "bool" else text


def quiet(state: State, text: str) -> int:
    """A line of the loader or the vocabulary that holds no figure."""
    if text.startswith(QUIET_LOAD):
        state.want(LOAD)
        return state.noise("startup")
    return failure(state, text)


def meta(state: State, head: str, rest: str) -> int:
    """llm_load_print_meta and print_info: name = value, kept as text."""
    key, equals, text = rest.partition("=")
    key, text = key.strip(), text.strip()
    if _DECIMAL_COMMA.match(text):
        text = pointed(text)
    if not equals or not 0 < len(key) <= 40:
        return UNKNOWN
    have = state.cur.startup.get("print_meta", {}) if state.cur is not None else {}
    run = state.want(LOAD, restart=key in ("format", "file format", "arch") and key in have)
    found = run.startup.setdefault("print_meta", {})
    found[key] = f"{found[key]}; {text}"[:2000] if key in found else text
    run.source["print_meta"] = state.no
    state.marks.add(head)
    return KNOWN


def devices(state: State, rest: str) -> int:
    """Devices that a backend found."""
    if found := _FOUND.search(rest):
        have = state.cur.startup if state.cur is not None else {}
        state.want(LOAD, restart=have.get("n_devices", {}).get(found.group(2)) is not None)
        state.after = "devices"
        assert state.cur is not None
        state.cur.startup.setdefault("n_devices", {})[found.group(2)] = int(found.group(1))
        return KNOWN
    if found := _VULKAN.search(rest.strip()):
        return _device(state, {"index": int(found.group(1)), "name": found.group(2), "backend": "Vulkan",
                               "text": f"uma: {found.group(3).strip()}"})  # fmt: skip
    if rest.strip().startswith("GPU name:"):
        return _device(state, {"index": 0, "name": rest.partition(":")[2].strip(), "backend": "Metal"})
    if found := _USING.search(rest):
        return using(state, rest)
    return quiet(state, rest.strip())


def device(state: State, text: str) -> int:
    """A line "Device 0: NAME, compute capability 8.6, VMM: yes", alone or in a heading."""
    found = _DEVICE.search(text)
    if not found:
        return UNKNOWN
    facts: dict[str, Any] = {"index": int(found.group(1)), "name": found.group(2).strip()}
    if found.group(3):
        facts["cc"] = found.group(3)
    else:
        facts["gfx"] = found.group(4)
    if vram := _VRAM.search(found.group(5)):
        facts["vram_mib"] = int(vram.group(1))
    return _device(state, facts)


def _device(state: State, facts: dict[str, Any]) -> int:
    have = state.cur.startup.get("devices", ()) if state.cur is not None else ()
    again = any((d["index"], d.get("backend")) == (facts["index"], facts.get("backend")) for d in have)
    state.want(LOAD, restart=again)
    return state.add("devices", facts)


def using(state: State, rest: str) -> int:
    """Mainline's list of devices with their free memory."""
    found = _USING.search(rest)
    if not found:
        return UNKNOWN
    state.want(LOAD, restart=state.phase >= TENSORS)
    return state.add("devices_free_mib", (found.group(1), int(found.group(3))))


def build(state: State, text: str) -> int:
    """The build number and commit, printed by a run or, in front of one, by ``--version``."""
    if found := _VERSION.match(text):
        facts = {"number": int(found.group(1)), "commit": found.group(2)}
        if state.cur is None or state.phase >= CONTEXT:
            state.build = (state.no, facts)
            return UNKNOWN
        state.use()
        return state.put("build", facts)
    if found := _BENCH_BUILD.match(text):
        facts = {"number": int(found.group(2)), "commit": found.group(1)}
        if state.cur is None:
            return UNKNOWN
        state.use()
        return state.put("build", facts)
    if found := _BUILD.search(text):
        state.want(LOAD, restart=state.phase >= TENSORS)
        return state.put("build", {"number": int(found.group(1)), "commit": found.group(2)})
    return UNKNOWN


def system_info(state: State, text: str) -> int:
    """CPU features and threads; old programs print it before, new ones after the context."""
    if state.cur is None:
        state.want(LOAD)
    state.use()
    for found in _THREADS.finditer(text):
        key, _, number = found.group().partition(" = ")
        state.put(key, int(number))
    state.after = "system_info"
    return state.put("system_info", text.partition(":")[2].strip() if text.startswith("system") else text)


def event(state: State, text: str) -> int:
    """A server's line ``INFO [ function] message | name=value ...``; timing lines are read elsewhere."""
    found = _EVENT.match(text) if "] " in text[:60] else None
    if not found:
        return UNKNOWN
    level, function, message, rest = found.groups()
    message = message.strip()
    if message == "build info" and (built := _INFO_BUILD.search(rest)):
        state.want(LOAD, restart=state.phase >= TENSORS)
        return state.put("build", {"number": int(built.group(1)), "commit": built.group(2)})
    if message == "system info":
        state.want(LOAD)
        for key, shown in _FIELD.findall(rest):
            if key in ("n_threads", "n_threads_batch", "total_threads") and (number := whole(shown)) is not None:
                state.put(key, number)
            elif key == "system_info":
                state.put("system_info", shown.strip('" '))
        state.after = "system_info"
        return KNOWN
    if level == "ERR":
        return state.note(f"{message} ({function.strip()})", failure=True)
    return state.noise("server event")


def continued(state: State, text: str) -> int:
    """A piece of a line that a narrow terminal wrapped: the end of a metadata value or of the system information."""
    if state.cur is None or not text:
        return UNKNOWN
    if state.after == "kv" and state.cur.source.get("metadata") == state.no - 1:
        found = state.cur.startup["metadata"]
        key = next(reversed(found))
        joined = f"{found[key]}{text}"
        # a value is printed with at most 40 characters, and a longer one ends in dots
        if len(joined) <= 45 and isinstance(found[key], str) and (text.endswith(("...", "]")) or " " not in text):
            found[key] = joined
            return state.noise("wrapped line")
    if state.after == "system_info" and (" = 1 |" in text or " = 0 |" in text):
        found = state.cur.startup
        found["system_info"] = f"{found.get('system_info', '')}{text}"[:4000]
        return state.noise("wrapped line")
    return UNKNOWN
