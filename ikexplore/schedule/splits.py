"""Splits: runs of nodes that one backend computes, and the tensors that are copied in at the beginning of each."""

from dataclasses import dataclass

import numpy as np

from ..graph.fast import fast
from ..graph.graph import Graph
from ..graph.ops import OP
from .assign import Assignment


@dataclass(frozen=True, eq=False)
class Splits:
    """``backend, start, end`` (node numbers) per split; ``first_input`` has one entry more: where its inputs begin.

    Inputs are copies: ``source`` is the row that is copied, ``to`` the backend. ``srcs`` are the graph's sources after
    the change: numbers from ``len(graph)`` on are copies. ``graph_inputs``: rows flagged as input, in the order in
    which they are first read.
    """

    backend: np.ndarray
    start: np.ndarray
    end: np.ndarray
    first_input: np.ndarray
    source: np.ndarray
    to: np.ndarray
    srcs: np.ndarray
    graph_inputs: np.ndarray

    def __len__(self) -> int:
        return len(self.backend)

    def inputs(self, split: int) -> np.ndarray:
        """Rows that are copied in at the beginning of a split."""
        return self.source[self.first_input[split] : self.first_input[split + 1]]


def split(
    graph: Graph, at: Assignment, held: np.ndarray, weight: np.ndarray, max_inputs: int, n_backends: int
) -> Splits:
    """Cuts a graph (pass 5 of ggml_backend_sched_split_graph). ``held`` and ``weight`` as for ``assign``.

    A split begins where the backend changes, where a node reads a weight from another backend (so that the memory of
    the weights fetched before can be used again), where ``max_inputs`` copies would not be enough, at a REDUCE and
    where the graph builder says so. A REDUCE reads its sources where they are.
    """
    reduce = graph.op_id == OP["REDUCE"]
    asked = np.array(["new_split" in params for _, params in graph.labels])[graph.label_id]
    return Splits(
        *fast(_split, len(graph))(
            graph.srcs, graph.view_src, graph.is_view_op, reduce, asked, graph.flags, at.backend, held, weight,
            graph.n_leafs, max_inputs, n_backends,
        )
    )  # fmt: skip


def _split(  # type: ignore[no-untyped-def]
    srcs, view_src, view, reduce, asked, flags, backend, held, weight, n_leafs, max_inputs, n_backends
):
    n, width = srcs.shape
    changed = srcs.copy()
    n_nodes = n - n_leafs
    split_backend = np.empty(n_nodes + 1, np.int8)
    start = np.zeros(n_nodes + 1, np.int32)
    first_input = np.zeros(n_nodes + 2, np.int32)
    source = np.empty(n_nodes * width + 1, np.int32)
    to = np.empty(n_nodes * width + 1, np.int8)
    copy = np.full((n, n_backends), -1, np.int32)
    graph_inputs = np.empty(n_leafs, np.int32)
    noted = np.zeros(n, np.bool_)
    n_splits = 0
    n_inputs = 0
    n_graph_inputs = 0
    current = -1
    for row in range(n_leafs, n):
        if view[row]:
            continue
        here = backend[row]
        new = here != current or reduce[row] or asked[row]
        if not new and n_inputs > first_input[n_splits - 1]:
            full = n_inputs - first_input[n_splits - 1] == max_inputs
            for j in range(width):
                s = srcs[row, j]
                if s < 0:
                    continue
                if weight[s] and backend[s] != current:
                    new = True
                    break
                if full and copy[s, current] == -1:
                    root = view_src[s] if view_src[s] >= 0 else s
                    home = held[root] if held[root] >= 0 else backend[s]
                    if backend[s] != current and home != current:
                        new = True
                        break
        if new:
            split_backend[n_splits] = here
            start[n_splits] = row - n_leafs if n_splits else 0
            first_input[n_splits] = n_inputs
            n_splits += 1
            current = here
        for j in range(width):
            s = srcs[row, j]
            if s < 0:
                continue
            if flags[s] & 1 and not noted[s]:
                noted[s] = True
                graph_inputs[n_graph_inputs] = s
                n_graph_inputs += 1
            if backend[s] == current:
                continue
            root = view_src[s] if view_src[s] >= 0 else s
            home = held[root] if held[root] >= 0 else backend[s]
            if home == current:
                continue
            if reduce[row] and copy[s, current] == -1:
                copy[s, current] = -2  # read where it is, from now on
            if copy[s, current] == -2:
                continue
            if copy[s, current] < 0:
                copy[s, current] = n_inputs
                source[n_inputs] = s
                to[n_inputs] = current
                n_inputs += 1
            changed[row, j] = n + copy[s, current]
        first_input[n_splits] = n_inputs
    end = np.empty(n_splits, np.int32)
    for i in range(n_splits):
        end[i] = start[i + 1] if i + 1 < n_splits else n_nodes
    return (
        split_backend[:n_splits], start[:n_splits], end, first_input[: n_splits + 1], source[:n_inputs], to[:n_inputs],
        changed, graph_inputs[:n_graph_inputs],
    )  # fmt: skip
