"""Measured PP and TG against the tokens in the cache. The static twin of the panel's throughput chart."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from . import palette
from .figure import SMALL, WIDTH, axes, caption, new

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_PANELS = (("s_pp", "Prompt S_PP, t/s"), ("s_tg", "Generation S_TG, t/s"))


def throughput(sweeps: Any, labels: Sequence[str] | None = None) -> Figure:
    """Prompt and generation rates of one or more sweeps, both from zero; the last sweep is drawn in ink.

    ``sweeps``: a Sweep or several, anything with ``.rows`` (dicts with ``n_kv s_pp s_tg``), or lists of such rows.
    ``labels``: a name for each; made from the settings when left out. A standard deviation is drawn where rows have one.
    """
    runs = _runs(sweeps)
    named = list(labels) if labels is not None else _labels(runs)
    if len(named) != len(runs):
        raise ValueError(f"{len(named)} labels for {len(runs)} sweeps: give one for each")
    figure = new(2.75)
    caption(figure, 2.55, "Throughput", "measured, against N_KV, tokens in the cache")
    half = (WIDTH - 0.9) / 2
    for i, (key, title) in enumerate(_PANELS):
        left = 0.5 + i * (half + 0.3)
        ax = axes(figure, 0.6, 1.55, left=left, right=WIDTH - left - half + 0.1)
        draw(ax, [points(run, key) for run in runs], named, title)
        if i == 0 and len(runs) > 1:
            figure.legend(*ax.get_legend_handles_labels(), loc="lower left", bbox_to_anchor=(0.045, 0.0), frameon=False,
                          ncols=min(4, len(runs)), fontsize=SMALL, labelcolor=palette.rgba("ink2"))
    return figure


def draw(ax: Axes, curves: Sequence[Sequence[tuple[float, float, float]]], names: Sequence[str], title: str) -> None:
    """Curves of ``(n_kv, rate, sd)``: the last one in ink, earlier ones in greys with marks of their own."""
    marks = "osD^vPX*"
    for number, (points, name) in enumerate(zip(curves, names)):
        last = number == len(curves) - 1
        colour = palette.rgba("ink" if last else "ink3" if number % 2 == (len(curves) % 2) else "ghost")
        x, y, sd = ([p[k] for p in points] for k in range(3))
        if any(sd):
            ax.vlines(x, [max(0.0, a - b) for a, b in zip(y, sd)], [a + b for a, b in zip(y, sd)], color=colour, linewidth=1)
        ax.plot(x, y, color=colour, marker=marks[(len(curves) - 1 - number) % len(marks)], markersize=4.5, clip_on=False,
                linewidth=1.5 if last else 1.2, label=name, markerfacecolor=colour if last else palette.rgba("bg"))
    ax.set_title(title, loc="left", fontsize=SMALL + 1, color=palette.rgba("ink"), pad=8)
    ax.set_ylim(0, None)
    ax.set_xlim(left=0)
    ax.margins(x=0.04)
    ax.yaxis.set_major_locator(_ticks())
    ax.xaxis.set_major_locator(_ticks())
    ax.grid(axis="y", color=palette.rgba("line"), linewidth=0.8)
    ax.set_axisbelow(True)


def _ticks() -> Any:
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(nbins=5, steps=[1, 2, 2.5, 5, 10])


def _runs(sweeps: Any) -> list[Any]:
    if hasattr(sweeps, "rows"):
        return [sweeps]
    if isinstance(sweeps, Iterable):
        found = list(sweeps)
        if found and isinstance(found[0], dict):
            return [found]
        if found:
            return found
    raise ValueError("throughput needs at least one sweep with rows")


def points(run: Any, key: str) -> list[tuple[float, float, float]]:
    rows = run.rows if hasattr(run, "rows") else run
    out = []
    for row in rows:
        if isinstance(row, dict):
            out.append((row["n_kv"], row[key], row.get(f"{key}_sd", 0.0)))
        else:  # a run of the panel: (n_kv, pp, tg, s_pp, s_tg)
            out.append((row[0], row[3 if key == "s_pp" else 4], 0.0))
    return out


def _labels(runs: Sequence[Any]) -> list[str]:
    """The flags in which the sweeps differ, else numbers."""
    commands = [run.settings.argv() if getattr(run, "settings", None) is not None else None for run in runs]
    if any(words is None for words in commands):
        return [f"run {i + 1}" for i in range(len(runs))]
    groups = [_groups(words) for words in commands if words is not None]
    shared = set.intersection(*map(set, groups)) if groups else set()
    names = [" ".join(g for g in group if g not in shared or g.startswith("-ub ")) or "defaults" for group in groups]
    return names


def _groups(words: Sequence[str]) -> list[str]:
    out: list[str] = []
    for word in words:
        if word.startswith("-") and not word[1:2].isdigit():
            out.append(word)
        elif out:
            out[-1] += f" {word}"
    return out
