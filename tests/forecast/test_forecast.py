"""Forecasts: what they are made of, what they say of posted runs, what they refuse, and what they learn."""

import dataclasses
import itertools
import sys
from pathlib import Path

import numpy as np
import pytest

import ikexplore as ikx
from ikexplore import forecast
from ikexplore.errors import IkexploreError
from ikexplore.forecast import kernels
from ikexplore.forecast.fit import PriorOf, System, estimate, point
from ikexplore.forecast.known import fitted
from ikexplore.forecast.priors import PRIORS, SPREADS
from ikexplore.forecast.terms import Group, Terms
from ikexplore.forecast.work import work

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "bench"))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "schedule"))

LINE = "-ngl 99 -t 48 -c 16384 -fa -fmoe -ub 1024 -ot exps=CPU -ctk q8_0 -ctv q8_0"


@pytest.fixture(scope="module")
def model():
    return ikx.demo.header("qwen3-235b-a22b-iq4_xs")


@pytest.fixture(scope="module")
def rig():
    return dataclasses.replace(ikx.Machine.load("xeon-5120x2-4x3090"), commit_date="2025-06-04")


@pytest.fixture(scope="module")
def plan(model, rig):
    return ikx.plan(model, ikx.Settings.parse(LINE, profile="2025-06"), rig)


# --- work and terms ---------------------------------------------------------------------------------------------------


def test_work_counts_what_the_plan_copies_and_multiplies(plan, model):
    w = work(plan, 1024, 1024)
    copied = sum(size for size, _ in w.weight_copies.values())
    experts = sum(t.nbytes for t in model.tensors.values() if "_exps" in t.name)
    last = sum(t.nbytes for t in model.tensors.values() if t.name.startswith("blk.93.") and "_exps" in t.name)
    assert copied == experts - last  # the last layer's output is one token's: too few for a GPU to fetch experts
    dense = sum(np.prod(t.shape) for t in model.tensors.values() if len(t.shape) == 2 and t.name.startswith("blk.0."))
    active = 3 * 4096 * 1536 * 8
    flops = w.products.flops.sum()
    assert flops == pytest.approx(2 * 1024 * (dense + active) * 94, rel=0.02)
    assert work(plan, 1, 256).weight_copies == {}


def test_experts_touched_by_a_ubatch(plan):
    w = work(plan, 1, 256)
    found = w.products.experts.sum() / (3 * 94)
    assert found == pytest.approx(8)  # one token touches what it uses
    many = work(plan, 1024, 1024).products
    assert many.experts[many.backend < 4].max() > 127


def test_attention_is_linear_in_the_cache(plan):
    a, b, c = (work(plan, 1, n).attention.flops.sum() for n in (256, 4096, 8192))
    assert (c - b) / (b - a) == pytest.approx(4096 / 3840)


def test_seconds_at_datasheet_speed_by_hand(plan):
    """One token: bytes of the experts it uses over the CPU's bandwidth."""
    found = plan.forecast(0).terms(1)
    w = work(plan, 1, 256).products
    cpu = len(plan.placement.gpus)
    want = w.nbytes[(w.backend == cpu) & w.expert].sum() / plan.machine.cpu.bandwidth_gbs / 1e9
    mine = [s for s, g, f in zip(found.seconds(0), found.group, found.factors)
            if found.groups[g].device == "CPU" and found.groups[g].cause == "experts" and ("cpu.read", 1.0) in f]
    assert sum(mine) == pytest.approx(want)


@pytest.mark.parametrize(
    ("kind", "day", "prompt", "token", "gpu"),
    [("iq4_xs", "2025-06-04", "k", "k", "int8"), ("iq4_xs", "2025-06-18", "onthefly", "k", "int8"),
     ("iq4_xs_r8", "2025-06-04", "packed", "k-packed", "packed"), ("q8_0", "2025-07-01", "legacy", "legacy", "int8"),
     ("iq3_kt", "2025-06-17", "trellis-float", "trellis", "trellis"), ("iq3_kt", "2025-06-18", "trellis", "trellis", "trellis"),
     ("iq3_kt", "2025-06-20", "trellis-int", "trellis-int", "trellis"), ("iq2_xxs", "2025-05-01", "iq", "iq", "int8")],
)  # fmt: skip
def test_classes_of_kernels(kind, day, prompt, token, gpu):
    assert (kernels.cpu_prompt(kind, day), kernels.cpu_token(kind, day), kernels.gpu(kind)) == (prompt, token, gpu)


def test_every_factor_is_known(plan):
    for kind in (plan.n_tokens, 1):
        names = {name for f in plan.forecast(0).terms(kind).factors for name, _ in f}
        assert not names - set(fitted()) - set(PRIORS) - set(SPREADS)


# --- the fit ----------------------------------------------------------------------------------------------------------


def _synthetic(seconds, run="a", rig=""):
    t = Terms(1)
    t.groups, t.group = [Group("x", "a"), Group("x", "b")], [0, 0, 1]
    t.base, t.slope, t.half = [1.0, 0.5, 2.0], [0.0, 0.0, 0.0], [False] * 3
    t.factors = [(("cpu.read", 1.0),), (("rig.cpu.rate", 1.0),), (("gpu.read", 1.0),)]
    return point(t, 0, "tg", tokens=1, seconds=seconds, run=run, rig=rig, weight=10.0)


def test_derivatives_agree_with_differences():
    system = System([_synthetic(1.0), _synthetic(2.0, rig="r")])
    x = np.linspace(-0.3, 0.4, len(system.names))
    log, j = system.jacobian(x)
    for i in range(len(x)):
        step = np.zeros(len(x))
        step[i] = 1e-6
        assert (system.log_seconds(x + step) - log) / 1e-6 == pytest.approx(j[:, i], abs=1e-5)


def test_groups_overlap_and_add():
    system = System([_synthetic(None)])
    total = np.exp(system.log_seconds(np.zeros(len(system.names))))[0]
    assert total == pytest.approx((1 + 0.5**3) ** (1 / 3) + 2)


def test_estimate_finds_the_factor_that_made_the_points():
    true = {"cpu.read": 0.4, "gpu.read": -0.2}
    made = _synthetic(1.0)
    system = System([made])
    x = np.array([true.get(n, 0.0) for n in system.names])
    made.seconds = float(np.exp(system.log_seconds(x))[0])
    made.weight = 1e4
    prior = dict.fromkeys(system.names, (0.0, 0.001)) | {"cpu.read": (0.0, 1.0), "gpu.read": (-0.2, 1e-3)}
    found = estimate([made], PriorOf(prior))
    assert found.value["cpu.read"] == pytest.approx(0.4, abs=0.02)
    assert found.sd["cpu.read"] < 0.05


# --- a forecast -------------------------------------------------------------------------------------------------------


def test_rows_have_a_sweeps_columns_and_a_band(plan):
    rows = plan.forecast().rows
    assert [r["n_kv"] for r in rows] == list(range(0, 16384 - 1023, 1024))
    for r in rows:
        assert r["pp"] == 1024 and r["tg"] == 256
        assert r["t_pp"] == pytest.approx(1024 / r["s_pp"]) and r["t_tg"] == pytest.approx(256 / r["s_tg"])
        assert r["s_pp_low"] < r["s_pp"] < r["s_pp_high"] and r["s_tg_low"] < r["s_tg"] < r["s_tg_high"]
    assert all(a["s_pp"] > b["s_pp"] and a["s_tg"] > b["s_tg"] for a, b in itertools.pairwise(rows))


def test_where_adds_up(plan):
    f = plan.forecast([0, 8192])
    for row in f.rows:
        where = f.where(row["n_kv"])
        assert sum(where["pp"].values()) == pytest.approx(row["t_pp"])
        assert sum(where["tg"].values()) == pytest.approx(row["t_tg"] / row["tg"])
    assert next(iter(f.where()["pp"])) == "PCIe: weights"


@pytest.mark.parametrize("n_kv", [-1, 16384, True, 1.5, "x", []])
def test_tokens_that_the_context_does_not_hold_are_refused(plan, n_kv):
    with pytest.raises(IkexploreError) as told:
        plan.forecast([n_kv] if n_kv != [] and not isinstance(n_kv, int) else n_kv)
    assert "\n" not in str(told.value) and "n_kv" in str(told.value)


def test_a_cpu_only_rig_and_the_newer_profile():
    rig = ikx.Machine.load("xeon6980p")
    f = ikx.plan(ikx.demo.header("deepseek-r1-0528-iq4_k"), ikx.Settings.parse("-c 4096 -t 128"), rig).forecast(0)
    assert {cause.split(":")[0] for cause in f.where()["pp"]} == {"CPU"}


def test_weights_beyond_ram_are_read_from_disk(model):
    small = ikx.Machine.described(cpu={"label": "AMD Ryzen 9 9950X", "ram_mib": 98304}, cuda_build=False)
    large = ikx.Machine.described(cpu={"label": "AMD Ryzen 9 9950X", "ram_mib": 196608}, cuda_build=False)
    s = ikx.Settings.parse("-c 4096")
    assert "disk: weights" in ikx.plan(model, s, small).forecast(0).where()["pp"]
    assert "disk: weights" not in ikx.plan(model, s, large).forecast(0).where()["pp"]


def test_prices_agree_with_the_plan(plan):
    prices = forecast.prices(plan)
    row = plan.forecast(0).rows[0]
    pp, tg = prices.rates(prices.at)
    assert (float(pp), float(tg)) == (pytest.approx(row["s_pp"], rel=0.01), pytest.approx(row["s_tg"], rel=0.01))
    moved = prices.at.copy()
    first = [i for i, name in enumerate(prices.names) if name.startswith("blk.0.ffn_") and "_exps" in name]
    moved[first] = 0
    faster = prices.rates(np.stack([prices.at, moved]))
    assert (np.diff(faster, axis=1) > 0).all()
    assert len(first) == 3 and prices.fetched[first].all()


# --- what is learned --------------------------------------------------------------------------------------------------


def test_one_run_improves_the_others(model, rig, plan):
    """A rig whose memory is half as fast as its datasheet says: one run tells it."""
    slow = dataclasses.replace(rig, cpu=dataclasses.replace(rig.cpu, bandwidth_gbs=90.0))
    s = plan.settings
    other = s.replace(rtr=True, n_ubatch=512)
    truth = {k: ikx.plan(model, v, slow).forecast(0).rows for k, v in (("a", s), ("b", other))}
    learned = ikx.calibrate(rig, [(model, s, truth["a"])])
    before, after = (ikx.plan(model, other, r).forecast(0).rows[0] for r in (rig, learned))
    want = truth["b"][0]["s_tg"]
    assert abs(after["s_tg"] / want - 1) < 0.5 * abs(before["s_tg"] / want - 1)
    assert after["s_tg_high"] / after["s_tg_low"] < before["s_tg_high"] / before["s_tg_low"]
    values = dict(zip(learned.learned.factors, learned.learned.log))
    assert values["rig.cpu.read"] > 0.1 and "rig.cpu.read" in learned.learned.to_markdown()


def test_a_learned_rig_survives_its_file(model, rig, plan, tmp_path):
    learned = ikx.calibrate(rig, (model, plan.settings, [{"n_kv": 0, "s_pp": 103.0, "s_tg": 14.4}]))
    learned.save(tmp_path / "rig.toml")
    again = ikx.Machine.load(tmp_path / "rig.toml")
    a, b = (ikx.plan(model, plan.settings, r).forecast(0).rows[0] for r in (learned, again))
    assert b == {k: pytest.approx(v, rel=1e-3) for k, v in a.items()}


def test_a_log_teaches(model, rig):
    pasted = """./llama-sweep-bench -m x.gguf -c 16384 -t 48 -ngl 99 -ot exps=CPU -fa -fmoe -ub 1024
|    PP |     TG |   N_KV |   T_PP s | S_PP t/s |   T_TG s | S_TG t/s |
|-------|--------|--------|----------|----------|----------|----------|
|  1024 |    256 |      0 |    9.905 |   103.38 |   17.790 |    14.39 |
"""
    run = ikx.logs.read(pasted)[0]
    assert ikx.calibrate(rig, (model, run)).learned.runs == 1


def test_a_sweep_carries_its_model():
    from ikexplore.run import Sweep

    small = ikx.demo.model()
    here = ikx.Machine.described(cpu={"cores": 2}, cuda_build=False)
    sweep = Sweep(ikx.Settings.parse("-c 512 -ub 128"), model="demo", source=small)
    sweep.rows = [{"pp": 128, "tg": 32, "n_kv": 0, "s_pp": 300.0, "s_tg": 40.0}]
    assert ikx.calibrate(here, sweep).learned is not None


@pytest.mark.parametrize(
    ("bad", "says"),
    [([], "at least one"), ("text", "is no run"), ([(1, 2, 3)], "run 1"), ([object()], "run 1")],
)  # fmt: skip
def test_runs_that_teach_nothing_are_refused(rig, bad, says):
    with pytest.raises(IkexploreError, match=says):
        ikx.calibrate(rig, bad)


@pytest.mark.parametrize(
    "row",
    [{"n_kv": 0}, {"n_kv": 0, "s_pp": -1}, {"n_kv": -1, "s_pp": 5}, {"s_pp": 5.0}, {"n_kv": 0, "s_tg": float("nan")}],
)
def test_rows_that_tell_no_rate_are_refused(model, rig, plan, row):
    with pytest.raises(IkexploreError, match="run 1") as told:
        ikx.calibrate(rig, (model, plan.settings, [row]))
    assert "\n" not in str(told.value)


def test_the_next_run_goes_through_pcie_then_on_the_cpu(model, rig, plan):
    plans = [ikx.plan(model, plan.settings.replace(rtr=rtr, n_ubatch=ub), rig) for rtr in (False, True) for ub in (512, 2048)]
    chosen = forecast.next_runs(plans, 2)
    assert {run.plan.settings.rtr for run in chosen} == {False, True}
    assert chosen[0].before > chosen[0].after > chosen[1].after and all(run.tells for run in chosen)
    with pytest.raises(IkexploreError, match="two or more"):
        forecast.next_runs(plans[:1])


# --- posted runs ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def posted(data, tmp_path_factory):
    import gzip

    from forecast_corpus import load

    path = tmp_path_factory.mktemp("posted") / "sweeps.json"
    path.write_bytes(gzip.decompress((data / "forecast" / "sweeps.json.gz").read_bytes()))
    runs, left = load(path)
    return {run.id: run for run in runs}, dict(left)


def _rate(run, kind="pp", learned=None):
    rig = run.plan.machine if learned is None else dataclasses.replace(run.plan.machine, learned=learned)
    made = ikx.plan(run.plan.model, run.plan.settings, rig)
    return next(p for p in run.points if p.kind == kind and p.first).rate, made.forecast(0).rows[0][f"s_{kind}"]


def test_discussion_491_crosses_between_1024_and_2048(posted):
    runs, _ = posted
    pairs = {1024: ("d491-L299", "d491-L285"), 2048: ("d491-L253", "d491-L267"), 4096: ("d491-L240", "d491-L91")}
    for ub, (plain, packed) in pairs.items():
        (seen_a, said_a), (seen_b, said_b) = _rate(runs[plain]), _rate(runs[packed])
        assert (seen_a > seen_b) == (said_a > said_b) == (ub > 1024)
        assert said_a == pytest.approx(seen_a, rel=0.25) and said_b == pytest.approx(seen_b, rel=0.25)


def test_pull_529_by_batch_size(posted):
    from ikexplore.forecast.calibrate import learn

    runs, _ = posted
    chosen = [p for name in ("p529-L266", "p529-L317") for p in runs[name].points]
    for p in chosen:
        p.rig = ""
    learned = learn(chosen, PriorOf(fitted(), PRIORS, SPREADS), 2)
    for name in ("p529-L266", "p529-L303", "p529-L317", "p529-L326"):
        seen, said = _rate(runs[name], learned=learned)
        assert said == pytest.approx(seen, rel=0.25), name


def test_issue_474_lost_its_speed_to_pcie(posted):
    runs, _ = posted
    fetched = {name: runs[name].plan.after_policy["pp"].weight_bytes_copied > 2**37 for name in runs if name.startswith("i474")}
    assert fetched == {"i474-M1": False, "i474-M2": True, "i474-M3": True, "i474-M4": True}
    rates = [_rate(runs[f"i474-M{i}"])[1] for i in (1, 2, 3, 4)]
    assert rates[0] > 2 * max(rates[1:])


def test_what_cannot_be_forecast_says_why(posted):
    runs, left = posted
    assert "d350-L44" in runs or left["d350-L44"]
    assert "p410-L27" in runs
