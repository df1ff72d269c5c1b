"""Perplexity (or KLD) against size of quant types and recipes, with standard errors and the frontier."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import palette
from .figure import SMALL
from .sizes import frontier, unbeaten
from .words import clean

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NAMED = 15  #: up to so many types those that are beaten have names too
_LABELS = {"ppl": "perplexity", "kld": "KL divergence, nats per token"}


def pareto(result: Any, metric: str | None = None) -> Figure:
    """Quality against bits per weight: a mark with its standard error for every type, those that nothing beats joined.

    ``result``: a Pareto, or anything with ``.rows .metric .model`` alike. ``metric``: "ppl" or "kld" in place of its own.
    A dashed line is the perplexity of the model as it is. Raises ValueError where no row of a type has that metric.
    """
    key = metric or result.metric
    rows = [r for r in result.rows if r["recipe"] is not None and key in r]
    if not rows:
        raise ValueError(f"no row of a type with {key}: measure some first")
    names = {clean(r["name"], 60).replace("$", r"\$"): (r["bpw"], r[key]) for r in rows}
    what = _LABELS.get(key, key)
    title = f"{clean(result.model, 40)}: measured {what.split(',')[0]}"
    figure = frontier(names, "bits per weight, all tensors", what, title, log=False)
    ax, best = figure.axes[0], unbeaten(names)
    beaten = sorted((n for n in names if n not in best), key=lambda n: names[n])
    for row, (name, at) in zip(rows, names.items()):
        error = row.get(f"{key}_error", 0.0)
        ax.vlines(row["bpw"], row[key] - error, row[key] + error, color=palette.rgba("ink3"), linewidth=1, zorder=1)
        if name in beaten and len(rows) <= NAMED:
            place = 5, (-10, 3)[beaten.index(name) % 2]  # below and above in turn, so that neighbours' names keep apart
            ax.annotate(name, at, xytext=place, textcoords="offset points", fontsize=SMALL, color=palette.rgba("ink2"))
    for row in result.rows:
        if row["recipe"] is None and key == "ppl":
            ax.axhline(row[key], color=palette.rgba("ghost"), linewidth=1, linestyle=(0, (4, 3)), zorder=0)
            ax.annotate(f"as it is, {row['bpw']:.2f} bits", (1, row[key]), xycoords=("axes fraction", "data"), ha="right",
                        xytext=(0, 3), textcoords="offset points", fontsize=SMALL, color=palette.rgba("ink2"))
    return figure
