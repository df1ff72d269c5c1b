"""Which device a layer lives on, before any override: by number (June 2025) or by size (August 2026)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

HOST = -1  #: the slot of layers that stay in host memory


@dataclass(frozen=True)
class Slots:
    """Slot of each layer and of the output: number of a device in the list of used GPUs, HOST for host memory."""

    layers: tuple[int, ...]
    output: int


def shares(given: Sequence[float], free: Sequence[float]) -> np.ndarray:
    """Running sums of -ts, else of free memory, over their total: float32, as the reference sums."""
    n = len(free)
    wanted = [float(x) for x in given[:n]] + [0.0] * max(0, n - len(given))
    if not any(wanted):
        wanted = [float(x) for x in free]
    total, sums = np.float32(0), []
    for x in wanted:
        total = np.float32(total + np.float32(x))
        sums.append(total)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.array(sums, np.float32) / total


def deal_by_number(n_layer: int, n_gpu_layers: int, split: np.ndarray) -> Slots:
    """The last ``n_gpu_layers`` layers (one more: the output too), in proportion to ``split`` by their number."""
    first = max(n_layer - n_gpu_layers, 0)
    active = min(n_gpu_layers, n_layer + 1)
    layers = [HOST] * n_layer

    def slot(number: int) -> int:
        # std::upper_bound: the first device whose share lies above this layer's place
        at = np.searchsorted(split, np.float32(number) / np.float32(active), side="right")
        return min(int(at), len(split) - 1)

    for i in range(first, n_layer):
        layers[i] = slot(i - first)
    return Slots(tuple(layers), slot(active - 1) if n_gpu_layers > n_layer else HOST)


def deal_by_size(
    n_layer: int, n_gpu_layers: int, split: np.ndarray, sizes: Sequence[float], compute: float
) -> tuple[Slots, tuple[int, ...], range]:
    """Layers dealt so that each GPU gets its share of bytes.

    sizes: bytes of each layer with its cache, then of the output; compute: the largest compute estimate, counted once
    per GPU. Also returns the default device of each layer and of the output, host layers included, and the layers
    that were dealt (those left over, and all with one GPU, just have the default).
    """
    first = max(n_layer - n_gpu_layers, 0)
    end = n_layer + 1 if n_gpu_layers > n_layer else n_layer
    n_gpu = len(split)
    default, at = [n_gpu - 1] * (n_layer + 1), first
    if n_gpu > 1:
        total = compute * n_gpu
        for i in range(first, end):
            total += sizes[i]
        loaded = np.float32(0)
        for gpu in range(n_gpu):
            loaded = np.float32(loaded + compute)
            share = np.float32(float(split[gpu]) * total)
            while at < end and float(loaded) + sizes[at] <= float(share):
                default[at] = gpu
                loaded = np.float32(float(loaded) + sizes[at])
                at += 1
            if at < end and float(loaded) + sizes[at] - float(share) < float(np.float32(share - loaded)):
                default[at] = gpu
                loaded = np.float32(float(loaded) + sizes[at])
                at += 1
    layers = tuple(HOST if i < first else default[i] for i in range(n_layer))
    slots = Slots(layers, default[n_layer] if n_gpu_layers > n_layer else HOST)
    return slots, tuple(default), range(first, at)
