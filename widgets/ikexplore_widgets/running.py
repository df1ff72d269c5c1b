"""The panel's runs: one at a time, beside the kernel's main thread, on this computer's CPU."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from ikexplore.settings import Settings

from .jobs import Jobs
from .runs import Run, keep, on_this_cpu


class Running:
    """The part of ``Panel`` that times settings. ``runs`` are on the chart, ``live`` is what the one that is on tells."""

    engine: Any
    lock: Any
    jobs: Jobs
    changed: Callable[[], None]
    error: str
    doing: str
    model: Any
    model_id: str
    quant: str
    layout: str
    present: Any
    runs: list[Run]
    live: dict[str, Any] | None

    @property
    def settings(self) -> Settings:
        raise NotImplementedError

    def _label(self, model_id: str) -> str:
        raise NotImplementedError

    def _type(self, quant: str) -> str:
        raise NotImplementedError

    def _failed(self, error: Exception) -> None:
        raise NotImplementedError

    def _what(self, quant: str, layout: str) -> str:
        """How a run's weights are told from others': by type, and by layout where it is not the file's."""
        return self._type(quant) if layout == "file" else f"{self._type(quant)} {layout}"

    def _run(self, settings: Settings, number: int) -> Run:
        mine = on_this_cpu(settings)
        full = mine.resolved(self.model, self.present)
        return Run(number, self._label(self.model_id), self._what(self.quant, self.layout), mine,
                   max(1, full.n_ctx // full.n_ubatch), layout=self.layout)

    def run(self) -> bool:
        """Time the settings on this computer's CPU; False when something else is on."""
        with self.lock:
            if self.jobs.busy:
                return False
            run = self._run(self.settings, max([r.number for r in self.runs], default=0) + 1)
            model, self.error = self.model, ""
            again = [r for r in self.runs if r.key != run.key]
            self.runs = keep([*again, run])
            self.live = {"phase": "load", "text": "starting"}

        def row(values: dict[str, Any]) -> None:
            with self.lock:
                if run.state == "running":
                    run.add(values)
            self.changed()

        def progress(values: dict[str, Any]) -> None:
            if run.state == "running":
                self.live = dict(values)
                self.changed()

        def work(stop: threading.Event) -> None:
            self.engine.sweep(model, run.settings, row, progress, stop, run.layout)
            self._end(run, "done")

        def failed(error: Exception) -> None:
            self._end(run, "failed")
            self._failed(error)

        self.jobs.start(work, failed)
        self.changed()
        return True

    def _end(self, run: Run, state: str) -> None:
        with self.lock:
            if run.state == "running":
                run.state, self.live = state, None
        self.changed()

    def stop(self) -> None:
        """Stop what is on; finished rows are kept."""
        with self.lock:
            self.jobs.stop()
            for run in self.runs:
                if run.state == "running":
                    run.state = "stopped"
            self.live, self.doing = None, ""
        self.changed()

    @property
    def running(self) -> Run | None:
        """The run that is on."""
        return next((run for run in self.runs if run.state == "running"), None)
