"""Where tensors and layers go: rules, dealing, repack, buffers, and what is refused."""

import numpy as np
import pytest
from plan_harness import header, planned, rig, small

import ikexplore as ikx
from ikexplore.errors import SettingsError
from ikexplore.placement import place
from ikexplore.placement.divide import shared_units
from ikexplore.placement.layers import HOST, deal_by_number, deal_by_size, shares
from ikexplore.placement.moe import shared_out
from ikexplore.placement.repack import REPACK


def places(model, flags, machine=None, profile="2025-06"):
    """Tensor name -> buffer name."""
    p = place(model, ikx.Settings.parse(flags, profile=profile), machine or rig(24000))
    return {name: p.name(int(at)) for name, at in zip(p.tensors.names, p.place) if at >= 0}


def test_first_rule_that_matches_wins():
    model = small()
    found = places(model, r"-ngl 99 -ot 'blk\.0\.ffn=CUDA0,exps=CPU' -ot attn_q=CPU")
    assert found["blk.0.ffn_up_exps.weight"] == "CUDA0"
    assert found["blk.1.ffn_up_exps.weight"] == "CPU"
    assert found["blk.1.attn_q.weight"] == found["blk.0.attn_q_norm.weight"] == "CPU"
    assert found["token_embd.weight"] == "CUDA_Host"
    other = places(model, r"-ngl 99 -ot exps=CPU -ot 'blk\.0\.ffn=CUDA0'")
    assert other["blk.0.ffn_up_exps.weight"] == "CPU"


@pytest.mark.parametrize("ngl, on_gpu, output", [(0, [], "CUDA_Host"), (1, [1], "CUDA_Host"), (2, [0, 1], "CUDA_Host"),
                                                 (3, [0, 1], "CUDA0"), (99, [0, 1], "CUDA0")])  # fmt: skip
def test_layers_from_the_end(ngl, on_gpu, output):
    found = places(small("llama"), f"-ngl {ngl}")
    assert [il for il in (0, 1) if found[f"blk.{il}.attn_q.weight"] == "CUDA0"] == on_gpu
    assert found["output.weight"] == found["output_norm.weight"] == output


def test_dealing_by_number():
    """Layer i goes to the first GPU whose running share lies above i / (layers dealt)."""
    split = shares((), [100, 100])
    assert split.tolist() == [0.5, 1.0]
    assert deal_by_number(4, 99, split).layers == (0, 0, 0, 1)
    assert deal_by_number(4, 99, split).output == 1
    assert deal_by_number(4, 2, split).layers == (HOST, HOST, 0, 1)
    assert deal_by_number(4, 2, split).output == HOST
    assert deal_by_number(4, 99, shares((0, 1), [1, 1])).layers == (1, 1, 1, 1)


def test_dealing_by_size():
    split = shares((), [100, 100])
    slots, default, dealt = deal_by_size(4, 99, split, [10.0, 10, 10, 10, 20], 0.0)
    assert slots.layers == (0, 0, 0, 1) and slots.output == 1
    assert default == (0, 0, 0, 1, 1) and dealt == range(5)
    heavy = deal_by_size(4, 99, split, [40.0, 10, 10, 10, 10], 0.0)[0]
    assert heavy.layers == (0, 1, 1, 1)
    one, _, nothing = deal_by_size(4, 2, np.ones(1, np.float32), [1.0] * 5, 0.0)
    assert one.layers == (HOST, HOST, 0, 0) and len(nothing) == 0


@pytest.mark.parametrize("counts, wanted, given", [([24, 24], 10, [5, 5]), ([30, 18], 20, [12, 8]), ([5, 5, 5], 7, [3, 2, 2]),
                                                   ([1, 47], 3, [0, 3])])  # fmt: skip
def test_experts_shared_out(counts, wanted, given):
    assert shared_out(counts, wanted, sum(counts)) == given


def test_n_cpu_moe_takes_the_last_layers():
    model = header("qwen3-30b-a3b-q4_k_m")
    found = places(model, "--n-cpu-moe 3", profile="2026-08")
    host = {int(n.split(".")[1]) for n, at in found.items() if at == "CUDA_Host" and n.startswith("blk.")}
    assert host == {45, 46, 47}
    assert found["blk.47.ffn_gate_inp.weight"] == "CUDA0"


def test_cache_never_moves():
    plan = planned(small(), "-ngl 99 -fa -ot .=CPU")
    assert [name for name, _ in plan.kv_mib] == ["CUDA0"]
    assert [name for name, _ in planned(small(), "-ngl 99 -fa -nkvo").kv_mib] == ["CUDA_Host"]


def test_repack():
    model = small("llama", types={"attn_q": "iq4_xs", "attn_k": "f16"})
    p = place(model, ikx.Settings.parse("-rtr", profile="2025-06"), rig(24000))
    changed = {name: (before, after) for name, before, after in p.repacked}
    assert changed["blk.0.attn_q.weight"] == ("iq4_xs", "iq4_xs_r8")
    assert changed["output.weight"] == ("q6_k", "q6_k_r4")
    assert "token_embd.weight" not in changed and "blk.0.attn_k.weight" not in changed
    bf16 = ikx.Machine.described(cuda_build=False, cpu={"features": ["avx512_bf16"]})
    there = place(model, ikx.Settings.parse("-rtr", profile="2025-06"), bf16)
    assert ("blk.0.attn_k.weight", "f16", "bf16_r16") in there.repacked
    on_gpu = place(model, ikx.Settings.parse("-rtr -ngl 99", profile="2025-06"), rig(24000))
    assert on_gpu.repacked == []


def test_repack_needs_whole_groups_of_rows():
    model = small("llama", types={})
    odd = [t if t.name != "output.weight" else type(t)(t.name, (512, 1002), t.type, 1002 * 420, None, t.offset)
           for t in model.tensors.values()]  # fmt: skip
    p = place(ikx.Model(odd, model.metadata), ikx.Settings.parse("-rtr"), rig(24000))
    assert "output.weight" not in {name for name, _, _ in p.repacked}


def test_repack_keeps_bytes(shared):
    import json

    theirs = json.loads((shared / "oracle" / "types.json").read_text())["repack"]
    mine = {kind: {"to": to, "rows_multiple": rows} for kind, (to, rows) in REPACK.items() if kind != "mxfp4"}
    assert mine == theirs


def test_tied_output_is_held_twice():
    """Without an output matrix the embedding is loaded once more where the output would be."""
    found = place(small("llama", tied=True), ikx.Settings.parse("-ngl 99", profile="2025-06"), rig(24000))
    at = [found.name(int(p)) for name, p in zip(found.tensors.names, found.place) if name == "token_embd.weight"]
    assert at == ["CUDA_Host", "CUDA0"]


def test_host_groups():
    """2025-06: what -ot puts on the CPU is a group beside the pinned one; without GPUs there is one."""
    model = small()
    with_gpu = planned(model, "-ngl 99 --no-mmap -ot exps=CPU").model_mib
    assert [name for name, _ in with_gpu] == ["CUDA_Host", "CPU", "CUDA0"]
    newer = planned(model, "-ot exps=CPU", profile="2026-08").model_mib
    assert [name for name, _ in newer] == ["CUDA_Host", "CUDA0"]
    alone = planned(model, "-ot exps=CPU", rig())
    assert [name for name, _ in alone.model_mib] == ["CPU"]
    assert alone.output_mib[0][0] == "CPU" and list(alone.compute_bytes) == ["CPU"]


@pytest.mark.parametrize("flags, profile, message", [
    ("-ot exps=CUDA7", "2025-06", r"no buffer 'CUDA7' here; use one of CUDA0, CUDA1, CPU"),
    ("-ngl 9 -ot (exps=CPU", "2025-06", r"bad regex"),
    ("-sm none -mg 2", "2025-06", r"-mg 2: this machine has 2 GPUs"),
    ("-sm none", "2026-08", r"use --device"),
    ("--device CUDA5", "2026-08", r"--device CUDA5: this machine has CUDA0, CUDA1"),
    ("-sm attn", "2026-08", r"-sm attn is not planned yet"),
    ("-sm graph -fa off", "2026-08", r"-sm graph with -fa off is not planned"),
    ("-sm graph -ot attn_q=CPU", "2026-08", r"-sm graph divides blk.0.attn_q.weight; an override of it is not planned"),
    ("-sm row -ngl 9", "2025-06", r"-sm row does not run models with experts"),
    ("--fit -ot exps=CPU", "2026-08", r"--fit refuses -ot"),
    ("--fit --cpu-moe", "2026-08", r"--fit refuses --n-cpu-moe"),
    ("-fa off -ctv q8_0", "2026-08", r"-ctv q8_0 needs flash attention"),
])  # fmt: skip
def test_refused_in_one_line(flags, profile, message):
    with pytest.raises(SettingsError, match=message) as error:
        planned(small(), flags, rig(8000, 8000), profile)
    assert "\n" not in str(error.value)


def test_fit_that_cannot_be():
    model = header("qwen3-235b-a22b-iq4_xs")
    with pytest.raises(SettingsError, match=r"--fit: GPU 0 needs \d+ MiB even with all its experts in host memory"):
        planned(model, "--fit -c 32768", rig(6000), "2026-08")


def test_dense_fit_fills_the_last_gpu_first():
    model = header("llama-3.1-70b-iq4_xs")
    p = place(model, ikx.Settings.parse("--fit -c 4096", profile="2026-08"), rig(12000, 12000))
    counts = [p.slots.layers.count(slot) for slot in (HOST, 0, 1)]
    assert p.slots.output == 1 and counts[0] > 0 and sum(counts) == 80
    assert list(p.slots.layers) == sorted(p.slots.layers)


def test_order_of_devices():
    """--device CUDA1,CUDA0 deals from CUDA1 on; the machine's order stays the priority of backends."""
    model = header("llama-3.1-8b-q4_k_m")
    p = place(model, ikx.Settings.parse("-c 4096 --device CUDA1,CUDA0", profile="2026-08"), rig(24000, 12000))
    assert [gpu.name for gpu in p.gpus] == ["CUDA0", "CUDA1"]
    assert p.slots.layers[0] == 1 and p.slots.output == 0


def test_computed_latent_tensors():
    """A file with only attn_kv_b gets k_b (q8_0) and v_b beside it, in no printed size but in what a device must hold."""
    model = header("deepseek-v2-lite-q4_k_m")
    plan = planned(model, "-c 4096 -ngl 99 -mla 3 -fa")
    p = plan.placement
    k_b, v_b = (p.tensors.names.index(f"blk.5.attn_{which}.weight") for which in ("k_b", "v_b"))
    assert p.computed[[k_b, v_b]].all() and p.computed.sum() == 2 * 27
    assert p.tensors.ne[[k_b, v_b], :3].tolist() == [[128, 512, 16], [512, 128, 16]]
    n, size = p.computed_mla["CUDA0"]
    assert (n, size) == (54, 27 * (16 * 512 * 136 + 16 * 128 * 288))
    printed = dict(plan.model_mib)["CUDA0"]
    assert plan.devices[0].name == "CUDA0" and plan.devices[0].model_mib == pytest.approx(printed + size / 2**20, abs=0.01)
    assert "loading computes it for latent attention" in plan.explain("blk.5.attn_k_b.weight")
    assert not planned(model, "-c 4096 -ngl 99 -mla 0 -fa").placement.computed.any()
    mainline = small("deepseek2", latent=("attn_k_b", "attn_v_b"))
    assert planned(mainline, "-ngl 99 -mla 3 -fa").placement.computed_mla["CUDA0"][0] == 2
    assert planned(mainline, "-ngl 99 -mla 1 -fa").placement.computed_mla == {}


@pytest.mark.parametrize("n, unit, points, used, shares", [
    (4096, 1024, [0.5, 1.0], [0, 0], [2048, 2048]), (768, 256, [0.25, 0.5, 0.75, 1.0], [0] * 4, [0, 256, 256, 256]),
    (16, 4, [0.5, 1.0], [100, 0], [0, 16]), (4096, 1024, [2 / 3, 1.0], [0, 0], [3072, 1024]),
])  # fmt: skip
def test_division(n, unit, points, used, shares):
    """Shares by what each GPU lacks; 3 units for 4 GPUs leave one idle."""
    assert sum(shares) == n
    assert shared_units(n, unit, np.array(points, np.float32), used) == shares


def test_graph_split_needs_room_for_two():
    with pytest.raises(SettingsError, match="layer 0 is too small for two GPUs"):
        planned(small("llama", n_ff=256), "-sm graph", rig(8000, 8000), "2026-08")
    with pytest.raises(SettingsError, match="-sm graph needs two GPUs"):
        planned(small("llama"), "-sm graph", rig(8000), "2026-08")


def test_graphs_are_kept_for_overrides():
    model = header("qwen3-30b-a3b-q4_k_m")
    a, b = (planned(model, f"-c 4096 -ngl 99 -fa -fmoe -ot {ot}=CPU") for ot in ("exps", "ffn_up"))
    assert a.graph is b.graph and a.graph_splits != b.graph_splits
    assert planned(model, "-c 4096 -ngl 99 -fa -fmoe -ot exps=CPU -ub 256").graph is not a.graph
