"""What runs a kernel: the protocol `Runtime`, and `CupyRuntime` for a card. The tests have one that runs on the CPU.

Memory is addressed by numbers: a `Buffer` has ``ptr`` and ``nbytes`` and lives as long as it is held. Arguments of a
kernel are numpy scalars of the kernel's own types (np.int32, np.int64, np.float32 ...); a plain int is a pointer or an
int64, a plain float is a float32.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Protocol

import numpy as np

from .build import available, load

__all__ = ["Buffer", "CupyRuntime", "Runtime", "packed"]

Dim = Sequence[int]
_FLOAT, _HALF = 0, 2  # cudaDataType: CUDA_R_32F, CUDA_R_16F


class Buffer(Protocol):
    """Device memory: ``ptr`` is its address, ``nbytes`` its size. Freed when nobody holds it."""

    ptr: int
    nbytes: int


class Runtime(Protocol):
    """One device. A stream of None is the device's default stream; on one stream things happen in order."""

    name: str
    #: can copies run beside kernels, on streams of their own?
    asynchronous: bool

    def alloc(self, nbytes: int) -> Buffer:
        """Memory, not cleared. Raises MemoryError where there is not enough."""

    def pinned(self, nbytes: int) -> np.ndarray:
        """uint8 [nbytes] of host memory that copies can read or write directly."""

    def upload(self, dst: int, src: np.ndarray, stream: Any = None) -> None:
        """Host array (contiguous) to device address. From pinned memory it may be under way when this returns."""

    def download(self, dst: np.ndarray, src: int, stream: Any = None) -> None:
        """Device address to host array (contiguous). Into pinned memory it may be under way when this returns."""

    def copy(self, dst: int, src: int, nbytes: int, stream: Any = None) -> None:
        """Device to device."""

    def fill(self, dst: int, byte: int, nbytes: int, stream: Any = None) -> None:
        """Set bytes."""

    def launch(
        self, module: str, kernel: str, grid: Dim, block: Dim, args: Sequence[Any], shared: int = 0, stream: Any = None
    ) -> None:
        """Start ``kernel`` of ``module`` on ``grid`` blocks of ``block`` threads with ``shared`` bytes of shared memory."""

    def matmul(self, wide: str, m: int, n: int, k: int, w: int, x: int, y: int, ld: int, stream: Any = None) -> None:
        """float32 y[n, m] = x[n, k] w[m, k]^T, summed in float32; w and x are both "f16" or both "f32"; rows of y lie ``ld``
        numbers apart."""

    def capture(self, work: Callable[[Any], None]) -> Any:
        """A graph of what ``work(stream)`` launches on the stream it is given: recorded with the arguments of now, not run.

        Every kernel was launched before on this device; ``work`` allocates nothing, copies nothing from or to the host and
        waits for nothing. Raises RuntimeError where it does, or where the device cannot.
        """

    def replay(self, graph: Any, stream: Any = None) -> None:
        """Start a graph's kernels in their order: one call, whatever their number."""

    def stream(self) -> Any:
        """A new stream."""

    def record(self, stream: Any = None) -> Any:
        """An event: the point that the stream has been given work up to."""

    def wait(self, event: Any, stream: Any = None) -> None:
        """What follows on ``stream`` starts after the event."""

    def reached(self, event: Any) -> None:
        """Wait on the host for an event."""

    def elapsed(self, first: Any, last: Any) -> float:
        """Seconds from one event to a later one, waiting for it."""

    def sync(self, stream: Any = None) -> None:
        """Wait for a stream, or (None) for all of the device's work."""

    def memory(self) -> tuple[int, int]:
        """Bytes free and bytes in all."""


def packed(args: Sequence[Any]) -> list[np.generic]:
    """Arguments as numpy scalars. Raises TypeError for what no kernel takes."""
    out: list[np.generic] = []
    for a in args:
        if isinstance(a, np.generic):
            out.append(a)
        elif isinstance(a, bool) or not isinstance(a, (int, float)):
            raise TypeError(f"a kernel takes numbers, not {type(a).__name__}")
        else:
            out.append(np.int64(a) if isinstance(a, int) else np.float32(a))
    return out


class _CupyBuffer:
    def __init__(self, memory: Any, nbytes: int):
        self._memory, self.ptr, self.nbytes = memory, int(memory.ptr), nbytes


class CupyRuntime:
    """CUDA device ``device`` through CuPy. Raises RuntimeError, with what to do, where it cannot be used."""

    asynchronous = True

    def __init__(self, device: int = 0):
        can, reason = available()
        if not can:
            raise RuntimeError(reason)
        import cupy

        count = cupy.cuda.runtime.getDeviceCount()
        if not 0 <= device < count:
            raise RuntimeError(f"there is no CUDA device {device}: the driver sees {count}, numbered from 0")
        self._cupy, self.device = cupy, cupy.cuda.Device(device)
        facts = cupy.cuda.runtime.getDeviceProperties(device)
        self.name = facts["name"].decode() if isinstance(facts["name"], bytes) else str(facts["name"])
        self.arch = facts["major"] * 10 + facts["minor"]
        self._kernels: dict[tuple[str, str], Any] = {}

    def alloc(self, nbytes: int) -> _CupyBuffer:
        with self.device:
            try:
                return _CupyBuffer(self._cupy.cuda.alloc(max(nbytes, 1)), nbytes)
            except self._cupy.cuda.memory.OutOfMemoryError as error:
                free, total = self.memory()
                raise MemoryError(
                    f"{self.name}: {nbytes / 2**20:.1f} MiB were asked for and {free / 2**20:.1f} of {total / 2**20:.0f} MiB "
                    "are free: place less on this device"
                ) from error

    def pinned(self, nbytes: int) -> np.ndarray:
        memory = self._cupy.cuda.alloc_pinned_memory(max(nbytes, 1))
        return np.frombuffer(memory, np.uint8, nbytes)

    def _on(self, stream: Any) -> Any:
        return self._cupy.cuda.Stream.null if stream is None else stream

    def upload(self, dst: int, src: np.ndarray, stream: Any = None) -> None:
        self._transfer(dst, src.ctypes.data, _contiguous(src).nbytes, stream, 1)

    def download(self, dst: np.ndarray, src: int, stream: Any = None) -> None:
        self._transfer(_contiguous(dst).ctypes.data, src, dst.nbytes, stream, 2)

    def copy(self, dst: int, src: int, nbytes: int, stream: Any = None) -> None:
        self._transfer(dst, src, nbytes, stream, 3)

    def _transfer(self, dst: int, src: int, nbytes: int, stream: Any, kind: int) -> None:
        if nbytes:
            with self.device:
                self._cupy.cuda.runtime.memcpyAsync(dst, src, nbytes, kind, self._on(stream).ptr)

    def fill(self, dst: int, byte: int, nbytes: int, stream: Any = None) -> None:
        if nbytes:
            with self.device:
                self._cupy.cuda.runtime.memsetAsync(dst, byte, nbytes, self._on(stream).ptr)

    def launch(
        self, module: str, kernel: str, grid: Dim, block: Dim, args: Sequence[Any], shared: int = 0, stream: Any = None
    ) -> None:
        with self.device, self._on(stream):
            function = self._kernels.get((module, kernel))
            if function is None:
                function = self._kernels[module, kernel] = load(module).get_function(kernel)
            if shared > 48 * 1024 and function.max_dynamic_shared_size_bytes < shared:
                function.max_dynamic_shared_size_bytes = shared
            function(tuple(grid), tuple(block), tuple(packed(args)), shared_mem=shared)

    def matmul(self, wide: str, m: int, n: int, k: int, w: int, x: int, y: int, ld: int, stream: Any = None) -> None:
        from cupy_backends.cuda.libs import cublas

        one, zero = np.ones(1, np.float32), np.zeros(1, np.float32)
        kind = _HALF if wide == "f16" else _FLOAT
        with self.device, self._on(stream):  # gemmEx works on the current stream
            handle = self._cupy.cuda.device.get_cublas_handle()
            # columns first: y^T [m, n] = w^T [k, m] transposed times x^T [k, n]
            cublas.gemmEx(handle, cublas.CUBLAS_OP_T, cublas.CUBLAS_OP_N, m, n, k, one.ctypes.data, w, kind, k, x, kind, k,
                          zero.ctypes.data, y, _FLOAT, ld, cublas.CUBLAS_COMPUTE_32F, cublas.CUBLAS_GEMM_DEFAULT)

    def capture(self, work: Callable[[Any], None]) -> Any:
        # The default stream cannot be captured, so a graph is recorded on a stream that never runs anything; replay gives it
        # to the default stream, where it is in order with launches and with the events of copies just as its kernels would
        # be. Non-blocking: work of others on the default stream, which a blocking stream depends on, must not spoil the
        # capture. Thread-local: what cannot be captured is an error of the thread that does it, not of its neighbours.
        with self.device:
            stream = self._cupy.cuda.Stream(non_blocking=True)
            stream.begin_capture(self._cupy.cuda.runtime.streamCaptureModeThreadLocal)
            try:
                work(stream)
            except BaseException:
                with suppress(Exception):  # the stream leaves its mode; the first error is the one to tell
                    stream.end_capture()
                raise
            return stream.end_capture()

    def replay(self, graph: Any, stream: Any = None) -> None:
        with self.device:
            graph.launch(self._on(stream))

    def stream(self) -> Any:
        with self.device:
            return self._cupy.cuda.Stream(non_blocking=True)

    def record(self, stream: Any = None) -> Any:
        with self.device:
            event = self._cupy.cuda.Event()
            event.record(self._on(stream))
            return event

    def wait(self, event: Any, stream: Any = None) -> None:
        with self.device:
            self._on(stream).wait_event(event)

    def reached(self, event: Any) -> None:
        event.synchronize()

    def elapsed(self, first: Any, last: Any) -> float:
        last.synchronize()
        return self._cupy.cuda.get_elapsed_time(first, last) / 1e3

    def sync(self, stream: Any = None) -> None:
        with self.device:
            if stream is None:
                self.device.synchronize()
            else:
                stream.synchronize()

    def memory(self) -> tuple[int, int]:
        with self.device:
            free, total = self._cupy.cuda.runtime.memGetInfo()
            return free + self._cupy.get_default_memory_pool().free_bytes(), total


def _contiguous(array: np.ndarray) -> np.ndarray:
    if not array.flags.c_contiguous:
        raise ValueError("copies between host and device take contiguous arrays")
    return array
