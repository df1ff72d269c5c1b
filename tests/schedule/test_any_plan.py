"""Any overrides, any rig: every plan is sound, or is refused in one clear line."""

import hypothesis.strategies as st
from hypothesis import HealthCheck, given, settings
from plan_harness import rig, small

import ikexplore as ikx
from ikexplore.errors import IkexploreError
from ikexplore.graph import broken as broken_graph
from ikexplore.schedule.invariants import broken

MODELS = {arch: small(arch, n_layer=3) for arch in ("llama", "qwen3", "qwen3moe")}
TIED = small("llama", n_layer=2, tied=True)
PATTERNS = ["exps", r"ffn_.*_exps\.", "attn", "attn_k", r"blk\.[0-1]\.", r"blk\.2\.ffn", "ffn_down", "output",
            "token_embd", "norm", r"blk\.(0|2|)\.", "nothing", ".", "^$", "ffn_gate_inp"]  # fmt: skip
OLDER = ["-fa", "-fmoe", "-fa -ctk q8_0 -ctv q8_0", "-amb 1"]
NEWER = ["-no-fug", "-no-mmad", "-no-fmoe", "-muge", "-mqkv", "-fa off", "-cmoe", "--n-cpu-moe 2", "--fit", "-khad -ctk q8_0"]

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
        flags += draw(st.sampled_from([[], ["-sm none"], ["-ts 3,1,1,1"], ["-sm row"] if not newer else ["--device CUDA0"]]))
    model = draw(st.sampled_from([*MODELS.values(), TIED]))
    return model, " ".join(flags), profile, machine


@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
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
    rows = (plan.placement.model_bytes, plan.placement.kv_bytes, [plan.placement.output_bytes])
    held = sum(size for kind in rows for _, size in kind) + sum(size for size in plan.compute_bytes.values() if size > 1)
    slack = 128 * len(plan.placement.tensors) if "-sm row" in flags else 1  # a divided matrix is rounded up as a whole
    assert abs(sum(d.total_mib for d in plan.devices) * 2**20 - held) < slack
    assert all(f.level in ("error", "warning", "note") and f.text.endswith(".") for f in plan.findings)
    assert f"graph splits = {plan.graph_splits}" in plan.log()
