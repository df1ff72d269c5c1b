"""Where the forecast time goes: a stacked bar of a prompt's micro-batch and of a token. The static twin of the panel's bars.

Colour is the device, strength the cause; what crosses PCIe is grey.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from . import palette
from .figure import SMALL, axes, caption, new, picture_of
from .picture import Device

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHOWN = 9  # causes that are drawn apart; the others are one piece
FAR = 3  # a forecast this many times above all that is measured is told, not drawn: it would press the points flat
#: strength of a device's hue by cause
STRENGTH = {"experts": 1.0, "weights": 0.8, "attention": 0.6, "other ops": 0.42, "start of ops": 0.3}

Part = tuple[str, str, float]


def stacked(parts: Mapping[str, float], devices: Sequence[str]) -> list[Part]:
    """(device or "PCIe", cause, seconds) of ``{"CPU: experts": seconds}``, in the order of the devices.

    Within one the most comes first; small parts are summed up as ("", "rest", seconds).
    """
    order = {name: i for i, name in enumerate(devices)}
    rows: list[Part] = []
    for key, seconds in parts.items():
        device, _, cause = key.partition(": ")
        if seconds > 0:
            rows.append((device, cause, seconds))
    rows.sort(key=lambda row: -row[2])
    kept, rest = rows[:SHOWN], sum(row[2] for row in rows[SHOWN:])
    kept.sort(key=lambda row: (order.get(row[0], len(order)), -row[2]))
    return [*kept, *([("", "rest", rest)] if rest else [])]


def part_fill(device: str, cause: str, devices: Sequence[Device]) -> tuple[str, float]:
    """Colour role and strength of a part."""
    found = next((d for d in devices if d.name == device), None)
    if found is not None:
        return palette.device_role(device), STRENGTH.get(cause, 0.5) * (0.85 if found.simulated else 1.0)
    return ("line2", 1.0) if not device else ("ink3", 1.0 if cause == "weights" else 0.6)


def seconds_text(seconds: float) -> str:
    """Seconds in s or ms with two figures or more."""
    return f"{seconds:.1f} s" if seconds >= 10 else f"{seconds * 1e3:.0f} ms" if seconds >= 0.1 else f"{seconds * 1e3:.2g} ms"


def where(forecast: Any, n_kv: int = 0) -> Figure:
    """Two bars: seconds of a micro-batch and of one token, with ``n_kv`` tokens cached before. ``forecast``: a Forecast."""
    devices = picture_of(forecast.plan).devices
    found = forecast.where(n_kv)
    figure = new(1.85)
    caption(figure, 1.65, "Time", f"forecast, not measured, at N_KV {n_kv}; by device and cause, PCIe grey")
    ax = axes(figure, 0.2, 1.25, right=1.1)
    names = []
    for row, (kind, title) in enumerate((("pp", f"{forecast.rows[0]['pp']} tokens"), ("tg", "a token"))):
        parts = stacked(found[kind], [d.name for d in devices])
        total, at = sum(part[2] for part in parts) or 1.0, 0.0
        for device, cause, seconds in parts:
            role, strength = part_fill(device, cause, devices)
            r, g, b, _ = palette.rgba(role)
            ax.barh(row, seconds / total, left=at, height=0.36, color=(r, g, b, strength), edgecolor=palette.rgba("bg"),
                    linewidth=0.8 if seconds > total / 200 else 0)
            at += seconds / total
        most = sorted((p for p in parts if p[0]), key=lambda p: -p[2])[:4]
        words = " \u00b7 ".join(f"{d} {c} {100 * s / total:.0f} %" for d, c, s in most)
        ax.text(0, row + 0.26, words, va="top", fontsize=SMALL, color=palette.rgba("ink2"))
        ax.text(1.01, row, f"\u2248 {seconds_text(total)}", va="center", fontsize=SMALL, color=palette.rgba("ink"))
        names.append(title)
    ax.set_xlim(0, 1)
    ax.set_ylim(1.7, -0.3)
    ax.set_xticks([])
    ax.set_yticks([0, 1], names)
    return figure
