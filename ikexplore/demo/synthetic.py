"""``synthetic``: a model of true shapes and types with random weights, to time kernels without the real file."""

import os
import zlib
from collections.abc import Callable
from functools import cache, partial
from typing import Any

import numpy as np

from ..errors import GGUFError, ModelError
from ..gguf import Metadata, row_bytes, tensor_bytes, type_info
from ..models.model import ALIGNMENT, Model, Tensor
from ..models.model import open as open_model

ROWS = 64  # encoded per type and width, and then dealt out; a multiple of every interleave
_DENSE = ("f32", "f16", "bf16")


def synthetic(
    shape_of: Model | str | os.PathLike[str], layers: int = 2, seed: int = 0, type: str | None = None
) -> Model:
    """A Model with the first ``layers`` layers of another one and random weights, held in memory.

    shape_of: a Model, or the path of a GGUF or JSON header; its weights are not needed. seed: equal seeds give equal
        bytes. type: for all matrices that are not float32, in place of their own types.
    A tensor is made when it is first asked for, so that planning costs nothing. Matrices have normal values of standard
    deviation 1 / sqrt(columns), dealt out from few encoded rows; norms are about 1. No vocabulary, only its size.
    Raises ModelError for a number of layers that the model does not have, or a type that cannot hold its rows.
    """
    source = shape_of if isinstance(shape_of, Model) else open_model(shape_of)
    hp = source.hparams
    if not isinstance(layers, int) or not 1 <= layers <= hp.n_layer:
        raise ModelError(f"layers is {layers!r}; {source.name!r} has {hp.n_layer}, so it must be 1 to {hp.n_layer}")
    tensors = _laid_out([_retyped(t, type) for t in source.tensors.values() if t.layer is None or t.layer < layers])
    blocks = cache(partial(_block, seed))
    memory = {t.name: cache(partial(_fill, t, seed, blocks)) for t in tensors}
    size = sum(t.nbytes for t in tensors)
    return Model(tensors, _metadata(source, layers), file_bytes=size, memory=memory)


def _laid_out(tensors: list[Tensor]) -> list[Tensor]:
    """The tensors one after the other, as a file would hold them: plans count the range that is mapped."""
    found, offset = [], 0
    for t in tensors:
        found.append(Tensor(t.name, t.shape, t.type, t.nbytes, None, offset))
        offset += -(-t.nbytes // ALIGNMENT) * ALIGNMENT
    return found


def _metadata(source: Model, layers: int) -> Metadata:
    """The source's keys with fewer layers and without its vocabulary."""
    kept = {k: v for k, v in source.metadata.items() if not k.startswith(("tokenizer.", "split."))}
    arch, hp = source.arch, source.hparams
    kept |= {
        "general.name": f"{source.name}, {layers} of {hp.n_layer} layers, random weights",
        f"{arch}.block_count": layers,
        f"{arch}.vocab_size": hp.n_vocab,
        "tokenizer.ggml.model": "no_vocab",
    }
    return Metadata(kept, kinds=getattr(source.metadata, "kinds", None))


def _retyped(tensor: Tensor, kind: str | None) -> Tensor:
    """The tensor with no bytes yet, and of another type if it is a matrix that has a say in it."""
    if kind is None or len(tensor.shape) < 2 or tensor.type == "f32":
        kind = tensor.type
    try:
        info = type_info(kind)
        return Tensor(tensor.name, tensor.shape, info.name, tensor_bytes(info, tensor.shape), None, 0)
    except GGUFError as error:
        raise ModelError(f"tensor {tensor.name!r} cannot be {kind}: {error}") from None


def _block(seed: int, kind: str, n_cols: int) -> np.ndarray:
    """ROWS encoded random rows: uint8 [ROWS, bytes of a row]."""
    from ikexplore_kernels import formats

    if kind not in formats.names():
        known = ", ".join(formats.names())
        raise ModelError(f"random weights of type {kind} cannot be made: no encoder for it yet; there are {known}")
    rng = np.random.default_rng((seed, n_cols, zlib.crc32(kind.encode())))
    values = rng.standard_normal((ROWS, n_cols), np.float32) / np.float32(np.sqrt(n_cols))
    return np.ascontiguousarray(formats.get(kind).encode(values)).reshape(ROWS, row_bytes(kind, n_cols))


def _fill(tensor: Tensor, seed: int, blocks: Callable[[str, int], np.ndarray]) -> np.ndarray:
    """The bytes of a tensor, uint8 [nbytes]."""
    rng = np.random.default_rng((seed, zlib.crc32(tensor.name.encode())))
    if tensor.type not in _DENSE or len(tensor.shape) > 1:
        info = type_info(tensor.type)
        groups = blocks(tensor.type, tensor.shape[0]).reshape(ROWS // info.interleave, -1)
        dealt = rng.integers(0, len(groups), tensor.n_rows // info.interleave)
        return np.take(groups, dealt, axis=0).reshape(-1)
    return _floats(_vector(tensor, rng), tensor.type)


def _vector(tensor: Tensor, rng: np.random.Generator) -> Any:
    """Values of a tensor of one dimension: float32 [ne0]."""
    if tensor.role == "rope_freqs":  # divisors of the rotation's frequencies
        return np.ones(tensor.shape[0], np.float32)
    noise = rng.standard_normal(tensor.shape[0], np.float32) * np.float32(0.05)
    return noise + np.float32(1) if tensor.part == "norm" and tensor.suffix == "weight" else noise


def _floats(values: np.ndarray, kind: str) -> np.ndarray:
    if kind == "bf16":
        return (values.view(np.uint32) >> 16).astype(np.uint16).view(np.uint8)
    return values.astype({"f32": np.float32, "f16": np.float16}[kind]).view(np.uint8)
