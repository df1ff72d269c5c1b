"""Which model the panel shows: the embedded one, a packaged header, a file, and the same in another type."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from ikexplore.errors import SettingsError

from .clean import clean
from .jobs import Jobs
from .models import main_type

_MADE = 4  # re-quantized models that are kept


class Models:
    """The part of ``Panel`` that picks, opens and re-quantizes models; ``opened`` is the one as its file has it."""

    engine: Any
    lock: Any
    jobs: Jobs
    opened: Any
    model_id: str
    quant: str
    doing: str
    opening: bool
    drafts: dict[str, tuple[str, str]]
    _models: dict[str, tuple[str, Any]]
    _made: dict[tuple[str, str], Any]

    def _take(self, model_id: str) -> None:
        raise NotImplementedError

    def _use(self, model: Any) -> None:
        raise NotImplementedError

    def _failed(self, error: Exception) -> None:
        raise NotImplementedError

    def models(self) -> list[tuple[str, str]]:
        """``(id, label)`` of each model that can be picked, and the way to open another."""
        known = [(key, name) for key, (name, _) in self._models.items()]
        packed = [("demo", "embedded demo"), *((f"header:{name}", name) for name in self.engine.headers())]
        return [*known, *(pair for pair in packed if pair[0] not in self._models), ("open", "open a GGUF file …")]

    def _label(self, model_id: str) -> str:
        return self._models[model_id][0] if model_id in self._models else model_id

    def _type(self, quant: str) -> str:
        return quant or main_type(self.opened)

    def _choose_model(self, model_id: str) -> None:
        self.opening = model_id == "open"
        if self.opening or model_id == self.model_id:
            return
        if model_id == "demo" and "demo" not in self._models:
            self._models["demo"] = ("embedded demo", self.engine.demo())
        name = model_id.removeprefix("header:")
        if name != model_id and model_id not in self._models and name in self.engine.headers():
            self._models[model_id] = (name, self.engine.header(name))
        if model_id not in self._models:
            raise SettingsError(f"no model {clean(model_id, 40)}; pick one of the list")
        self._free()
        self._take(model_id)

    def _open(self, path: str) -> None:
        if not path:
            return
        self._free()
        model = self.engine.open(str(Path(path).expanduser()))
        name = f"file{len(self._models)}"
        self._models[name] = (clean(Path(path).name, 40), model)
        self.opening = False
        self.drafts.pop("path", None)
        self._take(name)

    def _free(self) -> None:
        if self.jobs.busy:
            raise SettingsError("a run is on; stop it first")

    def _requantize(self, quant: str) -> None:
        self._free()
        if quant == self.quant or self._restore(quant):
            return
        if quant not in self.engine.quants():
            raise SettingsError(f"quant type {clean(quant, 40)} is not known here; pick one of the list")
        opened = self.opened

        def work(stop: threading.Event) -> None:
            model = self.engine.requantized(opened, quant)
            with self.lock:
                if not stop.is_set() and self.opened is opened:
                    self._made[self.model_id, quant] = model
                    while len(self._made) > _MADE:
                        del self._made[next(iter(self._made))]
                    self._restore(quant)
                self.doing = ""

        self.doing = f"re-quantizing to {quant}"
        self.jobs.start(work, self._failed)

    def _restore(self, quant: str) -> bool:
        """Use the model as opened (an empty name) or as it was re-quantized before; False when it was not."""
        model = self.opened if not quant else self._made.get((self.model_id, quant))
        if model is None:
            return False
        if quant != self.quant:
            self.quant = quant
            self._use(model)
        return True
