"""Everything the panel knows, without a widget: model, rig, settings, plan, what is pinned, runs.

Changes come in by ``change``, ``paste``, ``assign`` and the like from whatever thread the page's messages arrive on;
``replan`` follows on the ticker's thread. A value that is not valid is kept as a draft with its error, while the last
valid one stays in force.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ikexplore.errors import IkexploreError, SettingsError
from ikexplore.plots.picture import Device, Grid, Lanes, Picture
from ikexplore.settings import Settings

from . import forecasts, rigs, rules, runs
from .clean import clean, one_line
from .jobs import Jobs
from .models import model_title
from .opening import Models
from .running import Running

#: keys of the page -> fields of Settings
FIELDS = {"ngl": "n_gpu_layers", "rtr": "rtr", "ub": "n_ubatch", "b": "n_batch", "c": "n_ctx", "fa": "flash_attn",
          "ctk": "cache_type_k", "ctv": "cache_type_v", "amb": "attn_max_batch", "fmoe": "fused_moe",
          "t": "n_threads"}
SWITCHES = {"rtr", "fa", "fmoe"}
OFF_POLICY = (("ALL", False),)
VIEWS = {"rig", "facts", "where"}
DETECTING = "looking at this computer"


#: layouts of weights that runs on this computer know, as ``ikexplore.run.session.LAYOUTS``
LAYOUTS = ("file", "own16")


@dataclass(frozen=True)
class Pin:
    """The settings that everything is compared with, and what they gave."""

    settings: Settings
    texts: tuple[str, ...]
    rig: rigs.Choice
    model_id: str
    quant: str
    layout: str
    picture: Picture
    plan: Any = None
    forecast: bool = False  #: whether this plan is one that is forecast


class Panel(Models, Running):
    """State of one explorer; see the module. ``changed()`` is called whenever there is something new to show."""

    def __init__(self, engine: Any, model: Any = None, machine: Any = None) -> None:
        self.engine = engine
        self.lock = threading.RLock()
        self.changed = lambda: None
        self.jobs = Jobs(lambda: self.changed())
        self.error = self.plan_error = ""
        self.seq = 0
        self.drafts: dict[str, tuple[str, str]] = {}
        self.runs: list[runs.Run] = []
        self.live: dict[str, Any] | None = None
        self.doing = ""  # a job that is no run, in words
        self.layout = "file"  # of weights in runs on this computer, as ikexplore.sweep takes it
        self.own_rows: tuple[Any, int] = (None, 0)  # of the model: matrices with a layout of the engine's own
        self.opening = False  # the row for a path is open
        self.pinned: Pin | None = None
        self.rigs = rigs.Rigs(engine.present(), machine)
        self.open: set[str] = set()  # views that are open: rig, facts, where
        self.told_rule = -1  # the -ot rule whose list of tensors is open
        self._forecasts: dict[int, tuple[Any, Any, str]] = {}  # of a plan's id: the plan, its forecast, why there is none
        self.told_forecasts: tuple[Any, Any] = (None, None)  # of the plan and of the pinned one, as last shown
        self.facts: tuple[Any, dict[str, Any]] | None = None  # of the model, for its view
        self._models: dict[str, tuple[str, Any]] = {}
        self._made: dict[tuple[str, str], Any] = {}  # re-quantized models, the latest few
        self._planned: tuple[Any, ...] | None = None
        self.plan: Any = None
        if isinstance(model, (str, Path)):
            model = engine.open(str(model))
        if model is None:
            self._models["demo"] = ("embedded demo", engine.demo())
        else:
            self._models["given"] = (clean(model_title(model), 40), model)
        self._take(next(iter(self._models)))
        self.base = self._first_settings()
        self.texts: list[str] = []

    # ---------- model, rig, settings

    def _take(self, model_id: str) -> None:
        self.model_id, self.quant = model_id, ""
        self.opened = self._models[model_id][1]
        self._use(self.opened)

    def _use(self, model: Any) -> None:
        self.model = model
        self.grid = Grid.of(model.tensors.values(), model.hparams.n_layer)
        self.matcher = rules.Matcher(self.grid)
        self.picture = self._blank()
        self.plan, self._planned = None, None

    def _first_settings(self) -> Settings:
        trained = int(getattr(self.model.hparams, "n_ctx_train", 0) or 4096)
        large = sum(t.nbytes for t in self.model.tensors.values()) > 1 << 30
        context = min(trained, 32768 if large else 4096)
        return Settings(n_ctx=context, n_ubatch=min(512 if large else 256, context))

    def _blank(self) -> Picture:
        none = Lanes((), (0.0,), (), (), (), (), (), ())
        devices = tuple(Device(d.name, d.kind == "cpu", d.simulated, d.free_mib) for d in self.machine.devices)
        rows = len(self.grid.names)
        return Picture(model_title(self.model), self.grid, devices, (len(devices) - 1,) * rows, ("",) * rows, none, none)

    @property
    def machine(self) -> Any:
        """The rig as a Machine."""
        return self.rigs.machine

    @property
    def present(self) -> Any:
        """This computer without its GPUs: what runs are timed on."""
        return self.rigs.present

    @property
    def rules(self) -> list[rules.Rule]:
        """The -ot rules with what each takes."""
        with self.lock:
            devices = [d.name for d in self.machine.devices]
            return rules.read_rules(self.texts, self.matcher, devices, self.base.profile)

    @property
    def settings(self) -> Settings:
        """The switches as Settings; rules that are not valid are left out."""
        pairs = tuple(pair for rule in self.rules for pair in rule.pairs)
        return self.base.replace(overrides=pairs or None)

    @settings.setter
    def settings(self, value: Settings) -> None:
        with self.lock:
            self.texts = [f"{pattern}={buffer}" for pattern, buffer in value.overrides]
            self.base = value.replace(overrides=None)
            self.drafts = {}
        self.changed()

    # ---------- what the page asks for

    def change(self, values: dict[str, Any]) -> None:
        """Take new values of switches, of the rig, the model and the rules; what is not valid becomes a draft."""
        for key, value in values.items():
            with self.lock:
                try:
                    self._set(str(key), value)
                    self.drafts.pop(str(key), None)
                except (IkexploreError, OSError) as error:
                    self.drafts[str(key)] = (clean(value, 80), one_line(error))
        self.changed()

    def _set(self, key: str, value: Any) -> None:
        if key in SWITCHES:
            self.base = self.base.replace(**{FIELDS[key]: bool(value)})
        elif key in FIELDS:
            self.base = self.base.replace(**{FIELDS[key]: self._read(FIELDS[key], str(value).strip())})
        elif key == "op":
            self.base = self.base.replace(offload_policy=OFF_POLICY if value == "off" else None)
        elif key == "profile":
            self.base = self.base.to(str(value))
        elif key == "rules":
            self.texts = [str(text)[:4000] for text in value][:200]
        elif key == "rig":
            self.rigs.choose(str(value))
            self.drafts = {name: draft for name, draft in self.drafts.items() if not name.startswith("rig.")}
        elif key.startswith("rig."):
            self.rigs.edit(key.removeprefix("rig."), str(value))
        elif key == "gpu_mib":
            text = str(value).replace("\u202f", "").strip()
            if not text.isdecimal() or not 1 <= int(text) <= 1 << 24:
                raise SettingsError(f"memory per GPU {clean(value, 40)}: write MiB as a whole number, 1 or more")
            self.rigs.chosen = replace(self.rigs.chosen, gpu_mib=int(text))
        elif key == "model":
            self._choose_model(str(value))
        elif key == "path":
            self._open(str(value).strip())
        elif key == "quant":
            self._requantize(str(value))
        elif key == "layout":
            if value not in LAYOUTS:
                raise SettingsError(f"layout {clean(value, 40)} is not known; choose {' or '.join(LAYOUTS)}")
            self.layout = str(value)
        else:
            raise SettingsError(f"{clean(key, 40)} is no switch of this panel")

    def _read(self, field: str, text: str) -> Any:
        if not text:
            return None
        flag = Settings.switch(field).flag
        return Settings.parse([flag, text], profile=self.base.profile).given.get(field)

    def paste(self, text: str) -> None:
        """Read a whole command line; unknown flags are named, what cannot be read leaves everything as it was."""
        try:
            read = Settings.parse(text[:100_000], profile=self.base.profile)
        except IkexploreError as error:
            self.error = one_line(error)
        else:
            self.settings = read
            unknown = ", ".join(clean(flag, 40) for flag in read.unknown[:8])
            self.error = f"not understood and kept at the end of the line: {unknown}" if unknown else ""
        self.changed()

    def assign(self, first: int, last: int, device: str, what: str = "") -> None:
        """Move weights of some layers (the experts, if ``what`` does not say which): a rule on top of the others."""
        with self.lock:
            if device in {d.name for d in self.machine.devices}:
                self.texts.insert(0, rules.assign(self.grid, int(first), int(last), device, what))
        self.changed()

    def show(self, name: str, on: bool, index: int = -1) -> None:
        """Open or close a view: "rig", "facts", "where", or the tensors of -ot rule ``index``."""
        with self.lock:
            if name == "rule":
                self.told_rule = index if on else -1
            elif name in VIEWS:
                (self.open.add if on else self.open.discard)(name)
        self.changed()

    def detect(self) -> None:
        """Look at this computer, GPUs too, beside the kernel's main thread; Stop forgets it."""
        with self.lock:
            self._free()
            self.doing, self.error = DETECTING, ""

        def work(stop: threading.Event) -> None:
            machine = self.engine.detect()
            with self.lock:
                if not stop.is_set():
                    self.rigs.found(machine)
                    self.doing = ""

        self.jobs.start(work, self._failed)
        self.changed()

    def pin(self) -> None:
        """Keep what is shown as what everything is compared with."""
        self.replan()
        with self.lock:
            self.pinned = Pin(self.base, tuple(self.texts), self.rigs.chosen, self.model_id, self.quant, self.layout,
                              self.picture, self.plan, forecasts.wanted(self))
        self.changed()

    def swap(self) -> None:
        """Exchange the pinned settings and these; another model stays another model."""
        with self.lock:
            old = self.pinned
            if old is not None:
                self.pin()
                self._restore(old.quant)
                self.base, self.texts, self.rigs.chosen, self.layout = old.settings, list(old.texts), old.rig, old.layout
                self.drafts = {}
        self.changed()

    def dismiss(self) -> None:
        """Take the error line away."""
        self.error = ""
        self.changed()

    def clear(self) -> None:
        """Forget the earlier runs; the one of these settings and the pinned one stay."""
        with self.lock:
            kept = {self.key(), self.pinned_key()}
            self.runs = [run for run in self.runs if run.key in kept or run.state == "running"]
        self.changed()

    # ---------- plan

    def replan(self) -> None:
        """Plan what is wanted now, unless that is the plan at hand. Errors become the panel's one line."""
        with self.lock:
            model, settings, machine = self.model, self.settings, self.machine
        want = (id(model), settings, machine)
        if want == self._planned:
            return
        try:
            plan = self.engine.plan(model, settings, machine)
            picture = self.engine.picture(plan, self.grid)
        except Exception as error:
            message = one_line(error)
            with self.lock:
                self._planned, self.plan_error = want, message
                if len(self.picture.devices) != len(machine.devices):
                    self.picture = self._blank()
            return
        with self.lock:
            self._planned, self.plan_error = want, ""
            self.plan, self.picture = plan, picture
            if self.pinned is None or self.pinned.model_id != self.model_id:
                self.pin()

    def reforecast(self) -> bool:
        """Forecast the plan at hand and the pinned one where that is not done yet; True when there is something new."""
        with self.lock:
            pin = self.pinned
            plans = [self.plan] if self.plan is not None and forecasts.wanted(self) else []
            if plans and pin is not None and pin.forecast and pin.model_id == self.model_id and pin.plan is not None:
                plans.append(pin.plan)
            kept = {id(plan): self._forecasts[id(plan)] for plan in plans if id(plan) in self._forecasts}
        new = {id(plan): plan for plan in plans if id(plan) not in kept}.values()
        for plan in new:
            try:
                kept[id(plan)] = (plan, self.engine.forecast(plan), "")
            except Exception as error:
                kept[id(plan)] = (plan, None, one_line(error))
        with self.lock:
            gone = len(kept) != len(self._forecasts)
            self._forecasts = kept
        return bool(new) or gone

    def forecast_of(self, plan: Any) -> tuple[Any, str]:
        """The forecast of a plan as far as it is made, else None, and why there is none."""
        with self.lock:
            _, made, why = self._forecasts.get(id(plan), (None, None, ""))
        return made, why

    @property
    def model_label(self) -> str:
        """What runs of this model are filed under."""
        return self._label(self.model_id)

    def key(self) -> tuple[str, ...]:
        """What a run of these settings would measure, as ``Run.key``."""
        return self._run(self.settings, 0).key

    def pinned_key(self) -> tuple[str, ...] | None:
        """The same of the pinned settings."""
        if self.pinned is None:
            return None
        return runs.Run(0, self._label(self.pinned.model_id), self._what(self.pinned.quant, self.pinned.layout),
                        runs.on_this_cpu(self.pinned.settings), 0).key

    def _failed(self, error: Exception) -> None:
        self.error, self.doing, self.live = one_line(error), "", None
        self.changed()
