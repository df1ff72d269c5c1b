"""The whole panel as one SVG page, for notebooks that run no code. Plain text, made in milliseconds, no matplotlib."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from . import palette
from .bars import marked, scale
from .curves import points
from .figure import label, mib, picture_of
from .lanes import note as lanes_note
from .picture import MIB, Device, Grid, Lanes, Picture
from .stack import FAR, part_fill, seconds_text, stacked
from .tensormap import heads, note, share_height
from .words import clean

WIDTH, LEFT, RIGHT = 960, 110, 940
_PITCH, _LANE, _BAR, _STRIP, _CHART = 13, 28, 32, 44, 170
_SANS, _MONO = "'Segoe UI','Helvetica Neue',Arial,sans-serif", "Menlo,Consolas,'DejaVu Sans Mono',monospace"


def page(plan: Any, sweeps: Sequence[Any] = (), command: str = "", forecast: Any = None) -> str:
    """Memory, rates where there are any, tensors, splits and the command line, as SVG text.

    ``plan``: Plan or Picture; ``sweeps``: as for ``throughput``; the last one is drawn in ink. ``forecast``: a Forecast, a
    band and a dotted line under them; with it comes where its time goes.
    """
    picture = picture_of(plan)
    out = _Page(picture.title, _sentence(picture, sweeps, forecast))
    out.text(10, 24, picture.title, 15, weight=600)
    out.y = 48
    _memory(out, picture)
    if sweeps or forecast is not None:
        _rates(out, sweeps, forecast)
    if forecast is not None:
        _time(out, picture, forecast)
    _tensors(out, picture)
    _splits(out, picture, picture.pp)
    for line in textwrap.wrap(clean(command, 4000), 136, break_on_hyphens=False)[:10] or ["no flags: the defaults"]:
        out.text(10, out.y + 12, line, 11, "ink2", mono=True)
        out.y += 16
    return out.done()


class _Page:
    """SVG elements, and how far down the page they have come."""

    def __init__(self, title: str, sentence: str) -> None:
        self.title, self.sentence = clean(title), clean(sentence, 600)
        self.parts: list[str] = []
        self.y = 0.0

    def text(self, x: float, y: float, value: str, size: float = 11, role: str = "ink", anchor: str = "start",
             weight: int = 400, mono: bool = False) -> None:
        family = f" font-family={quoteattr(_MONO)}" if mono else ""
        self.parts.append(
            f'<text x="{x:g}" y="{y:.1f}" font-size="{size:g}" fill="{palette.colour(role)}" text-anchor="{anchor}" '
            f'font-weight="{weight}" xml:space="preserve"{family}>{escape(clean(value, 200))}</text>'
        )

    def rect(self, x: float, y: float, wide: float, tall: float, fill: str, opacity: float = 1.0, dashed: bool = False) -> None:
        rest = f' stroke="{palette.colour("ink3")}" stroke-dasharray="3 3"' if dashed else ""
        self.parts.append(f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(0.0, wide):.1f}" height="{tall:g}" fill="{fill}" '
                          f'fill-opacity="{opacity:g}"{rest}/>')

    def path(self, d: str, **more: str) -> None:
        rest = "".join(f" {k.replace('_', '-')}={quoteattr(v)}" for k, v in more.items())
        self.parts.append(f'<path d="{d}"{rest}/>')

    def caption(self, title: str, words: str) -> None:
        self.text(10, self.y + 14, title, 13, weight=600)
        self.text(10 + 8.2 * len(title) + 10, self.y + 14, words, 11, "ink2")
        self.y += 26

    def done(self) -> str:
        height = round(self.y + 14)
        size = f'width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}"'
        says = f"aria-label={quoteattr(f'{self.title}. {self.sentence}')}"
        names = f"<title>{escape(self.title)}</title><desc>{escape(self.sentence)}</desc>"
        return (f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family={quoteattr(_SANS)} role="img" {says}>{names}'
                f'<rect width="{WIDTH}" height="{height}" fill="{palette.colour("bg")}"/>{"".join(self.parts)}</svg>')


def _hue(device: Device) -> tuple[str, float]:
    return palette.colour(palette.device_role(device.name)), palette.STRENGTH["simulated"] if device.simulated else 1.0


def _name(out: _Page, device: Device, y: float) -> None:
    lines = label(device).split("\n")
    out.text(LEFT - 12, y, lines[0], 12, anchor="end")
    if len(lines) > 1:
        out.text(LEFT - 12, y + 12, lines[1], 10, "ink2", anchor="end")


def _memory(out: _Page, picture: Picture) -> None:
    out.caption("Memory", "model, KV, compute, MiB")
    room = RIGHT - LEFT - 150
    for device in picture.devices:
        full, known = scale(device, picture.devices), marked(device)
        y, (fill, strength) = out.y + 6, _hue(device)
        end = LEFT + room * 0.94
        if known:
            out.rect(LEFT, y, end - LEFT, 13, palette.colour("field"), dashed=device.simulated)
        at = 0.0
        for part, value in (("model", device.model), ("kv", device.kv), ("compute", device.compute)):
            wide = min(at + value / full, 1.0) - at
            out.rect(LEFT + room * at, y, room * wide - (1 if wide > 0.01 else 0), 13, fill, palette.STRENGTH[part] * strength)
            at += wide
        over = known and device.total > (device.capacity or 0)
        if over:
            out.rect(end, y, room * (min(device.total / full, 1.0) - 0.94), 13, palette.colour("bad"))
        if known:
            out.rect(end - 0.75, y - 4, 1.5, 21, palette.colour("bad" if over else "ink"))
        words = f"over by {mib(device.total - (device.capacity or 0))}" if over else mib(device.total) + (
            f" / {mib(device.capacity)}" if device.capacity is not None else "")
        out.text(RIGHT, y + 11, words, 12, "bad" if over else "ink", anchor="end")
        _name(out, device, y + 10)
        out.y += _BAR
    out.y += 10


def _sentence(picture: Picture, sweeps: Sequence[Any], forecast: Any) -> str:
    """The page for those who do not see it."""
    parts = [f"{d.name}{', simulated' if d.simulated else ''}: {mib(d.total)} MiB"
             + (f" of {mib(d.capacity)}" if d.capacity is not None else "") for d in picture.devices]
    parts.append(f"{len(picture.pp)} splits for prompts, {len(picture.tg)} for generation")
    if forecast is not None:
        row = forecast.rows[0]
        parts.append(f"forecast {row['s_pp']:.3g} and {row['s_tg']:.3g} tokens a second")
    if sweeps:
        rates = [points(sweeps[-1], key)[0][1] for key in ("s_pp", "s_tg")]
        parts.append(f"measured {rates[0]:.3g} and {rates[1]:.3g} tokens a second")
    return "; ".join(parts) + "."


def _rates(out: _Page, sweeps: Sequence[Any], forecast: Any) -> None:
    what = "measured" if forecast is None else "discs: measured; band: forecast" if sweeps else "forecast, not measured"
    out.caption("Throughput", f"{what}; against N_KV, tokens in the cache")
    wide = (RIGHT - 50 - 60) / 2
    for i, (key, title) in enumerate((("s_pp", "Prompt S_PP, t/s"), ("s_tg", "Generation S_TG, t/s"))):
        left, top, bottom = 50 + i * (wide + 60), out.y + 22, out.y + _CHART - 24
        curves = [points(run, key) for run in sweeps]
        rows = forecast.rows if forecast is not None else []
        measured = max((p[1] for c in curves for p in c), default=0.0)
        far = bool(rows) and 0 < measured < min(r[f"{key}_low"] for r in rows) / FAR
        drawn = [] if far else rows
        step = _step(max([measured, *(r[f"{key}_high"] for r in drawn)]) or 1)
        high = step * 4
        reach = max([*(p[0] for c in curves for p in c), *(r["n_kv"] for r in drawn)], default=1) or 1
        out.text(left - 40, out.y + 8, title, 11)
        for k in range(5):
            y = bottom - (bottom - top) * k / 4
            out.rect(left, y, wide, 1, palette.colour("line2" if k == 0 else "line"))
            out.text(left - 6, y + 4, f"{step * k:g}", 11, "ink2", anchor="end")
        for n in (0, reach):
            out.text(left + wide * n / reach, bottom + 16, f"{n:g}", 11, "ink2", anchor="middle" if not n else "end")
        if far:
            out.text(left + wide, top + 2, f"forecast ≈ {rows[0][key]:.3g}, above this chart", 11, "ink2", anchor="end")
        if drawn:
            _band(out, [(left + wide * r["n_kv"] / reach, *(bottom - (bottom - top) * r[f"{key}{end}"] / high
                                                            for end in ("_low", "", "_high"))) for r in drawn])
        for number, curve in enumerate(curves):
            last = number == len(curves) - 1
            xy = [(left + wide * n / reach, bottom - (bottom - top) * v / high) for n, v, _ in curve]
            ink = palette.colour("ink" if last else "ghost")
            line = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in xy)
            out.path(line, fill="none", stroke=ink, stroke_width="1.5" if last else "1")
            if last:
                out.parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.2" fill="{ink}"/>' for x, y in xy]
    out.y += _CHART + 6


def _band(out: _Page, rows: list[tuple[float, ...]]) -> None:
    """``rows`` of (x, y of the low end, of the forecast, of the high end)."""
    if len(rows) == 1:
        rows = [(rows[0][0] - 4, *rows[0][1:]), (rows[0][0] + 4, *rows[0][1:])]
    there, back = ("L".join(f"{r[0]:.1f} {r[k]:.1f}" for r in (rows, rows[::-1])[k == 1]) for k in (3, 1))
    out.path(f"M{there}L{back}Z", fill=palette.colour("band"))
    out.path("M" + "L".join(f"{r[0]:.1f} {r[2]:.1f}" for r in rows), fill="none", stroke=palette.colour("ink2"),
             stroke_width="1.5", stroke_dasharray="1 3")


def _time(out: _Page, picture: Picture, forecast: Any) -> None:
    """Where the forecast time goes: a stacked bar of a micro-batch and one of a token."""
    out.caption("Time", "forecast, by device and cause; strongest: experts, weights, attention, the rest; dark: PCIe")
    found = forecast.where(0)
    for kind, title in (("pp", f"{forecast.rows[0]['pp']} tokens"), ("tg", "a token")):
        parts = stacked(found[kind], [d.name for d in picture.devices])
        total = sum(part[2] for part in parts) or 1.0
        out.text(LEFT - 12, out.y + 11, title, 12, anchor="end")
        at = float(LEFT)
        for device, cause, seconds in parts:
            fill, strength = part_fill(device, cause, picture.devices)
            wide = (RIGHT - LEFT - 110) * seconds / total
            out.rect(at, out.y, wide - (1 if wide > 3 else 0), 13, palette.colour(fill), strength)
            at += wide
        out.text(RIGHT, out.y + 11, f"≈ {seconds_text(total)}", 12, anchor="end")
        most = sorted((p for p in parts if p[0]), key=lambda p: -p[2])[:5]
        out.text(LEFT, out.y + 27, " · ".join(f"{d} {c} {100 * s / total:.0f} %" for d, c, s in most), 11, "ink2")
        out.y += 40
    out.y += 6


def _step(most: float) -> float:
    """A round step of which four reach ``most``."""
    power = 10.0 ** math.floor(math.log10(most / 4))
    return next(k * power for k in (1, 1.25, 1.5, 2, 2.5, 3, 4, 5, 7.5, 10) if 4 * k * power >= most)


def _x(grid: Grid, u: float) -> float:
    return LEFT + (u + grid.edge) / (grid.n_layer + 2 * grid.edge) * (RIGHT - LEFT)


def _tensors(out: _Page, picture: Picture) -> None:
    grid = picture.grid
    out.caption("Tensors", note(picture))
    cells: dict[int, list[str]] = {}
    stripes: list[str] = []
    largest = max((n for n, r in zip(grid.nbytes, grid.role) if r >= 0), default=1)
    ends = heads(grid)
    for i, role in enumerate(grid.role):
        if role < 0:
            if i not in ends:
                continue
            u = -grid.edge if grid.layer[i] < 0 else float(grid.n_layer)
            tall, y = float(_PITCH * len(grid.roles) - 2), out.y + 1
            wide = _x(grid, u + grid.edge) - _x(grid, u) - 1
        else:
            u, tall = float(grid.layer[i]), max(3.0, share_height(grid.nbytes[i] / largest) * (_PITCH - 1))
            y, wide = out.y + role * _PITCH + (_PITCH - tall) / 2, _x(grid, u + 1) - _x(grid, u) - (1 if tall > 7 else 0)
        cells.setdefault(picture.at[i], []).append(f"M{_x(grid, u):.1f} {y:.1f}h{wide:.1f}v{tall:.1f}h-{wide:.1f}z")
        if i in picture.repacked:
            rows = range(2 if tall > 3 else 1, int(tall), 3)
            stripes += [f"M{_x(grid, u):.1f} {y + k:.1f}h{wide:.1f}v1h-{wide:.1f}z" for k in rows]
    for number, found in cells.items():
        if 0 <= number < len(picture.devices):
            fill, strength = _hue(picture.devices[number])
            out.path("".join(found), fill=fill, fill_opacity=f"{strength:g}")
    if stripes:
        out.path("".join(stripes), fill=palette.colour("bg"), fill_opacity="0.62")
    for r, name in enumerate(grid.roles):
        out.text(LEFT - 10, out.y + r * _PITCH + 10, clean(name, 16), 10, "ink2", anchor="end", mono=True)
    out.y += _PITCH * len(grid.roles)
    _layers(out, grid)


def _layers(out: _Page, grid: Grid) -> None:
    step = next(k for k in (1, 2, 5, 10, 20, 50, 10**9) if grid.n_layer / k <= 20)
    for layer in range(0, grid.n_layer, step):
        if 30 < _x(grid, layer + 0.5) - LEFT < RIGHT - LEFT - 24 or grid.n_layer < 16:
            out.text(_x(grid, layer + 0.5), out.y + 14, str(layer), 11, "ink2", anchor="middle")
    out.text(LEFT, out.y + 14, "emb", 11, "ink2")
    out.text(RIGHT, out.y + 14, "out", 11, "ink2", anchor="end")
    out.y += 28


def _splits(out: _Page, picture: Picture, lanes: Lanes) -> None:
    out.caption("Splits", lanes_note(lanes))
    grid, top = picture.grid, out.y
    for row, device in enumerate(picture.devices):
        out.rect(LEFT, top + row * _LANE + 7, RIGHT - LEFT, 1, palette.colour("line"))
        _name(out, device, top + row * _LANE + 11)
    host = top + picture.host * _LANE + 7
    copies = "".join(f"M{_x(grid, lanes.start[i]):.1f} {host:.1f}V{top + lanes.device[i] * _LANE + 14:.1f}"
                     for i in range(len(lanes)) if lanes.n_weights[i])
    if copies:
        out.path(copies, fill="none", stroke=palette.colour("cpu-edge"), stroke_opacity="0.45", stroke_width="1")
    for i in range(len(lanes)):
        fill, strength = _hue(picture.devices[lanes.device[i]])
        wide = _x(grid, lanes.start[i + 1]) - _x(grid, lanes.start[i])
        out.rect(_x(grid, lanes.start[i]), top + lanes.device[i] * _LANE, wide - (0.5 if wide > 3 else 0), 14, fill,
                 strength * (palette.STRENGTH["borrowed"] if lanes.n_weights[i] else 1))
    out.y += _LANE * len(picture.devices)
    most = max((a + w for a, w in zip(lanes.input_bytes, lanes.weight_bytes)), default=0)
    if most:
        base = out.y + _STRIP
        for i in range(len(lanes)):
            x, wide = _x(grid, lanes.start[i]), max(1.0, _x(grid, lanes.start[i + 1]) - _x(grid, lanes.start[i]))
            acts, weights = (n / most * (_STRIP - 6) for n in (lanes.input_bytes[i], lanes.weight_bytes[i]))
            out.rect(x, base - acts, wide, round(acts, 2), palette.colour("ghost"))
            if weights:
                out.rect(x, base - acts - weights, wide, round(weights, 2), palette.colour("cpu-edge"))
        out.text(LEFT - 10, base, "copied in", 11, "ink2", anchor="end")
        out.text(LEFT - 10, base - _STRIP + 12, f"{mib(most / MIB)} MiB", 11, "ink2", anchor="end")
        out.y = base
    out.y += 18
