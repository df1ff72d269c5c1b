"""One GPU of a hybrid run: its memory by purpose, launches with resolved addresses, and copies through staging memory.

``runtime`` is ``ikexplore_kernels.cuda.runtime.Runtime``: CuPy on a card, or the tests' stand-in on the CPU; ``label``
says which.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .launches import THREADS, HostStep, Launch, Place, Step

ALIGN = 256
STAGE = 16 << 20  #: bytes of a pinned block


class Device:
    """A GPU while a session uses it. ``held``: bytes by purpose (weights, cache, inputs, compute, pool)."""

    def __init__(self, name: str, runtime: Any):
        self.name, self.runtime = name, runtime
        self.label = str(getattr(runtime, "name", type(runtime).__name__))
        self.held: dict[str, int] = {}
        self.moved = 0  #: how often a block was freed: addresses taken before may be another's
        self.graphs = True  #: whether launches may be gathered into CUDA graphs
        self._buffers: dict[str, Any] = {}
        self._staging: Staging | None = None

    # -- memory --------------------------------------------------------------------------------------------------------

    def reserve(self, purpose: str, nbytes: int) -> int:
        """Address of the block for a purpose, at least so large; an older, smaller one is freed first."""
        if self.held.get(purpose, -1) < nbytes:
            self.release(purpose)
            self._buffers[purpose] = self.runtime.alloc(nbytes + ALIGN)  # kernels read whole words
            self.held[purpose] = nbytes
        return int(self._buffers[purpose].ptr)

    def release(self, purpose: str) -> None:
        if purpose in self._buffers:
            self.runtime.sync()
            del self._buffers[purpose], self.held[purpose]
            self.moved += 1

    def close(self) -> None:
        for purpose in list(self._buffers):
            self.release(purpose)

    def resolve(self, value: Any) -> Any:
        """The address that a Place stands for; anything else as it is."""
        return int(self._buffers[value.where].ptr) + value.offset if isinstance(value, Place) else value

    # -- work ----------------------------------------------------------------------------------------------------------

    def launch(self, module: str, kernel: str, grid: Any, args: list[Any],
               block: int | tuple[int, int, int] = THREADS, shared: int = 0, stream: Any = None) -> None:
        dims = (*((grid,) if isinstance(grid, int) else grid), 1, 1)[:3]
        threads = (block, 1, 1) if isinstance(block, int) else block
        given = [numbered(self.resolve(a)) for a in args]
        self.runtime.launch(module, kernel, dims, threads, given, shared=shared, stream=stream)

    def each(self, kernel: str, count: int, args: list[Any], module: str = "ops_elements") -> None:
        if count:
            self.launch(module, kernel, -(-count // THREADS), args)

    def matmul(self, wide: str, m: int, n: int, k: int, w: int, x: int, y: int, ld: int) -> None:
        """float32 y[n, m] = x[n, k] w[m, k]^T; w and x both f16 or both f32, rows of y ``ld`` numbers apart."""
        self.runtime.matmul(wide, m, n, k, w, x, y, ld)

    def run(self, steps: list[Step], stop: np.ndarray | None = None) -> bool:
        """The steps in order; False where it was told to stop before the last."""
        for step in steps:
            if stop is not None and stop[0]:
                return False
            if isinstance(step, Launch):
                self.launch(step.module, step.kernel, step.grid, step.args, step.block, step.shared)
            else:
                self.host_step(step)
        return True

    def capture(self, steps: Sequence[Launch]) -> Any:
        """A CUDA graph of some launches, with the addresses of now. Raises where the runtime cannot."""

        def work(stream: Any) -> None:
            for step in steps:
                self.launch(step.module, step.kernel, step.grid, step.args, step.block, step.shared, stream)

        return self.runtime.capture(work)

    def replay(self, graph: Any) -> None:
        self.runtime.replay(graph)

    def host_step(self, step: HostStep) -> None:
        resolve: Callable[[Any], int] = self.resolve
        step.run(self, resolve)

    # -- copies --------------------------------------------------------------------------------------------------------

    def upload(self, to: Any, data: np.ndarray) -> None:
        """Host bytes to the device, in order with its launches; ``data`` may change as soon as this returns.

        Through two pinned blocks in turn, on a stream of its own where the runtime has streams: while the card reads one,
        the host fills the other.
        """
        raw, at = np.ascontiguousarray(data).reshape(-1).view(np.uint8), self.resolve(to)
        if not self.runtime.asynchronous:
            self.runtime.upload(at, raw)
            return
        staging = self._stage()
        staging.begin()
        for first in range(0, len(raw), STAGE):
            part = raw[first : first + STAGE]
            staging.send(at + first, part)
        staging.end()

    def download(self, at: Any, nbytes: int) -> np.ndarray:
        """Bytes of the device, when all launches so far are done."""
        out = np.empty(nbytes, np.uint8)
        if not self.runtime.asynchronous:
            self.runtime.download(out, self.resolve(at))
            return out
        staging, at = self._stage(), self.resolve(at)
        for first in range(0, nbytes, STAGE):
            staging.fetch(out[first : first + STAGE], at + first)
        return out

    def _stage(self) -> "Staging":
        if self._staging is None:
            self._staging = Staging(self.runtime)
        return self._staging


class Staging:
    """Two pinned blocks, a stream for copies, and the events that keep copies and kernels in order."""

    def __init__(self, runtime: Any):
        self.runtime, self.stream = runtime, runtime.stream()
        self.blocks = [runtime.pinned(STAGE), runtime.pinned(STAGE)]
        self.busy: list[Any] = [None, None]
        self.turn = 0

    def begin(self) -> None:
        """Copies start when the kernels that were launched before have ended: they may still use the memory."""
        self.runtime.wait(self.runtime.record(), self.stream)

    def send(self, to: int, part: np.ndarray) -> None:
        self.turn = 1 - self.turn
        if self.busy[self.turn] is not None:
            self.runtime.reached(self.busy[self.turn])
        block = self.blocks[self.turn][: len(part)]
        block[:] = part
        self.runtime.upload(to, block, self.stream)
        self.busy[self.turn] = self.runtime.record(self.stream)

    def end(self) -> None:
        """Kernels that are launched from now on start when the copies are done."""
        self.runtime.wait(self.runtime.record(self.stream))

    def fetch(self, to: np.ndarray, at: int) -> None:
        block = self.blocks[0][: len(to)]
        if self.busy[0] is not None:
            self.runtime.reached(self.busy[0])
        self.begin()
        self.runtime.download(block, at, self.stream)
        self.runtime.sync(self.stream)
        to[:] = block


def numbered(value: Any) -> Any:
    """A kernel's argument with its width: 64-bit numbers and addresses and 32-bit floats where not said."""
    return value if isinstance(value, np.generic) else np.float32(value) if isinstance(value, float) else np.int64(value)
