"""The arithmetic of a GPU's probe, on a runtime whose clock is made up: nothing here is a measurement."""

import numpy as np
import pytest

from ikexplore import Machine
from ikexplore.machine import probe_gpu
from ikexplore.machine.probe import probe


class Clocked:
    """Every call takes a known time on a clock of its own."""

    name, asynchronous = "a made-up clock", True

    def __init__(self):
        self.now, self.launched = 100.0, []

    def memory(self):
        return 64 << 20, 64 << 20

    def alloc(self, nbytes):
        class Buffer:
            ptr = 4096

        Buffer.nbytes = nbytes
        return Buffer()

    def pinned(self, nbytes):
        self.fast = np.zeros(nbytes, np.uint8)
        return self.fast

    def upload(self, dst, src, stream=None):
        self.now += src.nbytes / (20e9 if src is self.fast else 5e9)

    def download(self, dst, src, stream=None):
        self.now += dst.nbytes / (10e9 if dst is self.fast else 4e9)

    def copy(self, dst, src, nbytes, stream=None):
        self.now += 2 * nbytes / 1000e9

    def fill(self, dst, byte, nbytes, stream=None):
        self.now += 1

    def launch(self, module, kernel, grid, block, args, shared=0, stream=None):
        self.launched.append((module, kernel))
        self.now += 3e-6

    def matmul(self, wide, m, n, k, w, x, y, ld, stream=None):
        self.now += 2 * m * n * k / 500e12

    def record(self, stream=None):
        return self.now

    def elapsed(self, first, last):
        return last - first

    def sync(self, stream=None):
        self.now += 7e-6


@pytest.fixture
def clock(monkeypatch):
    runtime = Clocked()
    monkeypatch.setattr(probe_gpu.time, "perf_counter", lambda: runtime.now)
    return runtime


def test_rates_are_bytes_and_operations_over_seconds(clock):
    found = probe_gpu.GpuProbe("CUDA0", clock.name)
    for _, work in probe_gpu.steps(clock, [("q4_k", 1024, 2048)], found):
        work()
    assert found.copy_gbs == pytest.approx(1000)
    size = 8 << 20
    for key, rate in {("up", "pinned"): 20, ("up", "pageable"): 5, ("down", "pinned"): 10, ("down", "pageable"): 4}.items():
        assert found.pcie[key] == pytest.approx(size / (size / rate / 1e9 + 7e-6) / 1e9)
    assert found.launch_s == pytest.approx(3e-6 + 7e-6 / probe_gpu.LAUNCHES) and found.sync_s == pytest.approx(10e-6)
    assert found.half_tflops == pytest.approx(500)
    one, eight = found.products
    assert one["gbs"] == pytest.approx(1024 * 1152 / 3e-6 / 1e9)
    assert one["gflops"] == pytest.approx(2 * 1024 * 2048 / 3e-6 / 1e9)
    assert (one["n"], eight["n"]) == (1, 8) and eight["gflops"] == pytest.approx(8 * one["gflops"])
    assert {("q4_k", "gemv_q4_k"), ("q4_k", "gemv_many_q4_k")} <= set(clock.launched)
    assert "timed on: a made-up clock" in found.to_markdown() and "20.0" not in found.to_markdown()


def test_the_machine_learns_its_link_and_says_where_from(monkeypatch):
    rig = Machine.described(gpus=[{"name": "CUDA0", "free_mib": 8000}], cpu={"ram_mib": 8000, "cores": 1})
    runtime = Clocked()
    monkeypatch.setattr("ikexplore.machine.probe._bandwidths", lambda machine, threads: iter([(1, 10.0)]))
    monkeypatch.setattr(probe_gpu, "_waited", lambda r, work: 0.5)
    found = probe(rig, progress=False, runtimes=[runtime])
    assert found.machine.gpus[0].pcie_gbs == round((8 << 20) / 0.5 / 1e9, 1) and found.gpus[0].by == "a made-up clock"
    assert found.machine.gpus[0].bandwidth_gbs is None and found.machine.cpu.core_gbs == 10.0
    assert probe(rig, progress=False).gpus == []  # a described GPU is not timed
