"""Forecasts: rates with their band under measured points, and where the time goes as stacked bars."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from . import palette
from .curves import points
from .figure import SMALL, WIDTH, axes, caption, new, say
from .stack import STRENGTH

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_PANELS = (("s_pp", "Prompt S_PP, t/s"), ("s_tg", "Generation S_TG, t/s"))
_KINDS = (("pp", "Prompt, per 1000 tokens"), ("tg", "Generation, one token"))
#: strength of grey by what crosses PCIe
_LINKS = {"weights": 1.0, "activations": 0.6, "changes of device": 0.4, "changes between GPUs": 0.25}
_LETTER = 0.0088  # of a panel's width, roughly: what does not fit its part is not written


def rates(forecast: Any, measured: Any = None) -> Figure:
    """Forecast rates against context: a dashed line in its 80 % band; ``measured`` (a Sweep, a log Run or rows) as dots."""
    figure = new(2.75)
    note = "dashed: forecast with its 80 % band" + ("; dots: measured" if measured is not None else "")
    caption(figure, 2.55, "Forecast", f"{note}; against N_KV, tokens in the cache")
    half = (WIDTH - 0.9) / 2
    for i, (key, title) in enumerate(_PANELS):
        left = 0.5 + i * (half + 0.3)
        ax = axes(figure, 0.35, 1.8, left=left, right=WIDTH - left - half + 0.1)
        _band(ax, forecast.rows, key)
        if measured is not None:
            dots = [p for p in points(measured, key) if p[1]]
            ax.plot([p[0] for p in dots], [p[1] for p in dots], "o", color=palette.rgba("ink"), markersize=4.5, clip_on=False)
        ax.set_title(title, loc="left", fontsize=SMALL + 1, color=palette.rgba("ink"), pad=8)
        ax.set_ylim(0, None)
        ax.margins(x=0.04)
        ax.grid(axis="y", color=palette.rgba("line"), linewidth=0.8)
        ax.set_axisbelow(True)
    ends = forecast.rows[:1] + forecast.rows[-1:] if len(forecast.rows) > 1 else forecast.rows
    say(figure, *(f"N_KV {r['n_kv']}: PP {r['s_pp']:.3g}, TG {r['s_tg']:.3g} tokens/s." for r in ends))
    return figure


def _band(ax: Axes, rows: Sequence[dict[str, Any]], key: str) -> None:
    x = [r["n_kv"] for r in rows]
    low, high = [r[f"{key}_low"] for r in rows], [r[f"{key}_high"] for r in rows]
    if len(x) == 1:
        ax.errorbar(x, [rows[0][key]], [[rows[0][key] - low[0]], [high[0] - rows[0][key]]], fmt="_",
                    color=palette.rgba("ink2"), elinewidth=6, alpha=0.5)
        return
    ax.fill_between(x, low, high, color=palette.rgba("band"), linewidth=0)
    ax.plot(x, [r[key] for r in rows], color=palette.rgba("ink2"), linewidth=1.3, linestyle=(0, (4, 3)))


def where(forecasts: Any, labels: Sequence[str] | None = None, n_kv: int | Sequence[int] = 0) -> Figure:
    """Where the time goes: a bar per forecast (or per ``n_kv``), its length the seconds, its parts device and cause.

    Prompts are drawn per 1000 tokens, so that micro-batches of several sizes compare.

    ``forecasts``: one Forecast or several, such as the two sides of a switch; ``labels``: a name for each.
    """
    bars = _bars(forecasts, labels, n_kv)
    n = len(bars)
    tall = 0.62 + 2 * (0.4 + 0.36 * n)
    figure = new(tall)
    caption(figure, tall - 0.2, "Where the time goes",
            "forecast; colour: device, hatched: PCIe; dark to light: experts, weights, attention, other")
    for i, (kind, title) in enumerate(_KINDS):
        ax = axes(figure, 0.1 + (1 - i) * (0.4 + 0.36 * n), 0.36 * n, left=1.5, right=1.1)
        _draw(ax, [(name, parts[kind]) for name, parts in bars], title)
        say(figure, *(_words(title, name, parts[kind]) for name, parts in bars))
    return figure


def _words(title: str, name: str, parts: dict[str, float]) -> str:
    """One bar as a sentence: its length and the four causes that take most."""
    total = sum(parts.values())
    most = sorted(parts.items(), key=lambda item: -item[1])[:4]
    shares = ", ".join(f"{cause.replace(': ', ' ')} {100 * s / (total or 1):.0f} %" for cause, s in most)
    return f"{title}{', ' + name if name else ''}: {_seconds(total)}; {shares}."


def _bars(forecasts: Any, labels: Sequence[str] | None, n_kv: int | Sequence[int]) -> list[tuple[str, Any]]:
    several = list(forecasts) if isinstance(forecasts, (list, tuple)) else [forecasts]
    depths = [n_kv] if isinstance(n_kv, int) else list(n_kv)
    if labels is not None and len(labels) != len(several):
        raise ValueError(f"{len(labels)} labels for {len(several)} forecasts: give one for each")
    names = list(labels) if labels is not None else [""] * len(several)
    found = []
    for forecast, name in zip(several, names):
        for depth in depths:
            at = f"N_KV {depth}" if len(depths) > 1 or not name else ""
            seconds = forecast.where(depth)
            thousand = 1000 / forecast.plan.n_tokens
            seconds["pp"] = {cause: s * thousand for cause, s in seconds["pp"].items()}
            found.append((" ".join(part for part in (name, at) if part), seconds))
    return found


def _draw(ax: Axes, bars: Sequence[tuple[str, dict[str, float]]], title: str) -> None:
    longest = max(sum(parts.values()) for _, parts in bars)
    for row, (_, parts) in enumerate(bars):
        at = 0.0
        for cause, seconds in sorted(parts.items(), key=lambda item: _order(item[0])):
            wide = seconds / longest
            device, _, what = cause.partition(": ")
            r, g, b, _ = palette.rgba("ink3" if device in ("PCIe", "disk") else palette.device_role(device))
            strength = (_LINKS if device == "PCIe" else STRENGTH).get(what, 0.3)
            ax.barh(row, wide, left=at, height=0.6, color=(r, g, b, strength), edgecolor=palette.rgba("bg"),
                    linewidth=0.8 if wide > 0.004 else 0, hatch="////" if device == "PCIe" else None)
            words = next((w for w in (f"{device} {what}", what) if wide > _LETTER * len(w) + 0.012), "")
            if words:
                ax.text(at + wide / 2, row, words, ha="center", va="center", fontsize=SMALL - 1, color=palette.rgba("ink"),
                        bbox={"facecolor": palette.rgba("bg"), "alpha": 0.75, "linewidth": 0, "pad": 1.2}, clip_on=True)
            at += wide
        ax.text(at + 0.01, row, _seconds(at * longest), va="center", fontsize=SMALL, color=palette.rgba("ink"), clip_on=False)
    ax.set_xlim(0, 1)
    ax.set_ylim(len(bars) - 0.5, -0.5)
    ax.set_xticks([])
    ax.set_yticks(range(len(bars)), [name for name, _ in bars])
    ax.set_title(title, loc="left", fontsize=SMALL + 1, color=palette.rgba("ink"), pad=5)


def _order(cause: str) -> tuple[int, str, float]:
    """GPUs, the CPU, then PCIe; within a device what is strongest first."""
    device, _, what = cause.partition(": ")
    kind = 2 if device == "PCIe" else 1 if device == "CPU" else 0
    return kind, device, -(_LINKS if device == "PCIe" else STRENGTH).get(what, 0.3)


def _seconds(value: float) -> str:
    return f"{value:.2f} s" if value >= 1 else f"{value * 1e3:.3g} ms"
