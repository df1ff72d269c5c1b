"""The forecast of the plan, as the throughput chart shows it: a band and a line per rate, never a point."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ikexplore.plots.stack import stacked

from .clean import clean

if TYPE_CHECKING:
    from .panel import Panel

_LARGE = 1 << 30  # bytes: a model of this size is what forecasts are fitted to


def wanted(panel: Panel) -> bool:
    """Whether the plan is forecast: where it cannot simply be timed here, or the model is no toy."""
    large = sum(panel.grid.nbytes) >= _LARGE
    return panel.rigs.described or bool(panel.machine.gpus) or large or not panel.model.has_weights


def heads(panel: Panel) -> bool:
    """Whether the headline figures are forecasts: the rig is another one, or there is nothing to measure."""
    return wanted(panel) and (panel.rigs.described or bool(panel.machine.gpus) or not panel.model.has_weights)


def pair(panel: Panel, compared: bool) -> tuple[Any, Any]:
    """The forecasts of the plan and (if ``compared``) of the pinned one.

    Until a new plan's is made (a tenth of a second) the pair of the plan before is kept, so that nothing flickers; for another
    model or rig there is none.
    """
    made, why = panel.forecast_of(panel.plan)
    if made is not None:
        panel.told_forecasts = (made, _pinned(panel) if compared else None)
    elif why or not wanted(panel):
        panel.told_forecasts = (None, None)
    now = panel.told_forecasts[0]
    if now is not None and (now.plan.model is not panel.model or now.plan.machine != panel.machine):
        panel.told_forecasts = (None, None)
    return panel.told_forecasts


def _pinned(panel: Panel) -> Any:
    pin = panel.pinned
    if pin is None or pin.plan is None or pin.plan is panel.plan or pin.model_id != panel.model_id:
        return None
    return panel.forecast_of(pin.plan)[0]


def state(panel: Panel, compared: bool) -> dict[str, Any]:
    """Columns of both curves, those of the pinned plan (if ``compared``), and where the time goes while that view is open."""
    now, was = pair(panel, compared)
    _, why = panel.forecast_of(panel.plan)
    return {"now": now and columns(now), "pinned": was and columns(was), "why": clean(why, 200) if wanted(panel) else "",
            "rig": panel.rigs.described, "open": "where" in panel.open,
            "where": where(panel, now, was) if now is not None and "where" in panel.open else None}


def columns(made: Any) -> dict[str, list[float]]:
    """n_kv, and for both rates the line and the range that should hold 80 % of measurements, tokens/s."""
    names = ("n_kv", "s_pp", "s_pp_low", "s_pp_high", "s_tg", "s_tg_low", "s_tg_high")
    return {name: [round(float(row[name]), 3) for row in made.rows] for name in names}


def where(panel: Panel, now: Any, was: Any) -> dict[str, Any]:
    """Seconds by device and cause of a micro-batch and of a token with an empty cache, and how long the pinned plan takes."""
    parts, before = now.where(0), was.where(0) if was is not None else None
    devices = [d.name for d in panel.picture.devices]
    out: dict[str, Any] = {"tokens": int(now.rows[0]["pp"])}
    for kind in ("pp", "tg"):
        out[kind] = [[device, cause, round(seconds, 6)] for device, cause, seconds in stacked(parts[kind], devices)]
        out[f"{kind}_was"] = sum(before[kind].values()) if before is not None else None
    return out
