"""The tensors of a model as columns of numbers, made once per model; what placement and graph builders work on."""

import weakref
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from ..graph.assemble import Weights
from ..graph.types import BLOCK, BLOCK_BYTES, ROW_META, type_id
from .model import Model
from .roles import role_of


@dataclass(frozen=True, eq=False)
class Columns:
    """One row per tensor, in file order; placement may add rows for tensors that are made while loading.

    ``type_id`` int32, ``ne`` and ``nb`` int64 [n, 4], ``nbytes`` int64, ``layer`` int32 (-1: none), ``file`` int32
    (-1: none), ``offset`` int64. ``index[pattern]`` with ``pattern`` like ``blk.{il}.attn_q.weight`` is int32
    [n_layer + 1]: the row per layer (last entry: tensors outside the layers; -1: no such tensor).
    """

    names: tuple[str, ...]
    type_id: np.ndarray
    ne: np.ndarray
    nb: np.ndarray
    nbytes: np.ndarray
    layer: np.ndarray
    file: np.ndarray
    offset: np.ndarray
    index: dict[str, np.ndarray]
    n_layer: int
    row: dict[str, int]

    def __len__(self) -> int:
        return len(self.names)

    @cached_property
    def signature(self) -> tuple:
        """Equal for columns of one model whose graphs are equal: names, types and shapes."""
        return self.names, self.type_id.tobytes(), self.ne.tobytes()

    def rows(self, pattern: str) -> np.ndarray:
        """Rows of ``pattern`` per layer, int32 [n_layer + 1], -1 where there is none."""
        found = self.index.get(pattern)
        return np.full(self.n_layer + 1, -1, np.int32) if found is None else found

    def shape(self, pattern: str, layer: int = -1) -> tuple[int, ...] | None:
        """Elements per dimension (4) of the tensor of a layer; None where there is none."""
        row = int(self.rows(pattern)[layer])
        return None if row < 0 else tuple(self.ne[row].tolist())

    def weights(self) -> Weights:
        """What graph assembly asks for."""
        return Weights(self.index, self.type_id, self.ne, self.nb)

    def with_types(self, type_ids: np.ndarray) -> "Columns":
        """The same tensors with other types of the same size (run-time repack)."""
        return replace(self, type_id=type_ids)

    def with_added(self, added: Sequence["Added"]) -> "Columns":
        """More rows, for tensors that loading makes: copies of a tensor, or several merged into one."""
        like = [a.like for a in added]
        kinds, ne = self.type_id[like], self.ne[like].copy()
        for i, a in enumerate(added):
            if a.type is not None:
                kinds[i] = a.type
            if a.shape is not None:
                ne[i] = (*a.shape, *(1,) * (4 - len(a.shape)))
        nb, index = strides(kinds, ne), dict(self.index)
        for pattern in {a.pattern for a in added}:
            index[pattern] = self.rows(pattern).copy()
        for i, a in enumerate(added):
            index[a.pattern][a.layer] = len(self) + i
        from_file = np.array([a.shape is None for a in added])
        return replace(
            self,
            names=(*self.names, *(a.name for a in added)),
            type_id=np.concatenate([self.type_id, kinds]),
            ne=np.concatenate([self.ne, ne]),
            nb=np.concatenate([self.nb, nb]),
            nbytes=np.concatenate([self.nbytes, nb[:, 3] * ne[:, 3]]),
            layer=np.concatenate([self.layer, np.array([a.layer for a in added], np.int32)]),
            file=np.concatenate([self.file, np.where(from_file, self.file[like], -1)]),
            offset=np.concatenate([self.offset, np.where(from_file, self.offset[like], 0)]),
            index=index,
        )


@dataclass(frozen=True)
class Added:
    """A tensor that is not in the file: ``like`` is the row whose type (and shape, where none is given) it has."""

    name: str
    pattern: str  #: under which builders find it
    layer: int  #: -1: outside the layers
    like: int
    shape: tuple[int, ...] | None = None  #: None: a copy of ``like``
    type: int | None = None  #: ggml type id, where it is another


def strides(type_ids: np.ndarray, ne: np.ndarray) -> np.ndarray:
    """Byte strides of tensors without gaps: int64 [n, 4]."""
    nb = np.empty((len(ne), 4), np.int64)
    nb[:, 0] = BLOCK_BYTES[type_ids]
    nb[:, 1] = ROW_META[type_ids] + ne[:, 0] * BLOCK_BYTES[type_ids] // BLOCK[type_ids]
    nb[:, 2] = nb[:, 1] * ne[:, 1]
    nb[:, 3] = nb[:, 2] * ne[:, 2]
    return nb


def _note(index: dict[str, np.ndarray], name: str, row: int, n_layer: int) -> None:
    """Adds a tensor to the index: under its pattern for its layer, or for every layer if it has none."""
    layer = role_of(name).layer
    if layer is None:
        index[name] = np.full(n_layer + 1, row, np.int32)
    elif layer < n_layer:
        pattern = "blk.{il}" + name[len(f"blk.{layer}") :]
        rows = index.get(pattern)
        if rows is None:
            rows = index[pattern] = np.full(n_layer + 1, -1, np.int32)
        rows[layer] = row


def _columns(model: Model) -> Columns:
    tensors, n_layer = list(model.tensors.values()), model.hparams.n_layer
    ids = np.array([type_id(t.type) for t in tensors], np.int32)
    ne = np.ones((len(tensors), 4), np.int64)
    for i, t in enumerate(tensors):
        ne[i, : len(t.shape)] = t.shape
    index: dict[str, np.ndarray] = {}
    for i, t in enumerate(tensors):
        _note(index, t.name, i, n_layer)
    layers = [role_of(t.name).layer for t in tensors]
    return Columns(
        names=tuple(t.name for t in tensors),
        type_id=ids,
        ne=ne,
        nb=strides(ids, ne),
        nbytes=np.array([t.nbytes for t in tensors], np.int64),
        layer=np.array([-1 if layer is None or layer >= n_layer else layer for layer in layers], np.int32),
        file=np.array([-1 if t.file is None else t.file for t in tensors], np.int32),
        offset=np.array([t.offset for t in tensors], np.int64),
        index=index,
        n_layer=n_layer,
        row={t.name: i for i, t in enumerate(tensors)},
    )


_CACHE: "weakref.WeakKeyDictionary[Model, Columns]" = weakref.WeakKeyDictionary()


def columns(model: Model) -> Columns:
    """The columns of a model, made when first asked for."""
    found = _CACHE.get(model)
    if found is None:
        found = _CACHE[model] = _columns(model)
    return found
