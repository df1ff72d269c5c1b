"""Cosines and sines of rotary positions, for all positions of a context, in float32."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np


def rope_table(params: Mapping[str, Any], n_positions: int, factors: np.ndarray | None = None) -> np.ndarray:
    """float32 [n_positions, n_dims / 2, 2]: (cos, sin), scaled as YaRN asks.

    ``params`` are those of the graph's ROPE nodes: n_dims, freq_base, freq_scale, ext_factor, attn_factor, beta_fast,
    beta_slow, n_ctx_orig. ``factors`` (float32 [n_dims / 2]) divide the frequencies (Llama 3). Formulas: YaRN,
    arXiv:2309.00071, with ggml's correction range.
    """
    n_dims, base = int(params["n_dims"]), float(params["freq_base"])
    scale, ext = float(params["freq_scale"]), float(params["ext_factor"])
    pair = np.arange(n_dims // 2)
    frequency = base ** (-2.0 * pair / n_dims)
    if factors is not None:
        frequency = frequency / factors.astype(np.float64)
    extrapolated = np.arange(n_positions)[:, None] * frequency
    angle, size = scale * extrapolated, float(params["attn_factor"])
    if ext != 0:
        low, high = (_dimension(n_dims, params["n_ctx_orig"], params[b], base) for b in ("beta_fast", "beta_slow"))
        low, high = max(0, math.floor(low)), min(n_dims - 1, math.ceil(high))
        mix = ext * (1 - np.clip((pair - low) / max(0.001, high - low), 0, 1))
        angle = angle * (1 - mix) + extrapolated * mix
        size *= 1 + 0.1 * math.log(1 / scale)
    return (size * np.stack([np.cos(angle), np.sin(angle)], axis=-1)).astype(np.float32)


def _dimension(n_dims: int, n_ctx: float, rotations: float, base: float) -> float:
    """The dimension whose wave turns ``rotations`` times over the original context."""
    return n_dims * math.log(n_ctx / (rotations * 2 * math.pi)) / (2 * math.log(base))
