"""What one or several runs of a real program gave: rows as a sweep has them, and everything around them."""

import math
from dataclasses import dataclass, field
from typing import Any

from ..logs import Run
from ..logs.run import RATES, escaped, plain
from ..run.sweep import Sweep
from .figures import Difference, sentences
from .program import quoted


@dataclass
class Record(Sweep):
    """A Sweep that another program measured. ``rows`` are like those of ``ikx.sweep`` (with ``s_pp_all``, ``s_tg_all``: the
    rates of all repetitions); ``runs`` holds what each run printed, in order. ``ok``: every run ended well and gave what it
    was run for; ``sentence`` says how the last one ended."""

    program: str = ""
    version: str = ""
    engine: str = ""
    command: list[str] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)
    runs: list[Run] = field(default_factory=list)
    logs: list[str] = field(default_factory=list)
    codes: list[int] = field(default_factory=list)
    seconds: float = 0.0
    ok: bool = False
    sentence: str = ""
    remarks: list[str] = field(default_factory=list)
    #: (figure, planned, printed) of the last run, where there was a plan; None without one
    differences: list[Difference] | None = None
    #: how many figures were compared with the plan
    compared: int = 0

    @property
    def run(self) -> Run | None:
        """What the last run printed."""
        return self.runs[-1] if self.runs else None

    @property
    def bench(self) -> list[dict[str, Any]]:
        """Rows of llama-bench, of all repetitions."""
        return [row for run in self.runs for row in run.bench]

    @property
    def perplexity(self) -> dict[str, Any] | None:
        """What llama-perplexity printed last: "final", "error", "chunks", "running", "kld"."""
        return next((run.perplexity for run in reversed(self.runs) if run.perplexity), None)

    def add(self, rows: list[dict[str, Any]]) -> None:
        """Joins the rows of one more repetition."""
        kept = {row["n_kv"]: row for row in self.rows}
        for row in rows:
            kept[row["n_kv"]] = joined(kept.get(row["n_kv"]), row)
        self.rows[:] = sorted(kept.values(), key=lambda row: row["n_kv"])

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; the logs themselves are left out."""
        return plain({
            "program": self.program, "version": self.version, "engine": self.engine, "model": self.model,
            "command": quoted(self.command), "environment": self.environment, "settings": self.settings.command(),
            "profile": self.settings.profile, "rows": self.rows, "bench": self.bench, "perplexity": self.perplexity,
            "codes": self.codes, "seconds": self.seconds, "ok": self.ok, "stopped": self.stopped, "sentence": self.sentence,
            "remarks": self.remarks, "differences": self.differences, "facts": self.facts,
        })  # fmt: skip

    def _repr_markdown_(self) -> str:
        return self.summary()

    def summary(self) -> str:
        """The command, how it ended, remarks, what differs from the plan, and the table."""
        lines = [f"`{escaped(quoted(self.command))}`", "", f"{escaped(self.program)} {escaped(self.version)}, measured: "
                 + escaped(self.sentence) + "."]  # fmt: skip
        lines += [f"- {escaped(text)}" for text in self.remarks]
        if self.environment:
            lines.append("- environment: " + escaped(" ".join(f"{k}={v}" for k, v in self.environment.items())))
        if self.differences is not None:
            lines += [f"- {escaped(text)}" for text in sentences(self.differences)]
            if not self.differences:
                lines.append(f"- all {self.compared} figures that it printed are those of the plan")
        if self.rows:
            lines += ["", self.to_markdown()]
        if self.perplexity and self.perplexity.get("final") is not None:
            lines.append(f"- perplexity {self.perplexity['final']} ± {self.perplexity.get('error')}")
        return "\n".join(lines)


def row_of(printed: dict[str, Any]) -> dict[str, Any] | None:
    """A printed row as a sweep's row; None where it lacks a rate or a size."""
    if any(printed.get(key) is None for key in ("pp", "tg", "n_kv", *RATES)):
        return None
    row = {key: printed[key] for key in ("pp", "tg", "n_kv", *RATES)}
    return joined(None, {**row, **{k: v for k, v in printed.items() if k not in row and isinstance(v, (int, float))}})


def joined(kept: dict[str, Any] | None, row: dict[str, Any]) -> dict[str, Any]:
    """A row with one more measurement in it: means, standard deviations (n - 1) and the values behind them."""
    out = dict(row)
    for key in RATES:
        values = [*(kept[f"{key}_all"] if kept else []), row[key]]
        mean = math.fsum(values) / len(values)
        spread = math.sqrt(math.fsum((x - mean) ** 2 for x in values) / (len(values) - 1)) if len(values) > 1 else 0.0
        out[key], out[f"{key}_sd"], out[f"{key}_all"] = mean, spread, values
        out["repetitions"] = len(values)
    return out
