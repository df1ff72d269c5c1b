"""What must hold in every schedule, as data: a rule and a function that names what breaks it. Used by tests."""

from collections.abc import Callable, Iterator

import numpy as np

from ..graph.ops import OP
from .schedule import Schedule


def _everywhere_one_backend(s: Schedule) -> Iterator[str]:
    for row in np.flatnonzero((s.at.backend < 0) | (s.at.backend >= len(s.backends))):
        yield s.graph.name[row]


def _computable_there(s: Schedule) -> Iterator[str]:
    g = s.graph
    rows = np.flatnonzero(~g.is_view_op & (np.arange(len(g)) >= g.n_leafs))
    for row in rows[~s.able[rows, s.at.backend[rows]]]:
        yield g.name[row]


def _splits_cover_all(s: Schedule) -> Iterator[str]:
    ends = [0, *s.cut.end.tolist()]
    for i, (start, end) in enumerate(zip(s.cut.start.tolist(), s.cut.end.tolist())):
        if start != ends[i] or end <= start:
            yield f"split {i}"
    if ends[-1] != s.graph.n_nodes:
        yield "the end"


def _split_is_one_backend(s: Schedule) -> Iterator[str]:
    g = s.graph
    split = np.repeat(np.arange(len(s.cut)), s.cut.end - s.cut.start)
    rows = np.arange(g.n_leafs, len(g))
    wrong = (s.at.backend[rows] != s.cut.backend[split]) & ~g.is_view_op[rows]
    for row in rows[wrong]:
        yield g.name[row]


def _sources_readable(s: Schedule) -> Iterator[str]:
    """A source, after copying, is on the reader's backend, or its memory is."""
    g, n = s.graph, len(s.graph)
    home = np.where(g.view_src >= 0, s.held[np.where(g.view_src >= 0, g.view_src, 0)], s.held)
    home = np.where(home >= 0, home, s.at.backend)
    where = np.concatenate([s.at.backend, s.cut.to])
    memory = np.concatenate([home, s.cut.to])
    for row in range(g.n_leafs, n):
        if g.is_view_op[row] or g.op_id[row] == OP["REDUCE"]:  # a sum reads its parts where they are
            continue
        for source in s.cut.srcs[row]:
            here = s.at.backend[row]
            if source >= 0 and where[source] != here and memory[source] != here:
                yield g.name[row]


def _order_is_topological(s: Schedule) -> Iterator[str]:
    """A copy is made in the split that reads it or before, of something that is computed before that split."""
    g, n = s.graph, len(s.graph)
    split_of = np.repeat(np.arange(len(s.cut)), s.cut.end - s.cut.start)
    made_in = np.repeat(np.arange(len(s.cut)), np.diff(s.cut.first_input))
    for copy, source in enumerate(s.cut.source.tolist()):
        row = int(g.view_src[source]) if g.view_src[source] >= 0 else source
        if row >= g.n_leafs and row - g.n_leafs >= s.cut.start[made_in[copy]]:
            yield g.name[source]
    rows, columns = np.nonzero(s.cut.srcs >= n)
    for row, column in zip(rows.tolist(), columns.tolist()):
        if made_in[s.cut.srcs[row, column] - n] > split_of[row - g.n_leafs]:
            yield g.name[row]


def _blocks_do_not_overlap(s: Schedule) -> Iterator[str]:
    a = s.arena
    live: dict[int, set[int]] = {i: set() for i in range(len(s.backends))}
    for event in a.events.tolist():
        block = event if event >= 0 else ~event
        there = live[int(a.backend[block])]
        if event < 0:
            if block not in there:
                yield f"block {block} freed twice"
            there.discard(block)
            continue
        low, high = a.offset[block], a.offset[block] + a.size[block]
        for other in there:
            if low < a.offset[other] + a.size[other] and a.offset[other] < high:
                yield f"blocks {block} and {other}"
        there.add(block)


def _arena_reaches_its_peak(s: Schedule) -> Iterator[str]:
    a = s.arena
    blocks = a.events[a.events >= 0]
    for i, name in enumerate(s.backends):
        mine = blocks[a.backend[blocks] == i]
        top = int((a.offset[mine] + a.size[mine]).max()) if len(mine) else 0
        if top != a.peak[i]:
            yield name


def _copies_add_up(s: Schedule) -> Iterator[str]:
    total = sum(i.bytes for split in s.splits for i in split.inputs)
    if total != s.weight_bytes_copied + s.other_bytes_copied:
        yield f"{total} bytes"


INVARIANTS: tuple[tuple[str, Callable[[Schedule], Iterator[str]]], ...] = (
    ("every tensor is on one backend", _everywhere_one_backend),
    ("every node is on a backend that can compute it", _computable_there),
    ("splits follow each other and cover all nodes", _splits_cover_all),
    ("all nodes of a split are on its backend", _split_is_one_backend),
    ("every source can be read where it is read", _sources_readable),
    ("splits are in topological order", _order_is_topological),
    ("blocks that live at the same time do not overlap", _blocks_do_not_overlap),
    ("an arena is as large as its highest block reaches", _arena_reaches_its_peak),
    ("bytes copied per split add up", _copies_add_up),
)


def broken(schedule: Schedule) -> list[str]:
    """One line per rule that does not hold, with the first thing that breaks it; empty for a sound schedule."""
    return [f"{rule}: {first}" for rule, test in INVARIANTS if (first := next(test(schedule), None)) is not None]
