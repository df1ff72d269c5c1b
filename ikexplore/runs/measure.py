"""One point of a grid measured: what the local loop and a worker of a cluster do alike."""

import platform
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import Cancelled, IkexploreError
from ..settings import Settings
from .axes import Point, Source
from .binary import Binary, facts

Heard = Callable[[dict[str, Any]], None]


@dataclass
class Task:
    """One repetition of one point. ``number``: its place in the order."""

    key: str
    number: int
    repetition: int
    point: Point


def runner_name(runner: Any) -> str:
    """What a journal calls a runner: results of another one are no results of this one."""
    if runner is None:
        from .. import __version__

        return f"ikexplore {__version__}"
    if isinstance(runner, Binary):
        return f"{runner.program.name} {runner.program.version}"
    if callable(runner):
        return getattr(runner, "__qualname__", type(runner).__qualname__)
    raise IkexploreError(f"runner {runner!r}: give None for the engine here, a Binary, or a function like ikx.sweep")


def measure(
    task: Task,
    runner: Any,
    *,
    cold: bool = False,
    folder: Path | None = None,
    stop: threading.Event | None = None,
    on_row: Heard | None = None,
    on_progress: Heard | None = None,
) -> tuple[dict[str, Any], bool]:
    """(record, whether it was stopped). Bad input becomes a record with status "failed"; Ctrl-C a stop."""
    begun, clock = time.time(), time.monotonic()
    record: dict[str, Any] = {**head(task.key, task.repetition, task.point, runner_name(runner)), "number": task.number,
                              "status": "failed", "started": round(begun, 3)}  # fmt: skip
    stopped = False
    try:
        result = _run(task.point.source, task.point.settings, runner, cold, folder, stop, on_row, on_progress, record)
        stopped = bool(result.stopped)
        record.update(rows=[_slim(row) for row in result.rows], rig=rig_label(), machine=_machine(result.machine))
        failed = getattr(result, "ok", True) is False
        record["status"] = "failed" if failed or not result.rows else "done"
        if record["status"] == "failed":
            record["reason"] = getattr(result, "sentence", "") or "no row was measured"
        record["facts"] = {**record.get("facts", {}), **result.facts}
        if getattr(result, "differences", None):
            record["differences"] = result.differences
    except (KeyboardInterrupt, Cancelled):
        stopped = True
    except (IkexploreError, OSError, MemoryError) as error:
        record["reason"] = " ".join(str(error).split()) or type(error).__name__
        record["rig"] = rig_label()
    record["seconds"] = round(time.monotonic() - clock, 3)
    return record, stopped


def _run(source: Source, settings: Settings, runner: Any, cold: bool, folder: Path | None, stop: threading.Event | None,
         on_row: Heard | None, on_progress: Heard | None, record: dict[str, Any]) -> Any:  # fmt: skip
    common: dict[str, Any] = {"progress": False, "on_row": on_row, "on_progress": on_progress, "stop": stop}
    if isinstance(runner, Binary):
        model = source.in_file(folder) if folder is not None else source.base
        if source.kind and folder is None:
            raise IkexploreError('the axis "type" needs a journal (files are written beside it); or give files as axis "model"')
        return runner.sweep(model, settings, cold=cold, **common)
    model = source.model()
    record["facts"] = facts(None, model, settings, cold)
    if runner is not None:
        return runner(model, settings, **common)
    from ..run import sweep

    return sweep(model, settings, **common)


def head(key: str, repetition: int | None, point: Point, runner: str) -> dict[str, Any]:
    """What every record says of its point."""
    return {
        "key": key, "repetition": repetition, "values": point.values, "model": point.source.base.name,
        "settings": point.settings.command(), "profile": point.settings.profile, "runner": runner,
    }  # fmt: skip


def rig_label() -> str:
    """The name of this machine."""
    return platform.node() or "this machine"


def _machine(machine: Any) -> str:
    from ..logs.samples import machine_text

    return machine_text(machine) if machine is not None else ""


def _slim(row: dict[str, Any]) -> dict[str, Any]:
    """A row without the lists behind its means: a point of a grid is one measurement."""
    return {key: value for key, value in row.items() if not key.endswith("_all")}
