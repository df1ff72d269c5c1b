"""Launches gathered into CUDA graphs: replayed tokens are those of single launches, bit for bit, and when graphs are made anew.

The stand-in captures by copying the arguments of each call: a value that changes from one evaluation to the next and comes
from the host instead of the device's memory stays what it was.
"""

import warnings
from types import SimpleNamespace

import numpy as np
import pytest
from hybrid_harness import cards, flags, quantized, rig, tokens
from shim import ShimRuntime, needs_compiler

from ikexplore.errors import Cancelled
from ikexplore.run import Session
from ikexplore.run.hybrid import attention
from ikexplore.run.hybrid.device import Device
from ikexplore.run.hybrid.graphs import COLUMNS, SplitWork
from ikexplore.run.hybrid.launches import HostStep, Launch, Place
from ikexplore_kernels.cuda.runtime import CupyRuntime

pytestmark = [needs_compiler, pytest.mark.filterwarnings("error::RuntimeWarning")]


def opened(model, line, gpus=1, runtimes=None, **more):
    return Session(model, flags(line), machine=rig(gpus), runtimes=runtimes or cards(gpus), **more)


def generated(session, ids, prompt):
    """Logits of the last token of a prompt, then of each token alone."""
    return np.concatenate([session.eval(ids[:prompt]), *(session.eval(ids[i : i + 1]) for i in range(prompt, len(ids)))])


def counts(runtimes):
    return sum(r.captured for r in runtimes), sum(r.replayed for r in runtimes)


def check(model, line, gpus=1, prompt=1, n=3):
    """Generates with graphs and without; gives how many were captured and replayed."""
    ids, runtimes, eager = tokens(model, n), cards(gpus), cards(gpus)
    with opened(model, line, gpus, runtimes) as session:
        got = generated(session, ids, prompt)
    with opened(model, line, gpus, eager, cuda_graphs=False) as session:
        np.testing.assert_array_equal(got, generated(session, ids, prompt))
    assert counts(eager) == (0, 0)
    for runtime in runtimes:
        runtime.check_guards()
    return counts(runtimes)


@pytest.mark.parametrize("arch, kind, line, gpus", [
    ("llama", "", "-ngl 99", 1),
    ("llama", "", "-ngl 2 -no-fa", 1),
    ("llama", "", "-ngl 99 -ts 1,1", 2),
    ("llama", "", "-ngl 99 -nkvo -ctk q8_0 -ctv q8_0", 1),
    ("llama", "", "-ngl 99 -ot attn=CUDA1 -ot ffn_down=CPU", 2),
    ("qwen3moe", "", "-ngl 99", 1),
    ("qwen3moe", "", "-ngl 99 -ot exps=CPU", 1),
    ("qwen3moe", "", "-ngl 99 -muge -mqkv", 1),
    ("gpt-oss", "", "-ngl 99", 1),
    ("deepseek2", "", "-ngl 99", 1),
    ("deepseek2", "q8_0", "-ngl 99 -ot exps=CPU -mla 1", 1),
    ("qwen2", "q4_0", "-ngl 99 -no-fug", 1),
    ("qwen2", "iq4_nl", "-ngl 99 -ctk q8_0 -ctv q8_0", 1),
])  # fmt: skip
def test_replayed_tokens_are_those_of_launches(made, llama, moe, arch, kind, line, gpus):
    model = {"llama": llama, "qwen3moe": moe}.get(arch) or made(arch)
    captured, replayed = check(quantized(model, kind) if kind else model, line, gpus)
    assert captured > 0 and replayed == 2 * captured  # the first of three tokens is launched, the second captured and replayed


def test_a_value_of_the_host_is_found(llama, monkeypatch):
    """The cell that K and V go to, taken from the host when a kernel is launched: right as long as nothing is replayed."""
    right, resolve, sessions = attention.copy, Device.resolve, []

    class Now:
        def __init__(self, at, step):
            self.at, self.step = at, step

    def planted(g, x, at, to, steps, nb=None, ne=None, per_past=0):
        right(g, x, Now(at, per_past) if per_past else at, to, steps, nb, ne, 0)

    def resolved(device, value):
        here = isinstance(value, Now)
        return value.at + value.step * int(sessions[-1].inputs.past[0]) if here else resolve(device, value)

    ids = tokens(llama, 4)
    with opened(llama, "-ngl 99") as session:
        want = generated(session, ids, 1)
    monkeypatch.setattr(attention, "copy", planted)
    monkeypatch.setattr(Device, "resolve", resolved)
    for graphs in (False, True):
        with opened(llama, "-ngl 99", cuda_graphs=graphs) as session:
            sessions.append(session)
            got = generated(session, ids, 1)
            np.testing.assert_array_equal(got[:2], want[:2])
            assert np.array_equal(got[2:], want[2:]) != graphs


def test_more_cells_are_other_graphs(llama):
    """Without flash attention a program serves 32 positions; going back finds the first one's graphs, or makes them anew."""
    ids, runtimes, got = tokens(llama, 35), cards(), []
    for graphs in (True, False):
        with opened(llama, "-ngl 99 -no-fa", 1, runtimes, cuda_graphs=graphs) as session:
            got.append([generated(session, ids, 29)])
            assert runtimes[0].captured == 2 and len({key[2] for key in session._programs}) == 2
            session.rewind(31)
            got[-1] += [session.eval(ids[i : i + 1]) for i in (31, 32)]
    for replayed, launched in zip(*got):
        np.testing.assert_array_equal(replayed, launched)


def test_a_buffer_that_moves_makes_graphs_anew(llama, monkeypatch):
    ids, (card,) = tokens(llama, 5), cards()

    def logits(session):
        generated(session, ids[:3], 1)
        device = session.devices[0]
        for purpose in ("compute", "pool"):
            device.reserve(purpose, device.held[purpose] + 4096)
        return np.concatenate([session.eval(ids[i : i + 1]) for i in (3, 4)])

    with opened(llama, "-ngl 99", runtimes=[card]) as session:
        got = logits(session)
        assert card.captured == 2
        monkeypatch.setattr(Device, "release", lambda self, purpose: None)  # nobody notices that they move
        session.rewind()
        assert not np.array_equal(logits(session), got)
    with opened(llama, "-ngl 99", cuda_graphs=False) as session:
        np.testing.assert_array_equal(logits(session), got)


def test_long_evaluations_are_launched(llama):
    (card,) = cards()
    with opened(llama, "-ngl 99", runtimes=[card]) as session:
        for n in (COLUMNS + 1, COLUMNS):
            for _ in range(3):
                session.eval(tokens(llama, n))
            assert counts([card]) == ((1, 2) if n <= COLUMNS else (0, 0))


def test_what_the_host_does_stays_between_graphs():
    """x is doubled twice, the host adds 1, x is doubled, the host adds 1 twice, x is doubled twice; or the host says stop."""
    (card,) = cards()
    device, x = Device("CUDA0", card), Place("compute", 0)
    device.reserve("compute", 4)

    def add(device, resolve):
        stop[0] = stops
        device.upload(x, device.download(x, 4).view(np.float32) + 1)

    double, host = Launch("ops_elements", "scale", (1, 1, 1), 32, [x, x, 1, 2.0, 0.0], 0), HostStep(add, 0)
    work = SplitWork(device, [double, double, host, double, host, host, double, double], True)
    for run, stops in enumerate([True, False, False, False, True]):
        stop = np.zeros(1)
        device.upload(x, np.float32([run]))
        work.run(stop)
        assert device.download(x, 4).view(np.float32)[0] == (4 * run + 1 if stops else ((4 * run + 1) * 2 + 2) * 4)
    assert counts([card]) == (2, 5)  # a single launch is no graph; what was stopped has not loaded all



def test_a_card_that_cannot_capture_says_so_once(llama):
    class Cannot(ShimRuntime):
        def capture(self, work):
            raise RuntimeError("cudaErrorStreamCaptureUnsupported: not here\nand much more")

    ids = tokens(llama, 4)
    with opened(llama, "-ngl 99", cuda_graphs=False) as session:
        want = generated(session, ids, 1)
    with opened(llama, "-ngl 99", runtimes=cards(kind=Cannot)) as session, warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        np.testing.assert_array_equal(generated(session, ids, 1), want)
        session.rewind()
        np.testing.assert_array_equal(generated(session, ids, 1), want)
    (one,) = [w for w in told if w.category is RuntimeWarning]
    words = str(one.message)
    assert "CUDA0: launches cannot be gathered" in words and "not here); they are made" in words and "\n" not in words


def test_capturing_before_a_kernel_was_loaded_is_refused(llama, monkeypatch):
    """Why the first evaluation launches: the stand-in refuses what a card may."""
    begin = SplitWork.__init__

    def at_once(self, *args):
        begin(self, *args)
        self._launched = True

    monkeypatch.setattr(SplitWork, "__init__", at_once)
    with opened(llama, "-ngl 99") as session, pytest.warns(RuntimeWarning, match="is loaded while a graph is captured"):
        session.eval(tokens(llama, 1))


@pytest.mark.parametrize("what, do", [
    ("allocated", lambda r, a: r.alloc(4)),
    ("pinned", lambda r, a: r.pinned(4)),
    ("waits", lambda r, a: r.sync()),
    ("read", lambda r, a: r.upload(a.ctypes.data, a)),
    ("written", lambda r, a: r.download(a, a.ctypes.data)),
    ("multiplies", lambda r, a: r.matmul("f32", 1, 1, 1, *[a.ctypes.data] * 3, 1)),
    ("event", lambda r, a: r.record()),
    ("captured", lambda r, a: r.capture(print)),
    ("another stream", lambda r, a: r.launch("ops_elements", "scale", [1], [32], [*[a.ctypes.data] * 2, 1, 2.0, 0.0])),
])  # fmt: skip
def test_the_stand_in_refuses_what_a_capture_forbids(what, do):
    (runtime,), a = cards(), np.ones(4, np.float32)
    do(runtime, a)  # loads what is launched
    with pytest.raises(RuntimeError, match=f"{what}.* while a graph is captured"):
        runtime.capture(lambda stream: do(runtime, a))
    do(runtime, a)
    assert runtime.captured == (what == "captured") * 2


def test_stop_is_honoured_between_replays(llama):
    class Stops(ShimRuntime):
        def replay(self, graph, stream=None):
            super().replay(graph, stream)
            session.stop()

    ids, runtimes = tokens(llama, 2), cards(2, Stops)
    with opened(llama, "-ngl 99 -ts 1,1", 2, runtimes) as session:
        session.eval(ids[:1])
        with pytest.raises(Cancelled):
            session.eval(ids[1:])
        assert [r.replayed for r in runtimes] == [1, 0] and session.n_past == 1
        session.resume()


# -- CuPy's side, with a CuPy made up: which calls, in which order -----------------------------------------------------------


class Fake:
    """A stream or a context that writes down what is done with it."""

    def __init__(self, log, fails=False):
        self.log, self.fails = log, fails

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None

    def begin_capture(self, mode):
        self.log.append(("begin", mode))

    def end_capture(self):
        self.log.append("end")
        if self.fails:
            raise RuntimeError("cudaErrorStreamCaptureInvalidated")
        return SimpleNamespace(launch=lambda stream: self.log.append(("launch", stream)))


@pytest.mark.parametrize("fails", [False, True])
def test_cupys_streams_are_left_as_they_were(fails):
    log, null, runtime = [], object(), CupyRuntime.__new__(CupyRuntime)

    def stream(non_blocking):
        log.append(("stream", non_blocking))
        return Fake(log, fails)

    stream.null = null
    runtime.device = Fake(log)
    modes = SimpleNamespace(streamCaptureModeThreadLocal=1)
    runtime._cupy = SimpleNamespace(cuda=SimpleNamespace(Stream=stream, runtime=modes))
    before = [("stream", True), ("begin", 1)]
    with pytest.raises(ZeroDivisionError):
        runtime.capture(lambda on: 1 / 0)
    assert log == [*before, "end"]
    log.clear()
    if fails:
        with pytest.raises(RuntimeError, match="Invalidated"):
            runtime.capture(lambda on: log.append("work"))
        return
    graph = runtime.capture(lambda on: log.append("work"))
    runtime.replay(graph)
    assert log == [*before, "work", "end", ("launch", null)]
