"""Puts templates together into a graph: repeats them for their layers, then orders the rows as the reference does."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ._order import depth_first
from .fast import fast
from .graph import Graph
from .template import GLOBAL, NONE, PREVIOUS, Template


@dataclass
class _Columns:
    """The lists of a template as arrays; ``weights`` are the rows that are tensors of the model."""

    op_id: np.ndarray
    type_id: np.ndarray
    ne: np.ndarray
    nb: np.ndarray
    flags: np.ndarray
    src: np.ndarray
    view_src: np.ndarray
    view_offs: np.ndarray
    roots: np.ndarray
    weights: list[tuple[int, str]] = field(default_factory=list)


def _columns(t: Template, width: int) -> _Columns:
    src = np.full((len(t), width), NONE, np.int32)
    for row, sources in enumerate(t.src):
        src[row, : len(sources)] = sources
    refs = t.refs
    return _Columns(
        op_id=np.array(t.op, np.int16),
        type_id=np.array([r.type for r in refs], np.int32),
        ne=np.array([r.ne for r in refs], np.int64),
        nb=np.array([r.nb for r in refs], np.int64),
        flags=np.array(t.flags, np.int8),
        src=src,
        view_src=np.array([r.root for r in refs], np.int32),
        view_offs=np.array([r.offs for r in refs], np.int64),
        roots=np.array(t.roots, np.int32),
        weights=[(row, role) for row, role in enumerate(t.role) if role is not None],
    )


def _absolute(codes: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """References of a template, for each of its places: int32 [places, *codes.shape]."""
    base = starts.reshape(-1, *(1,) * codes.ndim).astype(np.int32)
    before = np.where(codes == NONE, NONE, base - 1 + (codes - PREVIOUS))
    inside = np.where(codes >= 0, codes + base, before)
    return np.where(codes <= GLOBAL, GLOBAL - codes, inside)


@dataclass(frozen=True)
class Weights:
    """What assembly asks the model: for each template row that is a weight, the tensors of its layers.

    ``index[role]`` is an int32 array with an entry per layer + 1 (-1: no such tensor); tensors outside the layers
    stand in the last entry. ``type_id``, ``ne``, ``nb`` have a row per tensor, as the tensors are at run time.
    """

    index: dict[str, np.ndarray]
    type_id: np.ndarray
    ne: np.ndarray
    nb: np.ndarray


def assemble(
    templates: Sequence[Template],
    sequence: Sequence[int],
    layers: Sequence[int],
    weights: Weights,
    **about: Any,
) -> Graph:
    """The graph in which template ``sequence[i]`` stands for layer ``layers[i]`` (-1: none), in this order.

    The first entry is the template of the inputs; the references of all others reach it by ``GLOBAL``. The last row
    of each entry is what the next one calls ``PREVIOUS``. ``about`` fills the graph's own fields (``n_tokens`` ...).
    """
    width = max(4, *(len(s) for t in templates for s in t.src))
    order, layer_of = np.asarray(sequence), np.asarray(layers, np.int16)
    lengths = np.array([len(t) for t in templates])[order]
    ends = np.cumsum(lengths)
    starts, total = ends - lengths, int(ends[-1])

    op_id, type_id = np.empty(total, np.int16), np.empty(total, np.int32)
    ne, nb = np.empty((total, 4), np.int64), np.empty((total, 4), np.int64)
    flags, label_id = np.empty(total, np.int8), np.empty(total, np.int32)
    srcs, view_src = np.empty((total, width), np.int32), np.empty(total, np.int32)
    view_offs, layer = np.empty(total, np.int64), np.empty(total, np.int16)
    tensor = np.full(total, NONE, np.int32)
    roots: list[Any] = [None] * len(order)
    labels: list[tuple[str, dict[str, Any]]] = []

    for number, template in enumerate(templates):
        places = np.flatnonzero(order == number)
        cols, at = _columns(template, width), starts[places]
        rows = (at[:, None] + np.arange(len(template))).ravel()
        n = len(places)
        op_id[rows], type_id[rows] = np.tile(cols.op_id, n), np.tile(cols.type_id, n)
        ne[rows], nb[rows] = np.tile(cols.ne, (n, 1)), np.tile(cols.nb, (n, 1))
        flags[rows], view_offs[rows] = np.tile(cols.flags, n), np.tile(cols.view_offs, n)
        srcs[rows] = _absolute(cols.src, at).reshape(-1, width)
        view_src[rows] = _absolute(cols.view_src, at).ravel()
        layer[rows] = np.repeat(layer_of[places], len(template))
        label_id[rows] = np.tile(np.arange(len(template), dtype=np.int32) + len(labels), n)
        labels += template.label
        for row, role in cols.weights:
            tensor[at + row] = weights.index[role][layer_of[places]]
        for place, expanded in zip(places.tolist(), _absolute(cols.roots, at)):
            roots[place] = expanded

    held = np.flatnonzero(tensor >= 0)
    of = tensor[held]
    type_id[held], ne[held], nb[held] = weights.type_id[of], weights.ne[of], weights.nb[of]

    late = [
        (start + row, column, start + source)
        for number, template in enumerate(templates)
        for row, column, source in template.late
        for start in starts[order == number].tolist()
    ]
    leafs, nodes = fast(depth_first, total)(srcs, op_id, np.concatenate(roots))
    for row, column, source in late:  # sources that were found after the order was fixed
        srcs[row, column] = source
    kept = np.concatenate([leafs, nodes])
    place = np.full(total + 1, NONE, np.int32)  # the last entry is what -1 reads: -1 again
    place[kept] = np.arange(len(kept), dtype=np.int32)
    return Graph(
        n_leafs=len(leafs),
        n_nodes=len(nodes),
        op_id=op_id[kept],
        type_id=type_id[kept],
        ne=ne[kept],
        nb=nb[kept],
        flags=flags[kept],
        view_src=place[view_src[kept]],
        view_offs=view_offs[kept],
        srcs=place[srcs[kept]],
        layer=layer[kept],
        tensor=tensor[kept],
        label_id=label_id[kept],
        labels=labels,
        **about,
    )
