"""What a thread team does when a kernel never ends."""

import numpy as np
import pytest

from ikexplore_kernels import team
from ikexplore_kernels.abi import arg, put_i64
from ikexplore_kernels.program import Instruction, Program


def done_at_once(a, b, record, chunk, chunks, thread):
    """Op: argument 0 is the address of an int64 per chunk."""
    put_i64(arg(record, 0), 8 * chunk, 1)


def until_told(a, b, record, chunk, chunks, thread):
    """Op: returns when the int64 at argument 0 is not 0."""
    while team._atomic_get(arg(record, 0)) == 0:
        team._pause()


def test_a_kernel_that_hangs_is_an_error_and_no_endless_wait(monkeypatch):
    marks, told, stop = np.zeros(4, np.int64), np.zeros(1, np.int64), np.zeros(1, np.int64)
    program = Program([Instruction(done_at_once, [marks.ctypes.data], 4), Instruction(until_told, [told.ctypes.data], 2),
                       Instruction(done_at_once, [marks.ctypes.data], 4)]).link()
    threads = team.Team(2)
    threads.run(program.records[:1], stop)  # loads what threads do
    monkeypatch.setattr(team, "PATIENCE", 0.5)
    try:
        for _ in range(2):  # and so is every later run
            with pytest.raises(RuntimeError, match=r"instruction 1 of 3 has stood at 0 of 2 chunks.*restart this process"):
                threads.run(program.records, stop)
        assert marks.all() and stop[0] == 1
    finally:
        told[0] = 1
        threads.close()


def test_slow_is_not_stuck(monkeypatch):
    """Chunks that end now and then start the wait anew."""
    monkeypatch.setattr(team, "PATIENCE", 0.2)
    told, stop = np.zeros(1, np.int64), np.zeros(1, np.int64)
    program = Program([Instruction(until_told, [told.ctypes.data], 1)]).link()
    threads, counted = team.Team(1), []
    acquire = threads._shared.back.acquire

    def watched(timeout=None):
        got = acquire(timeout=timeout)
        if not got:
            counted.append(1)
            threads._counters[0] += 1  # as if another chunk had been begun
            told[0] = len(counted) == 3
        return got

    monkeypatch.setattr(threads._shared.back, "acquire", watched)
    threads.run(program.records, stop)
    assert len(counted) == 3 and stop[0] == 0
    threads.close()
