"""A lowered graph: a table of instruction records that a team runs, and what it needs to stay alive."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .abi import FIRST, WIDTH, is_compiled, op_address, part_addresses
from .formats import Format


@dataclass
class Instruction:
    """One op over all its chunks. ``args`` are int (addresses, sizes) or float (passed as float64 bits)."""

    op: Callable
    args: list[int | float]
    chunks: int = 1
    a: Format | None = None
    b: Format | None = None
    node: int = -1  #: row of the graph that it belongs to


@dataclass
class Program:
    """Instructions of one graph, the arrays that their addresses point into, and the address of the last node's values."""

    instructions: list[Instruction]
    keep: list[Any] = field(default_factory=list)
    result: int = 0
    records: np.ndarray = field(default_factory=lambda: np.zeros((0, WIDTH), np.int64))

    def missing(self) -> list[tuple[Callable, Format | None, Format | None]]:
        """Ops that this process has not compiled or loaded yet."""
        wanted = {(i.op.__name__, i.a, i.b): (i.op, i.a, i.b) for i in self.instructions}
        return [ops for ops in wanted.values() if not is_compiled(*ops)]

    def link(self, progress: Callable[[int, int, str], None] | None = None) -> "Program":
        """Compile (or load) what is missing and fill ``records``. progress(done, total, what) is told before each op."""
        missing = self.missing()
        for n, (op, a, b) in enumerate(missing):
            if progress:
                progress(n, len(missing), " ".join([op.__name__, *(f.name for f in (a, b) if f)]))
            op_address(op, a, b)
        if progress and missing:
            progress(len(missing), len(missing), "")
        self.records = np.zeros((len(self.instructions), WIDTH), np.int64)
        for record, i in zip(self.records, self.instructions):
            parts = part_addresses(i.op, i.a)
            if len(i.args) > WIDTH - FIRST - len(parts):
                raise ValueError(f"{i.op.__name__} has {len(i.args)} arguments; a record holds {WIDTH - FIRST - len(parts)}")
            record[WIDTH - len(parts):] = parts
            record[0], record[1] = op_address(i.op, i.a, i.b), i.chunks
            for n, value in enumerate(i.args):
                record[FIRST + n] = np.float64(value).view(np.int64) if isinstance(value, float) else value
        return self
