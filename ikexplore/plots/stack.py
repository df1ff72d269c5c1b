"""Where the forecast time goes: a stacked bar of a prompt's micro-batch and of a token. The static twin of the panel's bars.

Colour is the device, strength the cause; what crosses PCIe is ink.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from . import palette
from .picture import Device

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
    return ("line2", 1.0) if not device else ("ink", 0.7 if cause == "weights" else 0.5)


def seconds_text(seconds: float) -> str:
    """Seconds in s or ms with two figures or more."""
    if seconds >= 1:
        return f"{seconds:.1f} s" if seconds >= 10 else f"{seconds:.2f} s"
    return f"{seconds * 1e3:.0f} ms" if seconds >= 0.1 else f"{seconds * 1e3:.2g} ms"
