"""All tensors, layer by role, coloured by device. The static twin of the panel's tensor map."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import palette
from .figure import SMALL, axes, caption, fill, new, picture_of, say
from .picture import Grid, Picture
from .words import clean

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_PITCH = 0.135  # inches per role


def height(grid: Grid) -> float:
    """Inches that the map of a model takes."""
    return _PITCH * max(1, len(grid.roles))


def tensors(plan: Any) -> Figure:
    """Layer × role; height of a cell by size, stripes for what -rtr repacked. ``plan``: Plan or Picture."""
    picture = picture_of(plan)
    tall = height(picture.grid)
    figure = new(tall + 0.75)
    caption(figure, tall + 0.53, "Tensors", note(picture))
    counts = [picture.at.count(i) for i in range(len(picture.devices))]
    say(figure, *(f"{d.name} holds {n} of {len(picture.at)} tensors." for d, n in zip(picture.devices, counts)))
    ax = axes(figure, 0.3, tall)
    draw(ax, picture)
    layer_ticks(ax, picture.grid)
    return figure


def note(picture: Picture) -> str:
    """What the marks mean."""
    return "layer × role, coloured by device, height by size" + (", stripes: repacked" if picture.repacked else "")


def draw(ax: Axes, picture: Picture) -> None:
    """Cells as rectangles, batched by device."""
    from matplotlib.collections import PatchCollection
    from matplotlib.patches import Rectangle

    grid = picture.grid
    inside = [grid.nbytes[i] for i in range(len(grid.names)) if grid.role[i] >= 0]
    largest = max(inside, default=1)
    ends = heads(grid)
    boxes: dict[int, list[Any]] = {}
    stripes: list[Any] = []
    for i in range(len(grid.names)):
        box = _box(grid, i, largest, ends)
        if box is None:
            continue
        x, y, wide, tall = box
        boxes.setdefault(picture.at[i], []).append(Rectangle((x, y), wide, tall))
        if i in picture.repacked:
            count = max(1, round(tall / 0.25))
            stripes += [Rectangle((x, y + tall * (k + 0.5) / count), wide, 0.06) for k in range(count)]
    for number, found in boxes.items():
        if 0 <= number < len(picture.devices):
            ax.add_collection(PatchCollection(found, facecolor=fill(picture.devices[number]), edgecolor="none"))
    ax.add_collection(PatchCollection(stripes, facecolor=palette.rgba("bg"), edgecolor="none", alpha=0.7))
    ax.set_xlim(-grid.edge, grid.n_layer + grid.edge)
    ax.set_ylim(len(grid.roles), 0)
    names = [clean(role, 18).replace("$", r"\$") for role in grid.roles]
    ax.set_yticks([r + 0.5 for r in range(len(names))], names, family="monospace", fontsize=SMALL - 1)
    ax.set_xticks([])


def _box(grid: Grid, i: int, largest: int, ends: set[int]) -> tuple[float, float, float, float] | None:
    """x, y, width and height of a tensor in layers and roles; of the tensors of no layer only the largest at each end."""
    gap = 0.06 if grid.n_layer > 24 else 0.02
    if grid.role[i] < 0:
        if i not in ends:
            return None
        x = -grid.edge if grid.layer[i] < 0 else float(grid.n_layer)
        return (x, 0.07, grid.edge - (gap if grid.layer[i] < 0 else 0), max(0.5, len(grid.roles) - 0.14))
    tall = share_height(grid.nbytes[i] / largest)
    return (grid.layer[i], grid.role[i] + (1 - tall) / 2, 1 - gap if tall > 0.6 else 1.0, tall)


def heads(grid: Grid) -> set[int]:
    """Rows of the tensors that stand at the two ends of the map: of those of no layer the largest before and after."""
    ends: dict[int, int] = {}
    for i, role in enumerate(grid.role):
        if role < 0 and grid.nbytes[i] > grid.nbytes[ends.setdefault(grid.layer[i], i)]:
            ends[grid.layer[i]] = i
    return set(ends.values())


def share_height(share: float) -> float:
    """Height of a cell, as a part of its row, from its bytes as a share of the largest: three steps."""
    return 0.22 if share < 0.01 else 0.5 if share < 0.16 else 0.86


def layer_ticks(ax: Axes, grid: Grid) -> None:
    """Layer numbers under the axes, with the two ends named."""
    step = next(k for k in (1, 2, 5, 10, 20, 50, 100, 1000) if grid.n_layer / k <= 20 or k == 1000)
    at = [layer for layer in range(0, grid.n_layer, step) if grid.edge >= 1 or grid.n_layer < 40]
    ax.set_xticks([-grid.edge / 2, *(layer + 0.5 for layer in at if 0.02 * grid.n_layer < layer + 0.5 or grid.n_layer < 20),
                   grid.n_layer + grid.edge / 2],
                  ["emb", *(str(layer) for layer in at if 0.02 * grid.n_layer < layer + 0.5 or grid.n_layer < 20), "out"])
