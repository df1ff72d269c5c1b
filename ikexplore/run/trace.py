"""Looking into an evaluation: the values of a graph's nodes, while they are in memory.

A session with an ``observer`` runs its program in pieces, each up to the end of a node that the observer wants, and hands
it the node. The graph is the session's own, so that there is no second description of the model.
"""

from typing import Any, Protocol

import numpy as np
from numpy.lib.stride_tricks import as_strided

from ikexplore_kernels.formats import get
from ikexplore_kernels.program import Program

from ..errors import Cancelled
from ..graph import Graph

DTYPES = {"f32": np.float32, "i32": np.int32, "f16": np.float16, "bf16": np.uint16}


class Observer(Protocol):
    """What a session tells about nodes. ``see`` may write into the arrays that it gets from the trace."""

    def wants(self, graph: Graph, row: int) -> bool: ...

    def see(self, trace: "Trace", row: int) -> None: ...


class Values:
    """Arrays of a graph's rows, views of the memory that ``bytes_of(root row)`` gives as a flat uint8 array.

    Shapes are C order: ggml's ne reversed. ``past`` is the first cell of the cache that this evaluation writes.
    """

    def __init__(self, graph: Graph):
        self.graph = graph
        self.root = [int(v) if v >= 0 else i for i, v in enumerate(graph.view_src.tolist())]

    def bytes_of(self, root: int) -> np.ndarray:
        raise NotImplementedError

    @property
    def past(self) -> int:
        return self.graph.kv_head

    def array(self, row: int) -> np.ndarray:
        """The row's values where they are, [ne3, ne2, ne1, ne0]; blocks of quantized types as uint8 [.., row bytes]."""
        g, kind = self.graph, self.graph.type[row]
        ne, nb = g.ne[row].tolist()[::-1], g.nb[row].tolist()[::-1]
        if kind not in DTYPES:
            f = get(kind)
            ne[-1], nb[-1] = f.row_bytes(ne[-1]), 1
            dtype: Any = np.uint8
        else:
            dtype = DTYPES[kind]
        memory = self.bytes_of(self.root[row])
        at = int(g.view_offs[row]) + int(g.params[row].get("kv_head_stride", 0)) * (self.past - g.kv_head)
        need = np.dtype(dtype).itemsize + sum((n - 1) * b for n, b in zip(ne, nb))
        return as_strided(memory[at : at + need].view(np.uint8)[: np.dtype(dtype).itemsize].view(dtype), ne, nb)

    def floats(self, row: int) -> np.ndarray:
        """The row's values as float32, decoded where they are not (a copy then)."""
        x, kind = self.array(row), self.graph.type[row]
        if kind == "bf16":
            return (x.astype(np.uint32) << 16).view(np.float32)
        if kind in DTYPES:
            return x.astype(np.float32, copy=False) if kind != "i32" else x
        f, n = get(kind), int(self.graph.ne[row][0])
        rows = np.ascontiguousarray(x).reshape(-1, x.shape[-1])
        return f.decode(rows, n).reshape(*x.shape[:-1], n)


class Trace(Values):
    """Values of one lowered graph of a session: nodes in its arena, caches, inputs and weights where they lie."""

    def __init__(self, graph: Graph, session: Any, places: dict[int, int], memory: np.ndarray):
        super().__init__(graph)
        self.places, self.memory = places, memory
        self.caches, self.inputs, self.weights = session.caches, session.inputs, session.weights

    @property
    def past(self) -> int:
        return int(self.inputs.past[0])

    def has(self, row: int) -> bool:
        """Whether the row's values are anywhere to be seen."""
        root = self.root[row]
        return root in self.places or self.graph.name[root] in self.caches

    def bytes_of(self, root: int) -> np.ndarray:
        name = self.graph.name[root]
        if root in self.places:
            return self.memory[self.places[root] - self.memory.ctypes.data :]
        if name in self.caches:
            return self.caches[name]
        if root < self.graph.n_leafs and name in self.weights:
            return self.weights[name].data
        buffers = {"inp_tokens": self.inputs.tokens, "inp_pos": self.inputs.positions, "inp_out_ids": self.inputs.out_ids}
        return buffers[name].view(np.uint8)


def run_watched(program: Program, trace: Trace, team: Any, stop: np.ndarray, observer: Observer) -> None:
    """Run a program as a team would, and show the nodes that the observer wants. Raises Cancelled when told to stop."""
    graph = trace.graph
    nodes = np.array([i.node for i in program.instructions])
    done = 0
    for row in range(graph.n_leafs, len(graph)):
        if graph.is_view_op[row] or not trace.has(row) or not observer.wants(graph, row):
            continue
        end = int(np.searchsorted(nodes, row, side="right"))
        if end > done:
            team.run(program.records[done:end], stop)
            done = end
        if stop[0]:
            raise Cancelled("stopped in the middle of an evaluation")
        observer.see(trace, row)
    if done < len(nodes):
        team.run(program.records[done:], stop)
