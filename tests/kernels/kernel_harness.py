"""Runs single kernels the way a lowered graph does, for tests and benchmarks of kernels."""

import os

import numpy as np
import pytest

from ikexplore_kernels import activations, dense, product, route, tiles
from ikexplore_kernels.formats import Format
from ikexplore_kernels.program import Instruction, Program
from ikexplore_kernels.team import Team

#: types whose products are tested: each way in which codes, scales and minima come, turns of each length, dense ones.
#: What is the type's own, its unpack, is compared bit by bit for all
PRODUCTS = ["f32", "f16", "bf16", "q4_0", "q5_1", "q8_0", "q2_k", "q4_k", "q6_k", "iq2_xxs", "iq1_m", "iq4_nl", "iq3_s",
            "iq4_xs", "mxfp4", "q1_0_g128", "iq2_bn", "iq5_k", "iq6_k", "iq4_ks", "iq3_kt",
            "q4_0_r8", "q8_0_r8", "q4_k_r4", "iq4_ks_r4", "iq2_xxs_r4", "bf16_r16"]


def some(names: list[str], chosen: list[str], why: str) -> list:
    """Parameters of a test that compiles long: the chosen ones; the others are skipped unless IKEXPLORE_ALL is set."""
    left_out = pytest.mark.skipif(not os.environ.get("IKEXPLORE_ALL"), reason=f"{why}; IKEXPLORE_ALL=1 runs it")
    return [n if n in chosen else pytest.param(n, marks=left_out) for n in names]


def run(instructions: list[Instruction], threads: int = 2) -> None:
    team = Team(threads)
    try:
        team.run(Program(instructions).link().records, np.zeros(1, np.int64))
    finally:
        team.close()


def at(a: np.ndarray) -> int:
    """Address of an array's first number."""
    return a.ctypes.data


def close(got: np.ndarray, want: np.ndarray, tolerance: float = 1e-6) -> None:
    assert np.linalg.norm(got - want) <= tolerance * max(np.linalg.norm(want), 1e-30)


def addresses(array: np.ndarray, width: int) -> np.ndarray:
    """int64 addresses of the rows of a C-contiguous array, padded with 0 to whole tiles."""
    n = len(array)
    out = np.zeros(-(-n // width) * width, np.int64)
    out[:n] = array.ctypes.data + np.arange(n) * array.strides[0]
    return out


class Ready:
    """Tiles of float32 columns for products with a format, and the instruction that makes them."""

    def __init__(self, f: Format, sources: np.ndarray, k: int, width: int, table_end: int = 0, threads: int = 2):
        count = len(sources) // width
        self.count, self.width = count, width
        if f.dense:
            self.x = [np.zeros(count * width * k, np.float32), None, None]
            self.instruction = Instruction(
                activations.gather, [sources.ctypes.data, count, width, k, self.x[0].ctypes.data, 0, 0, 0, table_end], 3)
        else:
            bias, sub = (-1 if f.code.has_min else f.code.bias), f.code.sub
            self.x = [np.zeros(count * width * k, np.int8), np.zeros(count * width * k // 32, np.float32),
                      np.zeros(count * width * k // sub, np.int32)]
            self.scratch = np.zeros((threads, width * k * 2 + 64), np.uint8)
            args = [sources.ctypes.data, count, width, k, self.x[0].ctypes.data, self.x[1].ctypes.data,
                    self.scratch.ctypes.data, self.scratch.shape[1], table_end, 1, bias, sub, self.x[2].ctypes.data]
            self.instruction = Instruction(activations.quantize, args, 3)

    @property
    def args(self) -> list[int]:
        return [0 if a is None else a.ctypes.data for a in self.x]


def matmul(f: Format, w: np.ndarray, x: np.ndarray, gate: np.ndarray | None = None, threads: int = 2) -> np.ndarray:
    """uint8 rows [m, row bytes] of format f times float32 x [n, k] -> float32 [n, m]."""
    n, k = x.shape
    m, width = len(w), 1 if n == 1 else tiles.TILE
    y = np.full((n, m), np.nan, np.float32)
    sources, results = addresses(x, width), addresses(y, width)
    ready = Ready(f, sources, k, width, threads=threads)
    scratch = np.zeros((threads, 1 << 20 if k <= 4096 else 1 << 22), np.uint8)
    op = dense.dense_product if f.dense else product.product
    args = [w.ctypes.data, w.strides[0], k, m, 0, 0 if gate is None else gate.ctypes.data, *ready.args, ready.count,
            results.ctypes.data, scratch.ctypes.data, scratch.shape[1], 0, 0, 3, width]
    run([ready.instruction, Instruction(op, args, 3, f)], threads)
    return y


def matmul_experts(f: Format, w: np.ndarray, x: np.ndarray, ids: np.ndarray, threads: int = 2) -> np.ndarray:
    """w uint8 [experts, m, row bytes], x float32 [n, k], ids int32 [n, slots] -> float32 [n, slots, m]."""
    n, k = x.shape
    experts, m, row_bytes = w.shape
    slots, width = ids.shape[1], 1 if n == 1 else tiles.TILE
    y = np.full((n, slots, m), np.nan, np.float32)
    count = route.most_tiles(n, slots, experts, width)
    table, fill = np.zeros(experts + 1, np.int64), np.zeros(experts, np.int64)
    sources, results = np.zeros(count * width, np.int64), np.zeros(count * width, np.int64)
    sort = Instruction(route.route, [ids.ctypes.data, ids.strides[0], slots, n, experts, width, x.ctypes.data, x.strides[0], 0,
                                     y.ctypes.data, y.strides[0], y.strides[1], table.ctypes.data, sources.ctypes.data,
                                     results.ctypes.data, fill.ctypes.data])
    ready = Ready(f, sources, k, width, table.ctypes.data + 8 * experts, threads)
    scratch = np.zeros((threads, 1 << 20), np.uint8)
    op = dense.dense_product if f.dense else product.product
    args = [w.ctypes.data, row_bytes, k, m, m * row_bytes, 0, *ready.args, count, results.ctypes.data,
            scratch.ctypes.data, scratch.shape[1], table.ctypes.data, experts, 2, width]
    run([sort, ready.instruction, Instruction(op, args, 2 * experts, f)], threads)
    return y
