"""From the nodes of one device to kernel launches: where each operand is, and scratch memory beyond the planned buffers.

``GpuLowering`` walks nodes in order; ops are registered in ``ops``, ``products``, ``attention``. A value lies in the
device's compute buffer where the schedule's dry run of the allocator put it. What kernels need besides (activations in 8
bits, decoded weights, sorted experts) comes from a pool of scratch, as in the reference, whose planned figures leave it
out too.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...errors import ModelError
from ...graph import Graph
from ...schedule import Schedule
from ..arena import Arena

NUMBERS = 1024  #: 0, 1, 2 ... so many int32 lie on each device
THREADS = 256  #: of a block, for kernels whose threads do not talk to each other
ROW_THREADS = 512  #: at most, where a block works on a row: a token's norm is one block, and loads wait less with more threads


@dataclass(frozen=True)
class Place:
    """An address to be: ``offset`` into a device's ``compute`` buffer or its ``pool``."""

    where: str
    offset: int

    def __add__(self, more: int) -> "Place":
        return Place(self.where, self.offset + more)


@dataclass
class Launch:
    """One kernel over a grid. ``args``: int (addresses and sizes, 64 bits), float (32 bits), numpy scalars or Place."""

    module: str
    kernel: str
    grid: tuple[int, int, int]
    block: int | tuple[int, int, int]
    args: list[Any]
    node: int
    shared: int = 0


@dataclass
class HostStep:
    """What the host does between launches: ``run(device, resolve)``; resolve turns a Place into an address."""

    run: Callable[[Any, Callable[[Any], int]], None]
    node: int


Step = Launch | HostStep


@dataclass(frozen=True)
class Operand:
    """A tensor as kernels of one device see it. ``weight``: the name of the model's tensor that it is or looks into."""

    row: int
    at: Any
    ne: tuple[int, ...]
    nb: tuple[int, ...]
    type: str
    weight: str = ""

    @property
    def count(self) -> int:
        return int(np.prod(self.ne))

    @property
    def rows(self) -> int:
        return self.ne[1] * self.ne[2] * self.ne[3]

    @property
    def contiguous(self) -> bool:
        """No gaps, for numbers of 4 bytes."""
        return all(self.nb[i] == 4 * int(np.prod(self.ne[:i])) for i in range(4) if self.ne[i] > 1)


@dataclass
class Memory:
    """Addresses on one device that do not change: weights by number of the model's tensor, caches by name, ``past``,
    ``numbers``: int32 [NUMBERS], each its own index."""

    weights: dict[int, int] = field(default_factory=dict)
    caches: dict[str, int] = field(default_factory=dict)
    past: int = 0
    numbers: int = 0


class GpuLowering:
    """State while the nodes of backend ``number`` are lowered. ``turns(params, factors row)`` gives the address of a table of
    cosines and sines for the tokens of the evaluation."""

    def __init__(self, schedule: Schedule, number: int, memory: Memory, turns: Callable[[dict, int], int]):
        self.schedule, self.number, self.memory, self.turns = schedule, number, memory, turns
        self.graph: Graph = schedule.graph
        self.pool = Arena()
        self.steps: list[Step] = []
        self.row = -1
        self._kept: dict[Any, tuple[Any, list[Place]]] = {}
        self._late: list[Place] = []
        g = self.graph
        self.root = [int(v) if v >= 0 else i for i, v in enumerate(g.view_src.tolist())]
        self._last_use = self._last_uses()

    def _last_uses(self) -> dict[int, int]:
        """Last node that reads a row, by row (not by memory)."""
        last: dict[int, int] = {}
        for row in range(self.graph.n_leafs, len(self.graph)):
            for s in self.graph.srcs[row].tolist():
                if s >= 0:
                    last[s] = row
        return last

    # -- operands ------------------------------------------------------------------------------------------------------

    def sources(self, row: int) -> list[Operand]:
        return [self.source(row, j) for j, s in enumerate(self.graph.srcs[row].tolist()) if s >= 0]

    def source(self, row: int, j: int) -> Operand:
        """The j-th source of a row as this device sees it: in its own memory, or the copy that was made at a split."""
        g, s = self.graph, int(self.graph.srcs[row, j])
        copy = int(self.schedule.cut.srcs[row, j]) - len(g)
        return self._operand(s, self.copied(copy) if copy >= 0 else self._home(s))

    def copied(self, copy: int) -> Place:
        """Where a copy lies. Raises ModelError for one that belongs to another device."""
        if int(self.schedule.cut.to[copy]) != self.number:
            raise ModelError(f"{self._name(int(self.schedule.cut.source[copy]))}: its copy is on another device")
        return self.block(len(self.graph) + copy)

    def block(self, number: int) -> Place:
        arena = self.schedule.arena
        return Place("compute", int(arena.offset[arena.block[number]]))

    def result(self, row: int) -> Operand:
        return self._operand(row, self._home(row))

    def _operand(self, row: int, at: Any) -> Operand:
        g, root = self.graph, self.root[row]
        weight = g.name[root] if root < g.n_leafs and g.tensor[root] >= 0 else ""
        return Operand(row, at, tuple(g.ne[row].tolist()), tuple(g.nb[row].tolist()), g.type[row], weight)

    def _home(self, row: int) -> Any:
        """Address of a row in this device's memory. Raises ModelError where a copy is missing."""
        g, root = self.graph, self.root[row]
        offset = int(g.view_offs[row])
        if root >= g.n_leafs:
            if int(self.schedule.at.backend[root]) != self.number:
                raise ModelError(f"{self._name(row)} is read on {self._device} but computed elsewhere, and no split copies it")
            return self.block(root) + offset
        tensor = int(g.tensor[root])
        held = self.memory.weights.get(tensor) if tensor >= 0 else self.memory.caches.get(g.name[root])
        if held is None:
            raise ModelError(f"{self._name(row)} is read on {self._device}, which does not hold it, and no split copies it")
        return held + offset

    @property
    def _device(self) -> str:
        return self.schedule.backends[self.number]

    def _name(self, row: int) -> str:
        return self.graph.name[row]

    def lacks(self, what: str) -> ModelError:
        return ModelError(f"{self._name(self.row)}: there is no CUDA kernel for {what} yet; keep it on the CPU (-ot, -ngl)")

    # -- scratch and launches -------------------------------------------------------------------------------------------

    def take(self, nbytes: int) -> Place:
        return Place("pool", self.pool.take(max(nbytes, 1)))

    def give(self, *blocks: Place) -> None:
        for block in blocks:
            self.pool.give(block.offset)

    def give_late(self, *blocks: Place) -> None:
        """Free blocks after the next node: its first launch may become one with that which reads them (see ``fuse``)."""
        self._late += blocks

    def kept(self, key: Any, source: int, make: Callable[[], tuple[Any, list[Place]]]) -> Any:
        """Something in scratch that several nodes read (a source's activations in 8 bits), until the source's last reader."""
        if key not in self._kept:
            value, blocks = make()
            self._kept[key] = ((self._last_use.get(source, self.row), value), blocks)
        return self._kept[key][0][1]

    def _drop(self) -> None:
        for key in [k for k, ((last, _), _) in self._kept.items() if last <= self.row]:
            self.give(*self._kept.pop(key)[1])

    def launch(self, module: str, kernel: str, grid: int | tuple[int, ...], args: list[Any],
               block: int | tuple[int, int, int] = THREADS, shared: int = 0) -> None:
        wide = (grid,) if isinstance(grid, int) else grid
        dims = (*wide, 1, 1, 1)[:3]
        self.steps.append(Launch(module, kernel, (dims[0], dims[1], dims[2]), block, args, self.row, shared))

    def each(self, kernel: str, count: int, args: list[Any], module: str = "ops_elements") -> None:
        """A kernel with a thread per item."""
        if count:
            self.launch(module, kernel, -(-count // THREADS), args)

    def per_row(self, kernel: str, rows: int, n: int, args: list[Any]) -> None:
        """A kernel with a block per row of n numbers."""
        if rows:
            self.launch("ops_rows", kernel, rows, args, block=min(ROW_THREADS, -(-n // 32) * 32))

    @property
    def recorder(self) -> Any:
        """A runtime whose launches become steps: for the launch helpers of ``ikexplore_kernels.cuda.products``."""
        return _Recorder(self)

    def host(self, run: Callable[[Any, Callable[[Any], int]], None]) -> None:
        self.steps.append(HostStep(run, self.row))

    # -- the walk -------------------------------------------------------------------------------------------------------

    def lower(self, rows: list[int]) -> list[Step]:
        """The steps of some nodes, in order. Raises ModelError naming a node that has no kernel."""
        from . import attention, products  # noqa: F401  (they register their ops)
        from .ops import OPS

        first = len(self.steps)
        for row in rows:
            self.row, op = row, self.graph.op[row]
            if op not in OPS:
                raise self.lacks(op)
            late, self._late = self._late, []
            OPS[op](self, row)
            self._drop()
            self.give(*late)
        return self.steps[first:]


class _Recorder:
    """Stands in for a runtime while a graph is lowered; addresses may be Places."""

    def __init__(self, lowering: GpuLowering):
        self.lowering = lowering

    def launch(self, module: str, kernel: str, grid: Sequence[int], block: Sequence[int], args: Sequence[Any], shared: int = 0,
               stream: Any = None) -> None:
        x, y, z = (*block, 1, 1)[:3]
        self.lowering.launch(module, kernel, tuple(grid), list(args), (x, y, z), shared)
