"""A grid on the workers of a Dask cluster: scheduling, moving and starting again are Dask's own.

A worker takes part when it was started with the resource "machine" (``dask worker --resources "machine=1"``), one per
machine; Dask then runs one point at a time there. Only this process writes the journal, when a result has come back.
"""

import queue
import socket
import time
from pathlib import Path
from typing import Any

from ..errors import IkexploreError
from .axes import Point, Source
from .binary import Binary
from .grid import _Grid, words
from .measure import Task, head, measure
from .results import needed

RESOURCE = "machine"
#: seconds between looks at the workers, and without any worker until the grid is given up
LOOK, PATIENCE = 0.25, 60.0
#: seconds that a worker may take to say what it has
ARRIVAL = 5.0


def on_cluster(client: Any, run: _Grid) -> None:
    """Measure what is left of a grid on the workers. Raises IkexploreError when no worker has the resource."""
    needed("distributed", "pip install 'ikexplore[cluster]'")
    if not hasattr(client, "submit") or not hasattr(client, "scheduler_info"):
        raise IkexploreError(f"client is a {type(client).__name__}; give a distributed.Client")
    if getattr(client, "asynchronous", False):
        raise IkexploreError("the client is asynchronous; give one made with asynchronous=False")
    _Cluster(client, run).all()


class _Cluster:
    """Tasks in flight, as many as there are machines: a lost worker then has only one to answer for."""

    def __init__(self, client: Any, run: _Grid):
        self.client, self.run = client, run
        self.waiting = list(reversed(run.tasks))
        self.flying: dict[Any, Task] = {}
        self.landed: queue.Queue[Any] = queue.Queue()
        self.again: set[int] = set()
        until = time.monotonic() + ARRIVAL
        while not (workers := self._workers()) and time.monotonic() < until:
            time.sleep(LOOK)
        if not workers:
            raise IkexploreError('no worker has the resource "machine"; start one per machine with '
                                 "dask worker ADDRESS --nthreads 1 --resources machine=1")  # fmt: skip
        hosts = [worker.get("host", "") for worker in workers.values()]
        if len(set(hosts)) < len(hosts):
            run.warnings.append("some workers share a machine: points that run at the same time disturb each other")

    def all(self) -> None:
        """Until nothing is left, or nobody to do it."""
        seen = looked = time.monotonic()
        try:
            while (self.waiting or self.flying) and not self.run.asked_to_stop():
                now = time.monotonic()
                if now - looked >= LOOK or not self.flying:
                    looked, workers = now, self._workers()
                    seen = now if workers else seen
                    while self.waiting and len(self.flying) < len(workers):
                        self._launch(self.waiting.pop())
                if now - seen > PATIENCE:
                    self.run.stopped = True
                    self.run.warnings.append(f"no worker for {PATIENCE:g} seconds; begin again with the same journal")
                    return
                self._land()
            self.run.stopped = self.run.stopped or self.run.asked_to_stop()
        finally:
            if self.flying:
                self.client.cancel(list(self.flying), force=True)

    def _workers(self) -> dict[str, Any]:
        """Address -> facts of the workers that may measure."""
        try:
            known = self.client.scheduler_info(n_workers=-1)["workers"]
        except TypeError:  # before 2025 all workers were told of without asking
            known = self.client.scheduler_info()["workers"]
        return {address: facts for address, facts in known.items() if facts.get("resources", {}).get(RESOURCE, 0) >= 1}

    def _launch(self, task: Task) -> None:
        self.run.tell(words(task.point.values))
        payload = {"task": (task.key, task.number, task.repetition), "point": packed(task.point), "runner": self.run.runner,
                   "cold": self.run.cold}  # fmt: skip
        future = self.client.submit(at_worker, payload, pure=False, resources={RESOURCE: 1}, retries=0,
                                    key=f"ikexplore-point-{task.key}-{task.repetition}-{time.time_ns()}")  # fmt: skip
        self.flying[future] = task
        future.add_done_callback(self.landed.put)

    def _land(self) -> None:
        """One result, if there is one soon. A task whose worker was lost comes back from another one."""
        try:
            future = self.landed.get(timeout=LOOK)
        except queue.Empty:
            return
        task = self.flying.pop(future, None)
        if task is None:
            return
        if future.status == "finished":
            self.run.take(future.result())
        elif future.status == "cancelled":  # the scheduler lost it, say with a restart
            self.waiting.append(task)
        elif type(future.exception()).__name__ == "KilledWorker" and task.number not in self.again:
            self.again.add(task.number)  # four workers died under it: once more when all others are done
            self.waiting.insert(0, task)
        else:
            error = future.exception()
            said = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
            about = head(task.key, task.repetition, task.point, self.run.name)
            self.run.take({**about, "number": task.number, "status": "failed", "reason": said})


def packed(point: Point) -> dict[str, Any]:
    """A point as plain values: the model by its path, which every machine must have. Raises IkexploreError."""
    from ..demo import model as demo_model

    base = point.source.base
    held = any(tensor.file is None for tensor in base.tensors.values())
    if not base.files or held:
        raise IkexploreError(f"{base.name}: lies in no file; workers open models by path, so write it with ikx.quantize first")
    embedded = base.files[0] == demo_model().files[0]
    return {"path": None if embedded else str(Path(base.files[0]).absolute()), "kind": point.source.kind,
            "values": point.values, "settings": point.settings}  # fmt: skip


_SOURCES: dict[tuple[str | None, str | None], Source] = {}


def at_worker(payload: dict[str, Any]) -> dict[str, Any]:
    """Runs on a worker: one point, as a record with the worker's label as rig."""
    from distributed import get_worker

    key, number, repetition = payload["task"]
    point = payload["point"]
    try:
        source = _source(point["path"], point["kind"])
    except IkexploreError as error:
        raise RuntimeError(f"{socket.gethostname()}: {error}") from None
    task = Task(key, number, repetition, Point(point["values"], source, point["settings"]))
    folder = Path(get_worker().local_directory) if isinstance(payload["runner"], Binary) and point["kind"] else None
    record, _ = measure(task, payload["runner"], cold=payload["cold"], folder=folder)
    record["rig"] = label(socket.gethostname(), get_worker().name)
    return record


def label(host: str, name: Any) -> str:
    """The machine's name, and the worker's where it was given one."""
    text = str(name)
    return host if "://" in text or text == host else f"{host}/{text}"


def _source(path: str | None, kind: str | None) -> Source:
    """The model on this machine, opened once."""
    if (path, kind) not in _SOURCES:
        from ..demo import model as demo_model
        from ..models.model import open as open_model

        _SOURCES[path, kind] = Source(demo_model() if path is None else open_model(path), kind)
    return _SOURCES[path, kind]
