"""The widget without a browser: what follows the switches, what runs beside the kernel, what is left after close."""

import threading
import time
import xml.etree.ElementTree as xml
from collections.abc import Iterator
from typing import Any

import pytest
import scene

import ikexplore as ikx
from ikexplore_widgets import Explorer
from ikexplore_widgets.runs import flags

OURS = ("ikexplore-panel", "ikexplore-job", "ikexplore-stop")


def ours() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name.startswith(OURS)]


def until(holds: Any, timeout: float = 10.0) -> Any:
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        found = holds()
        if found:
            return found
        time.sleep(0.01)
    raise AssertionError(f"did not come true within {timeout} s")


def message(explorer: Explorer, kind: str, **content: Any) -> None:
    explorer._message(explorer, {"kind": kind, **content}, [])


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


def test_settings_and_plan_follow_the_switches(make):
    e = make()
    message(e, "set", seq=1, values={"rtr": True, "ub": "128", "ctk": "q8_0", "t": "1"})
    assert e.settings == ikx.Settings(n_ctx=4096, n_ubatch=128, rtr=True, cache_type_k="q8_0", n_threads=1)
    assert e.plan.settings == e.settings
    until(lambda: e.controls["seq"] == 1 and "-ub 128" in str(e.command))
    e.settings = "-c 1024 -ot exps=CPU"
    assert e.settings.overrides == (("exps", "CPU"),) and e.plan.settings.n_ctx == 1024
    until(lambda: e.controls["rules"] and e.controls["rules"][0]["hits"] == 4)


def test_settings_that_make_no_sense_are_an_error_and_change_nothing(make):
    e = make()
    before = e.settings
    with pytest.raises(ikx.SettingsError):
        e.settings = "-ub 0"
    assert e.settings == before
    message(e, "set", seq=1, values={"ub": "0", "frob": "1", "rig": "mainframe", "quant": "iq9_x", "gpu_mib": "-4"})
    assert e.settings == before
    assert set(e._panel.drafts) == {"ub", "frob", "rig", "quant", "gpu_mib"}
    assert all("\n" not in told for _, told in e._panel.drafts.values())
    groups = until(lambda: e.controls["seq"] == 1 and e.controls)["groups"]
    rows = {row["key"]: row for group in groups for row in group["rows"]}
    assert "1 or more" in rows["ub"]["error"] and "still 256" in rows["ub"]["error"]
    message(e, "set", seq=2, values={"ub": "64"})
    assert "ub" not in e._panel.drafts and e.settings.n_ubatch == 64


def test_an_idle_panel_has_no_thread_and_a_closed_one_neither(make):
    e = make(pace=0.1, rows=1000)
    assert until(lambda: not ours())
    e.run()
    until(lambda: e.runs[0].rows)
    assert ours()
    e.close()
    assert not ours()
    message(e, "set", seq=9, values={"rtr": True})
    assert not ours()


def test_stop_takes_effect_at_once_and_keeps_rows(make):
    e = make(pace=0.05, rows=1000)
    message(e, "run")
    until(lambda: len(e.runs[0].rows) >= 2)
    begin = time.monotonic()
    message(e, "stop")
    until(lambda: not e.header["running"])
    until(lambda: "ikexplore-job" not in ours())
    assert time.monotonic() - begin < 1.0
    rows = list(e.runs[0].rows)
    assert e.runs[0].state == "stopped" and len(rows) >= 2
    time.sleep(0.2)
    assert e.runs[0].rows == rows


def test_a_job_that_is_slow_to_stop_holds_up_the_next_one_and_not_the_panel(make):
    e = make()
    release, began = threading.Event(), []

    def deaf(*args: Any) -> None:
        began.append(time.monotonic())
        release.wait(5)

    e._panel.engine.sweep = deaf
    e.run()
    until(lambda: began)
    e.stop()
    assert until(lambda: not e.header["running"])
    assert e.run()
    time.sleep(0.3)
    assert len(began) == 1 and until(lambda: e.header["status"]) == "waiting for the last run to end"
    release.set()
    until(lambda: len(began) == 2)


def test_one_run_at_a_time(make):
    e = make(pace=0.1, rows=50)
    assert e.run() and not e.run()
    message(e, "set", seq=1, values={"quant": "iq4_ks"})
    assert "stop it first" in e._panel.drafts["quant"][1]
    e.stop()


def test_what_the_plan_cannot_do_is_one_line_and_the_last_plan_stays(make):
    e = make()
    plan = e.plan
    e._panel.engine.fail = "plan"
    message(e, "set", seq=1, values={"rtr": True})
    until(lambda: "cannot be planned" in e.header["error"])
    assert e.plan is plan and e.settings.rtr
    e._panel.engine.fail = ""
    message(e, "set", seq=2, values={"c": "512"})
    until(lambda: not e.header["error"])
    assert e.plan.settings.n_ctx == 512


def test_requantizing_happens_beside_the_main_thread_and_is_remembered(make):
    e = make()
    first = e.model
    message(e, "set", seq=1, values={"quant": "iq4_ks"})
    until(lambda: e.about["line"].startswith("IQ4_KS"))
    second = e.model
    assert {t.type for t in second.tensors.values()} == {"iq4_ks", "f32"}
    message(e, "set", seq=2, values={"quant": ""})
    assert e.model is first
    message(e, "set", seq=3, values={"quant": "iq4_ks"})
    assert e.model is second
    e._panel.engine.fail = "requantized"
    message(e, "set", seq=4, values={"quant": "q8_0"})
    until(lambda: e.header["error"] == "RuntimeError: boom second line")
    assert e.model is second


def test_pin_and_swap(make):
    e = make()
    message(e, "set", seq=1, values={"rtr": True, "rig": "sim2", "rules": ["exps=CPU"]})
    until(lambda: e.header["against"])
    assert e.header["against"] == "CPU only, -rtr off, no -ot rules"
    message(e, "swap")
    assert not e.settings.rtr and e.settings.overrides == () and len(e.machine.gpus) == 0
    message(e, "swap")
    assert e.settings.rtr and e.settings.overrides == (("exps", "CPU"),) and len(e.machine.gpus) == 2
    message(e, "pin")
    until(lambda: not e.header["against"])


def test_rigs_are_marked_simulated(make):
    e = make(None, scene.rig())
    assert e.machine == scene.rig()
    assert [rig for rig, _ in e.header["rigs"] if not rig.startswith("rig:")] == ["given", "cpu", "sim1", "sim2"]
    message(e, "set", seq=1, values={"rig": "sim1", "gpu_mib": "8000"})
    assert [(g.name, g.free_mib, g.simulated) for g in e.machine.gpus] == [("CUDA0", 8000, True)]
    devices = until(lambda: e.memory["devices"][0]["cap"] == 8000 and e.memory["devices"])
    assert len(devices) == 2 and devices[0]["sim"] and devices[1]["host"] and not devices[1]["sim"]


def test_a_run_never_uses_a_gpu_that_is_only_drawn(make):
    e = make(None, scene.rig(), rows=1)
    e.settings = "-ngl 99 -ot exps=CUDA1 -ub 64 -c 256 -op 26,0"
    e.run()
    until(lambda: e.runs[0].state == "done")
    assert e.runs[0].settings.given == {"n_ctx": 256, "n_ubatch": 64}


def test_a_path_is_opened(make):
    e = make("/somewhere/other.gguf")
    assert e.about["title"] == "/somewhere/other.gguf" and e.plan is not None
    with pytest.raises(ikx.ModelError, match="is no GGUF file"):
        make("/somewhere/other.txt")


def test_a_header_without_weights_is_planned_and_not_run(make):
    model = scene.small()
    model.has_weights = False
    e = make(model)
    assert e.plan is not None and not e.header["can_run"]


def test_messages_may_come_on_any_thread(make):
    e = make()

    def toggle(key: str) -> None:
        for i in range(40):
            message(e, "set", seq=i, values={key: bool(i % 2)})

    threads = [threading.Thread(target=toggle, args=(key,)) for key in ("rtr", "fa", "fmoe")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert e.settings.rtr and e.settings.flash_attn and e.settings.fused_moe
    until(lambda: not ours())
    assert e.plan.settings == e.settings and not e.error


def test_a_message_that_makes_no_sense_is_one_line(make):
    e = make()
    message(e, "format-disk")
    assert "format-disk" in e.error
    e._message(e, None, [])
    e._message(e, {"kind": "assign", "first": "x"}, [])
    assert "\n" not in e.error
    message(e, "dismiss")
    assert not e.error


def test_a_run_has_the_layout_that_was_chosen(make):
    e = make(rows=1, pace=0.01)
    row = {r["key"]: r for group in e.controls["groups"] for r in group["rows"]}["layout"]
    assert row["off"] and "no effect here" in row["effect"], "Q8_0 has none"
    message(e, "set", seq=0, values={"quant": "iq4_ks"})
    until(lambda: "iq4_ks" in e.about["id"] and not ours())
    row = {r["key"]: r for group in e.controls["groups"] for r in group["rows"]}["layout"]
    assert row["value"] == "file" and row["choices"] == ["file", "own16"] and not row["off"], row
    message(e, "pin")
    message(e, "set", seq=1, values={"layout": "own16"})
    e.run()
    until(lambda: e.runs[0].state == "done" and not ours())
    assert e._panel.engine.layouts == ["own16"] and e.runs[0].quant.endswith(" own16")
    row = {r["key"]: r for group in e.controls["groups"] for r in group["rows"]}["layout"]
    assert row["changed"] and "tensors copied" in row["effect"]
    message(e, "swap")
    e.run()
    until(lambda: len(e.runs) == 2 and e.runs[1].state == "done" and not ours())
    assert e._panel.engine.layouts == ["own16", "file"] and e.runs[0].key != e.runs[1].key
    message(e, "set", seq=2, values={"layout": "sideways"})
    until(lambda: "layout sideways is not known; choose file or own16" in str(e.controls) + str(e.header))
    assert e._panel.layout == "file"


def test_one_message_a_tick_and_ten_a_second(make, monkeypatch):
    sent: list[float] = []
    original = Explorer._send

    def counting(self: Any, msg: Any, buffers: Any = None) -> None:
        if msg.get("method") == "update":
            sent.append(time.monotonic())
        original(self, msg, buffers)

    e = make(pace=0.01, rows=1000)
    monkeypatch.setattr(Explorer, "_send", counting)
    e.run()
    until(lambda: len(sent) >= 12)
    e.stop()
    busiest = max(sum(t <= s < t + 1 for s in sent) for t in sent)  # a late tick may be followed by one on time
    assert busiest <= 11


def test_a_page_that_asks_during_a_step_is_told_of_one_plan(make):
    e = make(None, scene.rig())
    until(lambda: not ours())
    before, asked = e.get_state(), []

    def ask() -> None:
        asked.append(e.get_state())

    threads = [threading.Thread(target=ask)]
    e.observe(lambda _: (threads[0].start(), time.sleep(0.1)), names="memory")  # the splits are not set yet
    message(e, "set", seq=1, values={"rig": "cpu"})
    until(lambda: asked)
    threads[0].join()
    assert asked[0]["splits"] == e.splits != before["splits"]


def test_the_panel_reads_well_without_code(make):
    e = make()
    e.settings = "-ot <script>=CPU -rtr"
    data, _ = e._repr_mimebundle_()
    assert {"application/vnd.jupyter.widget-view+json", "text/plain", "image/svg+xml"} <= set(data)
    assert e.settings.command() in data["text/plain"]
    root = xml.fromstring(data["image/svg+xml"])
    words = " ".join(t.text or "" for t in root.iter("{http://www.w3.org/2000/svg}text"))
    assert e.settings.command() in words and "Memory" in words and "Splits" in words
    assert not list(root.iter("{http://www.w3.org/2000/svg}script"))


def test_the_command_in_flags_is_the_command(make, data):
    for text in ("", "-c 1 -ub 2", "-ot 'a b=CPU' -ot \"x|y=CPU\" -op -1,0", "--numa distribute -ser 6,1 -s -1"):
        line = ikx.Settings.parse(text).command()
        assert " ".join(flags(line)) == line
        assert all(flag.startswith("-") for flag in flags(line))
    assert flags("-op -1,0 -rtr") == ["-op -1,0", "-rtr"]


def test_on_the_embedded_model_with_the_real_engine():
    """No stand-in: plan and rows come from the engine itself."""
    e = Explorer()
    try:
        e.settings = "-c 512 -ub 128"
        assert e.plan is not None, e.error
        want = ikx.plan(ikx.demo.model(), e.settings, e.machine)
        assert e.plan.compute_bytes == want.compute_bytes and e.plan.graph_splits == want.graph_splits
        assert not e.error
        until(lambda: not ours())
        total = sum(d["model"] + d["kv"] + d["compute"] for d in e.memory["devices"])
        assert total == pytest.approx(sum(d.total_mib for d in e.plan.devices), abs=0.01)
        assert e.run()
        until(lambda: e.runs[0].state != "running", 300)
        assert e.runs[0].state == "done", e.error
        assert [row[:3] for row in e.runs[0].rows] == [(128 * i, 128, 32) for i in range(4)]
        assert all(row[3] > 0 and row[4] > 0 for row in e.runs[0].rows)
        message(e, "set", seq=1, values={"rig": "sim2"})
        devices = until(lambda: len(e.memory["devices"]) == 3 and e.memory["devices"])
        assert [d["sim"] for d in devices] == [True, True, False] and all(d["model"] > 0 for d in devices)
    finally:
        e.close()
    assert until(lambda: not ours())
