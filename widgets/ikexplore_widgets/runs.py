"""Measured runs of the panel: their rows, and names that tell them apart."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ikexplore.settings import Settings

#: switches that say where weights live; a run is timed on this computer's CPU, where they mean nothing
PLACEMENT = ("n_gpu_layers", "overrides", "n_cpu_moe", "split_mode", "tensor_split", "main_gpu", "devices",
             "offload_policy", "cuda_params", "no_kv_offload", "fit", "fit_margin", "gpu_fit_margin")
_WORD = re.compile(r"""(?:"(?:\\.|[^"\\])*"|'[^']*'|\\.|[^\s"'\\])+""")
_NUMBER = re.compile(r"-\d")
_KEPT = 12  # runs on the chart


@dataclass
class Run:
    """One sweep: ``rows`` are ``(n_kv, pp, tg, s_pp, s_tg)``, rates in tokens/s, in the order in which they were timed."""

    number: int
    model: str
    quant: str  #: the main type, and the layout where it is not the file's
    settings: Settings
    total: int  #: rows that the whole sweep has
    rows: list[tuple[int, int, int, float, float]] = field(default_factory=list)
    state: str = "running"  #: running, done, stopped or failed
    layout: str = "file"  #: as `ikexplore.sweep` takes it

    @property
    def key(self) -> tuple[str, ...]:
        """Runs of one key measured the same thing; the length of the context is left out."""
        return (self.model, self.quant, *flags(self.settings.replace(n_ctx=None).command()))

    def add(self, row: dict[str, Any]) -> None:
        """Take a row of a sweep."""
        self.rows.append((int(row["n_kv"]), int(row["pp"]), int(row["tg"]), float(row["s_pp"]), float(row["s_tg"])))


def on_this_cpu(settings: Settings) -> Settings:
    """The settings as far as they matter on a computer without a GPU."""
    given = {name: None for name in PLACEMENT if name in settings.given}
    return settings.replace(**given) if given else settings


def flags(command: str) -> list[str]:
    """A command line cut into flags, each with its values and as it is written; joined by spaces it is the line again."""
    out: list[str] = []
    for word in _WORD.findall(command):
        if word.startswith("-") and not _NUMBER.match(word):
            out.append(word)
        elif out:
            out[-1] += f" {word}"
        else:
            out.append(word)
    return out


def names(runs: Sequence[Run]) -> dict[int, str]:
    """Number of a run -> the flags and the type in which the runs differ, ``-ub`` always among them."""
    parts = {run.number: (run.model, run.quant, flags(run.settings.command())) for run in runs}
    shared = set.intersection(*(set(p[2]) for p in parts.values())) if parts else set()
    many_models = len({p[0] for p in parts.values()}) > 1
    many_quants = len({p[1] for p in parts.values()}) > 1
    out = {}
    for number, (model, quant, words) in parts.items():
        told = [w for w in words if w not in shared or w.split(" ")[0] == "-ub"]
        lead = [model] if many_models else []
        lead += [quant] if many_quants else []
        out[number] = " ".join([*lead, *told]) or "defaults"
    return out


def keep(runs: list[Run]) -> list[Run]:
    """The latest runs, as many as the chart shows; of runs without a row only the last."""
    kept = [run for i, run in enumerate(runs) if run.rows or i == len(runs) - 1]
    return kept[-_KEPT:]
