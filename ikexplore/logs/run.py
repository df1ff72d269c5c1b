"""What a log tells: one ``Run`` per program run, and the list of them that ``read`` returns."""

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from ..settings import Settings

#: the keys of a row that hold seconds or rates
RATES = ("t_pp", "s_pp", "t_tg", "s_tg")


@dataclass
class Run:
    """One run of a program, as far as the paste shows it.

    ``rows``: dicts ``pp tg n_kv`` (tokens) ``t_pp t_tg`` (seconds) ``s_pp s_tg`` (tokens/s); None where a table lacks a
    column. ``startup``: what was printed while loading; sizes are lists of (buffer, MiB) in the order of the lines
    (docs/logs.md lists the keys). A key that is missing was not pasted; it does not mean zero.
    """

    #: the command as pasted, several lines joined by a line end; None when the paste shows none for this run
    command: str | None = None
    #: what the command says; for a run without one, the last command above corrected by the log's own figures
    settings: Settings | None = None
    #: "stated" (the command is printed with the run), "inferred" (taken from above) or "none"
    certainty: str = "none"
    #: the program without its folder, as in "llama-sweep-bench"
    program: str | None = None
    #: "ik_llama.cpp", "llama.cpp" or None where nothing tells them apart
    engine: str | None = None
    #: the engine profile whose flags the command is read with
    profile: str | None = None
    #: the nearest heading above the run
    title: str | None = None
    startup: dict[str, Any] = field(default_factory=dict)
    rows: list[dict[str, Any]] = field(default_factory=list)
    #: one dict per prompt: "prompt", "generation", "load", "sample", "total" -> ms, n, tokens per second (``s``)
    timings: list[dict[str, Any]] = field(default_factory=list)
    #: "running" [(chunk, value)], "final", "error", "chunks", "n_ctx", "kld" {statistic: (value, error)}
    perplexity: dict[str, Any] | None = None
    #: rows of llama-bench and llama-batched-bench, by column; "s" and "s_sd" are tokens per second
    bench: list[dict[str, Any]] = field(default_factory=list)
    #: remarks, each with the line number: failures, contradictions, figures that do not fit together
    notes: list[str] = field(default_factory=list)
    #: (line number, text) of lines within the run that no rule knows
    unread: list[tuple[int, str]] = field(default_factory=list)
    #: first and last line of the run in the paste, from 1
    lines: tuple[int, int] = (0, 0)
    #: figure -> line number (the last one for a figure of several lines)
    source: dict[str, int] = field(default_factory=dict)
    #: kind -> number of lines that were recognised and carry no figure
    skipped: dict[str, int] = field(default_factory=dict)

    @property
    def model(self) -> str | None:
        """The model's file name without its folder, from the log or else from the command."""
        path = self.startup.get("model_file") or (self.settings.model_path if self.settings else None)
        return path.replace("\\", "/").rsplit("/", 1)[-1] if path else None

    @property
    def rates(self) -> list[dict[str, Any]]:
        """``rows``, or where there is no table one row per prompt of the timing lines (``n_kv`` 0)."""
        if self.rows:
            return self.rows
        return [row for group in self.timings if (row := _row_of(group))]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; ``settings`` as its command line."""
        found: dict[str, Any] = {}
        for name in self.__dataclass_fields__:
            value = getattr(self, name)
            if name == "settings":
                value = value.command() if value is not None else None
            if value not in (None, [], {}):
                found[name] = plain(value)
        return found

    def to_markdown(self) -> str:
        """A title, the main figures and the table."""
        return "\n".join(_markdown(self))

    def _repr_markdown_(self) -> str:
        return self.to_markdown()


class Runs(list[Run]):
    """The runs of a paste in order. ``prose``: (line number, text) of what lies outside of them; ``n_lines``: all
    lines."""

    def __init__(self, runs: Iterable[Run] = (), prose: list[tuple[int, str]] | None = None, n_lines: int = 0):
        super().__init__(runs)
        self.prose = [] if prose is None else prose
        self.n_lines = n_lines

    def to_json(self, indent: int | None = None) -> str:
        """All runs and the surrounding prose as one JSON text."""
        return json.dumps({"runs": [run.to_dict() for run in self], "prose": plain(self.prose)}, indent=indent)

    def to_markdown(self) -> str:
        """One line per run."""
        lines = ["| lines | program | model | figures | rows | unread |", "|---|---|---|---:|---:|---:|"]
        for run in self:
            cells = [f"{run.lines[0]}-{run.lines[1]}", run.program or "", run.model or "", len(run.startup),
                     len(run.rows) + len(run.bench), len(run.unread)]  # fmt: skip
            lines.append("| " + " | ".join(escaped(str(c)) for c in cells) + " |")
        return "\n".join(lines)

    def _repr_markdown_(self) -> str:
        return self.to_markdown()


def plain(value: Any) -> Any:
    """``value`` with lists for tuples and None for numbers that JSON lacks."""
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def escaped(text: str) -> str:
    """Text from a log or a model, fit for a Markdown cell: it is untrusted."""
    for mark, code in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("|", "\\|"), ("`", "'"), ("\n", " ")):
        text = text.replace(mark, code)
    return text


def _row_of(group: dict[str, Any]) -> dict[str, Any] | None:
    """The timing lines of one prompt as a row."""
    row: dict[str, Any] = {"pp": None, "tg": None, "n_kv": 0, **dict.fromkeys(RATES)}
    for kind, tokens, seconds, rate in (("prompt", "pp", "t_pp", "s_pp"), ("generation", "tg", "t_tg", "s_tg")):
        if kind in group and group[kind].get("n") is not None:
            timed = group[kind]
            row[tokens], row[seconds], row[rate] = timed["n"], round(timed["ms"] / 1000, 8), timed.get("s")
    return row if row["s_pp"] is not None or row["s_tg"] is not None else None


def _markdown(run: Run) -> list[str]:
    head = " · ".join(escaped(x) for x in (run.title, run.program, run.model) if x)
    lines = [f"**{head or 'run'}** (lines {run.lines[0]} to {run.lines[1]})", ""]
    for key in ("model_mib", "kv_mib", "output_mib", "compute_mib"):
        if key in run.startup:
            sizes = ", ".join(f"{escaped(name)} {mib:.2f}" for name, mib in run.startup[key])
            lines.append(f"- {key.removesuffix('_mib')} MiB: {sizes}")
    facts = [
        f"{key} {run.startup[key]}"
        for key in ("graph_nodes", "graph_splits", "n_ctx", "n_ubatch")
        if key in run.startup
    ]
    lines += [f"- {', '.join(facts)}"] if facts else []
    lines += [f"- {escaped(note)}" for note in run.notes]
    if run.rows:
        lines += ["", "| PP | TG | N_KV | T_PP s | S_PP t/s | T_TG s | S_TG t/s |", "|---:" * 7 + "|"]
        lines += ["| " + " | ".join(_cell(row, key) for key in ("pp", "tg", "n_kv", *RATES)) + " |" for row in run.rows]
    return lines


def _cell(row: dict[str, Any], key: str) -> str:
    value = row.get(key)
    if value is None:
        return ""
    return f"{value:.3f}" if key[:2] == "t_" else f"{value:.2f}" if key[:2] == "s_" else str(value)
