"""Rates of the matrix products: python tests/bench/kernels.py [types ...] [--n 1 8 32 512] [--size 4096] [--threads 1].

For each type and number of columns: GB/s of weights and GFLOP/s, and both as a fraction of what this machine does in the same
run: its read bandwidth with as many threads (the best of NumPy's sums over 512 MB, one a round) and NumPy's float32 matmul of
the same shape. Rounds are interleaved (every type once, then again), the best counts; the time includes quantizing the
activations. A name like q4_k_own16 is the engine's own layout of that type.
"""

import argparse
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "kernels"), str(ROOT / "tests" / "kernels")]

from kernel_harness import Ready, addresses  # noqa: E402

from ikexplore_kernels import dense, formats, product, tiles  # noqa: E402
from ikexplore_kernels.program import Instruction, Program  # noqa: E402
from ikexplore_kernels.team import Team  # noqa: E402

clock = time.perf_counter


def weights(f, m, k, copies):
    """``copies`` different matrices, so that one column reads DRAM and not a cache."""
    rng = np.random.default_rng(0)
    rows = f.encode(rng.standard_normal((64, k), np.float32))
    return [np.concatenate([rows] * (m // 64)) for _ in range(copies)]


class Case:
    def __init__(self, name, n, size, threads):
        self.f, self.n, self.size = formats.get(name), n, size
        self.w = weights(self.f, size, size, max(1, (96 << 20) // (size * self.f.row_bytes(size))) if n == 1 else 1)
        self.x = np.random.default_rng(1).standard_normal((n, size), np.float32)
        self.y = np.zeros((n, size), np.float32)
        width = 1 if n == 1 else tiles.TILE
        self.sources, self.results = addresses(self.x, width), addresses(self.y, width)
        self.ready = Ready(self.f, self.sources, size, width, threads=threads)
        self.scratch = np.zeros((threads, 1 << 22), np.uint8)
        op = dense.dense_product if self.f.dense else product.product
        parts = 4 * threads
        self.programs = []
        for w in self.w:
            args = [w.ctypes.data, w.strides[0], size, size, 0, 0, *self.ready.args, self.ready.count,
                    self.results.ctypes.data, self.scratch.ctypes.data, self.scratch.shape[1], 0, 0, parts, width]
            self.programs.append(Program([self.ready.instruction, Instruction(op, args, parts, self.f)]).link())
        self.best = np.inf

    def round(self, team, stop):
        for p in self.programs:
            begin = clock()
            team.run(p.records, stop)
            self.best = min(self.best, clock() - begin)


def bandwidth(threads):
    """A function that reads with so many threads and returns bytes/s: NumPy's sums release the GIL."""
    parts = np.array_split(np.ones(64 << 20, np.float64), threads)

    def once():
        with ThreadPoolExecutor(threads) as pool:
            begin = clock()
            list(pool.map(np.sum, parts))
            return sum(p.nbytes for p in parts) / (clock() - begin)
    return once


def sgemm(n, size):
    a, b = np.ones((n, size), np.float32), np.ones((size, size), np.float32)
    best = np.inf
    for _ in range(5):
        begin = clock()
        a @ b.T
        best = min(best, clock() - begin)
    return 2 * n * size * size / best


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("types", nargs="*", default=formats.names())
    p.add_argument("--n", nargs="+", type=int, default=[1, 8, 32, 512])
    p.add_argument("--size", type=int, default=4096)
    p.add_argument("--threads", type=int, default=1)
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--clock", default="wall", choices=["wall", "cpu"], help="cpu: seconds of this process, on a busy machine")
    a = p.parse_args()
    global clock
    clock = time.process_time if a.clock == "cpu" else time.perf_counter
    team, stop = Team(a.threads), np.zeros(1, np.int64)
    once = bandwidth(a.threads)
    read = max(once() for _ in range(3))
    print(f"{a.threads} threads; {a.size} x {a.size}")
    for n in a.n:
        cases = [Case(name, n, a.size, a.threads) for name in (a.types or formats.names())]
        for _ in range(a.rounds):
            for c in cases:
                c.round(team, stop)
            read = max(read, once())
        flops = sgemm(n, a.size)
        print(f"\nn = {n}; read bandwidth {read / 1e9:.1f} GB/s; NumPy float32 {flops / 1e9:.0f} GFLOP/s")
        print(f"{'type':12}{'GB/s':>8}{'of read':>9}{'GFLOP/s':>10}{'of NumPy':>10}")
        for c in cases:
            nbytes, ops = c.w[0].nbytes / c.best, 2 * n * a.size**2 / c.best
            print(f"{c.f.name:12}{nbytes / 1e9:8.1f}{nbytes / read:9.2f}{ops / 1e9:10.0f}{ops / flops:10.2f}")


if __name__ == "__main__":
    main()
