"""The top line: model, what is compared with, rig, progress. Its page side is header.js."""

from __future__ import annotations

from typing import Any

from .clean import clean
from .models import model_title
from .panel import Panel
from .settings import changes, header_line


def about(panel: Panel) -> dict[str, Any]:
    """What does not change with settings: the model's name, size and tensors."""
    grid = panel.grid
    return {
        "id": f"{panel.model_id} {panel.quant}",
        "title": model_title(panel.model),
        "line": header_line(panel),
        "n_layer": grid.n_layer, "edge": grid.edge, "roles": [clean(role, 40) for role in grid.roles],
        "tensors": {"name": [clean(name, 100) for name in grid.names], "role": list(grid.role), "layer": list(grid.layer),
                    "bytes": list(grid.nbytes), "type": list(grid.types),
                    "shape": [" × ".join(map(str, shape)) for shape in grid.shapes]},
    }


def state(panel: Panel) -> dict[str, Any]:
    """Rig, progress and errors."""
    run = panel.running
    different = changes(panel)
    return {
        "seq": panel.seq,
        "against": ", ".join(different),
        "rig": panel.rigs.chosen.id, "rigs": [list(pair) for pair in panel.rigs.choices()],
        "running": run is not None, "can_run": not panel.doing and panel.model.has_weights, "doing": bool(panel.doing),
        "open": sorted(panel.open),
        "run_note": _run_note(panel),
        "status": _status(panel), "done": _done(panel),
        "error": panel.error or panel.plan_error,
    }


def _run_note(panel: Panel) -> str:
    if not panel.model.has_weights:
        return "A header without weights can be planned, not run"
    if panel.machine.gpus or panel.rigs.described:
        return "Times the CPU of this computer; the rig is forecast, not timed"
    return "Time prompt and generation on this computer's CPU"


def _status(panel: Panel) -> str:
    run, live = panel.running, panel.live
    if run is None:
        return panel.doing
    if panel.jobs.draining:
        return "waiting for the last run to end"
    phase = (live or {}).get("phase", "")
    if phase in ("pp", "tg"):
        return f"{min(len(run.rows) + 1, run.total)} of {run.total}, N_KV {n_kv(panel)}"
    words = {"load": "loading", "repack": "repacking", "compile": "compiling kernels", "warmup": "warming up"}
    return words.get(phase, "starting")


def n_kv(panel: Panel) -> int:
    """Tokens in the cache when the row that is being timed began."""
    run = panel.running
    if run is None:
        return 0
    full = run.settings.resolved(panel.model, panel.present)
    return len(run.rows) * full.n_ubatch


def _done(panel: Panel) -> float:
    run, live = panel.running, panel.live or {}
    if run is None:
        return 0.0
    part = {"tg": 0.25, "pp": 0.75}.get(live.get("phase", ""), 0.0)  # a row is timed in this order
    return min(1.0, (len(run.rows) + part) / run.total)
