"""Rigs by name and by text, what they have learned in a file, the probe, and the figures of forecasts."""

import io

import pytest

import ikexplore as ikx
from ikexplore import plots
from ikexplore.errors import IkexploreError
from ikexplore.machine import parts
from ikexplore.machine.learned import learned_of


@pytest.mark.parametrize("name", ikx.Machine.rigs())
def test_every_rig_loads_and_is_saved_as_it_was(name, tmp_path):
    rig = ikx.Machine.load(name)
    rig.save(tmp_path / "again.toml")
    assert ikx.Machine.load(tmp_path / "again.toml") == rig
    speeds = parts.cpu_speeds(rig.cpu)
    assert speeds.cores >= 4 and 4e10 < speeds.bandwidth < 1e12
    assert all(5 <= parts.gpu_speeds(g).pcie_gbs <= 60 for g in rig.gpus)


def test_there_are_rigs():
    assert len(ikx.Machine.rigs()) >= 15


def test_an_unknown_rig_is_told_in_a_line():
    with pytest.raises(IkexploreError, match="there is no rig 'nope'; name a file, or one of") as told:
        ikx.Machine.load("nope")
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("text", "cores", "sockets", "gbs", "gpus"),
    [("AMD EPYC 9355 (32 cores), 12-channel DDR5-6400, RTX 5090 32 GB (PCIe 5.0 x16) + RTX 4090 24 GB", 32, 1, 614.4, [50, 25]),
     ("dual Intel Xeon E5-2690 v3 (48 threads), 384 GB DDR4, CPU only", 24, 2, 136.5, []),
     ("AMD Ryzen 7 7800X3D (8 cores), dual channel DDR5-6000, two RTX 3090, PCIe x4", 8, 1, 96.0, [6.25, 6.25]),
     ("Threadripper PRO 7965WX (24 cores), 8-channel DDR5-4800 (~225-250 GB/s mlc)", 24, 1, 294.1, [])],
)  # fmt: skip
def test_a_machine_from_words(text, cores, sockets, gbs, gpus):
    rig = ikx.Machine.from_text(text)
    found = parts.cpu_speeds(rig.cpu)
    assert (found.cores, found.sockets) == (cores, sockets)
    assert found.bandwidth / 1e9 == pytest.approx(gbs, abs=0.1)
    assert [g.pcie_gbs for g in rig.gpus] == gpus


def test_a_cpu_that_nobody_named_is_what_its_memory_needs():
    nobody = ikx.Machine.from_text("CPU not named; one RTX 3090").cpu
    assert parts.cpu_speeds(nobody).bandwidth < parts.cpu_speeds(nobody, held_gib=400).bandwidth


@pytest.mark.parametrize(
    ("table", "says"),
    [({"factors": ["a"]}, "has the keys"), ({"factors": ["a"], "log": [0.1, 0.2], "covariance": [[1.0]]}, "as many numbers"),
     ({"factors": ["a"], "log": [99.0], "covariance": [[1.0]]}, "beyond 20"),
     ({"factors": ["a"], "log": [0.0], "covariance": [[-1.0]]}, "beyond 20"),
     ({"factors": ["a"], "log": ["x"], "covariance": [[1.0]]}, "finite")],
)  # fmt: skip
def test_a_file_that_learned_nonsense_is_refused(table, says):
    with pytest.raises(IkexploreError, match=says):
        learned_of(table)


@pytest.mark.parametrize("speed", [0, -3, "fast", True])
def test_speeds_that_are_none_are_refused(speed):
    with pytest.raises(IkexploreError, match="bandwidth_gbs"):
        ikx.Machine.described(cpu={"bandwidth_gbs": speed})


def test_the_probe_times_memory_and_products(monkeypatch):
    from ikexplore.machine import probe as probing

    monkeypatch.setattr(probing, "ROUNDS", 1)
    monkeypatch.setattr(probing, "MOST_SHAPES", 1)
    here = ikx.Machine.detect()
    found = here.probe(ikx.demo.model(), progress=False)
    assert 1 in found.bandwidth and all(g > 0 for g in found.bandwidth.values())
    assert found.products and all(p["gbs"] > 0 and p["gflops"] > 0 for p in found.products)
    assert found.machine.cpu.bandwidth_gbs == pytest.approx(max(found.bandwidth.values()) / 0.85, abs=0.1)
    assert "read GB/s" in found.to_markdown()


def test_figures_of_a_forecast():
    plan = ikx.plan(
        ikx.demo.header("qwen3-235b-a22b-iq4_xs"),
        ikx.Settings.parse("-ngl 99 -fa -fmoe -ot exps=CPU -c 8192 -ub 1024 -t 24", profile="2025-06"),
        ikx.Machine.load("xeon-5120x2-4x3090"),
    )
    f = plan.forecast([0, 4096])
    for figure in (plots.where(f, n_kv=[0, 4096]), plots.where([f, f], ["a", "b"]), plots.rates(f, f.rows)):
        out = io.BytesIO()
        figure.savefig(out, format="svg")
        assert len(out.getvalue()) > 5000
    words = [t.get_text() for t in plots.where(f).axes[0].texts]
    assert "PCIe weights" in words and any(w.endswith(" s") for w in words)
    with pytest.raises(ValueError, match="2 labels for 1"):
        plots.where(f, ["a", "b"])
