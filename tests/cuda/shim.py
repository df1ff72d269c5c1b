"""`ShimRuntime`: the kernels' own text, compiled as C++17 and run on the CPU. The same protocol as a card's runtime.

Proves arithmetic and indexing, not speed and not what only a card does (memory order between blocks, tensor cores).
"""

import ctypes
import functools
import hashlib
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest

from ikexplore_kernels.cuda.runtime import packed
from ikexplore_kernels.cuda.source import expanded, source

_HEADER = Path(__file__).parent / "shim"
_FLAGS = ["-std=c++17", "-O1", "-shared", "-fPIC", "-ffp-contract=off", "-fno-strict-aliasing", "-U_FORTIFY_SOURCE", "-w"]
_GUARD = 64


def compiler() -> str | None:
    """A C++ compiler: $CXX, g++ or clang++."""
    return next(
        (found for name in (os.environ.get("CXX", ""), "g++", "clang++") if name and (found := shutil.which(name))), None
    )


needs_compiler = pytest.mark.skipif(
    compiler() is None, reason="no C++ compiler (g++ or clang++): the kernels cannot be run on the CPU"
)


@functools.lru_cache(maxsize=1)
def _folder() -> tempfile.TemporaryDirectory:
    return tempfile.TemporaryDirectory(prefix="ikexplore-shim-")


@functools.cache
def library(*names: str, text: str | None = None) -> ctypes.CDLL:
    """The modules (or ``text``) as one shared library. Raises RuntimeError with the compiler's first words."""
    code = source(*names) if text is None else text
    stem = Path(_folder().name, hashlib.sha256(code.encode()).hexdigest()[:20])
    stem.with_suffix(".cpp").write_text(f'#include "shim.h"\n{code}', encoding="utf-8")
    command = [compiler() or "g++", *_FLAGS, f"-I{_HEADER}", str(stem.with_suffix(".cpp")), "-o", str(stem.with_suffix(".so"))]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(names)} does not compile with {command[0]}:\n{done.stderr[:4000]}")
    return ctypes.CDLL(str(stem.with_suffix(".so")))


def _at(address: int, count: int, dtype) -> np.ndarray:
    """Memory at an address, as an array."""
    size = count * np.dtype(dtype).itemsize
    return np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(address)).view(dtype)


class ShimBuffer:
    """Host memory between two guards that no kernel may touch."""

    def __init__(self, nbytes: int):
        self._all = np.full(nbytes + _GUARD + 512, 0xA5, np.uint8)
        self._start = 256 + -self._all.ctypes.data % 256
        self.ptr, self.nbytes = self._all.ctypes.data + self._start, nbytes

    def intact(self) -> bool:
        end = self._start + self.nbytes
        return bool(
            (self._all[self._start - _GUARD : self._start] == 0xA5).all() and (self._all[end : end + _GUARD] == 0xA5).all()
        )


class ShimRuntime:
    """A "device" that is this CPU. ``groups``: sets of modules to compile together; others are compiled one by one.

    ``texts`` are modules of a test's own: their CUDA C++, with our headers included by name.
    """

    name, asynchronous, arch = "CPU standing in for a card", False, 0
    backwards = False  #: the last block first: results that depend on the order of blocks are others

    def __init__(self, *groups: tuple[str, ...], texts: dict[str, str] | None = None):
        self._texts = {name: expanded(text, name) for name, text in (texts or {}).items()}
        self._group = {name: group for group in groups for name in group}
        self._functions: dict[tuple[str, str], tuple] = {}
        self.buffers: list[ShimBuffer] = []
        self._capturing: list[tuple] | None = None  # calls with their arguments, while a graph is captured
        self.captured = self.replayed = 0

    def _not_captured(self, what: str) -> None:
        """As strict as a card's thread-local capture, and as a card whose default stream would run what goes there now."""
        if self._capturing is not None:
            raise RuntimeError(f"{what} while a graph is captured")

    def alloc(self, nbytes: int) -> ShimBuffer:
        self._not_captured("memory is allocated")
        self.buffers.append(ShimBuffer(nbytes))
        return self.buffers[-1]

    def check_guards(self) -> None:
        """Raises AssertionError where a kernel has written beside a buffer."""
        assert all(b.intact() for b in self.buffers), "a kernel wrote outside of its buffers"

    def pinned(self, nbytes: int) -> np.ndarray:
        self._not_captured("memory is pinned")
        return np.empty(nbytes, np.uint8)

    def upload(self, dst: int, src: np.ndarray, stream=None) -> None:
        self._not_captured("the host's memory is read")
        assert src.flags.c_contiguous
        ctypes.memmove(dst, src.ctypes.data, src.nbytes)

    def download(self, dst: np.ndarray, src: int, stream=None) -> None:
        self._not_captured("the host's memory is written")
        assert dst.flags.c_contiguous
        ctypes.memmove(dst.ctypes.data, src, dst.nbytes)

    def copy(self, dst: int, src: int, nbytes: int, stream=None) -> None:
        self._not_captured("memory is copied")
        ctypes.memmove(dst, src, nbytes)

    def fill(self, dst: int, byte: int, nbytes: int, stream=None) -> None:
        self._not_captured("memory is filled")
        ctypes.memset(dst, byte, nbytes)

    def _function(self, module: str, kernel: str):
        found = self._functions.get((module, kernel))
        if found is None:
            self._not_captured(f"{module} is loaded")
            names = self._group.get(module, (module,))
            function = getattr(library(*names, text=self._texts.get(module)), f"launch_{kernel}")
            function.restype = ctypes.c_char_p
            sizes = (ctypes.c_int * 64)()
            function(None, None, sizes)
            found = self._functions[module, kernel] = function, list(sizes)[: list(sizes).index(-1)]
        return found

    def launch(self, module: str, kernel: str, grid, block, args, shared: int = 0, stream=None) -> None:
        function, sizes = self._function(module, kernel)
        values = [np.array(a) for a in packed(args)]
        given = [v.itemsize for v in values]
        if given != sizes:
            raise TypeError(f"{kernel} takes arguments of {sizes} bytes and was given {given}")
        dims = [*grid, *[1] * (3 - len(grid)), *block, *[1] * (3 - len(block)), shared]
        if min(dims[:6]) < 1 or np.prod(dims[3:6]) > 1024 or max(dims[1:3]) > 65535 or dims[5] > 64 or shared > 227 * 1024:
            raise ValueError(f"{kernel}: a card does not take grid {list(grid)}, block {list(block)}, {shared} bytes")
        call = kernel, function, (ctypes.c_uint * 8)(*[int(d) for d in dims], self.backwards), values
        if self._capturing is None:
            self._run(*call)
        elif stream is self._capturing_on:
            self._capturing.append(call)
        else:
            self._not_captured(f"{kernel} is launched on another stream")

    def _run(self, kernel: str, function, dims, values: list[np.ndarray]) -> None:
        pointers = (ctypes.c_void_p * max(len(values), 1))(*[v.ctypes.data for v in values])
        failed = function(dims, pointers, None)
        if failed:
            raise RuntimeError(f"{kernel}: {failed.decode()}")

    def capture(self, work) -> list[tuple]:
        """The calls, each with copies of its arguments: what is not in device memory is what it was."""
        self._not_captured("a graph is captured")
        self._capturing, self._capturing_on = [], object()
        try:
            work(self._capturing_on)
            self.captured += 1
            return self._capturing
        finally:
            self._capturing = None

    def replay(self, graph: list[tuple], stream=None) -> None:
        self._not_captured("a graph is launched")
        self.replayed += 1
        for call in graph:
            self._run(*call)

    def matmul(self, wide: str, m: int, n: int, k: int, w: int, x: int, y: int, ld: int, stream=None) -> None:
        self._not_captured("the library multiplies")
        dtype = np.float16 if wide == "f16" else np.float32
        a, b = (_at(p, rows * k, dtype).reshape(rows, k).astype(np.float32) for p, rows in ((w, m), (x, n)))
        out = _at(y, (n - 1) * ld + m, np.float32)
        np.lib.stride_tricks.as_strided(out, (n, m), (4 * ld, 4))[...] = b @ a.T

    def stream(self):
        return object()

    def record(self, stream=None) -> float:
        self._not_captured("an event is recorded")
        return time.perf_counter()

    def wait(self, event, stream=None) -> None:
        self._not_captured("an event is waited for")

    def reached(self, event) -> None:
        self._not_captured("an event is waited for")

    def elapsed(self, first: float, last: float) -> float:
        return last - first

    def sync(self, stream=None) -> None:
        self._not_captured("the host waits")

    def memory(self) -> tuple[int, int]:
        return 1 << 40, 1 << 40
