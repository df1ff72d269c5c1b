"""Backend of each row of a graph: the passes of ggml_backend_sched_split_graph, with a reason for each.

Backends are numbers: the GPUs in the order of their priority, the CPU last.
"""

from dataclasses import dataclass

import numpy as np

from ..graph.fast import fast
from ..graph.graph import Graph
from ..graph.ops import OP

#: why a row is where it is, by the number that ``assign`` gives
REASONS = (
    "unassigned",
    "memory",  # its memory, or that of what it views, is there
    "input",  # graph inputs are filled by the host
    "weight",  # the first of its sources that is a weight lives there
    "offload",  # its weight is in host memory and the op is large enough for a GPU to fetch it
    "neighbour",  # the nodes before or after it run there
    "sources",  # no neighbour could compute it; most of its sources are there
    "view",  # it only looks at memory that is there
    "consumer",  # the op that reads it runs there
    "reduced",  # a part of a sum, which belongs to its GPU, or the sum itself
    "pinned",  # the graph builder asked for the CPU (-nkvo), or for the layer's own backend (norms with a mean)
)
REASON = {name: number for number, name in enumerate(REASONS)}


@dataclass(frozen=True, eq=False)
class Assignment:
    """Per row of a graph: backend (int8) and number of the reason (int8)."""

    backend: np.ndarray
    reason: np.ndarray


def assign(
    graph: Graph,
    held: np.ndarray,
    weight: np.ndarray,
    supports: np.ndarray,
    offload: np.ndarray,
    n_backends: int,
    slots: np.ndarray,
    newer: bool,
) -> Assignment:
    """Assigns every row.

    held int8 [rows]: backend whose memory holds the tensor before the graph runs, -1 for none. weight bool [rows]: it
    is a weight. supports bool [rows, n_backends]: who can compute it. offload bool [rows]: a GPU may fetch its weights.
    slots int8 per layer: its backend, where norms are put that the graph builder pins. newer: the rules of August 2026.
    """
    n, n_leafs = len(graph), graph.n_leafs
    cpu = n_backends - 1
    backend, reason = np.full(n, -1, np.int8), np.zeros(n, np.int8)
    pinned = np.array([params.get("backend") == "CPU" for _, params in graph.labels])[graph.label_id]
    backend[pinned], reason[pinned] = cpu, REASON["pinned"]
    if (graph.op_id == OP["NORM"]).any():
        _norms(graph, held, weight, slots, newer, backend, reason)
    view = graph.is_view_op
    reduce = graph.op_id == OP["REDUCE"]
    fast(_first, n)(graph.srcs, graph.view_src, graph.flags, held, weight, supports, offload, reduce, backend, reason)
    fast(_spread, n)(view, supports, n_leafs, cpu, backend, reason)
    fast(_rest, n)(graph.srcs, graph.view_src, view, held, supports, n_leafs, backend, reason)
    return Assignment(backend, reason)


def _norms(
    graph: Graph, held: np.ndarray, weight: np.ndarray, slots: np.ndarray, newer: bool, backend: np.ndarray, reason: np.ndarray
) -> None:
    """Pins norms to their layer's backend; in August 2026 the product with a weight takes its norm to the weight."""
    for row in graph.rows_by_op[OP["NORM"]].tolist():
        if graph.labels[graph.label_id[row]][1].get("backend") == "layer":
            backend[row], reason[row] = slots[graph.layer[row]], REASON["pinned"]
    if not newer:
        return
    for row in graph.rows_by_op[OP["MUL"]].tolist():
        norm, factor = graph.srcs[row, :2].tolist()
        if graph.op_id[norm] == OP["NORM"] and weight[factor]:
            backend[[norm, row]], reason[[norm, row]] = held[factor], REASON["weight"]


def _first(srcs, view_src, flags, held, weight, supports, offload, reduce, backend, reason):  # type: ignore[no-untyped-def]
    """Pass 1: rows whose memory, or whose weights, say where they run."""
    n, width = srcs.shape
    cpu = supports.shape[1] - 1
    for row in range(n):
        if reduce[row]:
            for j in range(width):
                source = srcs[row, j]
                if source >= 0:
                    if backend[source] < 0:
                        backend[source] = j
                        reason[source] = 9
                    if source == view_src[row]:
                        backend[row] = backend[source]
                        reason[row] = 9
        if backend[row] >= 0:
            continue
        home = held[row]
        if home < 0 and view_src[row] >= 0:
            home = held[view_src[row]]
        if home >= 0 and supports[row, home]:
            backend[row] = home
            reason[row] = 1
        elif flags[row] & 1:
            backend[row] = cpu
            reason[row] = 2
        else:
            for j in range(width):
                source = srcs[row, j]
                if source < 0 or not weight[source]:
                    continue
                home = held[source]
                if home == cpu and offload[row]:
                    for gpu in range(cpu):
                        if supports[row, gpu]:
                            backend[row] = gpu
                            reason[row] = 4
                            break
                if backend[row] < 0 and home >= 0 and supports[row, home]:
                    backend[row] = home
                    reason[row] = 3
                break


def _spread(view, supports, n_leafs, cpu, backend, reason):  # type: ignore[no-untyped-def]
    """Pass 2: unassigned nodes join their neighbours: GPUs downwards, GPUs upwards, then any down and up."""
    n = len(backend)
    for sweep in range(4):
        carrier = -1
        for step in range(n - n_leafs):
            row = n_leafs + step if sweep % 2 == 0 else n - 1 - step
            if view[row]:
                continue
            if backend[row] >= 0:
                carrier = backend[row]
                if sweep < 2 and carrier == cpu:
                    carrier = -1
            elif carrier >= 0 and supports[row, carrier]:
                backend[row] = carrier
                reason[row] = 5


def _rest(srcs, view_src, view, held, supports, n_leafs, backend, reason):  # type: ignore[no-untyped-def]
    """Passes 3 and 4: nodes that nobody near could compute, then views and what is left of the sources."""
    n, width = srcs.shape
    n_backends = supports.shape[1]
    for row in range(n_leafs, n):
        if view[row] or backend[row] >= 0:
            continue
        best = -1
        for b in range(n_backends):
            if not supports[row, b]:
                continue
            readable = 0
            for j in range(width):
                source = srcs[row, j]
                if source < 0:
                    continue
                root = view_src[source] if view_src[source] >= 0 else source
                home = held[root]
                if home < 0:
                    home = backend[source] if backend[source] >= 0 else backend[root]
                if home == b:
                    readable += 1
            if readable > best:
                best = readable
                backend[row] = b
                reason[row] = 6
    for row in range(n_leafs, n):
        if backend[row] < 0 and view_src[row] >= 0:
            backend[row] = backend[view_src[row]]
            reason[row] = 7
        for j in range(width):
            source = srcs[row, j]
            if source >= 0 and backend[source] < 0:
                if view_src[source] >= 0:
                    backend[source] = backend[view_src[source]]
                    reason[source] = 7
                else:
                    backend[source] = backend[row]
                    reason[source] = 8
