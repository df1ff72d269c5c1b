"""Graph builders: node lists equal to the reference's, and what the executor needs of them."""

import functools
import gzip
import hashlib
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import ikexplore as ikx
from ikexplore.errors import ModelError, SettingsError
from ikexplore.graph import broken
from ikexplore.graph.graph import Graph
from ikexplore.models.build import build
from ikexplore.placement import place

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "schedule"))
from plan_harness import DATA, header, small


@functools.cache
def lists() -> dict:
    """``all``: digest of each node list; ``rows``: some lists in full."""
    with gzip.open(DATA / "graphs.json.gz") as f:
        return json.load(f)


def rows_of(graph: Graph) -> list:
    """Rows as the reference's lists have them: op, name, type, ne, nb, flags, viewed row, sources."""
    view, srcs = graph.view_src.tolist(), graph.srcs.tolist()
    columns = (graph.op, graph.name, graph.type, graph.ne.tolist(), graph.nb.tolist(), graph.flags.tolist(), view)
    return [[*row, [s for s in sources if s >= 0]] for *row, sources in zip(*columns, srcs)]


def built(key: str) -> Graph:
    """The graph of one of the lists; on one GPU, as they were (-sm graph: on two or four)."""
    about = lists()["all"][key]
    model = header(about["model"])
    settings = ikx.Settings.parse(about["argv"], profile="2026-08" if key.startswith("graphs-") else "2025-06")
    n_gpu = 4 if "graph4" in key else 2 if "graph2" in key else 1
    rig = ikx.Machine.described(gpus=[{"name": f"CUDA{i}", "free_mib": 200000, "cc": 860} for i in range(n_gpu)])
    tensors = place(model, settings, rig).tensors
    return build(model, settings, rig, n_tokens=about["n_tokens"], tensors=tensors)


@pytest.mark.parametrize("key", lists()["rows"])
def test_equal_row_by_row(key):
    mine, theirs = rows_of(built(key)), lists()["rows"][key]
    assert len(mine) == len(theirs)
    different = [i for i, (a, b) in enumerate(zip(mine, theirs)) if a != b]
    assert not different, f"row {different[0]}: {mine[different[0]]} in place of {theirs[different[0]]}"


@pytest.mark.parametrize("key", lists()["all"])
def test_equal_as_a_whole(key):
    graph, about = built(key), lists()["all"][key]
    assert (graph.n_leafs, graph.n_nodes) == (about["n_leafs"], about["n_nodes"])
    text = json.dumps(rows_of(graph), separators=(",", ":"))
    assert hashlib.sha256(text.encode()).hexdigest() == about["sha256"]
    assert broken(graph) == []


def test_digests_are_of_the_reference(shared):
    for key, about in lists()["all"].items():
        with gzip.open(shared / "oracle" / f"{key}.json.gz") as f:
            theirs = json.load(f)
        rows = [[r[0], r[1], r[2].lower(), *r[3:8]] for r in theirs["tensors"]]
        assert hashlib.sha256(json.dumps(rows, separators=(",", ":")).encode()).hexdigest() == about["sha256"], key


@pytest.mark.parametrize("profile", ["2025-06", "2026-08"])
@pytest.mark.parametrize("arch", ["llama", "qwen3", "qwen3moe", "deepseek2"])
@pytest.mark.parametrize("flags", ["-fa on", "-fa off", "-fa on -ctk q8_0 -ctv q8_0", "-no-fug -no-mmad -no-fmoe"])
def test_small_models(arch, profile, flags):
    """Any architecture and profile, for any number of tokens: sound, and with a head of the right shape."""
    if profile == "2025-06":
        flags = {"-fa on": "-fa", "-fa off": "", "-no-fug -no-mmad -no-fmoe": "-fmoe"}.get(flags, "-fa -ctk q8_0 -ctv q8_0")
    model = small(arch, latent=("attn_kv_b", "attn_k_b", "attn_v_b"))
    settings = ikx.Settings.parse(flags + " -c 512", profile=profile)
    for n, outputs in ((1, 1), (7, 1), (64, 64)):
        graph = build(model, settings, n_tokens=n, n_kv=256, n_outputs=outputs, kv_head=100)
        assert broken(graph) == []
        last = graph[-1]
        assert (last.name, last.ne[:2]) == ("result_output", (1000, outputs))
        assert graph.name.index("inp_embd") == graph.n_leafs
        assert sum(name.startswith("l_out-") for name in graph.name) == 2


@pytest.mark.parametrize("flags", ["-fa on", "-fa off"])
def test_cache_writes_move_with_kv_head(flags):
    model, settings = small("llama"), ikx.Settings.parse(flags + " -c 512")
    at_100 = build(model, settings, n_tokens=3, n_kv=256, kv_head=100)
    at_7 = build(model, settings, n_tokens=3, n_kv=256, kv_head=7)
    moved = at_100.moved(7)
    assert np.array_equal(moved, at_7.view_offs)
    changed = {at_7.op[row] for row in np.flatnonzero(at_7.view_offs != at_100.view_offs)}
    assert changed == {"VIEW", "CPY"}
    assert all("kv_head_stride" in at_7.params[row] for row in np.flatnonzero(at_7.view_offs != at_100.view_offs))


def test_every_op_has_what_it_needs():
    graph = build(small("qwen3moe"), ikx.Settings.parse("-fa off -c 512"), n_tokens=8)
    needs = {
        "FUSED_RMS_NORM": {"eps"},
        "ROPE": {"mode", "n_dims", "freq_base", "freq_scale", "ext_factor", "attn_factor", "beta_fast", "n_ctx_orig"},
        "SOFT_MAX": {"scale", "max_bias"},
        "MOE_FUSED_UP_GATE": {"unary"},
    }
    for node in graph.nodes:
        assert needs.get(node.op, set()) <= node.params.keys(), node.name
    rope = next(node for node in graph.nodes if node.op == "ROPE")
    assert rope.params["mode"] == 2 and rope.params["freq_base"] == 10000.0
    assert next(node for node in graph.nodes if node.name == "kq_soft_max_ext-0").params["scale"] == 0.125


@pytest.mark.parametrize("profile", ["2025-06", "2026-08"])
@pytest.mark.parametrize("mla", [0, 1, 2, 3])
@pytest.mark.parametrize("fa", ["on", "off"])
def test_latent_attention(mla, fa, profile):
    """Every path of deepseek2: sound, with what each op needs to be computed, writes that move with the cache's head."""
    flag = ("-fa" if fa == "on" else "") if profile == "2025-06" else f"-fa {fa}"
    settings = ikx.Settings.parse(f"-c 512 -mla {mla} {flag} -amb 1", profile=profile)
    model = small("deepseek2", q_lora=256)
    needs = {"CONCAT": {"axis"}, "SCALE": {"scale"}, "UNARY": {"unary"}, "FLASH_ATTN_EXT": {"scale"},
             "SOFT_MAX": {"scale"}, "ROPE": {"mode", "n_dims", "attn_factor"}, "FUSED_RMS_NORM": {"eps"}}  # fmt: skip
    for n in (1, 16, 160):
        tensors = place(model, settings, ikx.Machine.described()).tensors
        graph = build(model, settings, n_tokens=n, n_kv=512, kv_head=100, tensors=tensors)
        assert broken(graph) == []
        for node in graph.nodes:
            assert needs.get(node.op, set()) <= node.params.keys(), node.name
        other = build(model, settings, n_tokens=n, n_kv=512, kv_head=7, tensors=tensors)
        assert np.array_equal(graph.moved(7), other.view_offs)


def test_scale_of_latent_attention():
    """YaRN of DeepSeek: the scale has the magnitude squared, rope undoes its own (float32 as in the reference)."""
    graph = build(header("deepseek-r1-iq2_k_r4"), ikx.Settings.parse("-mla 1 -fa on -c 512"), n_tokens=1)
    params = {node.op: node.params for node in graph.nodes}
    mscale = 1 + 0.1 * np.log(40)
    assert params["FLASH_ATTN_EXT"]["scale"] == pytest.approx(mscale**2 / np.sqrt(192), rel=1e-6)
    assert params["ROPE"]["attn_factor"] == pytest.approx(1 / mscale, rel=1e-6)
    assert params["ROPE"]["n_dims"] == 64 and params["SCALE"]["scale"] == 2.5


def test_tied_output_reads_the_embedding():
    graph = build(small("llama", tied=True), ikx.Settings(), n_tokens=4)
    output = graph[graph[-1].src[0]]
    assert (output.name, output.is_leaf) == ("token_embd.weight", True)


def test_merged_up_and_gate_leave_a_hole():
    model = header("qwen3-30b-a3b-q4_k_m")
    settings = ikx.Settings.parse("-muge")
    rig = ikx.Machine.described(gpus=[{"name": "CUDA0", "free_mib": 24000}])
    graph = build(model, settings, rig, n_tokens=4, tensors=place(model, settings, rig).tensors)
    node = next(node for node in graph.nodes if node.op == "MOE_FUSED_UP_GATE")
    assert [s < 0 for s in node.src] == [False, True, False, False]
    assert graph[node.src[0]].name == "blk.0.ffn_gate_up_exps.weight"


def test_different_types_are_not_fused():
    """2025-06 falls back to two products inside ggml, 2026-08 before it; dense up and gate must be quantized too."""
    model = small("qwen3moe", types={"ffn_up_exps": "q5_k"})
    for profile, flags in (("2025-06", "-fmoe"), ("2026-08", "")):
        ops = build(model, ikx.Settings.parse(flags, profile=profile), n_tokens=8).op
        assert "MOE_FUSED_UP_GATE" not in ops and ops.count("MUL_MAT_ID") == 6
    plain = small("llama", types={"ffn_up": "f16", "ffn_gate": "f16"})
    assert "FUSED_UP_GATE" not in build(plain, ikx.Settings(), n_tokens=8).op
    assert "FUSED_UP_GATE" in build(small("llama"), ikx.Settings(), n_tokens=8).op


def test_head_by_head_attention():
    """-amb on a model without grouped heads: 7 nodes a head, less 4 (2025-06 rules)."""
    model = header("llama-3.1-8b-q4_k_m")
    meta = {**model.metadata, "llama.attention.head_count_kv": 32}
    square = {"shape": (4096, 4096)}
    tensors = [replace(t, **square) if t.role in ("attn_k", "attn_v") else t for t in model.tensors.values()]
    ungrouped = ikx.Model(tensors, meta)
    nodes = {amb: build(ungrouped, ikx.Settings.parse(f"-c 8192 -amb {amb}", profile="2025-06"), n_tokens=512).n_nodes
             for amb in (0, 64, 1024)}  # fmt: skip
    assert nodes[0] == nodes[1024] == 933
    assert nodes[64] == 933 + 32 * (7 * 32 - 4)


def test_wrong_input():
    with pytest.raises(ModelError, match=r"architecture 'mamba' has no graph yet; those planned are cohere2, deepseek2"):
        build(ikx.Model([], {"general.architecture": "mamba"}), ikx.Settings())
    model = small("llama")
    lacking = ikx.Model([t for t in model.tensors.values() if t.name != "blk.1.attn_k.weight"], model.metadata)
    with pytest.raises(ModelError, match=r"no tensor 'blk.1.attn_k.weight'"):
        build(lacking, ikx.Settings())
    with pytest.raises(SettingsError, match=r"-ctv q8_0 needs flash attention"):
        build(model, ikx.Settings.parse("-fa off -ctv q8_0"))


def test_residual_of_mixtral():
    """The newer reference adds the normed input after the experts of ``llama``; ``corrected`` adds the residual."""
    model = small("qwen3moe")
    meta = {k.replace("qwen3moe.", "llama."): v for k, v in model.metadata.items()} | {"general.architecture": "llama"}
    tensors = [t for t in model.tensors.values() if t.role not in ("attn_q_norm", "attn_k_norm")]
    mixtral = ikx.Model(tensors, meta)
    names = {}
    for corrected in (False, True):
        graph = build(mixtral, ikx.Settings(), n_tokens=4, corrected=corrected)
        names[corrected] = graph[graph[graph.name.index("l_out-0")].src[1]].op
    assert names == {False: "FUSED_RMS_NORM", True: "ADD"}
