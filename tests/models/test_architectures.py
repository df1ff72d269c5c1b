"""Small models of every architecture: graphs row by row, cache, weights and compute buffer as the reference has them.

``architectures.json.gz`` holds headers, switches, and what builds of both commits (8337e4c, d345a15) made of them on a CPU:
numbers of leafs and nodes and a digest of all rows for a micro-batch and for one token, and the sizes that they printed.
"""

import functools
import gzip
import hashlib
import json
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings

import ikexplore as ikx
from ikexplore.errors import IkexploreError, ModelError, SettingsError
from ikexplore.gguf.types import tensor_bytes, type_info
from ikexplore.graph import broken as broken_graph
from ikexplore.models.build import ARCHITECTURES
from ikexplore.models.model import Tensor
from ikexplore.models.traits import CPU_PROOF, TRAITS, traits_of
from ikexplore.schedule.assign import REASONS
from ikexplore.schedule.flash import flash_2026
from ikexplore.schedule.invariants import broken

DATA = Path(__file__).resolve().parent.parent / "data" / "models" / "architectures.json.gz"
#: blocks small enough to divide the matrices of small models
FINE = dict.fromkeys(("ffn_down", "ffn_down_exps", "ffn_down_shexp", "attn_output"), "q8_0")
CPU = ikx.Machine.described(gpus=[], cuda_build=False)


@functools.cache
def entries():
    with gzip.open(DATA) as f:
        return json.load(f)


def model_of(entry, types=None):
    """The header of an entry; ``types``: other types of some roles."""
    tensors, offset = [], 0
    for name, shape, kind in entry["tensors"]:
        kind = (types or {}).get(name.split(".")[-2], kind)
        size = tensor_bytes(type_info(kind), tuple(shape))
        tensors.append(Tensor(name, tuple(shape), kind, size, None, offset))
        offset += -(-size // 32) * 32
    return ikx.Model(tensors, entry["metadata"])


def facts(graph):
    digest = hashlib.sha256()
    for node in graph:
        offs = node.view_offs if node.view_src >= 0 else 0
        row = [node.op, node.name, node.type, node.ne, node.nb, node.flags, offs, node.view_src, node.src]
        digest.update(json.dumps(row, separators=(",", ":")).encode() + b"\n")
    return [graph.n_leafs, graph.n_nodes, digest.hexdigest()[:24]]


CASES = [(i, j) for i, e in enumerate(entries()) for j in range(len(e["runs"]))]


@pytest.mark.parametrize("i, j", CASES, ids=lambda v: str(v))
def test_as_the_reference(i, j):
    entry = entries()[i]
    run = entry["runs"][j]
    plan = ikx.plan(model_of(entry), ikx.Settings.parse(run["flags"], profile=run["profile"]), CPU)
    assert facts(plan.graph)[:2] == run["graphs"]["n"][:2], entry["arch"]
    assert facts(plan.graph) == run["graphs"]["n"], entry["arch"]
    assert facts(plan.scheduled(1).graph) == run["graphs"]["1"], entry["arch"]
    assert [size for _, size in plan.kv_mib] == run["kv_mib"]
    assert [size for _, size in plan.compute_mib] == run["compute_mib"]
    assert plan.graph_splits == run["graph_splits"]
    if "--no-mmap" in run["flags"] or "-rtr" in run["flags"]:  # a mapped header without a file has other offsets
        assert [size for _, size in plan.model_mib] == run["model_mib"]


def test_every_architecture_is_here():
    held = {entry["arch"] for entry in entries()}
    cpu_only = {arch for arch in ARCHITECTURES if traits_of(arch).proof == CPU_PROOF}
    assert cpu_only <= held and set(TRAITS) == set(ARCHITECTURES)
    for entry in entries():
        assert {run["profile"] for run in entry["runs"]} == set(traits_of(entry["arch"]).profiles)


def entry_of(arch):
    return next(entry for entry in entries() if entry["arch"] == arch)


def test_layers_that_do_not_run():
    """GLM-4.5's last layer is not loaded: no weights, no cache; an override of it is still told."""
    model = model_of(entry_of("glm4moe"))
    rig = ikx.Machine.described(gpus=[{"name": "CUDA0", "free_mib": 24000, "cc": 860}], cuda_build=True)
    plan = ikx.plan(model, ikx.Settings.parse("-c 512 -ngl 99 -ot 'blk\\.4\\.=CPU'"), rig)
    last = [i for i, name in enumerate(plan.placement.tensors.names) if name.startswith("blk.4.")]
    assert (plan.placement.place[last] == -1).all() and len(plan.placement.kv_slots) == 4
    assert plan.overridden == {"CUDA_Host": len(last) + 2}  # the head norms, which it may have
    assert "offloaded 6/6 layers" in plan.log()
    moved = ikx.plan(model, ikx.Settings.parse("-c 512 -ngl 99 --n-cpu-moe 1"), rig)
    assert moved.explain("blk.3.ffn_up_exps.weight") != plan.explain("blk.3.ffn_up_exps.weight")
    assert moved.placement.deal.sizes.tensors[4] == 0


def test_windows_and_flash_attention_on_gpus():
    """One query with a window goes to the vector kernel, which needs f16 and heads of 64, 128 or 256."""
    assert flash_2026(96, 1, 4, 96, 96, "f16", "f16", 860, window=True)
    assert not flash_2026(128, 1, 4, 128, 128, "bf16", "bf16", 860, window=True)
    assert flash_2026(128, 1, 4, 128, 128, "bf16", "bf16", 860)


@pytest.mark.parametrize(
    "profile, flags, reason",
    [("2025-06", "-ngl 99", "pinned"), ("2025-06", "-ngl 2 -ub 16", "pinned"), ("2025-06", "-ngl 2", "neighbour"),
     ("2026-08", "-ngl 99", "weight")],
)  # fmt: skip
def test_norms_stay_with_their_layer(profile, flags, reason):
    model = model_of(entry_of("cohere2"))
    rig = ikx.Machine.described(gpus=[{"name": "CUDA0", "free_mib": 24000, "cc": 860}], cuda_build=True)
    schedule = ikx.plan(model, ikx.Settings.parse(f"-c 512 -ub 64 {flags}", profile=profile), rig).schedule
    row = schedule.graph.name.index("norm-4")
    assert REASONS[schedule.at.reason[row]] == reason and schedule.backends[schedule.at.backend[row]] == "CUDA0"


def test_refusals():
    rig = ikx.Machine.described(gpus=[{"name": f"CUDA{i}", "free_mib": 24000, "cc": 860} for i in range(2)], cuda_build=True)

    def plan(arch, flags, profile="2026-08", machine=rig, types=None):
        return ikx.plan(model_of(entry_of(arch), types), ikx.Settings.parse(f"-c 512 {flags}", profile=profile), machine)

    with pytest.raises(ModelError, match="does not know the architecture 'glm4moe'"):
        plan("glm4moe", "", "2025-06")
    with pytest.raises(SettingsError, match="-sm graph is not planned for minimax-m2"):
        plan("minimax-m2", "-ngl 99 -sm graph")
    with pytest.raises(SettingsError, match="-sm row is not planned for gemma3"):
        plan("gemma3", "-ngl 99 -sm row", "2025-06")
    with pytest.raises(SettingsError, match="-mqkv is not planned for gemma2"):
        plan("gemma2", "-mqkv")
    back = plan("gemma3", "-ngl 99 -sm graph")
    assert back.placement.division is None and any("goes back to -sm layer" in f.text for f in back.findings)
    assert any("compared with the engine's on the CPU" in f.text for f in back.findings)
    for arch in ("ernie4_5-moe", "glm4moe", "hunyuan-moe", "mistral3", "qwen3vl", "seed_oss"):
        assert plan(arch, "-ngl 99 -sm graph", types=FINE).placement.division is not None


ROLES = ("attn_q", "attn_v", "attn_output", "ffn_up", "ffn_gate", "ffn_down", "ffn_up_exps", "ffn_down_exps", "ffn_up_shexp")
FLAGS = ("-rtr", "-nkvo", "-ot exps=CPU", "-ot attn=CPU", "-ot 'blk\\.1\\.=CPU'", "-np 2", "-op -1,0", "-muge", "-cmoe",
         "-fa off", "-sm graph", "-ctk q8_0 -ctv q8_0", "--fit", "-ngl 2", "-ot norm=CPU")  # fmt: skip


@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.sampled_from(range(len(entries()))),
    st.dictionaries(st.sampled_from(ROLES), st.sampled_from(("q4_k", "q8_0", "f16", "iq4_ks", "q4_0")), max_size=3),
    st.lists(st.sampled_from(FLAGS), max_size=3, unique=True),
    st.sampled_from([1, 33, 256]),
    st.lists(st.integers(1100, 40000), max_size=3),
    st.booleans(),
)
def test_sound_or_refused(number, types, flags, n_ubatch, free, older):
    """Other types, switches and rigs: every plan is sound, or is refused in one clear line."""
    entry = entries()[number]
    gpus = [{"name": f"CUDA{i}", "free_mib": mib, "cc": 860} for i, mib in enumerate(free)]
    machine = ikx.Machine.described(gpus=gpus, cuda_build=bool(gpus))
    profile = "2025-06" if older and len(traits_of(entry["arch"]).profiles) > 1 else "2026-08"
    line = " ".join(["-c 1024 -ngl 99", f"-ub {n_ubatch}", *flags])
    try:
        plan = ikx.plan(model_of(entry, types), ikx.Settings.parse(line, profile=profile), machine)
    except IkexploreError as error:
        assert "\n" not in str(error) and len(str(error)) > 20
        return
    for run in (plan.schedule, plan.after_policy["pp"], plan.after_policy["tg"]):
        assert broken_graph(run.graph) == [] and broken(run) == []
    assert all(f.text.endswith(".") for f in plan.findings) and f"graph nodes  = {plan.graph_nodes}" in plan.log()
