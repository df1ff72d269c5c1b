"""One matrix product by the drivers that models run with, for arrays in and out."""

import numpy as np

from . import activations, dense, product, tiles
from .formats import Format
from .program import Instruction, Program
from .team import Team


def matmul(f: Format, w: np.ndarray, x: np.ndarray, threads: int = 1) -> np.ndarray:
    """uint8 rows [m, row bytes] of format ``f`` times finite float32 x [n, k] -> float32 [n, m].

    Types with integer codes see x rounded to 8 bits in blocks of 32, as in a model. n = 1 is the driver of generation,
    larger n that of prompts. Raises ValueError for sizes that do not fit each other.
    """
    x = np.ascontiguousarray(x, np.float32)
    if x.ndim != 2 or 0 in x.shape or x.shape[1] % 32:
        raise ValueError(f"{f.name}: x must be [columns of a multiple of 32], row by row; got shape {list(x.shape)}")
    w, m, k = f._checked(w, x.shape[1]), len(w), x.shape[1]
    if m % 16:  # drivers read 16 rows at a time
        w = np.concatenate([w, np.zeros((-m % 16, w.shape[1]), np.uint8)])
    n, width = len(x), 1 if len(x) == 1 else tiles.TILE
    y = np.empty((n, len(w)), np.float32)
    sources, results = _addresses(x, width), _addresses(y, width)
    count = len(sources) // width
    make, places, kept = _tiles(f, sources, count, width, k, threads)
    op = dense.dense_product if f.dense else product.product
    size = dense.dense_scratch_bytes(k, count) if f.dense else product.scratch_bytes(k, f.code.sub, count)
    scratch = np.zeros((threads, -(-size // 64) * 64), np.uint8)
    todo: list[int | float] = [w.ctypes.data, w.strides[0], k, len(w), 0, 0, *places, count, results.ctypes.data]
    todo += [scratch.ctypes.data, scratch.shape[1], 0, 0, threads, width]
    program = Program([make, Instruction(op, todo, threads, f)], keep=[w, x, kept, scratch]).link()
    team = Team(threads)
    try:
        team.run(program.records, np.zeros(1, np.int64))
    finally:
        team.close()
    return y[:, :m]


def _addresses(a: np.ndarray, width: int) -> np.ndarray:
    """int64 addresses of the rows of an array, with 0 up to whole tiles."""
    out = np.zeros(-(-len(a) // width) * width, np.int64)
    out[: len(a)] = a.ctypes.data + np.arange(len(a)) * a.strides[0]
    return out


def _tiles(f: Format, sources: np.ndarray, count: int, width: int, k: int, threads: int) -> tuple[Instruction, list[int], list]:
    """The instruction that makes tiles of the columns, the addresses of its results, and the arrays behind all of it."""
    n = count * width * k
    if f.dense:
        wide = np.zeros(n, np.float32)
        args: list[int | float] = [sources.ctypes.data, count, width, k, wide.ctypes.data, 0, 0, 0, 0]
        return Instruction(activations.gather, args), [wide.ctypes.data, 0, 0], [wide]
    bias, sub = (-1 if f.code.has_min else f.code.bias), f.code.sub
    q, d, s = np.zeros(n, np.int8), np.zeros(n // 32, np.float32), np.zeros(n // sub, np.int32)
    scratch = np.zeros((threads, width * k * 5 // 4 + 64), np.uint8)  # any thread may be the one that works
    places = [a.ctypes.data for a in (q, d, s)]
    args = [sources.ctypes.data, count, width, k, *places[:2], scratch.ctypes.data, scratch.shape[1], 0]
    args += [1, bias, sub, places[2]]  # one format, and what it asks for
    return Instruction(activations.quantize, args), places, [q, d, s, scratch]
