"""What tests of kernels share: arrays on a device and back."""

from typing import Any

import numpy as np


def up(device: Any, array: np.ndarray) -> Any:
    """A buffer with the array's bytes."""
    array = np.ascontiguousarray(array)
    buffer = device.alloc(array.nbytes)
    device.upload(buffer.ptr, array)
    return buffer


def down(device: Any, buffer: Any, shape: tuple[int, ...], dtype: Any = np.float32) -> np.ndarray:
    """The buffer's first bytes as an array."""
    out = np.empty(shape, dtype)
    device.download(out, buffer.ptr)
    return out


def quantized(x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The naive twin of quantize_q8: codes int8 [n, k], scales float32 [n, k / 32], sums of codes int64 [n, k / 32]."""
    blocks = x.reshape(len(x), -1, 32).astype(np.float32)
    top = np.abs(blocks).max(axis=2)
    with np.errstate(divide="ignore"):
        inverse = np.where(top > 0, np.float32(127) / top, np.float32(0))
    codes = np.rint(blocks.astype(np.float64) * inverse[..., None]).astype(np.int8)  # the product is exact in float64
    return codes.reshape(x.shape), top / np.float32(127), codes.sum(axis=2, dtype=np.int64)
