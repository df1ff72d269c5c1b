"""Weights ready for kernels: the file's own bytes where they lie, or repacked copies of them."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ikexplore_kernels.formats import Format, get

from ..errors import ModelError
from ..models import Model
from ..models.model import Tensor

Progress = Callable[[dict], None]


@dataclass(frozen=True)
class Weight:
    """One tensor as kernels see it: ``address`` of its first byte; rows of ``row_bytes``; ``matrices`` of ``rows`` rows."""

    name: str
    format: Format
    address: int
    columns: int
    rows: int
    matrices: int
    row_bytes: int
    data: np.ndarray

    @property
    def matrix_bytes(self) -> int:
        return self.rows * self.row_bytes


def repack_target(tensor: Tensor, bf16: bool) -> Format | None:
    """The interleaved format that -rtr gives a host tensor, None where it stays: rows must divide, embeddings are only
    looked up, and f16 and bf16 change only on CPUs with AVX512-BF16."""
    if len(tensor.shape) < 2 or tensor.name == "token_embd.weight":
        return None
    target = get(tensor.type).repacked
    if target is None or tensor.shape[1] % target.interleave or (target.dense and not bf16):
        return None
    return target


def load(model: Model, repacked: dict[str, Format], progress: Progress | None = None) -> dict[str, Weight]:
    """All tensors of a model; those named in ``repacked`` are copied into that format, the others stay where they are.

    progress(event) is told about each repacked tensor. Raises ModelError for a type without kernels.
    """
    weights, done = {}, 0
    for tensor in model.tensors.values():
        target = repacked.get(tensor.name)
        if target is not None and progress:
            text = f"{tensor.name}: {tensor.type} to {target.name}"
            progress({"phase": "repack", "done": done, "total": len(repacked), "text": text})
            done += 1
        weights[tensor.name] = _weight(tensor, model.data(tensor.name), target)
    return weights


def _weight(tensor: Tensor, data: np.ndarray, target: Format | None) -> Weight:
    try:
        source = get(tensor.type)
    except ValueError:
        raise ModelError(f"{tensor.name} has type {tensor.type}, which this engine has no kernels for yet") from None
    columns, rows = tensor.shape[0], tensor.shape[1] if len(tensor.shape) > 1 else 1
    matrices = int(np.prod(tensor.shape[2:], dtype=np.int64))
    row_bytes = source.row_bytes(columns)
    if target is not None:
        data = source.repack(data.reshape(-1, row_bytes), columns).reshape(-1)
    elif rows < 16 and not source.dense and len(tensor.shape) > 1:
        if matrices > 1:
            raise ModelError(f"{tensor.name} has matrices of {rows} rows; quantized ones need at least 16 here")
        data = np.concatenate([data, np.zeros((16 - rows) * row_bytes, np.uint8)])
    chosen = target or source
    return Weight(tensor.name, chosen, data.ctypes.data, columns, rows, matrices, chosen.row_bytes(columns), data)
