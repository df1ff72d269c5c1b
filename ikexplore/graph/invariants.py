"""What must hold in every graph, as data: a name and a function that gives the rows that break it."""

from collections.abc import Callable

import numpy as np

from .graph import Graph
from .ops import OP
from .types import nbytes


def _none_is_leaf(g: Graph) -> np.ndarray:
    leaf = np.arange(len(g)) < g.n_leafs
    return (g.op_id == OP["NONE"]) != leaf


def _sources_come_first(g: Graph) -> np.ndarray:
    own = np.arange(len(g))[:, None]
    itself = (g.op_id == OP["CPY"])[:, None] & (g.srcs == own)  # a cast names itself as the place to copy to
    return ((g.srcs >= own) & ~itself).any(axis=1)


def _leafs_have_no_sources(g: Graph) -> np.ndarray:
    return (g.srcs >= 0).any(axis=1) & (np.arange(len(g)) < g.n_leafs)


def _views_look_into_roots(g: Graph) -> np.ndarray:
    views = g.view_src >= 0
    return views & (g.view_src[np.where(views, g.view_src, 0)] >= 0)


def _view_ops_are_views(g: Graph) -> np.ndarray:
    return np.logical_and(g.is_view_op, g.view_src < 0)


def _views_stay_inside(g: Graph) -> np.ndarray:
    views = g.view_src >= 0
    size = nbytes(g.type_id, g.ne, g.nb)
    beyond = g.view_offs + size > size[np.where(views, g.view_src, 0)]
    return np.logical_and(views, beyond | (g.view_offs < 0))


def _shapes_are_positive(g: Graph) -> np.ndarray:
    return np.logical_or((g.ne < 1).any(axis=1), (g.nb < 1).any(axis=1))


INVARIANTS: tuple[tuple[str, Callable[[Graph], np.ndarray]], ...] = (
    ("a row without an op is a leaf, all others are nodes", _none_is_leaf),
    ("sources come before the row that reads them", _sources_come_first),
    ("leafs have no sources", _leafs_have_no_sources),
    ("a view looks into memory that is no view", _views_look_into_roots),
    ("an op that only looks at memory is a view", _view_ops_are_views),
    ("a view ends inside the memory that it looks into", _views_stay_inside),
    ("dimensions and strides are at least 1", _shapes_are_positive),
)


def broken(graph: Graph) -> list[str]:
    """One line per invariant that some rows break, naming the first such row; empty for a sound graph."""
    found = []
    for rule, test in INVARIANTS:
        rows = np.flatnonzero(test(graph))
        if len(rows):
            found.append(f"{rule}: not so in {len(rows)} rows, first {graph[int(rows[0])].name!r} (row {rows[0]})")
    return found
