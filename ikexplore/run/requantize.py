"""A model's matrices in another quant type, in memory, to feel what a type costs and gives."""

from collections.abc import Callable

import numpy as np

from ikexplore_kernels.formats import get, names

from ..errors import ModelError, QuantError
from ..models import Model


def requantized(model: Model, kind: str, on_progress: Callable[[dict], None] | None = None) -> Model:
    """A new Model whose matrices have type ``kind``: layers' attention and feed-forward matrices; embeddings, output,
    norms and the router of ``model`` keep theirs. Decoded and encoded once more, so quality is that of the file at best.

    ``on_progress`` hears ``{"phase": "quantize", "done", "total", "text"}``, in matrices.
    Raises QuantError for an unknown type, ModelError where a matrix does not fit the type.

    >>> import ikexplore as ikx
    >>> ikx.requantized(ikx.demo.model(), "q4_0").tensors["blk.0.attn_q.weight"].type
    'q4_0'
    """
    try:
        target = get(kind)
    except ValueError as error:
        raise QuantError(str(error)) from None
    wanted = [t for t in model.tensors.values() if _is_matrix(t.name, t.shape)]
    new = {}
    for i, t in enumerate(wanted):
        if on_progress:
            on_progress({"phase": "quantize", "done": i, "total": len(wanted), "text": f"{t.name}: {t.type} to {target.name}"})
        if t.type != target.name:
            new[t.name] = (target.name, _convert(model, t, target))
    return model.replaced(new)


def _is_matrix(name: str, shape: tuple[int, ...]) -> bool:
    return name.startswith("blk.") and name.endswith(".weight") and len(shape) > 1 and "ffn_gate_inp" not in name


def _convert(model: Model, tensor, target) -> np.ndarray:
    columns, rows = tensor.shape[0], tensor.shape[1]
    if columns % target.cols_multiple or rows % target.interleave:
        raise ModelError(f"{tensor.name} is {columns} x {rows}: {target.name} needs a multiple of {target.cols_multiple} "
                         f"columns and {target.interleave} rows; choose one of {', '.join(_fitting(columns, rows))}")
    source = get(tensor.type)
    raw = model.data(tensor.name).reshape(-1, source.row_bytes(columns))
    return target.encode(source.decode(raw, columns))


def _fitting(columns: int, rows: int) -> list[str]:
    return [n for n in names() if columns % get(n).cols_multiple == 0 and rows % get(n).interleave == 0]
