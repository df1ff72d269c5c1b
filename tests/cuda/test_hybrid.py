"""Hybrid runs with a stand-in for each card: the CPU engine's logits, node by node, and what a device must hold."""

import numpy as np
import pytest
from hybrid_harness import cards, evaluated, flags, quantized, relative, rig, tokens
from shim import ShimRuntime, needs_compiler

import ikexplore as ikx
from ikexplore.errors import Cancelled, ModelError, SettingsError
from ikexplore.run import Session
from ikexplore.run.hybrid.program import Hybrid
from ikexplore.run.hybrid.session import HybridSession
from ikexplore.run.paths import CudaPath
from ikexplore.schedule.abilities import rules
from ikexplore_kernels.formats import get

pytestmark = needs_compiler
MIB = 1 << 20


class Small(ShimRuntime):
    """A device with little memory."""

    def memory(self):
        return MIB, MIB


class Late(ShimRuntime):
    """A device whose copies on streams of their own are made as late as is allowed: when somebody waits for them."""

    asynchronous = True

    def __init__(self, *groups):
        super().__init__(*groups)
        self.coming = []

    def _make(self, upto):
        while self.coming and self.coming[0][0] < upto:
            _, dst, src = self.coming.pop(0)
            super().upload(dst, src)

    def upload(self, dst, src, stream=None):
        self.count = getattr(self, "count", 0) + 1
        self.coming.append((self.count, dst, src))  # as it will be then: the block must not change before

    def record(self, stream=None):
        return getattr(self, "count", 0) + 1 if stream is not None else 0

    def wait(self, event, stream=None):
        self._make(event)

    reached = wait

    def sync(self, stream=None):
        self._make(1 << 60)

    def download(self, dst, src, stream=None):
        self._make(1 << 60)
        super().download(dst, src)


def both(model, line, n=20, gpus=1):
    """(hybrid logits, the CPU engine's, the prompt's schedule)"""
    ids, runtimes = tokens(model, n), cards(gpus)
    with Session(model, flags(line)) as session:
        want = evaluated(session, ids)
    with Session(model, flags(line), machine=rig(gpus), runtimes=runtimes) as session:
        assert isinstance(session, HybridSession)
        got = evaluated(session, ids)
        kept = list(session._programs.values())
    for runtime in runtimes:
        runtime.check_guards()
    return got, want, kept[0].schedule


# -- logits ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("line, gpus, splits", [
    ("-ngl 99", 1, "C0"),
    ("-ngl 2 -no-fa", 1, "C0"),
    ("-ngl 99 -ts 1,1", 2, "C01"),
    ("-ngl 99 -nkvo -ctk q8_0 -ctv q8_0", 1, "C0"),
    ("-ngl 99 -ot attn=CUDA1 -ot ffn_down=CPU", 2, "C01"),
])  # fmt: skip
def test_logits_of_dense_models_are_the_cpus(llama, line, gpus, splits):
    got, want, planned = both(llama, line, gpus=gpus)
    assert set(planned.backend_seq) == set(splits)
    assert relative(got, want) < (0.01 if "q8_0" in line else 1.5e-3)


def test_experts_on_the_cpu(moe):
    got, want, planned = both(moe, "-ngl 99 -ot exps=CPU")
    assert planned.backend_seq.count("C") > 2
    rows = np.linalg.norm(got - want, axis=1) / np.linalg.norm(want, axis=1)
    assert np.median(rows) < 0.03


def test_experts_of_the_host_are_fetched_for_a_large_batch(made):
    """The reference's rule: from 32 tokens an expert on average, a GPU fetches the weights."""
    model = made("gpt-oss")
    got, want, planned = both(model, "-ngl 99 -ot exps.weight=CPU", n=92)
    one_layer = sum(t.nbytes for t in model.tensors.values() if t.name.startswith("blk.0.") and t.name.endswith("exps.weight"))
    assert planned.weight_bytes_copied == 2 * one_layer
    rows = np.linalg.norm(got - want, axis=1) / np.linalg.norm(want, axis=1)
    assert np.median(rows) < 1.5e-3
    assert both(model, "-ngl 99 -ot exps.weight=CPU -op 27,0,29,0,31,0,28,0", n=92)[2].weight_bytes_copied < one_layer // 8


# -- node by node ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("arch, kind, line", [
    ("gpt-oss", "", "-ngl 99"),
    ("deepseek2", "", "-ngl 99"),
    ("deepseek2", "q8_0", "-ngl 99 -ot exps=CPU -mla 1"),
    ("qwen2", "q4_0", "-ngl 99 -no-fug"),
    ("qwen2", "iq4_nl", "-ngl 99 -ctk q8_0 -ctv q8_0"),
])  # fmt: skip
def test_every_node_is_the_naive_paths(made, arch, kind, line):
    model = quantized(made(arch), kind) if kind else made(arch)

    def path(model, _):
        return CudaPath(model, flags(line), rig(), cards())

    found = ikx.crosscheck(model, path, "naive", tokens(model, 14))
    assert found is None, str(found)


def test_every_node_of_merged_experts_is_the_naive_paths(moe):
    settings = flags("-ngl 99 -muge -mqkv")
    found = ikx.crosscheck(moe, lambda m, _: CudaPath(m, settings, rig(), cards()), "naive", tokens(moe, 14))
    assert found is None, str(found)


def test_transposed_latents_of_a_quantized_cache(made):
    """The naive path reads blocks along rows only, so these two are compared with each other."""
    line, ids = "-mla 2 -ctk q8_0", tokens(made("deepseek2"), 14)
    found = ikx.crosscheck(made("deepseek2"), flags(line), lambda m, _: CudaPath(m, flags(line), rig(), cards()), ids)
    assert found is None, str(found)


def test_a_wrong_kernel_is_found_at_its_node(made, monkeypatch):
    from ikexplore.run.hybrid import ops

    right = ops.OPS["FUSED_RMS_NORM"]

    def wrong(g, row):
        right(g, row)
        g.steps[-1].args[-1] = 0.1

    monkeypatch.setitem(ops.OPS, "FUSED_RMS_NORM", wrong)
    model = made("qwen2")
    found = ikx.crosscheck(model, lambda m, _: CudaPath(m, flags("-ngl 99"), rig(), cards()), "naive", tokens(model, 6))
    assert found is not None and found.op == "FUSED_RMS_NORM" and "CPU standing in" in found.a


# -- copies and order -----------------------------------------------------------------------------------------------------


def test_each_copy_is_needed(llama, monkeypatch):
    """A copy that is left out changes the logits: none is idle, and none is made in another way too."""
    ids, line, right = tokens(llama, 6), "-ngl 99 -ts 1,1", Hybrid._copy

    def logits(left_out):
        def copy(self, one):
            if one.number != left_out:
                right(self, one)

        monkeypatch.setattr(Hybrid, "_copy", copy)
        with Session(llama, flags(line), machine=rig(2), runtimes=cards(2)) as session:
            out = session.eval(ids, len(ids))
            return out, next(iter(session._programs.values()))

    want, hybrid = logits(-1)
    names = {one.number: hybrid.graph.name[one.row] for split in hybrid.copies for one in split}
    assert {"inp_embd", "inp_pos", "l_out-0"} & set(names.values())
    for number, name in names.items():
        if name not in ("inp_pos", "inp_out_ids"):  # what these say is known otherwise: turns are filled per evaluation
            assert relative(logits(number)[0], want) > 1e-3, name


def test_copies_that_are_late_are_waited_for(llama, monkeypatch):
    """The order is kept by events alone; without one of the waits the logits are others."""
    monkeypatch.setattr("ikexplore.run.hybrid.device.STAGE", 4096)  # many blocks for each tensor
    ids, line = tokens(llama, 6), flags("-ngl 99 -ts 1,1")

    def logits(kind):
        with Session(llama, line, machine=rig(2), runtimes=cards(2, kind)) as session:
            return session.eval(ids, len(ids))

    np.testing.assert_array_equal(logits(Late), logits(ShimRuntime))
    monkeypatch.setattr(Late, "reached", lambda self, event: None)  # blocks are filled again before they were read
    assert not np.allclose(logits(Late), logits(ShimRuntime), equal_nan=False)
    monkeypatch.undo()
    monkeypatch.setattr("ikexplore.run.hybrid.device.Staging.end", lambda self: None)  # kernels start before copies are made
    assert not np.allclose(logits(Late), logits(ShimRuntime), equal_nan=False)


def test_a_missing_copy_is_an_error_not_a_wrong_read(llama):
    with Session(llama, flags("-ngl 99"), machine=rig(), runtimes=cards()) as session:
        graph = session._build(4, 256, 4)
        planned = session._schedule(graph)
        planned.cut.srcs[:] = np.where(planned.cut.srcs >= len(graph), graph.srcs, planned.cut.srcs)
        with pytest.raises(ModelError, match="no split copies it"):
            Hybrid(planned, session.devices, session._memories, session.weights, session.caches, session.inputs,
                   session._rope, 2, session._turned)


# -- memory ---------------------------------------------------------------------------------------------------------------


def test_a_device_holds_what_is_planned(made):
    model = quantized(made("gpt-oss"), "q8_0")
    s = flags("-ngl 99 -ub 64 -b 64")
    p = ikx.plan(model, s, rig())
    with Session(model, s, machine=rig(), runtimes=cards()) as session:
        session.eval(tokens(model, 64))
        held = dict(session.devices[0].held)
    sizes = dict(p.placement.model_bytes), dict(p.placement.kv_bytes), p.compute_bytes
    assert (held["weights"], held["cache"], held["compute"]) == tuple(size["CUDA0"] for size in sizes)


def test_too_small_a_device_is_told_before_anything_runs(llama):
    need = ikx.plan(llama, flags("-ngl 99"), rig()).devices[0]
    with pytest.raises(SettingsError) as told:
        Session(llama, flags("-ngl 99"), machine=rig(free_mib=1), runtimes=cards())
    words = str(told.value)
    assert "CUDA0 has 1.00 MiB free" in words and f"needs {need.total_mib:.2f}" in words and "weights" in words
    with pytest.raises(SettingsError, match=r"CUDA0 has 1\.00 MiB free"):
        Session(llama, flags("-ngl 99"), machine=rig(), runtimes=cards(kind=Small))


# -- the rest -------------------------------------------------------------------------------------------------------------


def test_stop_and_go_on(llama):
    class Stops:
        def wants(self, graph, row):
            return graph.op[row] == "FLASH_ATTN_EXT"

        def see(self, trace, row):
            session.stop()

    ids = tokens(llama, 4)
    with Session(llama, flags("-ngl 99"), machine=rig(), runtimes=cards()) as session:
        session.observer = Stops()
        with pytest.raises(Cancelled):
            session.eval(ids)
        session.observer, before = None, session.n_past
        session.resume()
        assert before == 0 and np.isfinite(session.eval(ids)).all()
        assert "CPU standing in" in session.computed_on


def test_types_without_a_kernel_of_the_references(made):
    """Row-interleaved types fall back to the CPU as in the reference, unless our own kernels may be used."""
    model = quantized(made("qwen2"), "q4_0_r8")
    sequences = []
    for reference in (True, False):
        with Session(model, flags("-ngl 99"), machine=rig(), runtimes=cards(), reference_kernels=reference) as session:
            sequences.append(session._schedule(session._build(1, 256, 1)).backend_seq)
    assert sequences[0].count("C") > 5 and sequences[1] == "C0"
    cx = ikx.plan(model, flags(""), rig()).placement.context
    assert not rules(cx, rig()).matmul[get("q4_0_r8").id] and rules(cx, rig(), False).matmul[get("q4_0_r8").id]


def test_what_cannot_be_run_is_told(llama, monkeypatch):
    with pytest.raises(SettingsError, match="2 GPUs are planned and 1"):
        Session(llama, flags("-ngl 99"), machine=rig(2), runtimes=cards(1))
    with pytest.raises(SettingsError, match="-sm row can be planned, not run"):
        Session(llama, ikx.Settings.parse("-c 256 -ngl 99 -sm row", profile="2025-06"), machine=rig(2), runtimes=cards(2))
    monkeypatch.setattr("ikexplore_kernels.cuda.build.available", lambda: (False, "CuPy is not installed: do this"))
    with pytest.raises(SettingsError, match="needs a GPU: CuPy is not installed"):
        ikx.crosscheck(llama, "cuda")
