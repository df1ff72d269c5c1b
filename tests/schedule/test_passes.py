"""The passes one by one: on graphs small enough to work out by hand, and compiled against plain Python."""

import numpy as np
import pytest
from plan_harness import header, inputs, planned, rig, scenarios, small

import ikexplore as ikx
from ikexplore.graph import fast
from ikexplore.graph.types import F16, gpu_padding, nbytes, type_id
from ikexplore.schedule.arena import _best_fit
from ikexplore.schedule.assign import REASONS
from ikexplore.schedule.flash import flash_2025, flash_2026
from ikexplore.schedule.invariants import broken


def fitted(events, sizes):
    offset, peak = _best_fit(np.array(events, np.int32), np.array(sizes, np.int64), np.zeros(len(sizes), np.int8), 1, 256)
    return offset.tolist(), peak.tolist()


def test_best_fit():
    """The smallest hole that fits, the last (open) block only where none does; neighbours merge."""
    # 0 1 2 side by side; 1 is freed; 3 (smaller) goes into its hole, 4 (too large for the rest) to the end
    assert fitted([0, 1, 2, ~1, 3, 4], [10, 20, 10, 15, 8]) == ([0, 10, 30, 10, 40], [48])
    # two holes of 20 and 12: 12 is the better fit for 12
    assert fitted([0, 1, 2, 3, 4, ~1, ~3, 5], [5, 20, 5, 12, 5, 12])[0][5] == 30
    # of two equal holes the later one
    assert fitted([0, 1, 2, 3, 4, ~1, ~3, 5], [5, 12, 5, 12, 5, 12])[0][5] == 22
    # freed neighbours are one hole
    assert fitted([0, 1, 2, 3, ~1, ~2, 4], [5, 10, 10, 5, 20])[0][4] == 5
    # what is freed at the end belongs to the open block
    assert fitted([0, 1, ~1, 2], [5, 10, 30]) == ([0, 5, 5], [35])


def test_too_many_free_blocks():
    events = [*range(600), *(~i for i in range(0, 600, 2))]
    assert fitted(events, [1] * 600)[1] == []


def test_nbytes_of_views():
    """2025-06 counts the stride of a blocked type's first row, not its bytes."""
    q8_0 = np.array([type_id("q8_0")])
    ne, nb = np.array([[128, 8192, 4, 1]]), np.array([[34, 544, 136, 544]])
    assert nbytes(q8_0, ne, nb, older=True).item() - nbytes(q8_0, ne, nb).item() == 544 - 136
    assert nbytes(np.array([F16]), ne, np.array([[2, 1024, 256, 1024]])).item() == 128 * 2 + 8191 * 1024 + 3 * 256


@pytest.mark.parametrize("kind, ne0, pad", [("q8_0", 128, 408), ("q8_0", 512, 0), ("f16", 128, 0), ("iq4_ks", 768, 140)])
def test_padding_on_gpus(kind, ne0, pad):
    assert gpu_padding(np.array([type_id(kind)]), np.array([ne0])).item() == pad


@pytest.mark.parametrize("gqa, cc, older, newer", [(16, 860, True, True), (8, 860, False, True), (16, 750, False, True)])
def test_flash_attention_of_latent_heads(gqa, cc, older, newer):
    assert flash_2025(576, 1, gqa, 576, 512, "f16", "f16", cc) == older
    assert flash_2026(576, 1, gqa, 576, 512, "f16", "f16", cc) == newer


def test_flash_attention_without_tensor_cores():
    assert flash_2025(64, 1, 4, 64, 64, "f16", "f16", 610) and not flash_2025(64, 1, 4, 64, 64, "q8_0", "q8_0", 860)
    assert not flash_2026(80, 100, 4, 80, 80, "f16", "f16", 610) and flash_2026(80, 100, 4, 80, 80, "f16", "f16", 860)
    assert not flash_2026(128, 1, 1, 128, 128, "bf16", "bf16", 860) and flash_2026(128, 1, 4, 128, 128, "bf16", "bf16", 860)


def reasons(plan, name):
    s, g = plan.schedule, plan.graph
    rows = [row for row in range(g.n_leafs, len(g)) if g.name[row] == name]
    return [(s.backends[s.at.backend[row]], REASONS[s.at.reason[row]]) for row in rows]


def test_reasons():
    plan = planned(header("qwen3-30b-a3b-q4_k_m"), "-c 4096 -ngl 99 -fa -fmoe -ot exps=CPU")
    assert reasons(plan, "inp_embd") == [("CPU", "weight")]
    assert reasons(plan, "ffn_moe_gate_par-3") == [("CUDA0", "offload")]
    assert reasons(plan, "ffn_moe_argsort-3") == [("CUDA0", "neighbour")]
    assert reasons(plan, "cache_k_l3 (view) (copy of Kcur-3)") == [("CUDA0", "memory")]
    one = plan.after_policy["tg"]
    row = one.graph.name.index("ffn_moe_gate_par-3")
    assert one.backends[one.at.backend[row]] == "CPU"


def test_type_without_kernel_stays_on_the_cpu():
    model = small("llama", types={"attn_q": "q4_k_r4"})
    plan = planned(model, "-ngl 99 -fa -c 1024")
    assert reasons(plan, "Qcur-0")[0] == ("CPU", "sources")  # its weight is on the GPU, where nothing multiplies it
    assert planned(small("llama"), "-ngl 99 -fa -c 1024").graph_splits == 2


@pytest.mark.parametrize("ub, n_splits", [(16, 66), (512, 130)])
def test_offload_needs_rows(ub, n_splits):
    """llama 8B with ffn on the CPU: below 32 rows the CPU computes it, from 32 on a GPU fetches the weights."""
    model = header("llama-3.1-8b-q4_k_m")
    assert planned(model, f"-c 4096 -ngl 99 -fa -ub {ub} -ot ffn=CPU").graph_splits == n_splits


def test_offload_changed_between_commits():
    """256 tokens x 8 of 128 experts are 16 tokens per expert: too few since June 12, 2025."""
    model, settings, machine = inputs(scenarios()["q30-exps-cpu-ub256-old"])
    now = ikx.plan(model, settings, rig(24000))
    then = ikx.plan(model, settings, machine)
    assert dict(then.compute_mib)["CUDA0"] == 276.0 and dict(now.compute_mib)["CUDA0"] == 152.38


def test_policy_by_name_and_for_all():
    model = header("llama-3.1-8b-q4_k_m")
    on = planned(model, "-c 4096 -ngl 0 -fa")
    off = planned(model, "-c 4096 -ngl 0 -fa -op -1,0")
    assert off.graph_splits == on.graph_splits > 100  # the reserved graph knows no policy
    assert off.after_policy["pp"].backend_seq == "C"
    only = planned(model, "-c 4096 -ngl 0 -fa -op -1,0,26,1").after_policy["pp"]
    offloaded = {only.graph.op[row] for row in np.flatnonzero(only.at.reason == REASONS.index("offload"))}
    assert offloaded == {"MUL_MAT"}


def test_pipeline_copies():
    model = header("llama-3.1-8b-q4_k_m")
    one, four = (planned(model, "-c 4096 -ngl 99 -fa", rig(24000, 24000, copies=n)) for n in (1, 4))
    assert one.graph_splits == four.graph_splits == 3
    assert four.compute_bytes["CUDA1"] > one.compute_bytes["CUDA1"]
    assert planned(model, "-c 4096 -ngl 99 -fa -nkvo", rig(24000, 24000, copies=4)).placement.n_copies is None


@pytest.mark.parametrize("name", ["l8-2gpu-copies4-nofa", "q30-exps-cpu-rtr", "n-q30-ncmoe20-2gpu", "q30-attn-cpu"])
def test_compiled_passes_equal_plain_ones(name, monkeypatch):
    found = {}
    for limit in (0, 10**9):
        monkeypatch.setattr(fast, "SMALL", limit)
        plan = ikx.plan(*inputs(scenarios()[name]))
        s = plan.schedule
        found[limit] = (s.graph.srcs, s.at.backend, s.at.reason, s.cut.srcs, s.cut.start, s.cut.source, s.arena.events,
                        s.arena.offset, s.arena.peak)  # fmt: skip
        assert broken(s) == []
    for a, b in zip(found[0], found[10**9]):
        assert np.array_equal(a, b)


@pytest.mark.parametrize("name", ["l8-ngl0", "q30-up-cpu-gate-gpu-fmoe", "l70-3gpu-ngl60", "l8-nkvo", "n-q30-muge-exps-cpu"])
def test_invariants(name):
    plan = ikx.plan(*inputs(scenarios()[name]))
    for run in (plan.schedule, *plan.after_policy.values()):
        assert broken(run) == []
