"""A thread team that runs a whole program of instructions within one call.

Python threads enter one kernel together, without the GIL, and share out each instruction's chunks through atomic
counters. An instruction is over when all its chunks are done, not when all threads have arrived, so a thread that
the OS has put aside holds up nobody unless it holds a chunk. Costs about 0.1 us an instruction and 20 us to call in.
"""

import threading
import weakref

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from ._cache import cache_in, inner, ops_folder
from .abi import FIRST, WIDTH, arg, call_op
from .vectors import ARM, _call

#: seconds without a chunk begun or done after which something must be wrong
PATIENCE = 120.0
#: int64 items of a counter pair: claimed at 0, done at 8, on cache lines of their own
STRIDE = 16
_I64 = ir.IntType(64)


@intrinsic
def _atomic_add(typingctx, address, v):
    """int64 at a raw address += v; what was there before."""
    def codegen(context, b, sig, args):
        return b.atomic_rmw("add", b.inttoptr(args[0], _I64.as_pointer()), args[1], "acq_rel")
    return types.int64(types.int64, types.int64), codegen


@intrinsic
def _atomic_get(typingctx, address):
    def codegen(context, b, sig, args):
        return b.load_atomic(b.inttoptr(args[0], _I64.as_pointer()), "acquire", 8)
    return types.int64(types.int64), codegen


@intrinsic
def _pause(typingctx):
    def codegen(context, b, sig, args):
        if not ARM:
            _call(b, "llvm.x86.sse2.pause", ir.VoidType(), [])
        return context.get_dummy_value()
    return types.void(), codegen


@intrinsic
def _sched_yield(typingctx):
    def codegen(context, b, sig, args):
        _call(b, "sched_yield", ir.IntType(32), [])  # libc, found in this process
        return context.get_dummy_value()
    return types.void(), codegen


@inner
def _wait(done, chunks, stop):
    """Until an instruction's chunks are all done; False when told to stop."""
    spins = 0
    while _atomic_get(done) < chunks:
        _pause()
        spins += 1
        if spins > 1000:
            _sched_yield()
            if _atomic_get(stop) != 0:
                return False
    return True


def _work_source(records, n, counters, stop, thread):
    """Run the n instructions of a program, together with the other threads that are in here."""
    for i in range(n):
        record = records + i * (WIDTH * 8)
        chunks = arg(record, 1 - FIRST)
        claimed = counters + i * (STRIDE * 8)
        while True:
            if _atomic_get(stop) != 0:
                return
            chunk = _atomic_add(claimed, 1)
            if chunk >= chunks:
                break
            call_op(arg(record, -FIRST), record, chunk, chunks, thread)
            _atomic_add(claimed + 64, 1)
        if not _wait(claimed + 64, chunks, stop):
            return


with cache_in(ops_folder()):
    _work = njit(cache=True, nogil=True, error_model="numpy")(_work_source)


_STUCK: list[tuple[np.ndarray, np.ndarray]] = []  #: what threads that hang may still read


class Team:
    """``threads`` threads that run programs together; asleep between runs.

    The caller only waits, so that Ctrl-C reaches it while they work. ``close()`` ends the threads; so does garbage
    collection.
    """

    def __init__(self, threads: int):
        if threads < 1:
            raise ValueError(f"a team of {threads} threads cannot work: give at least 1")
        self.threads = threads
        self._counters = np.zeros(0, np.int64)
        self._stuck = ""  # what a later run is told
        self._shared = _Shared([threading.Semaphore(0) for _ in range(threads)])
        for i in range(threads):
            threading.Thread(target=_serve, args=(self._shared, i), daemon=True, name=f"ikexplore-{i}").start()
        self._end = weakref.finalize(self, _dismiss, self._shared)

    def run(self, records: np.ndarray, stop: np.ndarray) -> None:
        """Run all records (int64 [n, WIDTH]); returns early when ``stop`` (int64 [1]) becomes nonzero.

        An exception in the caller (Ctrl-C) stops the threads, waits for them and is passed on. Raises RuntimeError, now and on
        every later call, when for ``PATIENCE`` seconds no chunk was begun or done.
        """
        if self._stuck:
            raise RuntimeError(self._stuck)
        need = records.shape[0] * STRIDE
        if self._counters.size < need:
            self._counters = np.zeros(need, np.int64)
        self._counters[:need] = 0
        shared = self._shared
        shared.job = (records.ctypes.data, records.shape[0], self._counters.ctypes.data, stop.ctypes.data)
        back = 0
        try:
            for go in shared.go:
                go.release()
            while back < self.threads:
                self._wait_for_one(records, need)
                back += 1
        except BaseException:
            stop[0] = 1
            while back < self.threads and not self._stuck:
                shared.back.acquire()
                back += 1
            raise

    def _wait_for_one(self, records: np.ndarray, need: int) -> None:
        """Until a thread is back. Raises RuntimeError when none does anything; what they work on is kept then."""
        before = -1
        while not self._shared.back.acquire(timeout=PATIENCE):
            now = int(self._counters[:need].sum())
            if now == before:
                done = self._counters[8:need:STRIDE]
                i = int(np.argmax(done < records[:, 1]))
                self._stuck = (f"instruction {i} of {len(records)} has stood at {done[i]} of {records[i, 1]} chunks for "
                               f"{PATIENCE:g} s: a kernel hangs. Save your work and restart this process")
                _STUCK.append((records, self._counters))
                raise RuntimeError(self._stuck)
            before = now

    def close(self) -> None:
        """End the threads. A closed team cannot run."""
        self._end()


class _Shared:
    """What the threads see; it does not hold the team, so that a forgotten team can end."""

    def __init__(self, go):
        self.go, self.back, self.job = go, threading.Semaphore(0), None


def _serve(shared, thread):
    while True:
        shared.go[thread].acquire()
        if shared.job is None:
            return
        _work(*shared.job, thread)
        shared.back.release()


def _dismiss(shared):
    shared.job = None
    for go in shared.go:
        go.release()
