"""The CPU's part of a hybrid graph: the CPU engine's lowering, for the nodes that the schedule gives to the CPU."""

from collections import defaultdict
from typing import Any

import numpy as np

from ikexplore_kernels.program import Program

from ...errors import ModelError
from ...graph.types import nbytes
from ...schedule import Schedule
from ..lower import PRODUCTS, At, Inputs, Lowering
from ..weights import Weight


class CpuLowering(Lowering):
    """``Lowering`` of some nodes. What other devices computed is read from copies, which are blocks of this arena;
    ``copies``: number of a copy -> its place. ``splits``: number of a split -> (first, end) of its instructions."""

    def __init__(self, schedule: Schedule, weights: dict[str, Weight], caches: dict[str, np.ndarray], inputs: Inputs, rope: Any,
                 threads: int, k_bits: int = 32):
        self.schedule, self.cpu = schedule, len(schedule.backends) - 1
        cut = schedule.cut
        self.copy_of = {int(s): c for c, (s, to) in enumerate(zip(cut.source, cut.to)) if to == self.cpu}
        self.copies: dict[int, Any] = {}
        self.splits: dict[int, tuple[int, int]] = {}
        g = schedule.graph
        self._sizes = nbytes(g.type_id, g.ne, g.nb)
        super().__init__(schedule.graph, weights, caches, inputs, rope, threads, k_bits)

    def here(self, row: int) -> bool:
        """Whether the CPU computes a row."""
        return int(self.schedule.at.backend[row]) == self.cpu

    def _study(self) -> None:
        """Last use of each node's memory on any device, of each copy on this one; which formats read each activation."""
        g, n = self.graph, len(self.graph)
        self.root = [int(v) if v >= 0 else i for i, v in enumerate(g.view_src.tolist())]
        self.srcs = [[s for s in row if s >= 0] for row in g.srcs.tolist()]
        self.last, self.readers = list(range(n)), defaultdict(list)
        self.last_copy = dict.fromkeys(self.copy_of.values(), -1)
        for i in range(g.n_leafs, n):
            for s in self.srcs[i]:
                self.last[self.root[s]] = i
                if self.here(i) and s in self.copy_of:
                    self.last_copy[self.copy_of[s]] = i
            product = self.here(i) and g.op[i] in PRODUCTS
            if product and (weight := self.weight(self.srcs[i][0])) and weight.matrices == 1:
                self.readers[self.source_key(self.srcs[i][-1])].append(i)
        self.last[self.root[n - 1]] = n

    def at(self, row: int) -> Any:
        """Address of a row's first value: in a copy where another device computed it. Raises ModelError without one."""
        copy = self.copy_of.get(row)
        if copy is not None and self.weight(row) is None:
            return self.copies[copy]
        root = self.root[row]
        if root >= self.graph.n_leafs and not self.here(root):
            raise ModelError(f"{self.graph.name[row]} is read on the CPU but computed elsewhere, and no split copies it")
        return super().at(row)

    def program(self) -> Program:
        """Lower the CPU's nodes, split by split. Raises ModelError naming a node that has no kernel."""
        g, cut = self.graph, self.schedule.cut
        for number in np.flatnonzero(cut.backend == self.cpu).tolist():
            first = len(self.instructions)
            for copy in range(int(cut.first_input[number]), int(cut.first_input[number + 1])):
                self._take_copy(copy)
            for row in range(g.n_leafs + int(cut.start[number]), g.n_leafs + int(cut.end[number])):
                self._lower(row)
            self.splits[number] = first, len(self.instructions)
        return self._finish()

    def _take_copy(self, copy: int) -> None:
        row = int(self.schedule.cut.source[copy])
        if self.weight(row) is None:
            self.copies[copy] = At(self.arena.take(self.nbytes(row)))

    def nbytes(self, row: int) -> int:
        """Bytes from the first to the last value of a row, of any type."""
        return max(4, int(self._sizes[row]))

    def _free_after(self, row: int) -> None:
        super()._free_after(row)
        for copy in [c for c, last in self.last_copy.items() if last == row and c in self.copies]:
            self.arena.give(self.copies[copy].offset)
            self.last_copy.pop(copy)

    def _finish(self) -> Program:
        """As ever; the result may be another device's, then it has no address here."""
        g = self.graph
        last = self.root[len(g) - 1]
        elsewhere = not self.here(last)
        if elsewhere:
            self._node_at[last] = 0
        program = super()._finish()
        base = -(-program.keep[0].ctypes.data // 64) * 64
        self.copies = {copy: base + at.offset for copy, at in self.copies.items()}
        if elsewhere:
            program.result = 0
        return program
