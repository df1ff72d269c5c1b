"""Findings: each one sentence, with what it costs and the mended flag."""

import pytest
from plan_harness import header, planned, rig, small

from ikexplore.placement.rules import matches
from ikexplore.schedule.slips import mended_ranges

R1 = "deepseek-r1-iq2_k_r4"
Q30 = "qwen3-30b-a3b-q4_k_m"


def found(plan, part):
    """The one finding with these words."""
    hits = [f for f in plan.findings if part in f.text]
    assert len(hits) == 1, [f.text for f in plan.findings]
    assert hits[0].text.endswith(".") and "\n" not in hits[0].text
    return hits[0]


def test_forgotten_bias_costs_two_splits_a_layer():
    flags = "-c 4096 -mla 3 -fa -fmoe -ngl 99 -ot exps=CPU "
    plan = planned(header(R1), flags + r"-ot 'blk\.[3-9]\.ffn_.*=CPU'")
    finding = found(plan, "leaves its exp_probs_b.bias behind")
    assert "14 splits more per generated token" in finding.text and "layers 3-9" in finding.text
    mended = planned(header(R1), flags + finding.fix)
    assert plan.after_policy["tg"].graph_splits - mended.after_policy["tg"].graph_splits == 14
    assert not any("exp_probs_b" in f.text for f in mended.findings)


def test_up_and_gate_apart():
    plan = planned(header(Q30), "-c 4096 -fa -fmoe -ngl 99 -ot 'blk\\.[0-4]\\.ffn_up_exps=CPU'")
    finding = found(plan, "on different devices")
    assert "layers 0-4" in finding.text and "540 MiB would move to CPU" in finding.text
    mended = planned(header(Q30), f"-c 4096 -fa -fmoe -ngl 99 -ot 'blk\\.[0-4]\\.ffn_up_exps=CPU' {finding.fix}")
    assert not any("different devices" in f.text for f in mended.findings)


@pytest.mark.parametrize("pattern, better", [
    (r"blk\.[0-10]\.ffn", r"blk\.(0|1|2|3|4|5|6|7|8|9|10)\.ffn"), (r"blk\.[8-11]\.", r"blk\.(8|9|10|11)\."),
    (r"blk\.[0-9]\.", r"blk\.[0-9]\."), (r"blk\.1[0-9]\.", r"blk\.1[0-9]\."), (r"\[0-10]", r"\[0-10]"),
])  # fmt: skip
def test_ranges(pattern, better):
    assert mended_ranges(pattern) == better


def test_range_in_brackets():
    plan = planned(header(Q30), "-c 4096 -fa -fmoe -ngl 99 -ot 'blk\\.[0-10]\\.ffn_.*_exps=CPU'")
    finding = found(plan, "is a set of single characters, not the numbers 0 to 10")
    assert "3,164 MiB are missed" in finding.text
    assert matches(finding.fix.split("'")[1].removesuffix("=CPU"), ("blk.10.ffn_up_exps.weight",)).all()


def test_numbers_of_ops_moved():
    finding = found(planned(header(Q30), "-c 4096 -ngl 99 -op 27,0"), "-op 27,0 is about MUL_MAT_ID")
    assert finding.fix == "-op 28,0"
    assert not any("-op" in f.text for f in planned(header(Q30), "-c 4096 -ngl 99 -op -1,0").findings)


@pytest.mark.parametrize("model, flags, profile, words, fix", [
    (Q30, "-c 4096 -b 512 -ub 1024", "2025-06", "-ub 1024 is more than -b 512", "-b 1024 -ub 1024"),
    (Q30, "-c 4096 -ngl 0 -ot exps=CPU", "2026-08", "-ngl 0 makes this engine drop -ot", "-ngl 999"),
    (Q30, "-c 4096 -mla 2", "2025-06", "-mla has no effect", None),
    (Q30, "-c 4096 -ts 3,1", "2025-06", "-ts has no effect with one GPU", None),
    ("llama-3.1-8b-q4_k_m", "-c 4096 --cpu-moe", "2026-08", "this model has no experts", None),
    ("deepseek-v2-lite-q4_k_m", "-c 4096 -ngl 9 -mla 1", "2026-08", "-mla 1 becomes 3", "-mla 3"),
    (Q30, "-c 4096 -fmoe", "2026-08", "-fmoe does not exist in profile 2026-08", None),
])  # fmt: skip
def test_without_effect(model, flags, profile, words, fix):
    assert found(planned(header(model), flags, profile=profile), words).fix == fix


def test_repack_and_copies():
    model = header(Q30)
    plan = planned(model, "-c 4096 -fa -fmoe -ngl 99 -ot exps=CPU -rtr -ub 2048")
    finding = found(plan, "no CUDA kernel multiplies")
    plain = planned(model, "-c 4096 -fa -fmoe -ngl 99 -ot exps=CPU -ub 2048")
    assert f"{plan.graph_splits} splits, {plain.graph_splits} without -rtr" in finding.text
    two = planned(model, "-c 4096 -fa -fmoe -ngl 99 -ot exps=CPU -ub 2048", rig(24000, 24000, copies=4))
    assert found(two, "4 times").fix == "-DGGML_SCHED_MAX_COPIES=1"


def test_patterns_are_ecmascript():
    """What an override matches is what std::regex would."""
    assert matches("[[:digit:]]", ("a1", "b")).tolist() == [True, False]


def test_nothing_to_say():
    assert planned(small(), "-c 512 -ngl 99 -fa").findings == []
