"""Figures made of plans and sweeps, and that pyplot stays out of it."""

import dataclasses
import gzip
import io
import json
import os
import subprocess
import sys
import xml.etree.ElementTree as xml

import pytest

import ikexplore as ikx
from ikexplore import plots
from ikexplore.plots.from_plan import picture
from ikexplore.plots.picture import Grid

GPUS = [{"name": f"CUDA{i}", "free_mib": 24000, "cc": 860} for i in range(4)]


@pytest.fixture(scope="module")
def facts(request):
    data = request.getfixturevalue("data")
    return json.loads(gzip.decompress((data / "widgets" / "discussion-491.json.gz").read_bytes()))


@pytest.fixture(scope="module")
def model(facts, tmp_path_factory):
    path = tmp_path_factory.mktemp("header") / "qwen3.json"
    path.write_text(json.dumps({"metadata": facts["metadata"], "tensors": facts["tensors"]}))
    return ikx.Model.from_header(path)


@pytest.fixture(scope="module")
def plans(facts, model):
    rig = ikx.Machine.described(GPUS)
    return {key: ikx.plan(model, ikx.Settings.parse(facts[key]["argv"], profile="2025-06"), rig)
            for key in ("pub-491-no-rtr", "pub-491-rtr")}


@pytest.mark.parametrize("key", ["pub-491-no-rtr", "pub-491-rtr"])
def test_a_picture_is_the_plan_as_the_reference_prints_it(facts, plans, key):
    want, p = facts[key], picture(plans[key])
    names = [d.name for d in p.devices]
    rows = zip(p.pp.device, p.pp.nodes, p.pp.first, p.pp.n_inputs, p.pp.input_bytes, p.pp.n_weights, p.pp.weight_bytes)
    assert [[names[d], n, first, *rest] for d, n, first, *rest in rows] == [
        [s[0], s[2] - s[1], s[3], *s[5:]] for s in want["splits"]]
    assert p.pp.start[0] == -1 and p.pp.start[-1] == 95 and list(p.pp.start) == sorted(p.pp.start)
    for kind, part in (("model_mib", "model"), ("kv_mib", "kv"), ("compute_mib", "compute")):
        for device in p.devices[:-1]:
            assert getattr(device, part) == pytest.approx(dict(want["log"][kind])[device.name], abs=0.006)
    assert len(p.repacked) == (102 if "no" not in key else 0)
    experts = [i for i, name in enumerate(p.grid.names) if name.startswith("blk.60.ffn_") and "exps" in name]
    assert {names[p.at[i]] for i in experts} == {"CPU"} and {p.why[i].split(",")[0] for i in experts} == {"-ot rule 5"}


def test_a_known_grid_is_used_again(plans):
    p = picture(plans["pub-491-rtr"])
    assert picture(plans["pub-491-no-rtr"], p.grid).grid is p.grid


def test_grids_of_odd_tensors():
    class T:
        def __init__(self, name):
            self.name, self.shape, self.type, self.nbytes = name, (4, 4), "f32", 64

    grid = Grid.of([T("token_embd.weight"), T("blk.7.x.weight"), T("rope_freqs.weight"), T("blk.99999999.y")], 2)
    assert grid.n_layer == 8 and grid.layer == (-1, 7, 8, 99999999) and grid.role == (-1, 0, -1, 1)


@pytest.mark.parametrize("name", ["memory", "tensors", "splits"])
def test_figures_of_a_plan(plans, name):
    from matplotlib.figure import Figure

    figure = getattr(plots, name)(plans["pub-491-no-rtr"])
    assert isinstance(figure, Figure)
    data, metadata = figure._repr_mimebundle_()
    assert data["image/png"].startswith("iVBOR") and metadata["image/png"]["width"] == 960
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg")
    assert "CUDA3" in buffer.getvalue() or name == "tensors"


def test_the_graph_must_be_one_that_there_is(plans):
    plots.splits(plans["pub-491-rtr"], "tg")
    with pytest.raises(ValueError, match=r"'pp'.*'tg'"):
        plots.splits(plans["pub-491-rtr"], "bench")


def test_what_does_not_fit_is_red(plans):
    from ikexplore.plots import palette

    p = picture(plans["pub-491-no-rtr"])
    tight = tuple(dataclasses.replace(d, capacity=None if d.host else 20000.0) for d in p.devices)
    over = dataclasses.replace(p, devices=tight)
    (ax,) = plots.memory(over).axes
    red = [t.get_text() for t in ax.texts if t.get_color() == palette.rgba("bad")]
    assert len(red) == 4 and red[0] == "over by 731"
    assert not [t for t in plots.memory(p).axes[0].texts if t.get_color() == palette.rgba("bad")]
    assert plots.page(over).count("over by") == 4


def test_throughput_takes_sweeps_rows_and_labels():
    rows = [{"n_kv": n, "s_pp": 300 - n / 10, "s_tg": 15.0, "s_pp_sd": 4.0, "s_tg_sd": 0.0} for n in (0, 512, 1024)]

    class Sweep:
        def __init__(self, line):
            self.rows, self.settings = rows, ikx.Settings.parse(line)

    figure = plots.throughput([Sweep("-c 2048 -ub 512"), Sweep("-c 2048 -ub 512 -rtr")])
    assert [t.get_text() for t in figure.legends[0].get_texts()] == ["-ub 512", "-ub 512 -rtr"]
    pp = figure.axes[0]
    assert pp.get_ylim()[0] == 0 and list(pp.lines[0].get_ydata()) == [300, 248.8, 197.6]
    assert not plots.throughput(rows).legends
    with pytest.raises(ValueError, match="one for each"):
        plots.throughput([rows, rows], ["one"])
    with pytest.raises(ValueError, match="at least one"):
        plots.throughput([])


def test_a_page_is_whole_xml_whatever_the_names(plans):
    p = picture(plans["pub-491-rtr"])
    evil = dataclasses.replace(p, title="</text><script>alert(1)</script>\x00\x1b[31m\u202e & <b>")
    rows = [(0, 512, 128, 300.0, 15.0), (512, 512, 128, 280.0, 14.0)]
    text = plots.page(evil, [rows, rows], "-ot 'a&<b>=CPU'")
    root = xml.fromstring(text)
    assert not list(root.iter("{http://www.w3.org/2000/svg}script"))
    words = [t.text for t in root.iter("{http://www.w3.org/2000/svg}text")]
    assert "-ot 'a&<b>=CPU'" in words and any("<script>" in (w or "") for w in words)
    assert len(text) < 200_000


def test_nothing_here_needs_pyplot_and_a_page_no_matplotlib():
    code = ("import sys, ikexplore as ikx; from ikexplore import plots; m = ikx.demo.model();"
            "p = ikx.plan(m, ikx.Settings(), ikx.Machine.detect().with_gpus([])); plots.page(p);"
            "assert 'matplotlib' not in sys.modules; plots.memory(p)._repr_mimebundle_();"
            "assert 'matplotlib.pyplot' not in sys.modules")
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})


def test_the_forecast_is_a_band_without_marks(plans):
    plan = plans["pub-491-no-rtr"]
    made = plan.forecast([0, 8192, 28672])
    rows = [{"n_kv": 4096 * i, "s_pp": 280.0 - i, "s_tg": 15.0} for i in range(4)]
    alone, both = plots.throughput(forecast=made), plots.throughput([rows], labels=["here"], forecast=made)
    for figure, marked in ((alone, 0), (both, 1)):
        for ax, key in zip(figure.axes, ("s_pp", "s_tg")):
            lines = ax.get_lines()
            assert len(ax.collections) == 1 and sum(line.get_marker() not in ("None", "") for line in lines) == marked
            low, high = ax.collections[0].get_paths()[0].get_extents().intervaly
            assert low == pytest.approx(made.rows[-1][f"{key}_low"]) and high == pytest.approx(made.rows[0][f"{key}_high"])
            assert ax.get_ylim()[0] == 0
        assert "orecast" in figure.alt and f"PP {made.rows[0]['s_pp']:.3g}" in figure.alt
    with pytest.raises(ValueError, match="at least one sweep"):
        plots.throughput()


def test_where_the_time_goes_is_the_whole_of_it(plans):
    made = plans["pub-491-no-rtr"].forecast(0)
    figure = plots.where(made)
    assert [sum(bar.get_width() for bar in ax.patches) for ax in figure.axes] == pytest.approx([1, 1])
    for kind in ("pp", "tg"):
        most = max(made.where(0)[kind].items(), key=lambda item: item[1])[0].replace(": ", " ")
        assert f"; {most} " in figure.alt


def test_every_figure_and_the_page_say_what_they_show(plans):
    plan = plans["pub-491-rtr"]
    for name, wanted in (("memory", "CUDA1, simulated: 2"), ("tensors", "of 1131 tensors"), ("splits", "149 splits over 5")):
        _, metadata = getattr(plots, name)(plan)._repr_mimebundle_()
        assert wanted in metadata["image/png"]["alt"]
    root = xml.fromstring(plots.page(plan, forecast=plan.forecast(0)))
    space = "{http://www.w3.org/2000/svg}"
    assert "149 splits for prompts" in root.findtext(f"{space}desc") and root.get("role") == "img"
    assert "forecast, not measured" in " ".join(t.text or "" for t in root.iter(f"{space}text"))
    assert not list(root.iter(f"{space}circle"))
