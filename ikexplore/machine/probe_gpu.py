"""One GPU, timed: its memory, PCIe both ways, what a launch and a wait cost, and products at a model's true shapes.

Everything goes through ``ikexplore_kernels.cuda.runtime.Runtime``; the figures say which one, so that a stand-in's are never
taken for a card's.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

ROUNDS = 5
LAUNCHES = 200
COPIED = 256 << 20  #: bytes of a copy
LARGE = 4096  #: rows, columns and tokens of the half-precision product
COLUMNS = (1, 8)
_BEYOND_CACHE = 256 << 20
Step = tuple[str, Callable[[], None]]


@dataclass
class GpuProbe:
    """What was timed on one GPU; None where it was not reached.

    ``name`` the engine's ("CUDA0"), ``by`` the runtime's own name for what ran. GB/s are 10^9 bytes: ``copy_gbs`` bytes read
    and written by a copy on the card; ``pcie`` of ("up" or "down", "pinned" or "pageable"). ``launch_s`` seconds per kernel of
    many launched in a row, ``sync_s`` of a kernel and the wait for it. ``half_tflops``: 10^12 operations a second of a
    half-precision product. ``products``: dicts ``type rows columns n gbs gflops``, weights' bytes over the best time.
    """

    name: str
    by: str
    copy_gbs: float | None = None
    pcie: dict[tuple[str, str], float] = field(default_factory=dict)
    launch_s: float | None = None
    sync_s: float | None = None
    half_tflops: float | None = None
    products: list[dict[str, Any]] = field(default_factory=list)

    def to_markdown(self) -> str:
        lines = [f"{self.name}, timed on: {self.by}", "", "| what | value |", "|---|---|"]
        if self.copy_gbs is not None:
            lines.append(f"| copy on the card | {self.copy_gbs:.0f} GB/s |")
        lines += [f"| PCIe {way}, {memory} | {gbs:.1f} GB/s |" for (way, memory), gbs in self.pcie.items()]
        if self.launch_s is not None and self.sync_s is not None:
            lines.append(f"| launch | {1e6 * self.launch_s:.1f} us |")
            lines.append(f"| launch and wait | {1e6 * self.sync_s:.1f} us |")
        if self.half_tflops is not None:
            lines.append(f"| half-precision product | {self.half_tflops:.0f} TFLOP/s |")
        if self.products:
            lines += ["", "| type | rows x columns | n | GB/s of weights | GFLOP/s |", "|---|---|---|---|---|"]
            lines += [f"| {p['type']} | {p['rows']} x {p['columns']} | {p['n']} | {p['gbs']:.1f} | {p['gflops']:.0f} |"
                      for p in self.products]  # fmt: skip
        return "\n".join(lines)


def steps(runtime: Any, shapes: list[tuple[str, int, int]], found: GpuProbe) -> list[Step]:
    """What there is to time, in order: (a word for it, a function that fills ``found``)."""

    def product(kind: str, rows: int, columns: int, n: int) -> Callable[[], None]:
        return lambda: found.products.append(_product(runtime, kind, rows, columns, n))

    plan: list[Step] = [
        ("copies", lambda: _copies(runtime, found)),
        ("PCIe", lambda: _pcie(runtime, found)),
        ("launches", lambda: _launches(runtime, found)),
        ("products in half", lambda: _half(runtime, found)),
    ]
    return plan + [(f"{kind} {rows} x {cols}", product(kind, rows, cols, n)) for kind, rows, cols in shapes for n in COLUMNS]


def best(runtime: Any, work: Callable[[], None], calls: int = 1, rounds: int = ROUNDS) -> float:
    """Seconds of one call on the device: the best of ``rounds`` of ``calls`` in a row, after one call that is not timed."""
    work()
    times = []
    for _ in range(rounds):
        first = runtime.record()
        for _ in range(calls):
            work()
        times.append(runtime.elapsed(first, runtime.record()) / calls)
    return max(min(times), 1e-9)


def _copies(runtime: Any, found: GpuProbe) -> None:
    size = min(4 * COPIED, runtime.memory()[0] // 8)
    a, b = runtime.alloc(size), runtime.alloc(size)
    found.copy_gbs = 2 * size / best(runtime, lambda: runtime.copy(b.ptr, a.ptr, size)) / 1e9


def _pcie(runtime: Any, found: GpuProbe) -> None:
    size = min(COPIED, runtime.memory()[0] // 8)
    buffer = runtime.alloc(size)
    for memory, host in (("pinned", runtime.pinned(size)), ("pageable", np.empty(size, np.uint8))):
        host[:] = 1
        found.pcie["up", memory] = size / _waited(runtime, partial(runtime.upload, buffer.ptr, host)) / 1e9
        found.pcie["down", memory] = size / _waited(runtime, partial(runtime.download, host, buffer.ptr)) / 1e9


def _waited(runtime: Any, work: Callable[[], None]) -> float:
    """Seconds on the host's clock until the work is done: the best of ``ROUNDS``."""
    times = []
    for _ in range(ROUNDS):
        runtime.sync()
        begin = time.perf_counter()
        work()
        runtime.sync()
        times.append(time.perf_counter() - begin)
    return max(min(times), 1e-9)


def _launches(runtime: Any, found: GpuProbe) -> None:
    """A kernel that does next to nothing: many in a row, then one and a wait."""
    x = runtime.alloc(256)

    def one() -> None:
        runtime.launch("ops_elements", "scale", [1], [32], [x.ptr, x.ptr, np.int64(32), np.float32(1), np.float32(0)])

    def many() -> None:
        for _ in range(LAUNCHES):
            one()

    one()
    found.launch_s, found.sync_s = _waited(runtime, many) / LAUNCHES, _waited(runtime, one)


def _half(runtime: Any, found: GpuProbe) -> None:
    n = LARGE
    w, x, y = runtime.alloc(2 * n * n), runtime.alloc(2 * n * n), runtime.alloc(4 * n * n)
    for buffer in (w, x):
        runtime.fill(buffer.ptr, 0, 2 * n * n)
    seconds = best(runtime, lambda: runtime.matmul("f16", n, n, n, w.ptr, x.ptr, y.ptr, n), 3)
    found.half_tflops = 2 * n**3 / seconds / 1e12


def _product(runtime: Any, kind: str, rows: int, columns: int, n: int) -> dict[str, Any]:
    """A product with n columns; weights in so many copies that no cache holds them."""
    from ikexplore_kernels import formats
    from ikexplore_kernels.cuda import products

    f = formats.get(kind)
    size = rows * f.row_bytes(columns)
    copies = [runtime.alloc(size) for _ in range(max(1, min(_BEYOND_CACHE, runtime.memory()[0] // 4) // size))]
    for copy in copies:
        runtime.fill(copy.ptr, 17, size)  # any bytes take as long
    x, y = runtime.alloc(4 * n * columns), runtime.alloc(4 * n * rows)
    runtime.fill(x.ptr, 0, 4 * n * columns)
    codes, scales = (runtime.alloc(b) for b in products.activation_bytes(n, columns))
    products.quantize(runtime, x.ptr, codes.ptr, scales.ptr, n, columns)
    ready = x.ptr if f.dense else (codes.ptr, scales.ptr)

    def work() -> None:
        for copy in copies:
            products.gemv(runtime, kind, copy.ptr, ready, y.ptr, rows, columns, n)

    seconds = best(runtime, work) / len(copies)
    about = {"type": kind, "rows": rows, "columns": columns, "n": n}
    return {**about, "gbs": size / seconds / 1e9, "gflops": 2.0 * n * rows * columns / seconds / 1e9}
