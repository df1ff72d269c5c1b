"""``Explorer``: the whole panel as one widget."""

from __future__ import annotations

import threading
from functools import cache
from pathlib import Path
from typing import Any

import anywidget
import traitlets

from ikexplore.errors import IkexploreError
from ikexplore.plots import palette
from ikexplore.settings import Settings

from . import command, export, facts, findings, forecasts, header, headline, memory, rig, settings, splits, tensors
from . import throughput as rates
from .clean import one_line
from .engine import Engine
from .models import model_title
from .panel import Panel
from .ticker import Ticker

_HERE = Path(__file__).resolve().parent
_PARTS = ("kit", "rules", "header", "facts", "rig", "settings", "headline", "memory", "throughput", "where", "tensors",
          "splits", "findings", "command")


@cache
def _source(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")


class Explorer(anywidget.AnyWidget):
    """The panel: switches on the left, what they do on the right, the command line underneath.

    ``Explorer()`` shows the embedded model on this computer's CPU; ``Explorer(model, machine)`` another Model (or the
    path of one; a header alone will do) and a described Machine. ``.settings`` and ``.plan`` follow the switches;
    ``.settings = "-ub 512 -rtr"`` (or a Settings) moves the switches. ``.run()``, ``.stop()`` and ``.runs`` are the
    buttons and what they measured. ``.svg()`` is the panel as a picture. ``.close()`` ends everything.
    """

    _esm = _source("explorer.js")
    _css = palette.css() + _source("explorer.css")
    _parts = traitlets.Dict().tag(sync=True)
    about = traitlets.Dict().tag(sync=True)
    controls = traitlets.Dict().tag(sync=True)
    header = traitlets.Dict().tag(sync=True)
    facts = traitlets.Dict().tag(sync=True)
    rig = traitlets.Dict().tag(sync=True)
    headline = traitlets.Dict().tag(sync=True)
    memory = traitlets.Dict().tag(sync=True)
    tensors = traitlets.Dict().tag(sync=True)
    splits = traitlets.Dict().tag(sync=True)
    pinned = traitlets.Dict(allow_none=True).tag(sync=True)
    throughput = traitlets.Dict().tag(sync=True)
    findings = traitlets.Dict().tag(sync=True)
    command = traitlets.Dict().tag(sync=True)

    def __init__(self, model: Any = None, machine: Any = None, *, engine: Any = None) -> None:
        self._panel = panel = Panel(engine or Engine(), model, machine)
        self._drawn: dict[str, Any] = {}
        self._plans = 0
        self._whole = threading.RLock()  # values of two plans are never seen together
        panel.replan()
        super().__init__(_parts={name: _source(f"{name}.js") for name in _PARTS}, **self._state())
        self._ticker = Ticker(self._step)
        panel.changed = self._ticker.poke
        self.on_msg(self._message)
        if forecasts.wanted(panel):
            self._ticker.poke()

    # ---------- state of the page

    def _state(self) -> dict[str, Any]:
        """All synced values; those of the plan are made anew only when there is a new plan."""
        panel, drawn = self._panel, self._drawn
        with panel.lock:
            picture = panel.picture
            if drawn.get("of") is not picture:
                self._plans += 1
                if drawn.get("model") is not panel.model:
                    drawn.update(model=panel.model, about=header.about(panel))
                drawn.update(of=picture, memory=memory.state(picture, self._plans),
                             tensors=tensors.state(picture), splits=splits.state(picture))
            pin = panel.pinned
            if drawn.get("pin") is not pin:
                drawn["pin"] = pin
                drawn["pinned"] = pin and {"memory": memory.devices(pin.picture), "splits": splits.state(pin.picture),
                                           "devices": [d.name for d in pin.picture.devices]}
            return {
                **{name: drawn[name] for name in ("about", "memory", "tensors", "splits")}, "pinned": drawn.get("pinned"),
                "controls": settings.state(panel), "header": header.state(panel), "headline": headline.state(panel),
                "facts": facts.state(panel), "rig": rig.state(panel),
                "throughput": rates.state(panel), "findings": findings.state(panel), "command": command.state(panel),
            }

    def _step(self) -> None:
        """Bring the page up to date in one message; a forecast that this leaves to be made goes with the next one."""
        try:
            self._panel.replan()
            state = self._state()
        except Exception as error:
            self._panel.error = one_line(error)
            state = {"header": {**self.header, "error": self._panel.error}}
        with self._whole, self.hold_sync():
            for name, value in state.items():
                if getattr(self, name) is not value and getattr(self, name) != value:
                    setattr(self, name, value)
        if self._panel.reforecast():  # in the pause between two messages
            self._ticker.poke()

    def get_state(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """The synced values, all of one plan: a page may ask while a step is setting them on its own thread."""
        with self._whole:
            return super().get_state(*args, **kwargs)

    def _message(self, _widget: Any, content: Any, _buffers: Any) -> None:
        """A message of the page. It may come on any thread; nothing long happens here."""
        panel, seq = self._panel, 0
        try:
            kind, seq = content["kind"], int(content.get("seq") or 0)
            if kind == "set":
                panel.change(dict(content["values"]))
            elif kind == "paste":
                panel.paste(str(content["text"]))
            elif kind == "assign":
                panel.assign(content["first"], content["last"], str(content["device"]), str(content.get("what") or ""))
            elif kind == "show":
                panel.show(str(content["name"]), bool(content["on"]), int(content.get("index", -1)))
            elif kind == "save":
                self.send(export.file(panel, str(content["as"]), self.svg))
            elif kind == "act":
                findings.act(panel, str(content["text"]))
            elif kind in ("run", "stop", "pin", "swap", "dismiss", "clear", "detect"):
                getattr(panel, kind)()
            else:
                panel.error = f"a message of kind {str(kind)[:40]!r} is not known to this panel"
        except Exception as error:
            panel.error = one_line(error)
        with panel.lock:  # only now: a state of this number must know of the change
            panel.seq = max(panel.seq, seq)
        self._ticker.poke()

    # ---------- for programs

    @property
    def settings(self) -> Settings:
        """The switches as they stand; -ot rules that are not valid are left out."""
        return self._panel.settings

    @settings.setter
    def settings(self, value: Settings | str) -> None:
        panel = self._panel
        panel.settings = Settings.parse(value, profile=panel.base.profile) if isinstance(value, str) else value

    @property
    def plan(self) -> Any:
        """The Plan of the present model, settings and rig; where it cannot be planned (``.error``) the last one that could."""
        self._panel.replan()
        return self._panel.plan

    @property
    def model(self) -> Any:
        """The model that is planned and run, re-quantized where that was chosen."""
        return self._panel.model

    @property
    def machine(self) -> Any:
        """The rig."""
        return self._panel.machine

    @property
    def forecast(self) -> Any:
        """The Forecast of ``plan``; None where none is made: a toy on this computer's CPU, or an error (shown in the panel)."""
        plan = self.plan
        self._panel.reforecast()
        return self._panel.forecast_of(plan)[0]

    @property
    def error(self) -> str:
        """The line that the panel shows in red, or an empty text."""
        return self._panel.error or self._panel.plan_error

    @property
    def runs(self) -> list[Any]:
        """Runs on the chart, each with ``settings`` and ``rows`` of (n_kv, pp, tg, s_pp, s_tg)."""
        return list(self._panel.runs)

    def run(self) -> bool:
        """As the button: time the settings on this computer's CPU. False when something else is on."""
        return self._panel.run()

    def stop(self) -> None:
        """As the button: stop what is on and keep the finished rows."""
        self._panel.stop()

    def close(self) -> None:
        """End the threads, then the widget. A closed panel stays closed."""
        if "_ticker" in self.__dict__:  # not where the constructor failed
            self._panel.jobs.close()
            self._ticker.close()
            super().close()

    # ---------- pages that run no code

    def svg(self) -> str:
        """The panel as a static SVG page."""
        from ikexplore.plots import page

        panel = self._panel
        panel.replan()
        panel.reforecast()
        runs = [run for run in panel.runs if run.rows]
        return page(panel.picture, runs, panel.settings.command(), panel.forecast_of(panel.plan)[0])

    def save(self, path: str | Path) -> Path:
        """Write the page as a picture (``.svg``), or measured rows as text (``.md``, ``.jsonl``).

        Raises IkexploreError for another ending, or a file that cannot be written.
        """
        path = Path(path)
        kind = path.suffix.removeprefix(".")
        if kind not in export.KINDS or kind == "png":
            raise IkexploreError(f"{path.name!r}: end the name in .svg, .md or .jsonl (the panel's Save makes a PNG too)")
        try:
            path.write_text(export.file(self._panel, kind, self.svg)["text"], encoding="utf-8")
        except OSError as error:
            raise IkexploreError(f"{path}: cannot be written ({error.strerror})") from None
        return path

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        """The widget, and beside it a picture and a few lines of text for pages that run no code."""
        made = super()._repr_mimebundle_(**kwargs)
        data, metadata = made if isinstance(made, tuple) else (made or {}, {})
        return {**data, "text/plain": self._text(), "image/svg+xml": self.svg()}, metadata

    def _text(self) -> str:
        panel = self._panel
        rows = [f"ikexplore: {model_title(panel.model)}, {len(panel.picture.pp)} splits", panel.settings.command()]
        for device in panel.picture.devices:
            rows.append(f"{device.name}{' (simulated)' if device.simulated else ''}: {device.total:.1f} MiB"
                        + (f" of {device.capacity:.0f}" if device.capacity is not None else ""))
        return "\n".join(rows)

    def __repr__(self) -> str:
        return f"Explorer({model_title(self._panel.model)!r}, {self._panel.settings.command()!r})"
