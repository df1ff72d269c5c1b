"""A compute graph as a struct of arrays: leafs first, then nodes in execution order.

One row is one tensor. The integer columns are what passes work on; the columns of words (``op``, ``name``, ``type``,
``params``) are made when first asked for. ``graph[i]`` is a view of one row.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from .ops import OPS, VIEW_OPS
from .types import type_name

#: a layer's number in the names of what one GPU of several computes: {il+1000}, {il*1000+1}
_NUMBER = re.compile(r"\{il(?:\*(\d+))?\+(\d+)\}")
_IS_VIEW_OP = np.array([op in VIEW_OPS for op in OPS])


@dataclass(eq=False)
class Graph:
    """Tensors of one evaluation. All columns have one row per tensor, ``n_leafs + n_nodes`` in all.

    ``op_id`` int16 (number in ``OPS``), ``type_id`` int32 (ggml type id), ``ne`` and ``nb`` int64 [rows, 4] (elements
    and byte strides per dimension, fastest first), ``flags`` int8 (1 input, 2 output), ``view_src`` int32 (row of the
    tensor whose memory this one looks into, never a view itself; -1: own memory), ``view_offs`` int64 (bytes from its
    beginning), ``srcs`` int32 [rows, width] (rows of the sources in ggml's order, -1: none), ``layer`` int16 (-1:
    none), ``tensor`` int32 (number of the model's tensor, for weights; -1 otherwise).

    ``view_offs`` of cache writes depend on the cell that is written first; their ``params`` hold the bytes per cell
    (``kv_head_stride``), so that ``moved(kv_head)`` can be had without building again.
    """

    n_leafs: int
    n_nodes: int
    op_id: np.ndarray
    type_id: np.ndarray
    ne: np.ndarray
    nb: np.ndarray
    flags: np.ndarray
    view_src: np.ndarray
    view_offs: np.ndarray
    srcs: np.ndarray
    layer: np.ndarray
    tensor: np.ndarray
    label_id: np.ndarray  #: number of the row's (name pattern, params) in ``labels``
    labels: list[tuple[str, dict[str, Any]]]
    n_tokens: int = 0
    n_kv: int = 0
    n_outputs: int = 0
    kv_head: int = 0

    def __len__(self) -> int:
        return self.n_leafs + self.n_nodes

    def __getitem__(self, row: int) -> "Node":
        return Node(self, range(len(self))[row])

    def __iter__(self) -> Iterator["Node"]:
        return (Node(self, row) for row in range(len(self)))

    @property
    def leafs(self) -> list["Node"]:
        """Views of the leafs (weights and inputs), in order."""
        return [Node(self, row) for row in range(self.n_leafs)]

    @property
    def nodes(self) -> list["Node"]:
        """Views of the nodes, in the order in which they are evaluated."""
        return [Node(self, row) for row in range(self.n_leafs, len(self))]

    @cached_property
    def op(self) -> list[str]:
        """Name of the operation per row; ``NONE`` for leafs."""
        return [OPS[i] for i in self.op_id.tolist()]

    @cached_property
    def type(self) -> list[str]:
        """Lower-case type name per row, as in ``formats``."""
        return [type_name(i) for i in self.type_id.tolist()]

    @cached_property
    def params(self) -> list[dict[str, Any]]:
        """What the operation of each row needs besides its sources. Rows of like layers share one dict."""
        return [self.labels[i][1] for i in self.label_id.tolist()]

    @cached_property
    def name(self) -> list[str]:
        """The reference's name per row. Not unique: the reference names some results like their sources."""
        patterns = [pattern for pattern, _ in self.labels]
        names: list[str] = []
        rows = zip(self.label_id.tolist(), self.layer.tolist(), self.srcs[:, 0].tolist())
        for row, (label, layer, source) in enumerate(rows):
            pattern = patterns[label]
            if "{" in pattern:
                pattern = pattern.replace("{il}", str(layer)).replace("{node}", str(row - self.n_leafs))
                if "{" in pattern:
                    for found in _NUMBER.finditer(pattern):
                        pattern = pattern.replace(found[0], str(layer * int(found[1] or 1) + int(found[2])))
                    pattern = pattern.replace("{row}", str(row)).replace("{src0}", names[source])
            names.append(pattern)
        return names

    @cached_property
    def is_view_op(self) -> np.ndarray:
        """bool per row: the op only looks at memory."""
        return _IS_VIEW_OP[self.op_id]

    @cached_property
    def rows_by_op(self) -> dict[int, np.ndarray]:
        """Rows of each op that the graph has, in order, by its number."""
        order = np.argsort(self.op_id, kind="stable")
        kinds, first = np.unique(self.op_id[order], return_index=True)
        return dict(zip(kinds.tolist(), np.split(order, first[1:])))

    @cached_property
    def _kv_stride(self) -> np.ndarray:
        strides = np.array([params.get("kv_head_stride", 0) for _, params in self.labels], np.int64)
        return strides[self.label_id]

    def moved(self, kv_head: int) -> np.ndarray:
        """``view_offs`` (int64 per row) if the cache were written from cell ``kv_head`` on."""
        return self.view_offs + self._kv_stride * (kv_head - self.kv_head)


@dataclass(frozen=True)
class Node:
    """One row of a graph, in words."""

    graph: Graph
    index: int

    @property
    def op(self) -> str:
        """ggml's name of the operation, such as MUL_MAT; NONE for a leaf."""
        return OPS[self.graph.op_id[self.index]]

    @property
    def name(self) -> str:
        """The reference's name; not unique."""
        return self.graph.name[self.index]

    @property
    def type(self) -> str:
        """Lower-case name of the type of what it holds."""
        return type_name(int(self.graph.type_id[self.index]))

    @property
    def ne(self) -> tuple[int, ...]:
        """Elements per dimension, fastest first; four numbers."""
        return tuple(self.graph.ne[self.index].tolist())

    @property
    def nb(self) -> tuple[int, ...]:
        """Byte strides per dimension, fastest first; four numbers."""
        return tuple(self.graph.nb[self.index].tolist())

    @property
    def flags(self) -> int:
        """1: an input, 2: an output, 0: neither."""
        return int(self.graph.flags[self.index])

    @property
    def view_src(self) -> int:
        """Row of the tensor whose memory it looks into; -1 for memory of its own."""
        return int(self.graph.view_src[self.index])

    @property
    def view_offs(self) -> int:
        """Bytes from the beginning of that memory."""
        return int(self.graph.view_offs[self.index])

    @property
    def src(self) -> list[int]:
        """Rows of the sources in ggml's order; -1 marks one that is left out before another."""
        rows = self.graph.srcs[self.index].tolist()
        while rows and rows[-1] < 0:
            rows.pop()
        return rows

    @property
    def params(self) -> dict[str, Any]:
        """What the operation needs besides its sources (eps, rope numbers ...); shared by like rows, so not to be changed."""
        return self.graph.labels[self.graph.label_id[self.index]][1]

    @property
    def layer(self) -> int:
        """Number of the layer that it belongs to; -1 for none."""
        return int(self.graph.layer[self.index])

    @property
    def tensor(self) -> int:
        """Number of the model's tensor that it is, for weights; -1 otherwise."""
        return int(self.graph.tensor[self.index])

    @property
    def is_leaf(self) -> bool:
        """Whether it is a leaf: nothing computes it."""
        return self.index < self.graph.n_leafs
