"""What the panel gives away as files: the page as a picture, measured rows as text."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from .panel import Panel
from .runs import Run, names

KINDS = {"svg": ("image/svg+xml", "ikexplore.svg"), "png": ("image/svg+xml", "ikexplore.png"),
         "md": ("text/markdown", "ikexplore-rows.md"), "jsonl": ("application/x-ndjson", "ikexplore-rows.jsonl")}


def file(panel: Panel, kind: str, svg: Callable[[], str]) -> dict[str, str]:
    """A file for the page to save; a PNG is drawn there from the SVG."""
    mime, name = KINDS[kind]
    text = svg() if kind in ("svg", "png") else markdown(panel) if kind == "md" else jsonl(panel)
    return {"kind": "file", "as": kind, "name": name, "mime": mime, "text": text}


def rows(run: Run) -> list[dict[str, Any]]:
    """A run's rows with the columns of a sweep."""
    return [{"pp": pp, "tg": tg, "n_kv": n, "t_pp": pp / s_pp if s_pp else 0.0, "s_pp": s_pp,
             "t_tg": tg / s_tg if s_tg else 0.0, "s_tg": s_tg} for n, pp, tg, s_pp, s_tg in run.rows]


def markdown(panel: Panel) -> str:
    """The measured runs as tables of llama-sweep-bench, and the forecast of the plan as a table of its own."""
    from ikexplore.run.sweep import markdown_head, markdown_row

    parts = []
    for run, name in _measured(panel):
        table = [*markdown_head(), *(markdown_row(row) for row in rows(run))]
        what = f"{run.model}, {run.quant}, on this computer's CPU{', stopped early' if run.state == 'stopped' else ''}"
        parts.append("\n".join([f"### {name}", "", f"Measured: {what}. `{run.settings.command()}`", "", *table]))
    made = panel.forecast_of(panel.plan)[0]
    if made is not None:
        parts.append("\n".join(["### Forecast, not measured", "", f"`{panel.settings.command()}`", "", made.to_markdown()]))
    return "\n\n".join(parts or ["No run was measured."]) + "\n"


def jsonl(panel: Panel) -> str:
    """Measured rows, one JSON object each, with what was run."""
    return "".join(
        json.dumps({"model": run.model, "type": run.quant, "flags": run.settings.command(), **row}) + "\n"
        for run, _ in _measured(panel) for row in rows(run))


def _measured(panel: Panel) -> Sequence[tuple[Run, str]]:
    shown = [run for run in panel.runs if run.rows]
    named = names(shown)
    return [(run, named[run.number]) for run in shown]
