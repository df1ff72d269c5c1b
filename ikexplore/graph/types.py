"""Tensor types as numbers for whole columns: block sizes by ggml type id, row and tensor bytes.

The facts themselves are the one table of ``ikexplore.gguf.types``.
"""

from functools import lru_cache

import numpy as np

from ..errors import ModelError
from ..gguf.types import BY_ID, OWN_IDS, TYPES, TypeInfo

N_TYPES = OWN_IDS.stop
BLOCK = np.ones(N_TYPES, np.int64)  #: columns in a block, by type id
BLOCK_BYTES = np.zeros(N_TYPES, np.int64)
ROW_META = np.zeros(N_TYPES, np.int64)
#: bool by type id: a quantized type (ggml_is_quantized)
QUANTIZED = np.zeros(N_TYPES, bool)
_PLAIN = ("f32", "f16", "bf16", "f64", "i8", "i16", "i32", "i64", "bf16_r16")


def enter(t: TypeInfo) -> None:
    """Fill in the columns above for a type."""
    BLOCK[t.id], BLOCK_BYTES[t.id], ROW_META[t.id], QUANTIZED[t.id] = t.block, t.block_bytes, t.row_meta, t.name not in _PLAIN


for _t in BY_ID.values():
    enter(_t)
F32, F16, BF16, I32 = (TYPES[_name].id for _name in ("f32", "f16", "bf16", "i32"))

#: a GPU row of a quantized type is padded to a multiple of this many columns (ggml-cuda: MATRIX_ROW_PADDING)
GPU_ROW_PADDING = 512


def type_id(name: str) -> int:
    """ggml type id of a type name, in any case. Raises ModelError for a name that no model can carry."""
    info = TYPES.get(name.lower())
    if info is None:
        raise ModelError(f"unknown tensor type {name!r}; known: {', '.join(sorted(TYPES))}")
    return info.id


def type_name(number: int) -> str:
    """Lower-case name of a ggml type id."""
    return BY_ID[number].name


def row_size(type_number: int, columns: int) -> int:
    """Bytes of one row (ggml_row_size). Partial blocks are rounded down, as in ggml."""
    info = BY_ID[type_number]
    return info.row_meta + columns * info.block_bytes // info.block


@lru_cache(maxsize=4096)
def contiguous(type_number: int, ne: tuple[int, ...]) -> tuple[int, int, int, int]:
    """Byte strides of a tensor with nothing between its rows (ggml_new_tensor)."""
    row = row_size(type_number, ne[0])
    return BY_ID[type_number].block_bytes, row, row * ne[1], row * ne[1] * ne[2]


def nbytes(type_ids: np.ndarray, ne: np.ndarray, nb: np.ndarray, older: bool = False) -> np.ndarray:
    """Bytes from the first to the last element of each tensor (ggml_nbytes): int64 per row of the columns given.

    older: as in June 2025, when a blocked type's first row counted with its stride, too much for views with gaps.
    """
    beyond_first_row = ((ne[:, 1:] - 1) * nb[:, 1:]).sum(axis=1)
    plain = BLOCK_BYTES[type_ids] + (ne[:, 0] - 1) * nb[:, 0]
    blocked = nb[:, 1] if older else ROW_META[type_ids] + ne[:, 0] * BLOCK_BYTES[type_ids] // BLOCK[type_ids]
    return np.where(BLOCK[type_ids] == 1, plain, blocked) + beyond_first_row


def gpu_padding(type_ids: np.ndarray, ne0: np.ndarray) -> np.ndarray:
    """Bytes that a CUDA buffer adds to each tensor so that kernels may read a whole last row of blocks."""
    missing = -ne0 % GPU_ROW_PADDING
    pad = ROW_META[type_ids] + missing * BLOCK_BYTES[type_ids] // BLOCK[type_ids]
    return np.where(QUANTIZED[type_ids] & (missing > 0), pad, 0)
