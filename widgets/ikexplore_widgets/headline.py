"""Five figures over the diagrams: two rates, measured or forecast, then what the plan says. Its page side is headline.js."""

from __future__ import annotations

from typing import Any

from ikexplore.plots.picture import Device, Picture

from . import forecasts
from .panel import Panel
from .settings import changes

_MINUS, _THIN = "\u2212", "\u202f"


def state(panel: Panel) -> dict[str, Any]:
    """Cells with label, value, unit and a second line: the change against the pinned plan, else what it means."""
    picture = panel.picture
    old = panel.pinned.picture if panel.pinned is not None and changes(panel) else None
    rates = _forecast(panel) if forecasts.heads(panel) else _rates(panel)
    return {"cells": [*rates, _splits(picture, old), _copied(picture, old), _room(picture)]}


def _rates(panel: Panel) -> list[dict[str, Any]]:
    now = next((r for r in panel.runs if r.key == panel.key()), None)
    pinned_key = panel.pinned_key()
    pinned = next((r for r in panel.runs if r.key == pinned_key and r is not now), None)
    live = panel.live if panel.running is not None else None
    out = []
    for phase, column, label in (("pp", 3, "PP"), ("tg", 4, "TG")):
        cell: dict[str, Any] = {"key": phase, "label": f"{label}, measured", "value": "–", "unit": "", "quiet": True,
                                "sub": "not measured yet"}
        if now is not None and now.rows:
            value = now.rows[0][column]
            cell.update(value=rate(value), unit="t/s", quiet=False, sub=_rate_note(now.rows, column))
            if pinned is not None and pinned.rows and pinned.rows[0][column]:
                was = pinned.rows[0][column]
                cell["sub"] = f"{percent(value, was)}, was {rate(was)}"
        if live is not None and live.get("phase") == phase and live.get("t_s"):
            cell["sub"] = f"now {rate(float(live['t_s']))}"
            if cell["quiet"]:
                cell.update(label=f"{label}, being timed", value=rate(float(live["t_s"])), unit="t/s", quiet=False, sub="live")
        out.append(cell)
    return out


def _forecast(panel: Panel) -> list[dict[str, Any]]:
    """Both rates with an empty cache as forecast; a second line with the change against pinned, else the 80 % band."""
    made, was = forecasts.pair(panel, bool(changes(panel)))
    _, why = panel.forecast_of(panel.plan)
    out = []
    for phase, label in (("pp", "PP"), ("tg", "TG")):
        cell: dict[str, Any] = {"key": phase, "label": f"{label}, forecast", "value": "–", "unit": "", "quiet": True,
                                "sub": f"no forecast: {why}" if why else "\u00a0"}
        if made is not None:
            row, name = made.rows[0], f"s_{phase}"
            band = f"80{_THIN}%: {about(row[f'{name}_low'])}–{about(row[f'{name}_high'])}"
            before = was.rows[0][name] if was is not None else 0.0
            cell.update(value=f"≈{_THIN}{about(row[name])}", unit="t/s", quiet=False, sub=band)
            if before:
                cell["sub"] = f"{percent(row[name], before)}, was ≈{_THIN}{about(before)}"
        out.append(cell)
    return out


def _rate_note(rows: list[tuple[int, int, int, float, float]], column: int) -> str:
    last = rows[-1]
    return f"{rate(last[column])} at N_KV {short(last[0])}" if len(rows) > 1 else f"at N_KV {rows[0][0]}"


def _splits(picture: Picture, old: Picture | None) -> dict[str, Any]:
    was = f"was {len(old.pp)}; " if old is not None and len(old.pp) != len(picture.pp) else ""
    return {"key": "splits", "label": "Splits, PP graph", "value": grouped(len(picture.pp)), "unit": "",
            "sub": f"{was}TG graph {len(picture.tg)}"}


def _copied(picture: Picture, old: Picture | None) -> dict[str, Any]:
    weights, acts = sum(picture.pp.weight_bytes), sum(picture.pp.input_bytes)
    value, unit = size(weights)
    sub = "per pass; activations {} {}".format(*size(acts)) if acts else "nothing is copied"
    if old is not None and sum(old.pp.weight_bytes) != weights:
        sub = "was {} {}; ".format(*size(sum(old.pp.weight_bytes))) + sub
    return {"key": "copied", "label": "Weights copied", "value": value, "unit": unit, "sub": sub}


def _room(picture: Picture) -> dict[str, Any]:
    limited = [d for d in picture.devices if d.capacity is not None and not d.host]
    limited = limited or [d for d in picture.devices if d.capacity is not None]
    if not limited:
        return {"key": "room", "label": "Memory", "value": grouped(sum(d.total for d in picture.devices)), "unit": "MiB",
                "sub": "capacity not known", "optional": True}
    tight = min(limited, key=left)
    room = left(tight)
    return {"key": "room", "label": "Tightest device", "value": f"{_MINUS if room < 0 else ''}{grouped(abs(room))}",
            "unit": "MiB", "sub": f"{tight.name} {'does not fit' if room < 0 else 'has left'}", "bad": room < 0,
            "optional": True}


def left(device: Device) -> float:
    """MiB of a device that the plan leaves."""
    return (device.capacity or 0.0) - device.total


def rate(value: float) -> str:
    """Tokens a second with three figures or so."""
    return grouped(value) if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def about(value: float) -> str:
    """A forecast rate: no more than three figures; ``121k`` from ten thousand on."""
    return f"{value / 1000:.3g}k" if value >= 9995 else rate(float(f"{value:.3g}"))


def short(tokens: int) -> str:
    """``20480`` -> ``20k`` where it is whole, else grouped."""
    return f"{tokens // 1024}k" if tokens >= 1024 and tokens % 1024 == 0 else grouped(tokens)


def percent(value: float, was: float) -> str:
    """Change in whole percent, with its sign."""
    change = round((value / was - 1) * 100)
    return f"{_MINUS if change < 0 else '+'}{abs(change)}{_THIN}%"


def grouped(value: float) -> str:
    """A whole number with thin spaces between thousands."""
    return f"{value:,.0f}".replace(",", _THIN)


def size(nbytes: float) -> tuple[str, str]:
    """Bytes as a figure and its unit."""
    if not nbytes:
        return "0", "MiB"
    for unit, scale in (("GiB", 1 << 30), ("MiB", 1 << 20)):
        if nbytes >= scale:
            return (f"{nbytes / scale:.1f}", unit)
    return f"{nbytes / 1024:.1f}", "KiB"
