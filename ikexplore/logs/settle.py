"""What can be said of a run only at its end: engine, profile, settings, contradictions between command and log."""

from functools import lru_cache
from typing import Any

from ..errors import IkexploreError
from ..settings import NEW, OLD, Settings
from .commands import program_of
from .run import Run

#: what only ik_llama.cpp prints, and what only mainline does
_IK = frozenset(
    ("mla_attn", "attn_max_b", "fused_moe", "ser", "fused_up_gate", "llama_init_from_model", "llm_load_print_meta")
)
_MAINLINE = frozenset(("llama_context", "print_info", "load_tensors", "n_ctx_per_seq", "n_seq_max", "causal_attn"))
_NEWER = frozenset(("llama_init_from_model", "fused_up_gate", "graph_reuse", "grouped_er"))
_OLDER = frozenset(("llama_new_context_with_model",))
#: figure of the log -> switch, as far as the log prints what the switch was set to
_SWITCHES = {
    "n_batch": "n_batch", "n_ubatch": "n_ubatch", "flash_attn": "flash_attn", "mla_attn": "mla_attn",
    "attn_max_b": "attn_max_batch", "fused_moe": "fused_moe",
}  # fmt: skip
_MAIN = {
    "n_kv_max": "n_ctx", "n_batch": "n_batch", "n_ubatch": "n_ubatch", "flash_attn": "flash_attn",
    "n_gpu_layers": "n_gpu_layers", "n_threads": "n_threads", "n_threads_batch": "n_threads_batch",
}  # fmt: skip
#: what may follow -fa in the newer profile
_VALUES = frozenset(("on", "off", "auto", "1", "0"))
#: longer commands are kept as text only
MAX_CHARS = 60_000


def settle(run: Run, marks: set[str], filled: str | None, inherited: tuple[int, str] | None) -> None:
    """Fills engine, profile, program and settings of a finished run.

    ``marks``: names of figures and functions that the log showed; ``filled``: the run's command with its shell
    variables replaced; ``inherited``: line and text of the last command above, for a run that has none.
    """
    run.engine = _engine(run, marks)
    text = filled if filled is not None else inherited[1] if inherited else None
    run.profile = _profile(marks, text)
    if filled is not None:
        run.program, run.certainty = program_of(filled), "stated"
        run.settings = _parsed(run, filled, run.profile)
        _contradictions(run)
    elif inherited is not None and (settings := _inherited(run, *inherited)) is not None:
        run.settings, run.certainty = settings, "inferred"
        run.program = program_of(inherited[1])
        run.notes.append(
            f"no command of its own: settings are those of the command on line {inherited[0]}, "
            "corrected by the log's figures"
        )


def _engine(run: Run, marks: set[str]) -> str | None:
    if marks & _IK or "repacked_tensors" in run.startup:
        return "ik_llama.cpp"
    return "llama.cpp" if marks & _MAINLINE else None


def _profile(marks: set[str], text: str | None) -> str | None:
    if marks & _NEWER:
        return NEW
    if marks & _OLDER or marks & _MAINLINE:
        return OLD
    if text is None:
        return None
    return _profile_of(text)


@lru_cache(maxsize=256)
def _profile_of(text: str) -> str:
    """The profile that a command alone suggests: -fa without a value and -fmoe went out of use."""
    words = text.split()
    bare = any(
        word in ("-fa", "--flash-attn") and (i + 1 == len(words) or words[i + 1] not in _VALUES)
        for i, word in enumerate(words)
    )
    return OLD if bare or "-fmoe" in words or "--fused-moe" in words else NEW


@lru_cache(maxsize=64)
def _parse(text: str, profile: str) -> Settings:
    return Settings.parse(text, profile)


def _parsed(run: Run, text: str, profile: str | None) -> Settings | None:
    if len(text) > MAX_CHARS:
        run.notes.append(f"the command has {len(text)} characters and is kept as text only")
        return None
    try:
        return _parse(text, profile or NEW)
    except IkexploreError as error:
        run.notes.append(f"the command does not read as settings: {str(error)[:200]}")
        return None


def _figures(run: Run) -> dict[str, Any]:
    """Switch -> value, as far as the log states it."""
    found: dict[str, Any] = {}
    for table, names in ((run.startup.get("main", {}), _MAIN), (run.startup, _SWITCHES)):
        for key, switch in names.items():
            if isinstance(table.get(key), int):
                found[switch] = table[key]
    if not found and run.rows:
        sizes = {row["pp"] for row in run.rows}
        if len(sizes) == 1:
            found["n_ubatch"] = sizes.pop()
    return found


def _inherited(run: Run, line: int, text: str) -> Settings | None:
    """The settings of a command above, with the log's own figures in place of its values."""
    if len(text) > MAX_CHARS or not _could_print(program_of(text) or "", run):
        return None
    try:
        settings = _parse(text, run.profile or NEW)
    except IkexploreError:
        return None
    path, file = settings.model_path, run.startup.get("model_file")
    if path and file and "$" not in path and _stem(path) != _stem(file):
        return None
    return _corrected(settings, tuple(_figures(run).items()))


@lru_cache(maxsize=256)
def _corrected(settings: Settings, figures: tuple[tuple[str, int], ...]) -> Settings:
    """The settings with the log's figures in place of what they say."""
    for switch, number in figures:
        wanted = bool(number) if Settings.switch(switch).kind in ("bool", "onoff") else number
        if getattr(settings, switch) != wanted:
            try:
                settings = settings.replace(**{switch: wanted})
            except IkexploreError:
                continue
    return settings


def _could_print(program: str, run: Run) -> bool:
    """Whether a program prints what the run shows: a table is not a server's, a perplexity not a sweep's."""
    if run.rows:
        return "sweep" in program
    if run.bench:
        return "bench" in program
    if run.perplexity:
        return "perplexity" in program or "imatrix" in program
    return not any(word in program for word in ("quantize", "gguf", "sweep", "bench"))


def _stem(path: str) -> str:
    return path.replace("\\", "/").rsplit("/", 1)[-1].strip("\"'").lower().removesuffix(".gguf")


def _contradictions(run: Run) -> None:
    """Notes where the command that was pasted cannot be the one that printed the log."""
    if run.settings is None:
        return
    given = run.settings.given
    for switch, number in _figures(run).items():
        if switch not in given or switch in ("n_ctx", "n_gpu_layers"):
            continue
        said = int(given[switch]) if isinstance(given[switch], bool) else given[switch]
        limit = given.get("n_batch", 2048) if switch == "n_ubatch" else said
        if said != number and number != min(said, limit) and not (switch == "attn_max_batch" and 0 < said < 128):
            run.notes.append(f"{switch}: the command says {said}, the log {number}; they may not belong together")
