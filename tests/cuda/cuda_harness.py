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
    """The naive twin of quantize_q8: codes int8 [n, k], scales float32 [n, k / 32], and [n, k / 32, 3] how far the errors of
    127, 125 and 123 steps are from the least, relative to it."""
    blocks = x.reshape(len(x), -1, 32).astype(np.float32)
    top = np.abs(blocks).max(axis=2)
    with np.errstate(divide="ignore", invalid="ignore"):
        r = np.where(top > 0, np.float32(1) / top, np.float32(0))
        inverses = r[..., None] * np.float32([127, 125, 123])
        tries = [np.rint(blocks * inverses[..., i, None]) for i in range(3)]
        left = [t / inverses[..., i, None].astype(np.float64) - blocks for i, t in enumerate(tries)]
        errors = np.nan_to_num(np.stack([np.square(e).sum(axis=2) for e in left], axis=2))
        codes = np.take_along_axis(np.stack(tries, axis=2), errors.argmin(axis=2)[..., None, None], axis=2)[:, :, 0]
        d = np.nan_to_num((blocks * codes.astype(np.float64)).sum(axis=2) / np.square(codes.astype(np.float64)).sum(axis=2))
        least = errors.min(axis=2)[..., None]
        spread = np.where(least > 0, errors / least - 1, 0)
    return codes.reshape(x.shape).astype(np.int8), d.astype(np.float32), spread
