"""The tuner: what it gives fits, reads back, and is as good as trying everything."""

import itertools
from functools import lru_cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import ikexplore as ikx
from ikexplore.tune import NoFit, tune
from ikexplore.tune.found import rates
from ikexplore.tune.pieces import pieces
from ikexplore.tune.search import Search

DATA = Path(__file__).resolve().parents[1] / "data"
DATA = Path(__file__).resolve().parents[1] / "data"
HEADERS = ("qwen3-30b-a3b-q4_k_m", "deepseek-r1-iq1_s_r4", "llama-3.1-8b-q4_k_m")


@lru_cache(maxsize=16)
def model(name: str, layers: int = 5) -> ikx.Model:
    return ikx.demo.synthetic(DATA / "models" / f"{name}.json.gz", layers=layers)


def rig(*mib: int, ram: int | None = None, **cpu) -> ikx.Machine:
    gpus = [{"name": f"CUDA{i}", "label": "RTX 3090", "free_mib": m} for i, m in enumerate(mib)]
    cpu = {"label": "Ryzen 9 7950X", "cores": 16, "threads": 32, **cpu}
    return ikx.Machine.described(gpus, cpu={**cpu, "ram_mib": ram} if ram else cpu)


def tuned(*args, **options) -> ikx.Front:
    return tune(*args, **{"progress": False, "time_limit": 60, "spare_mib": 0, **options})


# small searches: one micro-batch, one cache type, one number of threads
NARROW = {"n_ubatch": 1024, "cache_type_k": "f16", "cache_type_v": "f16", "n_threads": 16, "flash_attn": True,
          "use_mmap": False, "attn_max_batch": 512}  # fmt: skip


@settings(max_examples=6, deadline=None, phases=[Phase.explicit, Phase.generate], suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_every_candidate_fits_and_reads_back(data):
    m = model(data.draw(st.sampled_from(HEADERS)), data.draw(st.integers(1, 5)))
    profile = data.draw(st.sampled_from(["2025-06", "2026-08"]))
    size = int(sum(t.nbytes for t in m.tensors.values()) / 2**20)
    gpus = data.draw(st.lists(st.integers(600, size + 2000), max_size=3))
    ram = data.draw(st.one_of(st.none(), st.integers(size // 4, size + 4000)))
    ctx = data.draw(st.sampled_from([512, 4096, 10000]))
    try:
        front = tuned(m, rig(*gpus, ram=ram), ctx=ctx, profile=profile, time_limit=0.8)
    except NoFit as no:
        assert no.short and all(mib > 0 for mib in no.short.values())
        for way in no.ways:
            if way.settings and not way.from_disk_mib:
                assert ikx.plan(m, way.settings, rig(*gpus, ram=ram)).fits
            assert not way.from_disk_mib or (way is no.ways[-1] and way.settings.use_mmap and not way.settings.rtr)
        return
    assert front
    for c in front:
        assert c.plan.fits
        assert ikx.plan(m, c.settings, rig(*gpus, ram=ram)).fits
        assert ikx.Settings.parse(c.command(), profile=profile) == c.settings
        assert c.settings.n_ctx == ctx
        assert c.memory == {d.name: d.total_mib for d in c.plan.devices}
        assert c.why.count(". ") >= 1 and c.why.endswith(".")
        again = rates(c.plan, ctx)
        assert (c.pp, c.tg) == (again.pp[0], again.tg[0])
    for a, b in itertools.permutations(front, 2):
        assert not (a.pp >= b.pp and a.tg >= b.tg)


def test_no_placement_of_all_is_better():
    """All ways to put up+gate and down of 3 layers on one GPU or in RAM, planned and forecast one by one."""
    m, machine = model(HEADERS[0], 3), rig(1750)
    limits = {**NARROW, "rtr": False, "offload_policy": [()], "fused_moe": True, "n_threads_batch": 16}
    goals = {"pp": (1, 0), "tg": (0, 1), "both": (4, 1)}
    fronts = {name: tuned(m, machine, ctx=4096, goal=None if name == "both" else name, limits=limits) for name in goals}
    base = fronts["pp"][0].settings
    every = [c.settings for front in fronts.values() for c in front]
    assert all(s.replace(overrides=base.overrides) == base and s.overrides for s in every)
    best = dict.fromkeys(goals, float("inf"))
    for way in itertools.product(("CPU", "CUDA0"), repeat=6):
        rules = tuple((rf"blk\.{i // 2}\.ffn_{('(up|gate)', 'down')[i % 2]}_exps", d) for i, d in enumerate(way))
        made = ikx.plan(m, base.replace(overrides=rules), machine)
        if made.fits:
            r = rates(made, 4096)
            best = {name: min(s, pp / r.pp[0] + tg / r.tg[0]) for (name, s), (pp, tg) in zip(best.items(), goals.values())}
    for name, (pp, tg) in goals.items():
        assert pp / fronts[name][0].pp + tg / fronts[name][0].tg <= best[name] * 1.005, name


def test_types_without_a_kernel_on_gpus_stay_in_ram():
    m = model(HEADERS[1])
    assert {t.type for t in m.tensors.values() if "_exps" in t.name} == {"iq1_s_r4", "iq1_m_r4"}
    old = ikx.Machine.described([{"label": "RTX 3090", "free_mib": 23000}], cpu={"cores": 16}, commit_date="2025-05-20")
    front = tuned(m, old, ctx=2048, profile="2025-06", limits={"n_ubatch": 512}, time_limit=4)
    cpu = [name for c in front for name in pieces(m).names if c.plan.placement.place[c.plan.placement.tensors.row[name]] == 0]
    assert not cpu


def test_goal_decides_the_order():
    m, machine = model(HEADERS[0], 3), rig(1800)
    limits = {**NARROW, "n_ubatch": [512, 2048], "rtr": False, "fused_moe": True, "n_threads_batch": 16}
    by_pp, by_tg = (tuned(m, machine, goal=g, limits=limits, ctx=4096) for g in ("pp", "tg"))
    assert by_pp[0].pp == max(c.pp for c in by_pp)
    assert by_tg[0].tg == max(c.tg for c in by_tg)
    assert by_pp[0].pp > by_tg[0].pp and by_tg[0].tg >= by_pp[0].tg


def test_limits_hold():
    m = model(HEADERS[0])
    front = tuned(m, rig(6000, ram=20000), ctx=2048, limits={**NARROW, "rtr": True, "CUDA0": 2000}, time_limit=3)
    assert all(c.settings.rtr and c.settings.n_ubatch == 1024 and c.memory["CUDA0"] <= 2000 for c in front)


def test_spare_memory_is_left():
    front = tuned(model(HEADERS[0]), rig(3000), ctx=2048, limits=NARROW, spare_mib=700)
    assert all(c.memory["CUDA0"] <= 2300 for c in front)
    assert max(c.memory["CUDA0"] for c in front) > 2000  # and what may be used is used


def test_what_is_short_and_the_ways_out():
    m = model(HEADERS[0])
    enough = ikx.plan(m, ikx.Settings.parse("-c 8192 -fa on -t 16"), rig())
    small = rig(ram=int(enough.devices[-1].total_mib) + 2)
    with pytest.raises(NoFit) as no:
        tuned(m, small, ctx=32768, limits={"cache_type_k": "f16", "cache_type_v": "f16"})
    nearest = no.value.plan
    assert no.value.short == {"CPU": nearest.devices[-1].over_mib} and f"{no.value.short['CPU']:,.0f} MiB" in str(no.value)
    assert any(way.text.startswith("-c ") for way in no.value.ways)
    for way in no.value.ways:
        assert way.settings is None or way.from_disk_mib or ikx.plan(m, way.settings, small).fits
    shorter = next(w.settings for w in no.value.ways if w.text.startswith("-c "))
    assert not ikx.plan(m, shorter.replace(n_ctx=shorter.n_ctx + 256), small).fits  # the largest


def test_least_rates_that_nothing_reaches():
    with pytest.raises(NoFit, match="nothing reaches PP 1e\\+06 and TG 0"):
        tuned(model(HEADERS[0]), rig(), ctx=512, limits={"pp": 1e6}, time_limit=2)


@pytest.mark.parametrize(
    "options, said",
    [({"goal": "speed"}, "goal 'speed'"), ({"goal": {"pp": -1}}, "0 or more"), ({"ctx": 0}, "ctx 0"), ({"ctx": 2.5}, "ctx 2.5"),
     ({"limits": {"CUDA7": 100}}, "limits has no 'CUDA7'"), ({"limits": {"n_ubatch": "many"}}, "-ub many"),
     ({"limits": {"overrides": "exps=CPU"}}, "the tuner sets it"), ({"limits": {"tg": 0}}, "limits['tg'] 0"),
     ({"time_limit": 0}, "time_limit 0"), ({"profile": "2024"}, "profile '2024'"), ({"spare_mib": -1}, "spare_mib -1"),
     ({"limits": {"rtr": []}}, "is empty"), ({"limits": {"size_gib": 0.05}}, "the smallest file")],
)  # fmt: skip
def test_bad_input_is_named(options, said):
    with pytest.raises(ikx.IkexploreError) as error:
        tuned(model(HEADERS[0]), rig(), **options)
    assert said in str(error.value) and "\n" not in str(error.value)


def test_stopped_search_gives_the_best_so_far(monkeypatch):
    explore = Search.explore

    def third(self, base, aim):
        if len(self.tried) == 2:
            raise KeyboardInterrupt
        explore(self, base, aim)

    monkeypatch.setattr(Search, "explore", third)
    front = tuned(model(HEADERS[0]), rig(3000), ctx=2048)
    assert front and front.stopped and not front.complete


def test_stopped_before_anything_was_found(monkeypatch):
    def first(self, base, aim):
        raise KeyboardInterrupt

    monkeypatch.setattr(Search, "explore", first)
    with pytest.raises(KeyboardInterrupt):
        tuned(model(HEADERS[0]), rig())


def test_a_slip_in_the_rules_is_caught():
    from ikexplore.tune.search import check

    m, machine = model(HEADERS[0]), rig(24000)
    made = ikx.plan(m, ikx.Settings.parse(r"-ot blk\.[0-2]\.ffn_up_exps=CPU,attn_q=CPU"), machine)
    meant = {name: "CPU" if "ffn_up" in name and key[0] < 3 else "CUDA0" for name, key in pieces(m).names.items()}
    with pytest.raises(RuntimeError, match=r"catches blk\.0\.attn_q"):
        check(made, meant)
    with pytest.raises(RuntimeError, match="where CUDA0 was meant"):
        check(made, dict.fromkeys(meant, "CUDA0"))


def test_room_that_only_whole_layers_fill():
    """RAM and GPU together hold the model, but neither most of it."""
    m = model(HEADERS[1])
    try:
        front = tuned(m, rig(4969, ram=1848), ctx=512, time_limit=10)
    except NoFit as no:
        assert no.short and no.plan is not None and not no.plan.fits
    else:
        assert all(c.plan.fits for c in front)


def test_an_estimate_that_promises_too_much_is_mended_by_the_plan(monkeypatch):
    room = Search._room
    monkeypatch.setattr(Search, "_room", lambda self, start: room(self, start) + 700 * 2**20)
    front = tuned(model(HEADERS[0]), rig(2500), ctx=2048, limits=NARROW, time_limit=5)
    assert front and all(c.plan.fits for c in front)
    assert max(c.memory["CUDA0"] for c in front) > 2000
