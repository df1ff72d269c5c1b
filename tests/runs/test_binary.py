"""A real program as a runner, tested with a stand-in that replays logs at speed and goes wrong in every way."""

import os
import signal
import threading
import time

import pytest
from conftest import alive, program

import ikexplore as ikx
from ikexplore.runs import Binary, process

LINE = "-c 1024 -ub 128 -t 2"


def settings(line=LINE):
    return ikx.Settings.parse(line)


@pytest.fixture
def binary(sweep_bench):
    return Binary(sweep_bench, timeout=60)


def broken(binary, fault, **more):
    binary.env = {"STANDIN_FAULT": fault, **more}
    return binary


def test_a_program_says_what_it_is(tmp_path, sweep_bench):
    new, old = Binary(sweep_bench).program, Binary(sweep_bench, env={"STANDIN_FAULT": "old"}).program
    assert (new.kind, new.engine, new.profile, new.build) == ("sweep", "ik_llama.cpp", "2026-08", (4100, "8337e4cd"))
    assert old.profile == "2025-06" and "-fmoe" in old.flags and "--dry-run" not in old.flags
    assert Binary(program(tmp_path, "llama-perplexity")).program.kind == "perplexity"


def test_rows_and_events_are_those_of_a_sweep(binary, model):
    rows, events = [], []
    found = binary.sweep(model, settings(), progress=False, on_row=rows.append, on_progress=events.append)
    ours = ikx.sweep(model, settings("-c 256 -ub 128 -t 1"), progress=False)
    assert set(ours.rows[0]) <= set(found.rows[0]) and isinstance(found, type(ours))
    assert rows == found.rows and [r["n_kv"] for r in rows] == list(range(0, 1024, 128)) and found.ok
    assert all(r["s_pp"] == pytest.approx(r["pp"] / r["t_pp"], rel=0.05) and r["repetitions"] == 1 for r in rows)
    assert {e["phase"] for e in events} >= {"load", "tg"} and all(0 <= e["done"] <= e["total"] for e in events)
    assert [e["done"] for e in events if "t_s" in e] == list(range(1, 9)) and events[-1]["total"] == 8
    assert found.to_markdown().count("\n") == 9 and found.run.startup["main"]["n_kv_max"] == 1024


def test_repetitions_are_runs_with_a_spread(binary, model):
    rows = []
    found = binary.sweep(model, settings("-c 256 -ub 128"), repetitions=3, progress=False, on_row=rows.append)
    assert len(found.runs) == len(found.logs) == 3 and rows == found.rows and len(rows) == 2
    for row in found.rows:
        assert row["repetitions"] == 3 and len(row["s_tg_all"]) == 3
        assert min(row["s_tg_all"]) < row["s_tg"] < max(row["s_tg_all"]) and row["s_tg_sd"] > 0
    assert "±" in found.to_markdown()


def test_command_and_environment_are_shown(binary, model, marks, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    binary.env, binary.prefix = {**marks.env, "GGML_X": "7"}, ("env", "GGML_Y=1")
    found = binary.sweep(model, settings("-c 256 -ub 128 -ot ffn=CPU"), progress=False)
    (mark,) = marks.read()
    assert found.command == ["env", "GGML_Y=1", str(binary.program.path), *mark["argv"]]
    assert mark["argv"] == ["-m", str(model.path), "-c", "256", "-ub", "128", "-ot", "ffn=CPU"]
    assert mark["env"] == "7" and found.environment["GGML_X"] == "7" and "GGML_X=7" in found.summary()
    assert mark["cwd"] != str(tmp_path)  # programs leave a llama.log where they are run
    assert found.facts["env.GGML_X"] == "7" and found.facts["numa.nodes"] >= 1


FAULTS = {
    "crash": (-signal.SIGSEGV, "segmentation fault"), "killed": (-signal.SIGKILL, "for lack of memory"),
    "abort": (-signal.SIGABRT, "GGML_ASSERT(a == b)"), "exit": (3, "exit code 3: main: error: unable to load model"),
    "oom": (1, "out of memory: 12,345.67 MiB could not be had on CUDA1"), "orphan": (0, "early, with 6 of 8 rows"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_bad_end_is_a_sentence_and_keeps_rows(binary, model, fault):
    found = broken(binary, fault).sweep(model, settings(), repetitions=2, progress=False)
    code, said = FAULTS[fault]
    assert [r["n_kv"] for r in found.rows] == list(range(0, 768, 128)) and not found.ok and not found.stopped
    assert said in found.sentence and "\n" not in found.sentence
    assert found.codes == ([code] if code else [code] * 2)  # a run that failed is not repeated


def test_an_unknown_flag_at_run_time_is_named(binary, model):
    found = broken(binary, "flag").sweep(model, settings(), progress=False)
    assert found.rows == [] and "does not know the flag -mla" in found.sentence


@pytest.mark.parametrize("fault", ["halves", "cut", "garbage", "busy"])
def test_odd_output_loses_no_row(binary, model, fault):
    found = broken(binary, fault).sweep(model, settings(), progress=False)
    assert len(found.rows) == 8 and found.ok, found.sentence


def test_a_hang_is_seen(binary, model, marks):
    broken(binary, "hang", **marks.env).idle = 0.8
    begin = time.monotonic()
    found = binary.sweep(model, settings(), progress=False)
    assert "hung: 0.8 seconds without output and without work" in found.sentence and len(found.rows) == 6
    assert time.monotonic() - begin < 30 and not alive(marks.read()[0]["pid"])


def test_work_without_output_is_no_hang(binary, model):
    broken(binary, "busy").idle = 0.8
    assert binary.sweep(model, settings(), progress=False).ok


@pytest.mark.parametrize("how", ["stop", "timeout"])
def test_an_end_takes_all_processes_along(binary, model, marks, monkeypatch, how):
    """The stand-in ignores SIGTERM here."""
    monkeypatch.setattr(process, "GRACE", 0.3)
    broken(binary, "deaf", **marks.env)
    binary.timeout = 1.0 if how == "timeout" else None
    stop = threading.Event()
    found = binary.sweep(model, settings(), progress=False, stop=stop, on_row=lambda r: how == "stop" and stop.set())
    assert found.rows and found.stopped == (how == "stop") and not found.ok
    assert ("ended after 1 seconds" if how == "timeout" else "was stopped") in found.sentence
    assert not alive(marks.read()[0]["pid"])


def test_children_that_are_left_over_go_too(binary, model, marks):
    found = broken(binary, "children", **marks.env).sweep(model, settings(), progress=False)
    assert found.ok and len(found.rows) == 8
    assert [alive(pid) for pid in marks.read()[0]["children"]] == [False, False]


def test_children_in_a_session_of_their_own_go_too(binary, model, marks):
    broken(binary, "nest", **marks.env).idle = 0.8
    found = binary.sweep(model, settings(), progress=False)
    assert "hung" in found.sentence and [alive(pid) for pid in marks.read()[0]["children"]] == [False, False]


def test_ctrl_c_stops_it(binary, model, marks, monkeypatch):
    broken(binary, "hang", **marks.env)
    monkeypatch.setattr(process, "GRACE", 0.3)
    timer = threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    found = binary.sweep(model, settings(), progress=False)
    timer.join()
    assert found.stopped and len(found.rows) == 6 and not alive(marks.read()[0]["pid"])


def test_an_error_of_a_listener_ends_the_program(binary, model, marks):
    broken(binary, "hang", **marks.env)

    def fail(row):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        binary.sweep(model, settings(), progress=False, on_row=fail)
    assert not alive(marks.read()[0]["pid"])


def test_a_flood_is_ended(binary, model, monkeypatch):
    monkeypatch.setattr(process, "MOST_OUTPUT", 4 << 20)
    found = broken(binary, "flood").sweep(model, settings(), progress=False)
    assert "printed more than" in found.sentence and len(found.rows) == 6


def plan_of(model, line="-c 512 -ub 128 -t 2"):
    return ikx.plan(model, settings(line), ikx.Machine.described(cuda_build=False, cpu={"cores": 2, "threads": 2}))


def test_plan_figures_are_checked(binary, model, tmp_path):
    plan = plan_of(model)
    log = tmp_path / "plan.log"
    log.write_text(plan.log() + "\n|    PP |     TG |   N_KV |   T_PP s | S_PP t/s |   T_TG s | S_TG t/s |\n" + "x\n" * 5)
    binary.env = {"STANDIN_LOG": str(log), "STANDIN_PAUSE": "0.01"}
    found = binary.check(plan)
    assert found.differences == [] and found.compared >= 12 and found.ok and "--dry-run" in found.command
    other = plan_of(model, "-c 1024 -ub 256 -ctk q8_0 -t 2 --no-mmap")
    told = {name: (planned, printed) for name, planned, printed in binary.check(other).differences}
    assert told["n_ctx"] == (1024, 512) and told["n_ubatch"] == (256, 128)
    assert told["kv_mib CPU"] == (other.kv_mib[0][1], plan.kv_mib[0][1]) and "compute_mib CPU" in told


def test_a_check_without_figures_says_why(binary, model):
    found = broken(binary, "exit").check(plan_of(model))
    assert not found.ok and found.differences is not None and "unable to load model" in found.sentence
    assert any("--dry-run failed" in text for text in found.remarks)


def test_records_compare_and_list_what_differs(sweep_bench, model):
    runs = [Binary(sweep_bench, env=env).sweep(model, settings("-c 256 -ub 128"), 5, progress=False)
            for env in ({"STANDIN_SPEED": "1"}, {"STANDIN_SPEED": "0.8", "GGML_X": "1"})]
    found = ikx.compare(*runs)
    assert found.regression and "slower" in found.verdict
    assert ("env.GGML_X", None, "1") in found.differences


def test_flags_are_checked(binary, sweep_bench, model):
    words, remarks = binary.command(model, ikx.Settings.parse("-op 27,0 -rtr"))
    assert words[3:] == ["-op", "27,0", "-rtr"] and ["-op is not in the help" in text for text in remarks] == [True]
    with pytest.raises(ikx.SettingsError, match="has no flag --frobnicate"):
        binary.command(model, ikx.Settings.parse("--frobnicate 3"))
    old = Binary(sweep_bench, env={"STANDIN_FAULT": "old"})
    words, remarks = old.command(model, ikx.Settings.parse("-fa on -ub 256"))
    assert "-fa" in words and "on" not in words and remarks  # June 2025 has no value behind -fa


def test_bench_has_arguments_of_its_own(tmp_path, model):
    bench = Binary(program(tmp_path, "llama-bench"))
    words, _ = bench.command(model, ikx.Settings.parse("-ub 256 -rtr -fa off -ot ffn=CPU"), "-p", "512")
    pairs = dict(zip(words[3::2], words[4::2]))
    assert pairs["-rtr"] == "1" and pairs["-fa"] == "0" and pairs["-ub"] == "256" and pairs["-fmoe"] == "1"
    assert pairs["-ot"] == "ffn=CPU" and words[-2:] == ["-p", "512"]
    with pytest.raises(ikx.IkexploreError, match="this needs llama-sweep-bench"):
        bench.sweep(model)


def test_perplexity_is_read(tmp_path, model, marks):
    log = tmp_path / "perplexity.log"
    log.write_text("perplexity: calculating perplexity over 3 chunks, n_ctx=512, batch_size=2048, n_seq=4\n| a |\n"
                   "[1]4.0000,[2]5.0000,[3]5.5000,\nFinal estimate: PPL = 5.5000 +/- 0.12345\n")  # fmt: skip
    run = Binary(program(tmp_path, "llama-perplexity"), env={"STANDIN_LOG": str(log), **marks.env})
    found = run.perplexity(model, "Some text.", settings("-c 512"))
    assert found.ok and (found.perplexity["final"], found.perplexity["error"]) == (5.5, 0.12345)
    words = marks.read()[0]["argv"]
    assert words[2:5] == ["-c", "512", "-f"] and not os.path.exists(words[5])  # a file for the text, gone again


def test_bad_input_is_one_line(tmp_path, sweep_bench, model):
    text = tmp_path / "text"
    text.write_text("hello")
    wrong = {
        "no such program": lambda: Binary(tmp_path / "nothing"),
        "is a folder; give a program in it, as in": lambda: Binary(tmp_path),
        "may not be executed": lambda: Binary(text),
        "gives no list of flags": lambda: Binary(sweep_bench, env={"STANDIN_FAULT": "mute"}),
        "give seconds above 0": lambda: Binary(sweep_bench, timeout=0),
        "profile '1999'": lambda: Binary(sweep_bench, profile="1999"),
        "give one of sweep": lambda: Binary(sweep_bench, kind="cook"),
        "cannot tell what": lambda: Binary(program(tmp_path, "other")),
        "measure nothing": lambda: Binary(sweep_bench).sweep(model, repetitions=0),
        "needs the model in a file": lambda: Binary(sweep_bench).sweep(ikx.requantized(model, "q8_0")),
    }
    for said, call in wrong.items():
        with pytest.raises(ikx.IkexploreError, match=said) as error:
            call()
        assert "\n" not in str(error.value)
