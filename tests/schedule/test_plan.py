"""What a plan says: log lines, reasons, findings, devices, plain values."""

import json

import pytest
from plan_harness import header, inputs, planned, rig, scenarios, small

import ikexplore as ikx
from ikexplore.errors import ModelError


@pytest.fixture(scope="module")
def discussion():
    """Discussion 491 with -rtr: four GPUs, some experts pinned, the rest on the CPU."""
    return ikx.plan(*inputs(scenarios()["pub-491-rtr"]))


def test_log_lines(discussion):
    lines = discussion.log().splitlines()
    assert lines[0] == "Tensor blk.0.ffn_down_exps.weight buffer type overriden to CUDA0"
    for line in (
        "llm_load_tensors: offloaded 95/95 layers to GPU",
        "llm_load_tensors:        CPU buffer size = 41616.00 MiB",
        "============ Repacked 102 tensors",
        "llama_kv_cache_init:      CUDA3 KV buffer size =   748.01 MiB",
        "llama_new_context_with_model: KV self size  = 3196.00 MiB, K (q8_0): 1598.00 MiB, V (q8_0): 1598.00 MiB",
        "llama_new_context_with_model:  CUDA_Host  output buffer size =     0.58 MiB",
        "llama_new_context_with_model:      CUDA3 compute buffer size =  2502.00 MiB",
        "llama_new_context_with_model: graph nodes  = 3672",
        "llama_new_context_with_model: graph splits = 149",
    ):
        assert line in lines, line


def test_log_lines_of_the_newer_profile():
    lines = ikx.plan(*inputs(scenarios()["n-q30-op-off"])).log().splitlines()
    assert "Tensor blk.0.ffn_up_exps.weight (size = 108.00 MiB) buffer type overridden to CUDA_Host" in lines
    assert "llama_init_from_model: fused_up_gate = 1" in lines
    assert lines[-1] == "XXXXXXXXXXXXXXXXXXXXX Setting offload policy for op MOE_FUSED_UP_GATE to OFF"
    assert any(line.startswith("Layer 48:") and line.endswith("(output layer)") for line in lines)


@pytest.mark.parametrize("name, words", [
    ("blk.20.ffn_up_exps.weight", ["is in CUDA1", "rule 2 of 5, is the first that matches (so would 5)"]),
    ("blk.70.ffn_up_exps.weight", ["rule 5 of 5", "-rtr made it iq4_xs_r8 from iq4_xs", "No CUDA kernel multiplies iq4_xs_r8"]),
    ("blk.70.attn_q.weight", ["is in CUDA2", "layers are dealt by number in proportion to free memory"]),
    ("token_embd.weight", ["is in CUDA_Host", "always stays in host memory"]),
    ("ffn_moe_gate_par-70", ["runs on CPU in split", "its weight blk.70.ffn_up_exps.weight is there, and no CUDA kernel"]),
    ("ffn_moe_gate_par-20", ["runs on CUDA1", "its weight blk.20.ffn_up_exps.weight is there"]),
    ("ffn_moe_argsort-20", ["joins the nodes beside it"]),
    ("cache_k_l3", ["is in CUDA0", "-ot never moves the KV cache"]),
    ("KQ_mask", ["input of the graph"]),
])  # fmt: skip
def test_explain(discussion, name, words):
    text = discussion.explain(name)
    assert all(word in text for word in words), text


def test_explain_offload_with_its_numbers():
    plan = planned(header("qwen3-30b-a3b-q4_k_m"), "-c 4096 -ngl 99 -fa -fmoe -ub 512 -ot exps=CPU")
    text = plan.explain("ffn_moe_gate_par-7")
    assert "512 tokens x 8 of 128 experts = 4096 against 32 x 128 = 4096" in text and "CUDA0 is the first GPU" in text
    less = planned(header("qwen3-30b-a3b-q4_k_m"), "-c 4096 -ngl 99 -fa -fmoe -ub 256 -ot exps=CPU")
    assert "too small to fetch it (256 tokens x 8 of 128 experts = 2048" in less.explain("ffn_moe_gate_par-7")


def test_explain_unknown_name(discussion):
    with pytest.raises(ModelError, match=r"no tensor and no node called 'blk\.7\.nothing'"):
        discussion.explain("blk.7.nothing")


def found(plan, word):
    return [f for f in plan.findings if word in f.text]


def test_rule_that_matches_nothing():
    plan = planned(small(), r"-ngl 99 -ot 'blk\.7\.ffn=CPU'")
    assert [(f.level, f.fix) for f in found(plan, "matches no tensor")] == [("warning", None)]
    assert plan.findings[0].text.startswith(r"-ot 'blk\.7\.ffn=CPU' matches")


def test_rule_that_is_shadowed():
    plan = planned(small(), r"-ngl 99 -ot exps=CPU -ot ffn_up_exps=CUDA0")
    [finding] = found(plan, "changes nothing")
    assert finding.level == "warning" and finding.fix == "-ot ffn_up_exps=CUDA0 -ot exps=CPU"
    same = planned(small(), r"-ngl 99 -ot exps=CPU -ot ffn_up_exps=CPU")
    assert found(same, "changes nothing")[0].level == "note"
    assert not found(planned(small(), r"-ngl 99 -ot 'blk\.0\.ffn=CUDA0' -ot exps=CPU"), "changes nothing")


def test_repacked_type_without_kernel(discussion):
    [finding] = found(discussion, "no CUDA kernel")
    assert finding.level == "warning" and "102 iq4_xs_r8" in finding.text and "-rtr" not in finding.fix
    assert not found(planned(small(), "-rtr", rig()), "no CUDA kernel")


def test_does_not_fit():
    plan = planned(header("llama-3.1-8b-q4_k_m"), "-c 4096 -ngl 99 -fa", rig(4000))
    [finding] = found(plan, "does not fit")
    assert finding.level == "error" and finding is plan.findings[0]
    over = plan.devices[0].total_mib - 4000
    assert f"over by {over:,.0f} MiB" in finding.text and not plan.fits
    assert planned(header("llama-3.1-8b-q4_k_m"), "-c 4096 -ngl 99 -fa", rig(24000)).fits


def test_offloaded_weights_held_four_times():
    plan = ikx.plan(*inputs(scenarios()["q235-4gpu-copies4"]))
    assert found(plan, "4 times")[0].level == "warning"
    assert not found(ikx.plan(*inputs(scenarios()["pub-491-no-rtr"])), "times")


def test_unknown_flag_is_told():
    assert found(planned(small(), "--frobnicate 3"), "--frobnicate was not understood")


def test_devices_add_up(discussion):
    printed = sum(size for kind in ("model", "kv", "output", "compute") for _, size in getattr(discussion, kind + "_mib"))
    devices = discussion.devices
    assert [d.name for d in devices] == ["CUDA0", "CUDA1", "CUDA2", "CUDA3", "CPU"]
    assert sum(d.total_mib for d in devices) == pytest.approx(printed, abs=0.2)
    assert [d.simulated for d in devices] == [True] * 4 + [False]
    assert devices[0].capacity_mib == 24000 and devices[-1].capacity_mib is None


def test_splits_in_words(discussion):
    split = discussion.splits[1]
    assert (split.backend, split.first, split.last) == ("CUDA0", "attn_norm-0", "ffn_moe_argsort-14")
    assert split.layers == (0, 14) and len(split.nodes) == split.end - split.start
    assert [i.name for i in split.inputs] == ["inp_embd", "inp_pos", "KQ_mask"] and not any(i.is_weight for i in split.inputs)


def test_plain_values():
    plan = planned(small(), "-c 1024 -ngl 99 -fa -fmoe -op 27,0 -ot exps=CPU")
    as_text = json.dumps(plan.to_dict())
    back = json.loads(as_text)
    assert len(as_text) < 40_000
    assert back["measured"]["graph_splits"] == plan.graph_splits == len(back["measured"]["splits"])
    assert back["offload_policy"] == [["MUL_MAT_ID", 27, False]]
    tensors = back["tensors"]
    assert back["places"][tensors["place"][tensors["name"].index("blk.0.ffn_up_exps.weight")]] == "CPU"
    covered = [n for s in back["tg"]["splits"] for n in range(s["start"], s["end"])]
    assert covered == list(range(len(back["tg"]["nodes"])))


def test_cpu_only():
    """A machine without GPUs: one split, everything in buffers called CPU."""
    for profile in ("2025-06", "2026-08"):
        plan = planned(small(), "-c 1024 -fa on" if profile == "2026-08" else "-c 1024 -fa", rig(), profile)
        assert plan.graph_splits == 1 and plan.after_policy["tg"].backend_seq == "C"
        buffers = [*plan.model_mib, *plan.kv_mib, *plan.output_mib, *plan.compute_mib]
        assert {name for name, _ in buffers} == {"CPU"}
        assert [d.name for d in plan.devices] == ["CPU"]


def test_real_file(data):
    """The same for a file with weights, mapped: as large as the span of its tensors."""
    model = ikx.open(data / "run" / "llama-f16.gguf")
    plan = planned(model, "-c 256", rig(), "2026-08")
    first = min(t.offset for t in model.tensors.values())
    last = max(t.offset + t.nbytes for t in model.tensors.values())
    assert plan.placement.model_bytes == [("CPU", last - first)]
    assert plan.graph_nodes == 5 + 2 * 25  # f16 up and gate are not fused: 23 nodes a layer and 2 more


def test_kimi():
    """Kimi-K2 is deepseek2 with 384 experts, at which June 2025 stops."""
    model = small("deepseek2", 3, experts=384, used=8, heads=64, q_lora=256, latent=("attn_k_b", "attn_v_b"))
    plan = planned(model, "-c 4096 -ngl 99 -ot exps=CPU", profile="2026-08")
    assert plan.overridden == {"CUDA_Host": 6} and plan.graph_splits > 1
    with pytest.raises(ModelError, match="expert_count is 384; the engine of profile 2025-06 stops at 256"):
        planned(model, "-c 4096 -ngl 99", profile="2025-06")
