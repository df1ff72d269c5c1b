"""A scheduled graph made ready to run: splits in order, what is copied in at the beginning of each, then its device's work."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from ikexplore_kernels.program import Program

from ...errors import Cancelled
from ...graph.types import nbytes
from ...schedule import Schedule
from ..lower import Inputs
from ..trace import Observer
from ..weights import Weight
from .cpu import CpuLowering
from .device import Device
from .fuse import fused
from .graphs import COLUMNS, SplitWork
from .launches import GpuLowering, Memory, Step


@dataclass
class Copied:
    """A copy at the beginning of a split. ``weight``: the host's bytes, None for what the graph computes."""

    number: int
    row: int
    to: int
    nbytes: int
    weight: np.ndarray | None


class Hybrid:
    """One scheduled graph on some devices; ``run`` evaluates it once. ``gpus``: the lowering of each GPU by number;
    ``cuda_graphs``: whether launches for few columns are replayed as CUDA graphs."""

    def __init__(self, schedule: Schedule, devices: list[Device], memories: list[Memory], weights: dict[str, Weight],
                 caches: dict[str, np.ndarray], inputs: Inputs, rope: Any, threads: int, turns: Callable[..., int],
                 k_bits: int = 32, cuda_graphs: bool = True):
        self.schedule, self.devices, self.inputs = schedule, devices, inputs
        self.graph, self.cpu = schedule.graph, len(schedule.backends) - 1
        self.lowered = CpuLowering(schedule, weights, caches, inputs, rope, threads, k_bits)
        self.program: Program = self.lowered.program()
        self.gpus = [GpuLowering(schedule, i, memory, partial(turns, i)) for i, memory in enumerate(memories)]
        self.steps: dict[int, list[Step]] = {}
        self.work: dict[int, SplitWork] = {}
        gather = cuda_graphs and self.graph.n_tokens <= COLUMNS
        for number, backend in enumerate(schedule.cut.backend.tolist()):
            if backend != self.cpu:
                self.steps[number] = self.gpus[backend].lower(self._rows(number))
                steps = fused(self.steps[number]) if self.graph.n_tokens == 1 else self.steps[number]
                self.work[number] = SplitWork(devices[backend], steps, gather)
        self.copies = [self._copies(number, weights) for number in range(len(schedule.cut))]
        last = len(self.graph) - 1
        self.result_on = int(schedule.at.backend[last])
        self.result = None if self.result_on == self.cpu else self.gpus[self.result_on].result(last).at

    def _rows(self, number: int) -> list[int]:
        """Rows of a split that compute something."""
        g, cut = self.graph, self.schedule.cut
        rows = range(g.n_leafs + int(cut.start[number]), g.n_leafs + int(cut.end[number]))
        return [row for row in rows if not g.is_view_op[row]]

    def _copies(self, number: int, weights: dict[str, Weight]) -> list[Copied]:
        g, s, out = self.graph, self.schedule, []
        sizes = nbytes(g.type_id, g.ne, g.nb)
        for copy in range(int(s.cut.first_input[number]), int(s.cut.first_input[number + 1])):
            row, to = int(s.cut.source[copy]), int(s.cut.to[copy])
            root = int(g.view_src[row]) if g.view_src[row] >= 0 else row
            if g.name[root].startswith("KQ_mask"):  # nothing reads masks
                continue
            host = None
            if s.of_weight[row]:
                if to == self.cpu:  # the host has every weight
                    continue
                if s.held[root] == self.cpu:
                    host = weights[g.name[root]].data[int(g.view_offs[row]) :][: sizes[row]]
            out.append(Copied(copy, row, to, int(sizes[row]), host))
        return out

    # -- memory --------------------------------------------------------------------------------------------------------

    def needs(self, number: int) -> dict[str, int]:
        """Bytes that the graph needs on a GPU: its compute buffer, as the schedule has it, and scratch of its kernels."""
        return {"compute": int(self.schedule.arena.peak[number]), "pool": self.gpus[number].pool.size}

    # -- running -------------------------------------------------------------------------------------------------------

    def run(self, team: Any, stop: np.ndarray, observer: Observer | None = None, trace: Any = None) -> None:
        """One evaluation. Raises Cancelled when told to stop."""
        for number, backend in enumerate(self.schedule.cut.backend.tolist()):
            for copy in self.copies[number]:
                self._copy(copy)
            if observer is not None:
                self._watched(number, backend, team, stop, observer, trace)
            elif backend == self.cpu:
                first, end = self.lowered.splits[number]
                if end > first:
                    team.run(self.program.records[first:end], stop)
            else:
                self.work[number].run(stop)
            if stop[0]:
                raise Cancelled("stopped in the middle of an evaluation")

    def _watched(self, number: int, backend: int, team: Any, stop: np.ndarray, observer: Observer, trace: Any) -> None:
        """A split node by node; those that the observer wants are shown to it."""
        nodes = [i.node for i in self.program.instructions] if backend == self.cpu else [s.node for s in self.steps[number]]
        done, last = self.lowered.splits[number] if backend == self.cpu else (0, len(nodes))
        for row in self._rows(number):
            end = done
            while end < last and nodes[end] <= row:
                end += 1
            if end > done:
                if backend == self.cpu:
                    team.run(self.program.records[done:end], stop)
                else:
                    self.devices[backend].run(self.steps[number][done:end], stop)
            done = end
            if stop[0]:
                raise Cancelled("stopped in the middle of an evaluation")
            if trace.has(row) and observer.wants(self.graph, row):
                observer.see(trace, row)
                trace.put_back()

    def _copy(self, copy: Copied) -> None:
        if copy.weight is not None:
            self.devices[copy.to].upload(self.gpus[copy.to].copied(copy.number), copy.weight)
            return
        data = self.read(copy.row, copy.nbytes)
        if copy.to == self.cpu:
            to = _view(self.lowered.copies[copy.number], len(data))
            to[:] = data
        else:
            self.devices[copy.to].upload(self.gpus[copy.to].copied(copy.number), data)

    def read(self, row: int, size: int) -> np.ndarray:
        """uint8 [size]: the bytes of a row where it lives, on any device."""
        g = self.graph
        root = int(g.view_src[row]) if g.view_src[row] >= 0 else row
        where = int(self.schedule.held[root]) if self.schedule.held[root] >= 0 else int(self.schedule.at.backend[root])
        if where != self.cpu:
            gpu = self.gpus[where]
            return self.devices[where].download(gpu.result(row).at, size)
        if root >= g.n_leafs:
            return _view(self.lowered.places[root] + int(g.view_offs[row]), size)
        at = self.lowered.at(row)
        return _view(int(at), size)

    def logits(self, rows: int, columns: int) -> np.ndarray:
        """float32 [rows, columns]: the last node's values, a copy."""
        if self.result is None:
            raw = _view(self.program.result, 4 * rows * columns).copy()
        else:
            raw = self.devices[self.result_on].download(self.result, 4 * rows * columns)
        return raw.view(np.float32).reshape(rows, columns)


def _view(address: int, size: int) -> np.ndarray:
    """Host memory at an address."""
    import ctypes

    return np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(address))
