"""Timing lines, perplexity, KL divergence, and what went wrong while running.

The wording is that of llama_print_timings, the server's print_timings and examples/perplexity/perplexity.cpp.
"""

import re
from typing import Any

from .clean import has
from .numbers import NUM, real
from .startup import failure
from .state import HOLD, KNOWN, RESULT, UNKNOWN, State

_TIMING = re.compile(
    rf"\b(load|sample|sampling|prompt eval|generation eval|eval|total) time\s{{0,20}}=\s{{0,20}}({NUM}) ms"
    rf"(?:\s{{0,20}}/\s{{0,20}}(\d{{1,12}}) (?:tokens|runs))?"
    rf"(?:\s{{0,20}}\(\s{{0,20}}({NUM}|inf|-?nan) ms per token, {{0,20}}({NUM}|inf|-?nan) tokens per second)?"
)
_KINDS = {"sampling": "sample", "prompt eval": "prompt", "generation eval": "generation", "eval": "generation"}
_TASK = re.compile(r"\bid_task=(\d{1,9})|\btask +(\d{1,9})")
_RUNNING = re.compile(r"\[(\d{1,9})\](-?\d{1,20}[.,]\d{1,10}|-?nan|inf),?")
_FINAL = re.compile(
    rf"Final estimate: PPL(?: over (\d{{1,9}}) chunks for n_ctx=(\d{{1,9}}))? = ({NUM}|-?nan)(?: \+/- ({NUM}|-?nan))?"
)
_CHUNKS = re.compile(r"over (\d{1,9}) chunks(?:, n_ctx=(\d{1,9}))?(?:,? (?:with )?batch_size[= ](\d{1,9}))?")
_PASS = re.compile(rf"({NUM}) seconds per pass")
_STATISTIC = re.compile(
    r"((?:Mean|Maximum|Minimum|Median|RMS|Same|Cor|\d{1,2}\.\d%)[^:=]{0,60}): "
    rf"{{0,20}}({NUM})(?: {{0,9}}± {{0,9}}({NUM}))? ?%?"
)
_STATISTICS = ("PPL", "KLD", "Δp", "top p")
_CHUNK_ROW = re.compile(rf"(\d{{1,9}})((?: {{1,20}}-?{NUM} {{1,9}}± {{1,9}}{NUM}(?: %)?){{2,6}})")
_PAIR = re.compile(rf"({NUM}) {{1,9}}± {{1,9}}({NUM})")
_STRIDED = re.compile(rf"(\d{{1,9}}) {{1,9}}({NUM})(?: {{1,9}}{NUM} {{1,9}}{NUM})?")

#: parts of lines that say that something went wrong
_WRONG = (
    "CUDA error", "ROCm error", "vk::", "ErrorOutOfDeviceMemory", "out of memory", "failed to allocate",
    "failed to create",
    "failed to load", "error loading model", "unable to load model", "Segmentation fault", "segmentation fault",
    "core dumped", "GGML_ASSERT", "terminate called", "free(): invalid", "Oops(", "nan detected", "found nan",
    "illegal memory", "llama_decode() failed", "failed to decode", "Aborted", "what():", "error: unable", "Killed",
    "invalid pointer",
)  # fmt: skip
#: what every line of trouble holds one of; searched first because it is fast
_HINTS = ("rror", "ail", "fault", "dumped", "memory", "Abort", "Kill", "ASSERT", "terminate", "invalid", "nan", "Oops",
          "vk::", "what()")  # fmt: skip
_WRONG_RE = re.compile("|".join(map(re.escape, _WRONG)))
_DEBUGGER = re.compile(
    r"\[New LWP|#\d{1,4} +0x|\[Thread |\[Inferior |Using host libthread_db|0x[0-9a-f]{4,16} in |Function\(s\) \^|"
    r"This GDB|<https://debuginfod|Enable debuginfod|Debuginfod has|To make this setting permanent, add 'set debuginfod"
)
_DETAIL = re.compile(r"current device: -?\d{1,4}, in function ")
_ADVICE = re.compile(r"Detected incompatible DeepSeek|(?:speed|performance) will be crippled")
_QUIET = re.compile(
    r"Log start$|\^C$|repeat_last_n = |top_k = |mirostat = |xtc_probability = |adaptive_|dry_multiplier = |CFG -> |"
    r"== Running in inter|(?:cuda|cublas|hip)\w{3,40}\("
)


def timing(state: State, text: str) -> int:
    """A line of timings. One group per prompt: a kind that the group has begins the next one."""
    found = _TIMING.search(text)
    if not found:
        return UNKNOWN
    if found.group(3) and not found.group(5) and text[found.end() :].lstrip()[:1] == "(" and not state.forced:
        return HOLD
    kind = _KINDS.get(found.group(1), found.group(1))
    facts: dict[str, Any] = {"ms": real(found.group(2))}
    if found.group(3):
        facts["n"] = int(found.group(3))
    if found.group(5):
        facts["s"] = None if found.group(5) in ("inf", "nan", "-nan") else real(found.group(5))
    task = _TASK.search(text, found.end())
    number = int(task.group(1) or task.group(2)) if task else state.task
    groups = state.cur.timings if state.cur is not None else []
    fresh = not groups or kind in groups[-1] or (kind == "load" and "prompt" in groups[-1])
    if groups and fresh and number is None and state.pending and not found.start():
        # bare lines under a text of their own: pasted together from several runs
        label = state.pending[-1][1].strip()
        run = state.fresh(RESULT)
        run.title = label if len(label) <= 80 else run.title
    run = state.want(RESULT)
    groups = run.timings
    if fresh or (number is not None and groups[-1].get("task", number) != number):
        groups.append({})
    groups[-1][kind] = facts
    if number is not None:
        groups[-1]["task"] = number
    run.source["timings"] = state.no
    return KNOWN


def running(state: State, text: str) -> int:
    """ "[1]4.9120,[2]5.1034,": perplexity so far, chunk by chunk."""
    pairs = [(int(i), _maybe(v)) for i, v in _RUNNING.findall(text)]
    if not pairs:
        return UNKNOWN
    have = (state.cur.perplexity or {}) if state.cur is not None else {}
    old = have.get("running") or []
    run = state.want(RESULT, restart=bool(old) and (pairs[0][0] <= old[-1][0] or "final" in have))
    found = _perplexity(state)
    found.setdefault("running", []).extend(pairs)
    run.source["perplexity"] = state.no
    return KNOWN


def _maybe(text: str) -> float | None:
    return None if text in ("nan", "-nan", "inf") else real(text)


def _perplexity(state: State) -> dict[str, Any]:
    assert state.cur is not None
    if state.cur.perplexity is None:
        state.cur.perplexity = {}
    return state.cur.perplexity


def final(state: State, text: str) -> int:
    """The final estimate, in the wording of either year."""
    found = _FINAL.search(text)
    if not found:
        return UNKNOWN
    have = (state.cur.perplexity or {}) if state.cur is not None else {}
    run = state.want(
        RESULT, restart="final" in have or (state.cur is not None and bool(state.cur.rows or state.cur.bench))
    )
    facts = _perplexity(state)
    facts["final"] = _maybe(found.group(3))
    if found.group(4):
        facts["error"] = _maybe(found.group(4))
    for key, number in (("chunks", found.group(1)), ("n_ctx", found.group(2))):
        if number:
            facts[key] = int(number)
    run.source["perplexity"] = state.no
    return KNOWN


def perplexity(state: State, rest: str) -> int:
    """Lines of ``perplexity:`` and ``compute_imatrix:``: how many chunks, how long a pass takes."""
    if found := _CHUNKS.search(rest):
        have = (state.cur.perplexity or {}) if state.cur is not None else {}
        state.want(RESULT, restart="chunks" in have)
        facts = _perplexity(state)
        facts["chunks"] = int(found.group(1))
        for key, number in (("n_ctx", found.group(2)), ("batch_size", found.group(3))):
            if number:
                facts[key] = int(number)
        state.after = "perplexity"
        return KNOWN
    if found := _PASS.search(rest):
        state.want(RESULT)
        _perplexity(state)["seconds_per_pass"] = real(found.group(1))
        state.after = "perplexity"
        return KNOWN
    return state.noise("perplexity") if "tokeniz" in rest else UNKNOWN


def statistic(state: State, text: str) -> int:
    """A line of the KL divergence statistics, or of its table of chunks."""
    if not has(text, ("±", "statistics", *_STATISTICS)):
        return UNKNOWN
    if state.cur is not None and text.startswith(("chunk  ", "====== ")):
        return state.noise("heads of statistics")
    if "±" in text and (found := _CHUNK_ROW.match(text)) and state.cur is not None:
        state.want(RESULT)
        row = [int(found.group(1)), *((real(a), real(b)) for a, b in _PAIR.findall(found.group(2)))]
        _perplexity(state).setdefault("kld_chunks", []).append(row)
        return KNOWN
    found = _STATISTIC.match(text)
    if not found or not has(text[:60], _STATISTICS):
        return UNKNOWN
    name = " ".join(found.group(1).split())
    have = ((state.cur.perplexity or {}) if state.cur is not None else {}).get("kld", {})
    state.want(RESULT, restart=name in have)
    error = real(found.group(3)) if found.group(3) else None
    _perplexity(state).setdefault("kld", {})[name] = (real(found.group(2)), error)
    return KNOWN


def strided(state: State, text: str) -> int:
    """ "  512  6.1234  1.81  0.01": perplexity of output type 1, only within a perplexity run."""
    found = _STRIDED.fullmatch(text)
    if not found or state.cur is None or state.cur.perplexity is None:
        return UNKNOWN
    state.want(RESULT)
    _perplexity(state).setdefault("running", []).append((int(found.group(1)), real(found.group(2))))
    return KNOWN


def trouble(state: State, text: str) -> int:
    """Failures and the debugger's chatter after a crash."""
    if state.cur is None:
        return UNKNOWN
    if _DEBUGGER.match(text):
        return state.noise("debugger")
    if _QUIET.match(text):
        return state.noise("output of the program")
    if _DETAIL.match(text) or (has(text, ("DeepSeek", "crippled")) and _ADVICE.search(text)):
        return state.note(text.strip())
    if not has(text, _HINTS):
        return UNKNOWN
    if (known := failure(state, text)) or not _WRONG_RE.search(text):
        return known
    return state.note(text.strip(), failure=True)
