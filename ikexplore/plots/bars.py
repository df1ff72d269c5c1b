"""Memory per device: model, KV and compute against capacity. The static twin of the panel's memory bars."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from . import palette
from .figure import SMALL, axes, caption, fill, hatch, label, mib, new, picture_of, say
from .picture import Device, Picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_ROOM = 0.94  # the capacity lies here on each bar
#: below this share of its memory a bar is drawn to the largest such one, without a tick for the capacity
LOW = 0.05


def memory(plan: Any) -> Figure:
    """A bar per device, each scaled to its own capacity; red where it does not fit. ``plan``: Plan or Picture."""
    picture = picture_of(plan)
    n = len(picture.devices)
    figure = new(0.62 + 0.36 * n)
    caption(figure, 0.62 + 0.36 * n - 0.22, "Memory", "model, KV, compute, MiB")
    say(figure, *(words(d) + "." for d in picture.devices))
    draw(axes(figure, 0.12, 0.36 * n, right=1.6), picture)
    return figure


def words(device: Device) -> str:
    """What a device holds, as a sentence without its dot."""
    of = f" of {mib(device.capacity)}" if device.capacity is not None else ""
    over = ", does not fit" if device.capacity is not None and device.total > device.capacity else ""
    return f"{device.name}{', simulated' if device.simulated else ''}: {mib(device.total)}{of} MiB{over}"


def marked(device: Device) -> bool:
    """Whether a device's bar is scaled to its capacity: it is known, and not almost all of it is free."""
    return bool(device.capacity) and device.total >= LOW * (device.capacity or 0.0)


def scale(device: Device, devices: Sequence[Device]) -> float:
    """MiB at the end of a device's bar."""
    if device.capacity and marked(device):
        return device.capacity / _ROOM
    return max([d.total for d in devices if not marked(d)] + [1e-3]) / _ROOM


def draw(ax: Axes, picture: Picture) -> None:
    """The bars, first device on top."""
    for row, device in enumerate(picture.devices):
        full, known = scale(device, picture.devices), marked(device)
        if known:
            ax.barh(row, _ROOM, height=0.42, color=palette.rgba("veil"), linewidth=0.8 if device.simulated else 0,
                    edgecolor=palette.rgba("ink3"), linestyle=(0, (3, 3)) if device.simulated else "-")
        at = 0.0
        r, g, b, alpha = fill(device)
        for part, value in (("model", device.model), ("kv", device.kv), ("compute", device.compute)):
            wide = max(0.0, min(at + value / full, 1.0) - at)
            ax.barh(row, wide, left=at, height=0.42, color=(r, g, b, alpha * palette.STRENGTH[part]), hatch=hatch(device),
                    edgecolor=palette.rgba("bg"), linewidth=0.8 if wide > 0.01 else 0)
            at += wide
        over = known and device.capacity is not None and device.total > device.capacity
        ink = palette.rgba("bad") if over else palette.rgba("ink")
        if over:
            ax.barh(row, min(device.total / full, 1.0) - _ROOM, left=_ROOM, height=0.42, color=palette.rgba("bad"))
        if known:
            ax.vlines(_ROOM, row - 0.34, row + 0.34, color=ink, linewidth=1.5)
        if over and device.capacity is not None:
            text = f"over by {mib(device.total - device.capacity)}"
        else:
            text = mib(device.total) + (f" / {mib(device.capacity)}" if device.capacity is not None else "")
        ax.text(1.02, row, text, va="center", fontsize=SMALL, color=ink, clip_on=False)
    ax.set_xlim(0, 1)
    ax.set_ylim(len(picture.devices) - 0.5, -0.5)
    ax.set_xticks([])
    ax.set_yticks(range(len(picture.devices)), [label(d) for d in picture.devices])
