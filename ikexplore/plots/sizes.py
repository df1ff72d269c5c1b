"""A cost against a size for many named things (error against bits per weight, perplexity against GiB), with its frontier."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from . import palette
from .figure import SMALL, axes, caption, new, say

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_GAP = 0.155  # inches from name to name
_LEFT, _BOTTOM, _HEIGHT, _NAMES = 0.75, 0.55, 3.3, 1.05


def unbeaten(points: Mapping[str, tuple[float, float]]) -> list[str]:
    """Names of the (size, cost) points that none beats in one without losing in the other, smallest first."""
    found: list[str] = []
    for name in sorted(points, key=lambda n: points[n]):
        if not found or points[name][1] < points[found[-1]][1]:
            found.append(name)
    return found


def frontier(points: Mapping[str, tuple[float, float]], x: str, y: str, title: str = "", log: bool = True) -> Figure:
    """``points``: name -> (size, cost), lower is better in both. ``x`` and ``y`` name the axes, ``title`` stands above;
    ``log``: of the costs.

    Those that nothing beats are dark, joined and named above the axes, in order of size; the others are grey dots.
    """
    figure = new(_BOTTOM + _HEIGHT + _NAMES + 0.35)
    caption(figure, _BOTTOM + _HEIGHT + _NAMES + 0.15, title, "dark and named: nothing is both smaller and better")
    ax = axes(figure, _BOTTOM, _HEIGHT, left=_LEFT)
    names = unbeaten(points)
    say(figure, f"{len(points)} points; nothing beats {', '.join(names)}.")
    ax.plot(*zip(*points.values()), "o", color=palette.rgba("ghost"), markersize=4.5, markeredgewidth=0)
    ax.plot(*zip(*(points[n] for n in names)), "o-", color=palette.rgba("ink"), markersize=4.5, linewidth=0.8)
    if log:
        ax.set_yscale("log")
    ax.set_xlabel(x, fontsize=SMALL + 1, color=palette.rgba("ink2"))
    ax.set_ylabel(y, fontsize=SMALL + 1, color=palette.rgba("ink2"))
    ax.tick_params(which="minor", length=0)
    ax.grid(color=palette.rgba("line"), linewidth=0.8, which="both")
    ax.set_axisbelow(True)
    _fan(ax, {n: points[n] for n in names})
    return figure


def _fan(ax: Axes, points: Mapping[str, tuple[float, float]]) -> None:
    """Names upright above the axes, spread so that none covers another, each led to its point by a fine line."""
    transform = ax.get_xaxis_transform()
    (low, high), width = ax.get_xlim(), ax.get_position().width * ax.figure.get_size_inches()[0]  # type: ignore[union-attr]
    at = spread([(p[0] - low) / (high - low) * width for p in points.values()], _GAP, width)
    for (name, (x, y)), place in zip(points.items(), at):
        above = low + place / width * (high - low)
        line = {"arrowstyle": "-", "color": palette.rgba("line2"), "linewidth": 0.7, "shrinkA": 0, "shrinkB": 3}
        ax.annotate("", (x, y), (above, 1.02), textcoords=transform, annotation_clip=False, arrowprops=line)
        ax.text(above, 1.03, name, rotation=90, ha="center", va="bottom", fontsize=SMALL, transform=transform,
                color=palette.rgba("ink"))


def spread(wanted: list[float], gap: float, width: float) -> list[float]:
    """Ascending places, ``gap`` apart or more where ``width`` allows it, as near to the wanted ones as that leaves them.

    Neighbours that come too close form a group around the mean of what its members want (isotonic regression).
    """
    gap = min(gap, width / max(1, len(wanted) - 1))
    groups: list[tuple[float, int]] = []  # mean of (wanted - rank * gap), members
    for rank, place in enumerate(wanted):
        mean, many = place - rank * gap, 1
        while groups and groups[-1][0] > mean:
            other, more = groups.pop()
            mean, many = (mean * many + other * more) / (many + more), many + more
        groups.append((mean, many))
    bases = [mean for mean, many in groups for _ in range(many)]
    top = width - (len(wanted) - 1) * gap
    return [min(max(base, 0.0), top) + rank * gap for rank, base in enumerate(bases)]
