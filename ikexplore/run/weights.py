"""Weights ready for kernels: the file's own bytes where they lie, repacked copies of them, or made from others."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ikexplore_kernels.formats import Format, get, names, own16

from ..errors import ModelError
from ..graph.types import type_name
from ..models import Model
from ..models.columns import Columns
from .made import made_bytes, made_format

Progress = Callable[[dict], None]


@dataclass(frozen=True)
class Weight:
    """One tensor as kernels see it: ``address`` of its first byte; rows of ``row_bytes``; ``matrices`` of ``rows`` rows,
    ``stride`` bytes from one to the next (0: they follow each other)."""

    name: str
    format: Format
    address: int
    columns: int
    rows: int
    matrices: int
    row_bytes: int
    data: np.ndarray
    stride: int = 0

    @property
    def matrix_bytes(self) -> int:
        return self.stride or self.rows * self.row_bytes


def load(model: Model, tensors: Columns, progress: Progress | None = None, own: bool = False) -> dict[str, Weight]:
    """All tensors as they are at run time (``Placement.tensors``): those with another type than in the file are copied
    into it, those that the file lacks are made, the others stay where they are.

    ``own``: tensors that would stay are copied into the engine's own layout where there is one (`formats.own16`), but the
    table of tokens, whose rows are read one by one, and factors that are used a head at a time. progress(event) is told
    about each tensor that takes time. Raises ModelError for a type without kernels.
    """
    weights: dict[str, Weight] = {}
    kinds = [type_name(int(i)) for i in tensors.type_id]
    if own:
        kinds = _own_layouts(model, tensors, kinds)
    work = [n for n, kind in zip(tensors.names, kinds) if n not in model.tensors or model.tensors[n].type != kind]
    done = 0
    for row, (name, kind) in enumerate(zip(tensors.names, kinds)):
        if name in weights:  # a copy for another layer
            continue
        old = model.tensors.get(name)
        if progress and (old is None or old.type != kind):
            text = f"{name}: {old.type} to {kind}" if old else f"{name}: made as {kind}"
            progress({"phase": "repack", "done": done, "total": len(work), "text": text})
            done += 1
        weights[name] = _weight(model, name, kind, tensors.ne[row].tolist())
    return weights


def _own_layouts(model: Model, tensors: Columns, kinds: list[str]) -> list[str]:
    """The types, with the own layout's name for tensors in the file's type that has one which their rows fit."""
    found = list(kinds)
    for row, (name, kind) in enumerate(zip(tensors.names, kinds)):
        tensor = model.tensors.get(name)
        if tensor is None or tensor.type != kind or name == "token_embd.weight" or name.endswith("_b.weight"):
            continue
        other = own16(get(kind)) if kind in names() else None
        if other is not None and tensors.ne[row, 1] % other.interleave == 0:
            found[row] = other.name
    return found


def _weight(model: Model, name: str, kind: str, ne: list[int]) -> Weight:
    tensor = model.tensors.get(name)
    try:
        target = get(kind)
        source = get(tensor.type) if tensor else made_format(model, name, target)
    except ValueError:
        raise ModelError(f"{name} has type {kind}, which this engine has no kernels for yet") from None
    columns, rows, matrices = ne[0], ne[1], ne[2] * ne[3]
    data = model.data(name) if tensor else made_bytes(model, name, source)
    row_bytes = source.row_bytes(columns)
    odd = tensor is None and name.endswith(".bias")  # merged: the engine's shape has more rows than there are experts
    if data.nbytes != rows * matrices * row_bytes and not odd:  # kernels check nothing
        raise ModelError(f"{name} has {data.nbytes} bytes where {source.name} takes {rows * matrices * row_bytes}: the type "
                         "was registered anew since; quantize the model again")
    if target is not source:
        data = source.repack(data.reshape(-1, row_bytes), columns, into=target).reshape(-1)
    elif rows < 16 and not source.dense and rows * matrices > 1:
        if matrices > 1:
            raise ModelError(f"{name} has matrices of {rows} rows; quantized ones need at least 16 here")
        data = np.concatenate([data, np.zeros((16 - rows) * row_bytes, np.uint8)])
    return Weight(name, target, data.ctypes.data, columns, rows, matrices, target.row_bytes(columns), data)
