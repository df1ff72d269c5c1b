"""A grid: all combinations of some settings, measured in random order, with a journal that survives a kill."""

import os
import random
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from ..errors import IkexploreError, ModelError, SettingsError
from ..machine import Machine
from ..models import Model
from ..settings import Settings
from .axes import Point, points
from .binary import Binary
from .journal import Journal
from .measure import Task, head, measure, runner_name
from .results import Grid

Heard = Callable[[dict[str, Any]], None]


def grid(
    model: Model,
    axes: Mapping[str, Any],
    rig: Machine | None = None,
    journal: str | os.PathLike[str] | None = None,
    client: Any = None,
    *,
    settings: Settings | None = None,
    runner: Any = None,
    repetitions: int = 1,
    seed: int = 0,
    cold: bool = False,
    retry_failed: bool = False,
    progress: bool = True,
    on_point: Heard | None = None,
    on_progress: Heard | None = None,
    stop: threading.Event | None = None,
) -> Grid:
    """Measure every combination of ``axes`` (see ``runs.axes.points``) on top of ``settings``, ``repetitions`` times each.

    The order is random (``seed``): each repetition goes through all points in an order of its own, so that what drifts falls on
    all alike. A point that the plan for ``rig`` (default: this machine) says does not fit is skipped, with the reason.
    ``journal``: a JSONL file; every finished point is a line on the disk before the next one begins, and a grid begun again
    with the same journal measures only what is missing. ``runner``: None for the engine here (it measures on this machine's
    CPU), a ``Binary``, or a function with the arguments of ``ikx.sweep``. ``client``: a Dask distributed Client; then every
    worker that has the resource "machine" measures one point at a time. ``cold``: with a Binary, the model's files leave the
    caches before each point. ``retry_failed``: measure again what failed before.

    ``on_point(record)`` hears of each finished point, ``on_progress(event)`` of what goes on (``phase`` "grid" with ``done``,
    ``total``, ``eta_s``, and the runner's own events), ``progress`` draws a bar.
    ``stop`` or Ctrl-C ends it and keeps all finished points.
    Raises IkexploreError for axes, a journal or a runner that make no sense.

    >>> import ikexplore as ikx
    >>> g = ikx.grid(ikx.demo.model(), {"ub": [32, 64]}, settings=ikx.Settings.parse("-c 128"), progress=False)
    >>> [point["ub"] for point in g.points()]
    ['32', '64']
    """
    if isinstance(repetitions, bool) or not isinstance(repetitions, int) or repetitions < 1:
        raise IkexploreError(f"{repetitions} repetitions measure nothing; give 1 or more")
    name = runner_name(runner)
    if cold and not isinstance(runner, Binary):
        raise IkexploreError("cold needs a Binary: the engine here keeps the model mapped, and mapped pages stay")
    made = points(model, axes, settings or Settings())
    machine = rig or Machine.detect()
    with Journal(journal) as book:
        run = _Grid(book, made, name, runner, machine, repetitions, seed, cold, retry_failed)
        run.listen(progress, on_point, on_progress, stop)
        try:
            if client is None:
                run.here()
            else:
                from .cluster import on_cluster

                on_cluster(client, run)
        except KeyboardInterrupt:
            run.stopped = True
        finally:
            run.close()
        return run.result()


class _Grid:
    """A grid under way: what is left to do, and who hears of what is done."""

    def __init__(self, book: Journal, made: list[Point], name: str, runner: Any, rig: Machine, repetitions: int, seed: int,
                 cold: bool, retry_failed: bool):  # fmt: skip
        self.book, self.runner, self.name, self.rig, self.cold = book, runner, name, rig, cold
        self.points = {point.key(name): point for point in made}
        self.warnings = list(book.warnings)
        self.stopped, self.unfinished = False, list[dict[str, Any]]()
        self.folder = book.path.with_name(book.path.stem + "-models") if book.path else None
        if runner is None and rig.simulated:
            self.warnings.append(
                "the rig has simulated devices: whether a point fits is planned for them, rates are measured on this CPU alone"
            )
        for key, point in self.points.items():
            self._skip(key, point)
        finished = ("done", "skipped") if retry_failed else ("done", "failed", "skipped")
        self.tasks: list[Task] = []
        dice = random.Random(seed)
        number = 0
        for repetition in range(repetitions):
            order = list(self.points.items())
            dice.shuffle(order)
            for key, point in order:
                number += 1
                skipped = book.has(key, None, ("skipped",))
                if not skipped and not book.has(key, repetition, finished):
                    self.tasks.append(Task(key, number, repetition, point))
        self.total, self.began, self.ended = len(self.tasks), time.monotonic(), 0

    def _skip(self, key: str, point: Point) -> None:
        """Writes down why a point is not going to be run, if that is so."""
        reason = point.problem or misfit(point, self.rig)
        if reason:
            known = self.book.done.get((key, None))
            if known is None or known.get("reason") != reason:
                self.book.add({**head(key, None, point, self.name), "status": "skipped", "reason": reason})
        elif (key, None) in self.book.done:
            # what did not fit a smaller rig: it is measured now
            self.book.records.remove(self.book.done.pop((key, None)))

    def listen(self, progress: bool, on_point: Heard | None, on_progress: Heard | None, stop: threading.Event | None) -> None:
        """Who hears of what."""
        self.on_point, self.stop = on_point, stop
        self.bar: Any = None
        if progress:
            from tqdm.auto import tqdm

            self.bar = tqdm(total=self.total, unit=" points", leave=False, desc="grid")
        self.on_progress = on_progress

    def asked_to_stop(self) -> bool:
        """Whether somebody wants the end."""
        return self.stop is not None and self.stop.is_set()

    def tell(self, text: str) -> None:
        """Says how far it is and how long the rest takes, as fast as the points so far."""
        passed = time.monotonic() - self.began
        eta = passed / self.ended * (self.total - self.ended) if self.ended else None
        if self.bar is not None:
            self.bar.n = self.ended
            self.bar.set_postfix_str(text[:60])
        if self.on_progress is not None:
            self.on_progress({"phase": "grid", "done": self.ended, "total": self.total, "text": text, "eta_s": eta})

    def here(self) -> None:
        """All that is left, one after the other, in this process."""
        for task in self.tasks:
            if self.asked_to_stop():
                self.stopped = True
                return
            self.tell(words(task.point.values))
            record, stopped = measure(task, self.runner, cold=self.cold, folder=self.folder, stop=self.stop,
                                      on_progress=self.on_progress)  # fmt: skip
            if stopped:
                self.stopped = True
                self.unfinished.append(record)
                return
            self.take(record)

    def take(self, record: dict[str, Any]) -> None:
        """A finished point: into the journal first, then to those who listen."""
        self.ended += 1
        if self.book.add(record) and self.on_point is not None:
            self.on_point(record)
        self.tell(words(record["values"]))

    def close(self) -> None:
        """The bar goes."""
        if self.bar is not None:
            self.bar.close()

    def result(self) -> Grid:
        """What there is of this grid's points, in the order in which it was measured."""
        mine = [record for record in self.book.records if record["key"] in self.points]
        return Grid(mine, str(self.book.path) if self.book.path else None, self.stopped, self.warnings, self.unfinished)


def misfit(point: Point, rig: Machine) -> str:
    """Why a point does not fit the rig by its plan; "" when it does, or when nothing can plan its architecture."""
    from ..schedule import plan

    settings = point.settings
    try:
        # sizes of matrices in another type are planned with their real types
        made = plan(point.source.model(), settings, rig)
    except SettingsError as error:
        return f"the settings contradict the model or the rig: {error}"
    except ModelError:
        return ""
    over = [f"{d.name} needs {d.total_mib:,.0f} MiB and has {d.capacity_mib:,.0f}" for d in made.devices if d.over_mib]
    return f"does not fit: {'; '.join(over)}" if over else ""


def words(values: Mapping[str, str]) -> str:
    """ "ub 512, rtr on" """
    return ", ".join(f"{axis} {text}" for axis, text in values.items())
