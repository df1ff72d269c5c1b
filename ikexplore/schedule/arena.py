"""Compute buffers: a dry run of ggml's graph allocator, one arena per backend.

Two passes. ``lifetimes`` decides what is allocated, taken over in place and freed, and when; addresses play no part.
``best_fit`` then gives the blocks their offsets and tells how far each arena reached.
"""

from dataclasses import dataclass

import numpy as np

from ..errors import ModelError
from ..graph.fast import fast
from ..graph.graph import Graph
from ..graph.ops import INPLACE_OPS, OP, OUTPUT
from ..graph.types import gpu_padding, nbytes
from .assign import Assignment
from .splits import Splits

GPU_ALIGN, HOST_ALIGN = 128, 32
MAX_FREE_BLOCKS = 256


@dataclass(frozen=True, eq=False)
class Arena:
    """What the dry run found.

    ``peak`` int64 per backend: bytes of its arena. ``events`` int32: n >= 0 allocates block n, ~n frees it, in order.
    ``offset``, ``size`` int64 and ``backend`` int8 per block. Blocks are rows of the graph, then copies, then the
    further copies of pipeline parallelism. ``copied`` int64: bytes of each copy, without padding. ``block`` int32: the
    block of each row and copy: its own, or the one of the source that it took over in place.
    """

    peak: np.ndarray
    events: np.ndarray
    offset: np.ndarray
    size: np.ndarray
    backend: np.ndarray
    copied: np.ndarray
    block: np.ndarray


def arenas(
    graph: Graph, at: Assignment, cut: Splits, held: np.ndarray, n_copies: int, older: bool, n_backends: int
) -> Arena:
    """Dry run of ggml_gallocr_reserve for a graph that is cut into splits.

    held int8 [rows]: backends of tensors that have memory already. n_copies: copies of split inputs (pipeline
    parallelism); with more than one, inputs are allocated first and never freed. older: sizes as of June 2025.
    """
    n = len(graph)
    plain = nbytes(graph.type_id, graph.ne, graph.nb, older)
    rows, to, first = _further_copies(graph, cut, n_copies, n_backends - 1)
    of = np.concatenate([np.arange(n), cut.source, rows])
    backend = np.concatenate([at.backend, cut.to, to]).astype(np.int8)
    size = _padded(plain[of], graph.type_id[of], graph.ne[of, 0], backend < n_backends - 1)

    events, block = fast(_lifetimes, n)(*_uses(graph, cut, held, n_copies), first, graph.n_leafs, n)
    offset, peak = fast(_best_fit, n)(events, size, backend, n_backends, MAX_FREE_BLOCKS)
    if len(peak) == 0:
        raise ModelError(f"the compute buffers would fall into more than {MAX_FREE_BLOCKS} free blocks, ggml's limit")
    return Arena(peak, events, offset, size, backend, plain[cut.source], block[: n + len(cut.source)])


def _uses(graph: Graph, cut: Splits, held: np.ndarray, n_copies: int) -> tuple[np.ndarray, ...]:
    """What ``_lifetimes`` reads, per tensor: rows of the graph, copies, then a use of each copy's original.

    Sources int32 [tensors, width], root int32 (whose memory a view looks into, -1: none), needs bool (wants a block),
    keep bool (is never freed), inplace bool, layout int64; and the scheduler's list of tensors in order.
    """
    n, n_inputs, width = len(graph), len(cut.source), graph.srcs.shape[1]
    srcs = np.full((n + 2 * n_inputs, width), -1, np.int32)
    srcs[:n] = cut.srcs
    srcs[n + n_inputs :, 0] = cut.source
    root = np.concatenate([graph.view_src, np.full(2 * n_inputs, -1, np.int32)])
    needs = np.concatenate([(held < 0) & (graph.view_src < 0), np.ones(n_inputs, bool), np.zeros(n_inputs, bool)])
    keep = np.zeros(len(srcs), bool)
    keep[:n] = (graph.flags & OUTPUT) != 0
    if n_copies > 1:
        keep[cut.graph_inputs], keep[n : n + n_inputs] = True, True
    inplace = np.concatenate([_INPLACE[graph.op_id], np.zeros(2 * n_inputs, bool)])
    table = np.column_stack([graph.type_id, graph.ne, graph.nb])
    layout = table @ _MIX  # type, shape and strides in one number: equal for tensors that may share memory
    layout = np.concatenate([layout, layout[cut.source], layout[cut.source]])
    return srcs, root, needs, keep, inplace, layout, _steps(graph, cut)


def _steps(graph: Graph, cut: Splits) -> np.ndarray:
    """The scheduler's list: per split each input (a use of the original, then the copy), then its nodes. int32."""
    n, n_inputs = len(graph), len(cut.source)
    nodes = np.arange(graph.n_leafs, n, dtype=np.int32)
    copies = n + np.arange(n_inputs, dtype=np.int32)
    pairs = np.column_stack([copies + n_inputs, copies])
    before = np.repeat(cut.start, np.diff(cut.first_input))  # node in front of which each input is copied
    return np.insert(nodes, np.repeat(before, 2), pairs.ravel()).astype(np.int32)


_MIX = np.random.default_rng(1).integers(-(2**63), 2**63 - 1, 9, np.int64) | 1
_INPLACE = np.isin(np.arange(len(OP)), [OP[op] for op in INPLACE_OPS])


def _padded(size: np.ndarray, type_ids: np.ndarray, ne0: np.ndarray, gpu: np.ndarray) -> np.ndarray:
    """Bytes that tensors take in their arena."""
    size = size + np.where(gpu, gpu_padding(type_ids, ne0), 0)
    align = np.where(gpu, GPU_ALIGN, HOST_ALIGN)
    return -(-size // align) * align


def _further_copies(graph: Graph, cut: Splits, n_copies: int, cpu: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Row and backend of each block beyond the first copy, and the order in which ggml allocates all of them."""
    none = np.empty(0, np.int32)
    if n_copies <= 1:
        return none, none, none
    n, beyond = len(graph) + len(cut.source), n_copies - 1
    rows = np.concatenate([np.repeat(cut.graph_inputs, beyond), np.repeat(cut.source, beyond)])
    to = np.concatenate([np.full(len(cut.graph_inputs) * beyond, cpu), np.repeat(cut.to, beyond)])
    firsts = np.concatenate([cut.graph_inputs, len(graph) + np.arange(len(cut.source))])
    further = n + np.arange(len(rows)).reshape(len(firsts), beyond)
    return rows, to, np.column_stack([firsts, further]).ravel().astype(np.int32)


def _lifetimes(srcs, root, needs, keep, inplace, layout, steps, first, n_leafs, n):  # type: ignore[no-untyped-def]
    """Events of the dry run, in order, and the block of each tensor; see ``_uses`` for the columns.

    ``first``: blocks allocated before all else.
    """
    total, width = srcs.shape
    children = np.zeros(total, np.int32)  # uses that are still to come
    views = np.zeros(total, np.int32)  # views whose last use is still to come
    owned = np.zeros(total, np.bool_)  # has a block in an arena
    block = np.arange(total).astype(np.int32)
    events = np.empty(2 * (total + len(first)), np.int32)
    count = 0
    for i in range(len(first)):
        events[count] = first[i]
        count += 1
        if first[i] < total:
            owned[first[i]] = True
    for row in range(n_leafs):
        if needs[row] and not owned[row]:
            owned[row] = True
            events[count] = row
            count += 1
    for row in range(n_leafs, total):
        if root[row] >= 0:
            views[root[row]] += 1
        for j in range(width):
            if srcs[row, j] >= 0:
                children[srcs[row, j]] += 1

    for i in range(len(steps)):
        row = steps[i]
        if needs[row] and not owned[row]:
            owned[row] = True
            heir = -1
            if inplace[row]:
                for j in range(width):
                    p = srcs[row, j]
                    alone = p >= 0 and owned[p] and not keep[p] and children[p] == 1 and views[p] == 0
                    if alone and layout[p] == layout[row]:
                        heir = p
                        break
            if heir >= 0:
                block[row] = block[heir]
                owned[heir] = False
            else:
                events[count] = row
                count += 1
        for j in range(width):
            p = srcs[row, j]
            if p < 0:
                continue
            children[p] -= 1
            if children[p] != 0 or views[p] != 0:
                continue
            if root[p] >= 0:
                p = root[p]
                views[p] -= 1
            if children[p] == 0 and views[p] == 0 and owned[p] and not keep[p]:
                owned[p] = False
                events[count] = ~block[p]
                count += 1
    return events[:count], block


def _best_fit(events, size, backend, n_backends, max_free):  # type: ignore[no-untyped-def]
    """Offsets of blocks and the highest end per backend (ggml_dyn_tallocr); no peaks when blocks run out."""
    offset = np.zeros(len(size), np.int64)
    peak = np.zeros(n_backends, np.int64)
    at = np.zeros((n_backends, max_free + 1), np.int64)
    room = np.zeros((n_backends, max_free + 1), np.int64)
    n_free = np.ones(n_backends, np.int64)
    room[:, 0] = 2**62
    for event in events:
        b = event if event >= 0 else ~event
        where = backend[b]
        n = n_free[where]
        a = at[where]
        r = room[where]
        if event >= 0:
            best = -1
            for i in range(n - 1):
                if r[i] >= size[b] and (best < 0 or r[i] <= r[best]):
                    best = i
            if best < 0:
                best = n - 1
            offset[b] = a[best]
            a[best] += size[b]
            r[best] -= size[b]
            if r[best] == 0:
                for i in range(best, n - 1):
                    a[i] = a[i + 1]
                    r[i] = r[i + 1]
                n_free[where] = n - 1
            peak[where] = max(peak[where], offset[b] + size[b])
            continue
        i = 0
        while i < n and a[i] < offset[b]:
            i += 1
        # block i is the first one behind; i - 1 the last one before
        before = i > 0 and a[i - 1] + r[i - 1] == offset[b]
        behind = i < n and offset[b] + size[b] == a[i]
        if before and behind:
            r[i - 1] += size[b] + r[i]
            for k in range(i, n - 1):
                a[k] = a[k + 1]
                r[k] = r[k + 1]
            n_free[where] = n - 1
        elif before:
            r[i - 1] += size[b]
        elif behind:
            a[i] = offset[b]
            r[i] += size[b]
        else:
            if n >= max_free:
                return offset, peak[:0]
            for k in range(n, i, -1):
                a[k] = a[k - 1]
                r[k] = r[k - 1]
            a[i] = offset[b]
            r[i] = size[b]
            n_free[where] = n + 1
    return offset, peak
