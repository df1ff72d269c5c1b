"""The present machine, timed: memory bandwidth by threads, and this package's own products at a model's true shapes."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import numpy as np

from .machine import Machine
from .probe_gpu import GpuProbe, Step, steps
from .words import READ

LIMIT = 50.0  #: seconds after which nothing new is begun
ROUNDS = 4
MOST_SHAPES = 8
COLUMNS = (1, 64)
_MIB = 1 << 20
_LINK = ("up", "pinned")  #: what a forecast takes as a GPU's link


@dataclass
class Probe:
    """What was timed. ``bandwidth``: threads -> GB/s read; ``products``: dicts ``type rows columns n gbs gflops``.

    ``gpus``: a ``GpuProbe`` for each GPU that CuPy can use. ``machine``: the machine with ``bandwidth_gbs`` and ``core_gbs``
    of its CPU and ``pcie_gbs`` of its GPUs set by it, so that forecasts use it.
    """

    machine: Machine
    bandwidth: dict[int, float] = field(default_factory=dict)
    products: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0
    gpus: list[GpuProbe] = field(default_factory=list)

    def to_markdown(self) -> str:
        lines = ["| threads | read GB/s |", "|---|---|", *(f"| {t} | {g:.1f} |" for t, g in self.bandwidth.items())]
        if self.products:
            lines += ["", "| type | rows x columns | n | GB/s of weights | GFLOP/s |", "|---|---|---|---|---|"]
            lines += [f"| {p['type']} | {p['rows']} x {p['columns']} | {p['n']} | {p['gbs']:.1f} | {p['gflops']:.0f} |"
                      for p in self.products]  # fmt: skip
        for gpu in self.gpus:
            lines += ["", gpu.to_markdown()]
        return "\n".join(lines)

    def _repr_markdown_(self) -> str:
        return self.to_markdown()


def probe(machine: Machine, model: Any = None, progress: bool = True, limit: float = LIMIT, runtimes: Any = None) -> Probe:
    """Time the present machine; ``machine`` is what ``Machine.detect`` found, ``model`` gives the shapes of products.

    runtimes: one per GPU; if not given CuPy's, where it can use the GPUs. Stops after ``limit`` seconds, or on Ctrl-C, with
    what was timed until then.
    """
    from tqdm.auto import tqdm

    begin = time.perf_counter()
    found = Probe(machine)
    threads = _steps(machine.threads or machine.cores or 1)
    shapes = _shapes(model)
    found.gpus, gpu_steps = _gpus(machine, shapes, runtimes)
    total = len(threads) + len(shapes) * len(COLUMNS) + len(gpu_steps)
    bar = tqdm(total=total, disable=not progress, leave=False, desc="memory")
    try:
        for count, gbs in _bandwidths(machine, threads):
            found.bandwidth[count] = gbs
            bar.update()
            if time.perf_counter() - begin > limit / 2:
                break
        for what, work in gpu_steps:
            bar.set_description(what)
            if time.perf_counter() - begin > limit - 10:
                break
            work()
            bar.update()
        for kind, rows, columns in shapes:
            bar.set_description(f"{kind} {rows} x {columns}")
            for n in COLUMNS:
                if time.perf_counter() - begin > limit - 10:  # a kernel's first use compiles it
                    break
                found.products.append(_product(kind, rows, columns, n, machine.cores or 1))
                bar.update()
    except KeyboardInterrupt:
        pass
    finally:
        bar.close()
    found.seconds = time.perf_counter() - begin
    if found.bandwidth:
        best = max(found.bandwidth.values())
        cpu = replace(machine.cpu, bandwidth_gbs=round(best / READ, 1), core_gbs=round(found.bandwidth[1], 1))
        found.machine = replace(machine, cpu=cpu)
    links = {gpu.name: gpu.pcie[_LINK] for gpu in found.gpus if _LINK in gpu.pcie}
    timed = [replace(g, pcie_gbs=round(links[g.name], 1)) if g.name in links else g for g in found.machine.gpus]
    found.machine = replace(found.machine, gpus=tuple(timed))
    return found


def _gpus(machine: Machine, shapes: list[tuple[str, int, int]], runtimes: Any) -> tuple[list[GpuProbe], list[Step]]:
    """A probe for each GPU that can be timed, and what there is to do for all of them."""
    if runtimes is None:
        from ikexplore_kernels.cuda.build import available
        from ikexplore_kernels.cuda.runtime import CupyRuntime

        present = not any(gpu.simulated for gpu in machine.gpus) and bool(machine.gpus) and available()[0]
        runtimes = [CupyRuntime(number) for number in range(len(machine.gpus))] if present else []
    probes = [GpuProbe(gpu.name, runtime.name) for gpu, runtime in zip(machine.gpus, runtimes)]
    work = [(f"{p.name}: {what}", do) for p, runtime in zip(probes, runtimes) for what, do in steps(runtime, shapes, p)]
    return probes, work


def _steps(threads: int) -> list[int]:
    return sorted({1, *(2**i for i in range(1, 9) if 2**i < threads), threads})


@lru_cache(maxsize=1)
def _sum() -> Callable[[np.ndarray], int]:
    """The sum of uint64 numbers, in a loop that holds no lock."""
    import numba

    @numba.njit(nogil=True, fastmath=True)
    def add(a):  # type: ignore[no-untyped-def]
        total = np.uint64(0)
        for i in range(a.size):
            total += a[i]
        return total

    add(np.ones(16, np.uint64))
    return add


def _bandwidths(machine: Machine, threads: list[int]) -> Iterator[tuple[int, float]]:
    """(threads, GB/s) for the best of a few passes over memory far larger than any cache."""
    free = machine.cpu.free_mib or 4096
    size = min(1024, max(64, free // 8)) * _MIB // 8
    data = np.ones(size, np.uint64)
    add = _sum()
    for count in threads:
        parts = np.array_split(data, count)
        best = np.inf
        with ThreadPoolExecutor(count) as pool:
            for _ in range(ROUNDS):
                begin = time.perf_counter()
                list(pool.map(add, parts))
                best = min(best, time.perf_counter() - begin)
        yield count, data.nbytes / best / 1e9


def _shapes(model: Any) -> list[tuple[str, int, int]]:
    """(type, rows, columns) of a model's matrices, those that hold most of its bytes first."""
    held: dict[tuple[str, int, int], int] = {}
    for t in model.tensors.values() if model is not None else ():
        if len(t.shape) > 1 and t.type not in ("f32", "i32") and t.name != "token_embd.weight":
            key = (t.type, int(t.shape[1]), int(t.shape[0]))
            held[key] = held.get(key, 0) + t.nbytes
    return sorted(held, key=lambda key: -held[key])[:MOST_SHAPES]


def _product(kind: str, rows: int, columns: int, n: int, threads: int) -> dict[str, Any]:
    """One product of this package's own kernels: a column reads from memory, many columns from a cache."""
    from ikexplore_kernels import dense, formats, product, tiles
    from ikexplore_kernels.program import Instruction, Program
    from ikexplore_kernels.team import Team

    f = formats.get(kind)
    rows = max(64, min(rows, (64 * _MIB) // f.row_bytes(columns)) // 64 * 64)
    some = np.random.default_rng(0).integers(0, 60, (64, f.row_bytes(columns)), np.uint8)  # any bytes take as long
    copies = max(1, 192 * _MIB // (rows * f.row_bytes(columns))) if n == 1 else 1
    weights = [np.concatenate([some] * (rows // 64)) for _ in range(copies)]
    width = 1 if n == 1 else tiles.TILE
    count = -(-n // width)
    size = count * width * columns
    x = [np.ones(size, np.float32 if f.dense else np.int8), np.ones(size // 32, np.float32),
         np.zeros(size // (32 if f.dense else f.code.sub), np.int32)]  # fmt: skip
    y = np.zeros((count * width, rows), np.float32)
    results = y.ctypes.data + np.arange(count * width) * y.strides[0]
    scratch = np.zeros((threads, 1 << 22), np.uint8)
    op, parts = (dense.dense_product if f.dense else product.product), 4 * threads
    team, stop, best = Team(threads), np.zeros(1, np.int64), np.inf
    try:
        for _ in range(ROUNDS):
            for w in weights:
                args: list[int | float] = [w.ctypes.data, w.strides[0], columns, rows, 0, 0, *(a.ctypes.data for a in x), count,
                        results.ctypes.data, scratch.ctypes.data, scratch.shape[1], 0, 0, parts, width]  # fmt: skip
                program = Program([Instruction(op, args, parts, f)]).link()
                begin = time.perf_counter()
                team.run(program.records, stop)
                best = min(best, time.perf_counter() - begin)
    finally:
        team.close()
    about = {"type": kind, "rows": rows, "columns": columns, "n": n}
    return {**about, "gbs": weights[0].nbytes / best / 1e9, "gflops": 2.0 * n * rows * columns / best / 1e9}
