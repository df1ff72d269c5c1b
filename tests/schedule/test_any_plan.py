"""Any overrides, any rig: every plan is sound, or is refused in one clear line."""

import hypothesis.strategies as st
from hypothesis import HealthCheck, given, settings
from plan_harness import rig, small

import ikexplore as ikx
from ikexplore.errors import IkexploreError
from ikexplore.graph import broken as broken_graph
from ikexplore.schedule.invariants import broken

QUANTS = ("q4_k", "q6_k", "q8_0", "f16", "iq4_ks", "q4_0", "iq2_k_r4", "q4_k_r4")
ROLES = ("attn_q", "attn_v", "attn_output", "attn_kv_a_mqa", "ffn_up", "ffn_gate", "ffn_down", "ffn_up_exps",
         "ffn_gate_exps", "ffn_down_exps", "ffn_up_shexp")  # fmt: skip


@st.composite
def models(draw):
    """A small model of any planned architecture: sizes and types as they come."""
    arch = draw(st.sampled_from(["llama", "qwen3", "qwen3moe", "deepseek2"]))
    types = draw(st.dictionaries(st.sampled_from(ROLES), st.sampled_from(QUANTS), max_size=3))
    heads = draw(st.sampled_from([4, 8, 16]))
    latent = draw(st.sampled_from([("attn_kv_b",), ("attn_k_b", "attn_v_b"), ("attn_kv_b", "attn_k_b", "attn_v_b")]))
    sizes = {
        "heads": heads, "kv": draw(st.sampled_from([heads, 4, 2])), "dim": draw(st.sampled_from([64, 128])),
        "experts": draw(st.sampled_from([4, 32])), "used": draw(st.integers(1, 4)), "n_ff": draw(st.sampled_from([256, 768])),
        "q_lora": draw(st.sampled_from([0, 256])), "dense": draw(st.integers(0, 2)),
        "n_embd": draw(st.sampled_from([256, 512])),
    }  # fmt: skip
    n_layer, tied = draw(st.integers(1, 4)), draw(st.booleans()) and arch != "deepseek2"
    return small(arch, n_layer, tied, types, latent, **sizes)


PATTERNS = ["exps", r"ffn_.*_exps\.", "attn", "attn_k", r"blk\.[0-1]\.", r"blk\.2\.ffn", "ffn_down", "output",
            "token_embd", "norm", r"blk\.(0|2|)\.", "nothing", ".", "^$", "ffn_gate_inp"]  # fmt: skip
OLDER = ["-mla 1", "-mla 2", "-mla 3", "-ser 1,0.5", "-fa", "-fmoe", "-fa -ctk q8_0 -ctv q8_0", "-amb 1"]
NEWER = ["-mla 0", "-mla 1", "-mla 2", "-amb 128", "-smf32", "-vhad -ctv q8_0",
         "-no-fug", "-no-mmad", "-no-fmoe", "-muge", "-mqkv", "-fa off", "-cmoe", "--n-cpu-moe 2", "--fit",
         "-khad -ctk q8_0"]  # fmt: skip

rigs = st.builds(
    lambda free, copies: rig(*free, copies=copies),
    st.lists(st.integers(700, 60000), max_size=4),
    st.sampled_from([1, 4]),
)


@st.composite
def cases(draw):
    """Model, command line, profile, rig."""
    machine = draw(rigs)
    profile = draw(st.sampled_from(["2025-06", "2026-08"]))
    newer = profile == "2026-08"
    buffers = [gpu.name for gpu in machine.gpus] + ["CPU"]
    flags = [f"-c {draw(st.sampled_from([64, 512, 1000, 4096]))}", f"-ub {draw(st.sampled_from([1, 8, 33, 512, 2048]))}"]
    for pattern in draw(st.lists(st.sampled_from(PATTERNS), max_size=4)):
        flags.append(f"-ot '{pattern}={draw(st.sampled_from(buffers))}'")
    flags.append(f"-ngl {draw(st.sampled_from([0, 1, 2, 3, 4, 99]))}")
    choices = ["-rtr", "-nkvo", "--no-mmap", "-op -1,0", "-op 27,0", "-np 3", *(NEWER if newer else OLDER)]
    flags += draw(st.lists(st.sampled_from(choices), max_size=4, unique=True))
    if machine.gpus:
        modes = ["--device CUDA0", "-sm graph", "-sm graph -ts 5,2,1"] if newer else ["-sm row"]
        flags += draw(st.lists(st.sampled_from(["-sm none", "-ts 3,1,1,1", *modes]), max_size=1))
    model = draw(models())
    return model, " ".join(flags), profile, machine


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(cases())
def test_sound_or_refused(case):
    model, flags, profile, machine = case
    try:
        plan = ikx.plan(model, ikx.Settings.parse(flags, profile=profile), machine)
    except IkexploreError as error:
        assert "\n" not in str(error) and len(str(error)) > 20
        return
    runs = (plan.schedule, plan.after_policy["pp"], plan.after_policy["tg"])
    for run in runs:
        assert broken_graph(run.graph) == []
        assert broken(run) == []
    # the parts make the whole: every tensor is somewhere, and every buffer is on a device
    computed = [(name, size) for name, (_, size) in plan.placement.computed_mla.items()]
    rows = (plan.placement.model_bytes, computed, plan.placement.kv_bytes, [plan.placement.output_bytes])
    held = sum(size for kind in rows for _, size in kind) + sum(size for size in plan.compute_bytes.values() if size > 1)
    p = plan.placement
    slack = 1
    if "-sm row" in flags:  # a divided matrix is rounded up as a whole
        slack = 128 * len(p.tensors)
    if p.division is not None:  # the divided buffers count the padding of each part, their parts do not
        slack = 4096 * len(p.tensors)
    assert abs(sum(d.total_mib for d in plan.devices) * 2**20 - held) < slack
    assert all(f.level in ("error", "warning", "note") and f.text.endswith(".") for f in plan.findings)
    assert f"graph splits = {plan.graph_splits}" in plan.log()
