"""The forecast, the rig, the model in full and files to save: the widget without a browser."""

import json
import time
import xml.etree.ElementTree as xml
from collections.abc import Iterator
from typing import Any

import pytest
import scene
from test_explorer import message, ours, until

import ikexplore as ikx
from ikexplore import Machine
from ikexplore.plots.stack import SHOWN, stacked
from ikexplore_widgets import Explorer
from ikexplore_widgets.facts import metadata, shown
from ikexplore_widgets.rigs import Rigs, fields


@pytest.fixture
def make() -> Iterator[Any]:
    made: list[Explorer] = []

    def new(*args: Any, **engine: Any) -> Explorer:
        made.append(Explorer(*args, engine=scene.FakeEngine(**engine)))
        return made[-1]

    yield new
    for explorer in made:
        explorer.close()
    assert until(lambda: not ours())


def large(make: Any, **engine: Any) -> Explorer:
    e = make(scene.qwen235(), scene.rig(), **engine)
    e.settings = scene.settings()
    message(e, "pin")
    until(lambda: not ours())  # what is shown is of after the pin, forecast and all
    return e


def told(e: Explorer) -> Any:
    return e.throughput["forecast"]


def cells(e: Explorer) -> dict[str, Any]:
    return {cell["key"]: cell for cell in e.headline["cells"]}


# ---------- forecast


def test_the_forecast_follows_the_plan_and_is_never_a_measured_row(make):
    e = large(make)
    assert told(e)["now"]["s_pp"][0] == 287 and told(e)["pinned"] is None
    assert e.throughput["runs"] == [] and cells(e)["pp"]["label"] == "PP, forecast" and "≈" in cells(e)["pp"]["value"]
    message(e, "set", seq=5, values={"rtr": True})
    until(lambda: told(e)["now"]["s_pp"][0] == 170)
    until(lambda: "was ≈" in cells(e)["pp"]["sub"] and not ours())
    assert told(e)["pinned"]["s_pp"][0] == 287 and cells(e)["tg"]["sub"].startswith("+9")
    assert e.forecast.plan is e.plan
    assert e.forecast.rows[0]["s_pp"] == 170 and "forecast" not in json.dumps(e.throughput["runs"])


def test_a_toy_on_this_computer_is_measured_and_not_forecast(make):
    e = make(rows=1)
    assert e.forecast is None and cells(e)["pp"]["label"] == "PP, measured"
    message(e, "set", seq=1, values={"rig": "sim2"})
    until(lambda: told(e)["now"])
    assert told(e)["rig"] and cells(e)["pp"]["label"] == "PP, forecast"
    assert told(e)["pinned"] is None, "the pinned plan is of this computer"
    message(e, "set", seq=2, values={"rig": "cpu"})
    until(lambda: told(e)["now"] is None)
    assert cells(e)["pp"]["label"] == "PP, measured" and e.forecast is None


def test_forecasts_are_coalesced_and_come_after_the_plan(make):
    e = large(make)
    until(lambda: told(e)["now"])
    until(lambda: not ours())
    calls = e._panel.engine.calls
    calls.clear()
    begin = time.monotonic()
    for i in range(60):
        message(e, "set", seq=i, values={"ub": str(64 * (i + 1))})
        time.sleep(0.005)
    until(lambda: told(e)["now"] and not ours())
    ticks = 2 + 10 * (time.monotonic() - begin)
    assert calls.index("plan") < calls.index("forecast")
    assert calls.count("forecast") <= calls.count("plan") <= ticks and calls.count("plan") < 60


def test_no_forecast_says_why_and_the_panel_goes_on(make):
    e = large(make, fail="forecast")
    until(lambda: "this cannot be forecast" in told(e)["why"])
    assert told(e)["now"] is None and "this cannot be forecast" in cells(e)["pp"]["sub"] and e.forecast is None
    message(e, "set", seq=3, values={"rtr": True})
    until(lambda: cells(e)["splits"]["value"] == "149")


def test_where_the_time_goes_is_told_while_it_is_asked_for(make):
    e = large(make)
    until(lambda: told(e)["now"])
    assert told(e)["where"] is None
    message(e, "show", name="where", on=True)
    now = until(lambda: told(e)["where"])
    assert now["pp"] == [["CUDA0", "attention", 2.0], ["CPU", "experts", 8.0], ["PCIe", "weights", 6.0]]
    message(e, "set", seq=1, values={"rtr": True})
    until(lambda: told(e)["where"]["pp_was"] == 16.0)
    assert sum(part[2] for part in told(e)["where"]["pp"]) == 10.0
    message(e, "show", name="where", on=False)
    until(lambda: told(e)["where"] is None)


def test_small_causes_are_summed_up_and_nothing_is_lost():
    parts = {f"CUDA{i}: cause {k}": 1.0 / (1 + i + 4 * k) for i in range(4) for k in range(5)} | {"CPU: nothing": 0.0}
    rows = stacked(parts, ["CUDA0", "CUDA1", "CUDA2", "CUDA3", "CPU"])
    assert sum(row[2] for row in rows) == pytest.approx(sum(parts.values())) and len(rows) == SHOWN + 1
    assert rows[-1][:2] == ("", "rest") and [row[0] for row in rows[:-1]] == sorted(row[0] for row in rows[:-1])


# ---------- rig


def test_the_rig_is_edited_field_by_field(make):
    e = make(None, scene.rig())
    message(e, "show", name="rig", on=True)
    edits = {"rig.count": "2", "rig.0.label": "RTX 5090", "rig.1.mib": "16 000", "rig.1.pcie_gbs": "12.5",
             "rig.1.name": "CUDA7", "rig.cpu.bandwidth_gbs": "300", "rig.cpu.cores": "32", "rig.cpu.mib": "500000"}
    message(e, "set", seq=1, values=edits)
    rig = e.machine
    assert [(g.name, g.label, g.free_mib, g.cc, g.simulated) for g in rig.gpus] == [
        ("CUDA0", "RTX 5090", int(32 * 1024 * 0.97), 1200, True), ("CUDA7", "", 16000, 860, True)]
    assert rig.gpus[1].pcie_gbs == 12.5 and (rig.cpu.bandwidth_gbs, rig.cpu.cores, rig.cpu.total_mib) == (300, 32, 500000)
    until(lambda: [d["title"] for d in e.rig.get("devices", ())] == ["CUDA0", "CUDA7", "CPU"])
    assert e.header["rig"] == "edited" and "not present" in e.rig["note"]
    message(e, "set", seq=2, values={"rig.1.pcie_gbs": ""})
    assert e.machine.gpus[1].pcie_gbs is None
    message(e, "swap")
    assert e.machine == scene.rig()
    message(e, "swap")
    assert [g.name for g in e.machine.gpus] == ["CUDA0", "CUDA7"]


def test_an_edit_that_makes_no_sense_is_one_line_and_changes_nothing(make):
    e = make(None, scene.rig())
    message(e, "show", name="rig", on=True)
    bad = {"rig.count": "many", "rig.0.mib": "-3", "rig.1.name": "CUDA0", "rig.2.cc": "99", "rig.cpu.cores": "1.5",
           "rig.9.mib": "1", "rig.cpu.colour": "blue", "rig.words": "a toaster", "rig.cpu.bandwidth_gbs": "0"}
    message(e, "set", seq=1, values=bad)
    assert e.machine == scene.rig()
    assert set(e._panel.drafts) == set(bad) and all("\n" not in why for _, why in e._panel.drafts.values())
    until(lambda: e.rig.get("count") == "many" and e.rig["errors"])
    assert e.rig["devices"][0]["fields"][2]["error"]
    message(e, "set", seq=2, values={"rig": "cpu"})
    until(lambda: not e.rig["errors"])


def test_a_rig_in_words_and_what_the_datasheet_says_of_it():
    rigs = Rigs(Machine.described(cpu={"cores": 2}), None)
    rigs.edit("words", "EPYC 9355, 12-channel DDR5-6400, RTX 5090 + RTX 4090")
    assert len(rigs.machine.gpus) == 2 and rigs.described and rigs.chosen.id == "edited"
    rows = fields(rigs.machine)
    by_key = {f["key"]: f for f in rows[0]["fields"]}
    assert (by_key["bandwidth_gbs"]["value"], by_key["bandwidth_gbs"]["known"]) == ("", "1792")
    assert rows[-1]["id"] == "cpu" and rows[-1]["fields"][2]["value"] == "614.4"


def test_every_rig_of_the_package_can_be_chosen():
    rigs = Rigs(Machine.described(cpu={"cores": 2}), None)
    for name in Machine.rigs():
        rigs.choose(f"rig:{name}")
        assert rigs.machine == Machine.load(name)
    with pytest.raises(ikx.IkexploreError, match="pick one of the list"):
        rigs.choose("rig:../../etc/passwd")


def test_detection_runs_beside_the_panel_and_stops(make):
    e = make(slow=0.4)
    message(e, "show", name="rig", on=True)
    message(e, "detect")
    until(lambda: e.rig.get("detecting") and e.header["status"] == "looking at this computer")
    message(e, "stop")
    until(lambda: not e.rig["detecting"])
    time.sleep(0.6)
    assert e.machine.gpus == () and e.header["rig"] == "cpu", "what was stopped is forgotten"
    message(e, "detect")
    until(lambda: e.header["rig"] == "detected")
    assert len(e.machine.gpus) == 1 and until(lambda: not ours())


# ---------- model


class Lazy:
    """A list that must not be turned into text as a whole."""

    def __len__(self) -> int:
        return 10_000_000

    def __iter__(self) -> Iterator[str]:
        yield from ("<script>alert(1)</script>", "\x1b[31mred", "\u202etxt")
        raise AssertionError("read further than shown")


def test_metadata_of_any_kind_is_short_text():
    given = {"llama.a\x1b[2J": "B" * 10_000_000, "llama.list": Lazy(), "x" * 10_000_000: 1e-6, "empty": [], "none": None,
             "flag": True, "rtl": "\u202eabc", "lines": "a\nb"}
    rows = dict(metadata(given, "llama"))
    assert rows["a"] == "B" * 119 + "…" and rows["empty"] == "0 values: " and rows["none"] == "None" and rows["flag"] == "True"
    assert rows["rtl"] == "abc" and rows["lines"] == "a b"
    assert rows["list"] == "10000000 values: <script>alert(1)</scrip…, red, txt …"
    assert max(len(k) + len(v) for k, v in rows.items()) < 210 and shown({"a": 1}) == "1 entries"


def test_the_model_in_full_is_there_while_it_is_open(make):
    e = large(make)
    assert e.facts == {"open": False, "id": "given "}
    message(e, "show", name="facts", on=True)
    view = until(lambda: e.facts.get("roles") and e.facts)
    roles = {row["role"]: row for row in view["roles"]}
    assert roles["ffn_down_exps"]["n"] == 94 and sum(row["share"] for row in view["roles"]) == pytest.approx(1, abs=0.002)
    assert roles["ffn_down_exps"]["bpw"] == 4.25 and dict(view["facts"])["Tensors"] == "1131"
    first = e._panel.facts
    message(e, "set", seq=1, values={"rtr": True})
    until(lambda: cells(e)["splits"]["value"] == "149")
    assert e._panel.facts is first, "made once for a model"


def test_packaged_headers_can_be_picked_and_planned():
    e = Explorer()
    try:
        message(e, "set", seq=1, values={"model": "header:qwen3-235b-a22b-iq4_xs", "profile": "2025-06", "rig": "sim2"})
        message(e, "set", seq=2, values={"rig.count": "4"})
        e.settings = scene.settings()
        assert e.plan.model.name == "Qwen3 235B A22B" and len(e.plan.after_policy["pp"].cut) == 183, e.error
        message(e, "set", seq=3, values={"rtr": True})
        assert len(e.plan.after_policy["pp"].cut) == 149
        row = e.forecast.rows[0]
        assert 0 < row["s_pp_low"] < row["s_pp"] < row["s_pp_high"] and len(e.forecast.rows) == 8
        until(lambda: not e.header["can_run"])
    finally:
        e.close()


# ---------- files


def test_rows_and_the_page_are_saved(make, tmp_path):
    e = make(rows=3)
    e.run()
    until(lambda: e.runs[0].state == "done")
    message(e, "set", seq=1, values={"rig": "sim1"})
    until(lambda: told(e)["now"])
    lines = [json.loads(line) for line in e.save(tmp_path / "rows.jsonl").read_text().splitlines()]
    assert [line["n_kv"] for line in lines] == [0, 256, 512] and lines[0]["model"] == "embedded demo"
    assert lines[0]["s_pp"] == 280.0 and lines[0]["t_pp"] == pytest.approx(256 / 280)
    text = e.save(tmp_path / "rows.md").read_text()
    measured, forecast = text.split("### Forecast, not measured")
    assert "Measured: embedded demo, q8_0" in measured and "280" in measured and "287" in forecast and "287" not in measured
    root = xml.fromstring(e.save(tmp_path / "page.svg").read_text())
    space = "{http://www.w3.org/2000/svg}"
    assert "forecast 287" in (root.findtext(f"{space}desc") or "") and "simulated" in (root.get("aria-label") or "")
    words = " ".join(t.text or "" for t in root.iter(f"{space}text"))
    assert "discs: measured; band: forecast" in words and len(list(root.iter(f"{space}circle"))) == 6
    for name, why in (("page.gif", "end the name in"), ("no/page.svg", "cannot be written")):
        with pytest.raises(ikx.IkexploreError, match=why):
            e.save(tmp_path / name)


def test_a_page_without_a_forecast_has_no_band(make):
    e = make(rows=2)
    e.run()
    until(lambda: e.runs[0].state == "done")
    assert "forecast" not in e.svg() and e.svg().count("<circle") == 4


def test_runs_of_another_model_keep_off_the_chart(make):
    e = make(rows=2)
    e.run()
    until(lambda: e.runs[0].state == "done")
    message(e, "set", seq=1, values={"model": "header:large"})
    until(lambda: e.throughput["runs"] and e.throughput["runs"][0]["other"])
    message(e, "set", seq=2, values={"model": "demo"})
    until(lambda: not e.throughput["runs"][0]["other"])


def test_messages_of_views_that_make_no_sense_are_one_line(make):
    e = make()
    for content in ({"kind": "show"}, {"kind": "show", "name": "rig", "on": 1, "index": "x"}, {"kind": "save", "as": "exe"}):
        e._message(e, content, [])
        assert e.error and "\n" not in e.error
        message(e, "dismiss")
    message(e, "show", name="nothing", on=True)
    assert e._panel.open == set()
