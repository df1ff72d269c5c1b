"""PP and TG against the tokens in the cache, measured and forecast. The static twin of the panel's throughput chart.

Measured: lines with marks. Forecast: a band and a dotted line without marks; the two never look alike.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from . import palette
from .figure import SMALL, WIDTH, axes, caption, new, say

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_PANELS = (("s_pp", "Prompt S_PP, t/s"), ("s_tg", "Generation S_TG, t/s"))


def throughput(sweeps: Any = (), labels: Sequence[str] | None = None, forecast: Any = None) -> Figure:
    """Prompt and generation rates of one or more sweeps, both from zero; the last sweep is drawn in ink.

    ``sweeps``: a Sweep or several, anything with ``.rows`` (dicts with ``n_kv s_pp s_tg``), or lists of such rows.
    ``labels``: a name for each; made from the settings when left out. A standard deviation is drawn where rows have one.
    ``forecast``: a Forecast, drawn under them as a band (80 % of measurements) and a dotted line; ``sweeps`` may then be empty.
    Raises ValueError for labels that are not one for each.
    """
    runs = [] if forecast is not None and not hasattr(sweeps, "rows") and not len(sweeps) else _runs(sweeps)
    named = list(labels) if labels is not None else _labels(runs)
    if len(named) != len(runs):
        raise ValueError(f"{len(named)} labels for {len(runs)} sweeps: give one for each")
    figure = new(2.75)
    what = "measured" if forecast is None else "marks: measured; band: forecast" if runs else "forecast, not measured"
    caption(figure, 2.55, "Throughput", f"{what}, against N_KV, tokens in the cache")
    say(figure, *(_words(name, points(run, "s_pp"), points(run, "s_tg")) for name, run in zip(named, runs)))
    if forecast is not None:
        ends = (forecast.rows[0], forecast.rows[-1])
        say(figure, *(f"Forecast at N_KV {r['n_kv']}: PP {r['s_pp']:.3g}, TG {r['s_tg']:.3g} tokens/s." for r in ends))
    half = (WIDTH - 0.9) / 2
    for i, (key, title) in enumerate(_PANELS):
        left = 0.5 + i * (half + 0.3)
        ax = axes(figure, 0.6, 1.55, left=left, right=WIDTH - left - half + 0.1)
        draw(ax, [points(run, key) for run in runs], named, title)
        if forecast is not None:
            band(ax, forecast, key)
        if i == 0 and (len(runs) > 1 or forecast is not None):
            figure.legend(*ax.get_legend_handles_labels(), loc="lower left", bbox_to_anchor=(0.045, 0.0), frameon=False,
                          ncols=min(4, len(runs)), fontsize=SMALL, labelcolor=palette.rgba("ink2"))
    return figure


def _words(name: str, pp: Sequence[tuple[float, float, float]], tg: Sequence[tuple[float, float, float]]) -> str:
    if not pp:
        return f"{name}: no rows."
    first, last = (f"PP {pp[i][1]:.3g}, TG {tg[i][1]:.3g} tokens/s at N_KV {pp[i][0]:g}" for i in (0, -1))
    return f"{name}: {first}; {last}."


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


def band(ax: Axes, forecast: Any, key: str) -> None:
    """The range that should hold 80 % of measurements, and the forecast itself, of ``key`` ("s_pp" or "s_tg")."""
    rows = forecast.rows
    x = [row["n_kv"] for row in rows]
    low, high = ([row[f"{key}_{end}"] for row in rows] for end in ("low", "high"))
    if len(rows) == 1:  # no line: a bar as wide as a mark
        ax.bar(x, [high[0] - low[0]], bottom=low, width=max(1.0, 0.02 * (ax.get_xlim()[1] or 1)), color=palette.rgba("band"))
    ax.fill_between(x, low, high, color=palette.rgba("band"), linewidth=0, zorder=0.6)
    ax.plot(x, [row[key] for row in rows], color=palette.rgba("ink2"), linestyle=(0, (1, 2)), linewidth=1.5, zorder=0.7,
            label="forecast, 80 % band")
    ax.set_ylim(0, None)


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
