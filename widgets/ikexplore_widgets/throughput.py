"""Measured rates against the tokens in the cache. Its page side is throughput.js."""

from __future__ import annotations

from typing import Any

from . import forecasts, runs
from .header import n_kv
from .panel import Panel
from .settings import changes


def state(panel: Panel) -> dict[str, Any]:
    """All runs with their part (now, pinned, earlier), and what is being timed."""
    key, pinned_key = panel.key(), panel.pinned_key()
    shown = list(panel.runs)
    named = runs.names([run for run in shown if run.rows] or shown)
    full = panel.settings.resolved(panel.model, panel.present)
    reach = max([full.n_ctx, *(row[0] for run in shown for row in run.rows if run.model == panel.model_label)])
    live = None
    if panel.running is not None and panel.live and panel.live.get("phase") in ("pp", "tg"):
        live = {"phase": panel.live["phase"], "n_kv": n_kv(panel), "rate": round(float(panel.live.get("t_s") or 0), 3)}
    out = []
    for run in shown:
        kind = "now" if run.key == key else "pinned" if run.key == pinned_key else "earlier"
        other = run.model != panel.model_label
        out.append({"id": run.number, "other": other, "name": named.get(run.number, ""), "kind": kind,
                    "note": "stopped early" if run.state == "stopped" else "",
                    "rows": [[n, pp, tg, round(s_pp, 3), round(s_tg, 3)] for n, pp, tg, s_pp, s_tg in run.rows]})
    busy = panel.running is not None and panel.running.key == key
    told = forecasts.state(panel, bool(changes(panel)))
    if told["rig"] or panel.machine.gpus:
        mine = any(run.rows and run.model == panel.model_label for run in shown)
        note = "discs: this CPU; band: rig" if mine else "forecast, against N_KV"
    else:
        note = "against N_KV, tokens in the cache"
    return {"ctx": reach, "runs": out, "live": live, "note": note, "forecast": told,
            "empty": "running" if busy else "" if told["now"] else "not measured with these settings"}
