"""The graph as it is cut into splits: a lane per device and what is copied in. The static twin of the panel's lanes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import palette
from .figure import SMALL, axes, caption, fill, label, mib, new, picture_of, say
from .picture import MIB, Lanes, Picture
from .tensormap import layer_ticks

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_LANE, _STRIP = 0.3, 0.55  # inches


def height(picture: Picture) -> float:
    """Inches that the lanes take, without the strip under them."""
    return _LANE * len(picture.devices)


def splits(plan: Any, graph: str = "pp") -> Figure:
    """Swim lanes of the prompt (``"pp"``) or the generation graph (``"tg"``). ``plan``: Plan or Picture."""
    picture = picture_of(plan)
    lanes = graph_of(picture, graph)
    tall = height(picture)
    strip = _STRIP if sum(lanes.input_bytes) + sum(lanes.weight_bytes) else 0.0
    figure = new(tall + strip + 0.75)
    caption(figure, tall + strip + 0.53, "Splits", note(lanes))
    say(figure, f"{len(lanes)} splits over {len(picture.devices)} devices.")
    ax = axes(figure, 0.3 + strip, tall)
    draw(ax, picture, lanes)
    last = ax
    if strip:
        last = axes(figure, 0.3, strip - 0.08, sharex=ax)
        copied(last, lanes)
    layer_ticks(last, picture.grid)
    return figure


def graph_of(picture: Picture, graph: str) -> Lanes:
    """The lanes of ``"pp"`` or ``"tg"``. Raises ValueError for another name."""
    if graph not in ("pp", "tg"):
        raise ValueError(f"graph {graph!r}: there are 'pp' (a prompt pass) and 'tg' (one generated token)")
    return picture.pp if graph == "pp" else picture.tg


def note(lanes: Lanes) -> str:
    """Counts in words."""
    acts, weights = sum(lanes.input_bytes) / MIB, sum(lanes.weight_bytes) / MIB
    if len(lanes) <= 1:
        return f"{len(lanes)}, all on one device: nothing is copied"
    paler = "; paler: borrows host weights" if weights else ""
    return f"{len(lanes)}; activations {mib(acts)} MiB, weights {mib(weights)} MiB{paler}"


def draw(ax: Axes, picture: Picture, lanes: Lanes) -> None:
    """Blocks per lane, weight copies as thin verticals from the host's lane."""
    host = picture.host
    for row in range(len(picture.devices)):
        ax.axhline(row, color=palette.rgba("line"), linewidth=0.8, zorder=0)
    borrowed = [i for i in range(len(lanes)) if lanes.n_weights[i]]
    if borrowed:
        ax.vlines([lanes.start[i] for i in borrowed], [lanes.device[i] for i in borrowed], host, linewidth=0.5,
                  color=palette.rgba("cpu-edge"), alpha=0.5, zorder=1)
    for row, device in enumerate(picture.devices):
        r, g, b, alpha = fill(device)
        mine, pale = [i for i in range(len(lanes)) if lanes.device[i] == row], palette.STRENGTH["borrowed"]
        ax.broken_barh([(lanes.start[i], lanes.start[i + 1] - lanes.start[i]) for i in mine], (row - 0.28, 0.56), zorder=2,
                       facecolors=[(r, g, b, alpha * (pale if lanes.n_weights[i] else 1)) for i in mine],
                       edgecolors=palette.rgba("bg"), linewidths=0.2 if len(lanes) > 60 else 0.6)
    grid = picture.grid
    ax.set_xlim(-grid.edge, grid.n_layer + grid.edge)
    ax.set_ylim(len(picture.devices) - 0.5, -0.5)
    ax.set_yticks(range(len(picture.devices)), [label(d) for d in picture.devices])
    ax.tick_params(labelbottom=False)


def copied(ax: Axes, lanes: Lanes) -> None:
    """MiB that each split copies in: activations light, weights dark."""
    x = lanes.start[:-1]
    wide = [b - a for a, b in zip(lanes.start, lanes.start[1:])]
    acts, weights = [n / MIB for n in lanes.input_bytes], [n / MIB for n in lanes.weight_bytes]
    ax.bar(x, acts, wide, align="edge", color=palette.rgba("ghost"))
    ax.bar(x, weights, wide, bottom=acts, align="edge", color=palette.rgba("cpu-edge"))
    top = max((a + w for a, w in zip(acts, weights)), default=0.0)
    tick = max((t for t in (0.001, 0.01, 0.1, 0.5, 1, 5, 10, 50, 100, 500, 1000, 5000) if t <= top), default=top)
    ax.set_yticks([tick], [f"{tick:g} MiB"], fontsize=SMALL)
    ax.axhline(0, color=palette.rgba("line2"), linewidth=0.8)
    ax.set_ylim(0, top * 1.05 or 1)
