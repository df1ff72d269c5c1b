"""Figures of a grid: parallel coordinates through all axes, and rates against context in facets. Measured values only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from . import palette
from .curves import draw
from .figure import SMALL, WIDTH, axes, caption, new
from .words import clean

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_RATES = (("s_pp", "PP t/s"), ("s_tg", "TG t/s"))
#: facets in one figure, and curves in one facet
MOST_PANELS, MOST_CURVES = 6, 9
#: how far apart lines through one value may lie, as a share of the height
_SPREAD = 0.06
#: characters of one value on an axis
_LONG = 18


def parallel(names: Sequence[str], points: Sequence[dict[str, Any]]) -> Figure:
    """Parallel coordinates: an upright line per axis of the grid, then PP and TG; a line per point, the fastest TG in ink.

    ``names``: the axes; ``points``: dicts with the axes' values as text, ``s_pp`` and ``s_tg`` (mean tokens/s), ``n_kv``.
    Values of an axis stand at equal distances, numbers by size; lines through one value lie beside each other.
    Raises ValueError without points.
    """
    if not points:
        raise ValueError("a figure of a grid needs at least one measured point")
    figure = new(3.4)
    n_kv = sorted({point["n_kv"] for point in points})
    caption(figure, 3.2, "Grid", f"measured, at N_KV {', '.join(map(str, n_kv[:3]))}; a line per point, the fastest TG in ink")
    ax = axes(figure, 0.45, 2.2, left=0.55, right=0.75)
    places = [_places([str(point.get(name, "")) for point in points]) for name in names]
    tops = [max(point[key] for point in points) for key, _ in _RATES]
    ranked = sorted(points, key=lambda point: point["s_tg"])
    for number, point in enumerate(ranked):
        aside = _SPREAD * (number / max(1, len(ranked) - 1) - 0.5)
        y = [place[str(point.get(name, ""))] + aside for name, place in zip(names, places)]
        y += [point[key] / top for (key, _), top in zip(_RATES, tops)]
        last = number == len(ranked) - 1
        ax.plot(range(len(y)), y, color=palette.rgba("ink" if last else "ink3"), linewidth=1.6 if last else 0.9,
                alpha=1.0 if last else 0.75, marker="o", markersize=3, clip_on=False, zorder=3 if last else 2)  # fmt: skip
    for i, place in enumerate(places):
        for text, height in place.items():
            _value(ax, i, height, text, 8)
    for i, top in enumerate(tops, len(names)):
        for share in (0.0, 0.5, 1.0):
            _value(ax, i, share, f"{top * share:,.0f}" if top >= 100 else f"{top * share:.1f}", 5)
    titles = [*(clean(name, _LONG) for name in names), *(title for _, title in _RATES)]
    ax.set_xticks(range(len(titles)), titles)
    ax.tick_params(axis="x", pad=10)
    ax.set_yticks([])
    ax.vlines(range(len(titles)), 0, 1, color=palette.rgba("line"), linewidth=1, zorder=1)
    ax.set_xlim(-0.1, len(titles) - 0.9)
    ax.set_ylim(-0.06, 1.06)
    return figure


def _value(ax: Axes, x: float, y: float, text: str, right: float) -> None:
    ax.annotate(clean(text, _LONG).replace("$", r"\$"), (x, y), xytext=(right, 0), textcoords="offset points", va="center",
                fontsize=SMALL - 0.5, color=palette.rgba("ink2"), zorder=4,
                bbox={"boxstyle": "square,pad=0.1", "facecolor": palette.rgba("bg"), "edgecolor": "none", "alpha": 0.8})


def _places(texts: Sequence[str]) -> dict[str, float]:
    """Value -> height from 0 to 1, numbers by size, other texts behind them in their order."""
    distinct = list(dict.fromkeys(texts))
    ranked = sorted(distinct, key=lambda text: (_number(text) is None, _number(text) or 0.0, distinct.index(text)))
    step = 1 / max(1, len(ranked) - 1)
    return {text: i * step if len(ranked) > 1 else 0.5 for i, text in enumerate(ranked)}


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def facets(names: Sequence[str], rows: Sequence[dict[str, Any]]) -> Figure:
    """Rates against context: a pair of panels (PP, TG) per value of the first axis, a curve per combination of the others.

    ``rows``: dicts with the axes' values, ``n_kv s_pp s_tg``; rows of repetitions are averaged and their spread is drawn.
    Raises ValueError without rows, or for more panels or curves than can be told apart.
    """
    groups = _grouped(names, rows)
    if not groups:
        raise ValueError("a figure of a grid needs at least one measured row")
    most = max(len(curves) for curves in groups.values())
    if len(groups) > MOST_PANELS or most > MOST_CURVES:
        raise ValueError(f"{len(groups)} panels with up to {most} curves are too many (at most {MOST_PANELS} and "
                         f"{MOST_CURVES}); use kind='parallel' or fewer values")  # fmt: skip
    height = 2.35
    figure = new(height * len(groups) + 0.75)
    caption(figure, height * len(groups) + 0.55, "Grid", "measured, against N_KV, tokens in the cache")
    half = (WIDTH - 0.9) / 2
    tops = {key: max(row[key] for row in rows) for key, _ in _RATES}
    for number, (value, curves) in enumerate(groups.items()):
        bottom = height * (len(groups) - 1 - number) + 0.75
        for i, (key, title) in enumerate(_RATES):
            left = 0.5 + i * (half + 0.3)
            ax = axes(figure, bottom, height - 0.9, left=left, right=WIDTH - left - half + 0.1)
            draw(ax, [_curve(found, key) for found in curves.values()], list(curves), f"{clean(value, 40)}: {title}")
            ax.set_ylim(0, tops[key] * 1.05)
        if number == 0:
            figure.legend(*ax.get_legend_handles_labels(), loc="lower left", bbox_to_anchor=(0.045, 0.0), frameon=False,
                          ncols=min(4, most), fontsize=SMALL, labelcolor=palette.rgba("ink2"))  # fmt: skip
    return figure


def _grouped(names: Sequence[str], rows: Sequence[dict[str, Any]]) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """First axis' value -> label of the others -> rows."""
    groups: dict[str, dict[str, list[dict[str, Any]]]] = {}
    first, *others = names
    for row in sorted(rows, key=lambda row: [list(_places_key(str(row.get(name, "")))) for name in names]):
        curve = ", ".join(f"{name} {clean(str(row.get(name, '')), _LONG)}" for name in others) or "all"
        groups.setdefault(f"{first} {row.get(first, '')}", {}).setdefault(curve, []).append(row)
    return groups


def _places_key(text: str) -> tuple[bool, float, str]:
    number = _number(text)
    return number is None, number or 0.0, text


def _curve(rows: Sequence[dict[str, Any]], key: str) -> list[tuple[float, float, float]]:
    """(n_kv, mean, standard deviation) in order of context."""
    found: dict[int, list[float]] = {}
    for row in rows:
        found.setdefault(row["n_kv"], []).append(row[key])
    out = []
    for n_kv, values in sorted(found.items()):
        mean = sum(values) / len(values)
        spread = (sum((x - mean) ** 2 for x in values) / (len(values) - 1)) ** 0.5 if len(values) > 1 else 0.0
        out.append((float(n_kv), mean, spread))
    return out
