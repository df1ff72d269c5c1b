"""What all figures share: size, type, axes without frames, and the colours of devices. matplotlib's object API only."""

from __future__ import annotations

import io
from functools import cache
from typing import TYPE_CHECKING, Any

from . import palette
from .picture import Device, Picture
from .words import clean

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 9.6  # inches
DPI = 100
SMALL, BODY, TITLE = 8.0, 9.0, 10.0  # points
_LABEL = 1.05  # inches left of the axes, the same for all diagrams


def new(height: float) -> Figure:
    """An empty figure of the common width; height in inches."""
    return _shown_figure()(figsize=(WIDTH, height), dpi=DPI, facecolor=palette.rgba("bg"))


def png(figure: Figure, sharpness: int = 2) -> tuple[bytes, int]:
    """PNG bytes with ``sharpness`` pixels for each of the figure's own, and the width in pixels to show them at."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI * sharpness)
    return buffer.getvalue(), round(WIDTH * DPI)


@cache
def _shown_figure() -> Any:
    """matplotlib's Figure, which a notebook shows only with pyplot loaded, with a picture of its own."""
    from matplotlib.figure import Figure

    class ShownFigure(Figure):
        #: what the figure shows, in words: its alternative text on a page
        alt = ""

        def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> Any:
            import base64

            data, width = png(self)
            return ({"image/png": base64.b64encode(data).decode("ascii"), "text/plain": repr(self)},
                    {"image/png": {"width": width, "alt": self.alt}})

    ShownFigure.__name__ = ShownFigure.__qualname__ = "Figure"
    return ShownFigure


def axes(figure: Figure, bottom: float, height: float, left: float = _LABEL, right: float = 0.2, **more: Any) -> Axes:
    """Axes placed in inches from the bottom, without a frame, in the panel's ink."""
    wide, tall = figure.get_size_inches()
    ax = figure.add_axes((left / wide, bottom / tall, (wide - left - right) / wide, height / tall), **more)
    ax.set_facecolor(palette.rgba("bg"))
    for side in ax.spines.values():
        side.set_visible(False)
    ax.tick_params(length=0, labelsize=SMALL, colors=palette.rgba("ink2"), pad=4)
    return ax


def caption(figure: Figure, top: float, title: str, note: str = "") -> None:
    """A title and a quiet note beside it, ``top`` inches from the bottom of the figure."""
    wide, tall = figure.get_size_inches()
    figure.text(0.1 / wide, top / tall, title, fontsize=TITLE, fontweight="bold", color=palette.rgba("ink"), va="center")
    if note:
        figure.text(0.1 / wide + (len(title) * 0.092 + 0.15) / wide, top / tall, note, fontsize=SMALL,
                    color=palette.rgba("ink2"), va="center")
    say(figure, f"{title}{': ' if title and note else ''}{note}.")


def say(figure: Figure, *sentences: str) -> None:
    """Add to what a figure says to those who do not see it."""
    figure.alt = " ".join([figure.alt, *(clean(s, 400) for s in sentences if s)]).strip()  # type: ignore[attr-defined]


def fill(device: Device) -> tuple[float, float, float, float]:
    """Colour of a device, weaker where it is simulated."""
    r, g, b, _ = palette.rgba(palette.device_role(device.name))
    return (r, g, b, palette.STRENGTH["simulated"] if device.simulated else 1.0)


def hatch(device: Device) -> str | None:
    """Hatch of a device whose hue repeats an earlier one."""
    return "///" if palette.hatched(device.name) else None


def label(device: Device) -> str:
    """Name of a device, and that it is simulated where it is."""
    name = clean(device.name, 12).replace("$", r"\$")
    return f"{name}\nsimulated" if device.simulated else name


def picture_of(plan: Any) -> Picture:
    """A Picture from a Plan; a Picture stays what it is."""
    if isinstance(plan, Picture):
        return plan
    from .from_plan import picture

    return picture(plan)


def mib(value: float) -> str:
    """MiB for labels: whole above 100, else with a decimal."""
    return f"{value:,.0f}".replace(",", "\u2009") if value >= 100 else f"{value:.1f}"
