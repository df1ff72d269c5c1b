"""Grids: combinations, order, journal, skips, stops, kills; tables and figures of what they found."""

import json
import threading

import pytest
from kills import killed_grid, lines_of, marks
from quick import AXES, REPETITIONS, runner

import ikexplore as ikx
from ikexplore.runs import Grid
from ikexplore.runs.axes import points
from ikexplore.runs.journal import Journal

RIG = ikx.Machine.described(cuda_build=False)
SMALL = {"rtr": [False, True], "ub": [32, 64]}


def run(model, axes=None, journal=None, **more):
    more = {"rig": RIG, "runner": runner, "progress": False, **more}
    return ikx.grid(model, SMALL if axes is None else axes, journal=journal, **more)


def test_all_combinations_as_often_as_asked(model, tmp_path):
    found = run(model, AXES, tmp_path / "j.jsonl", repetitions=2)
    assert len(found.done) == 24 and not found.skipped and not found.failed and found.axes == list(AXES)
    seen = {(r["settings"], r["repetition"]) for r in found.done}
    assert len(seen) == 24 and ("-ub 64 -ot ffn=CPU -rtr", 1) in seen
    assert {r["rig"] for r in found.done} != {""} and all(r["facts"]["numa.nodes"] for r in found.done)
    assert Grid.load(tmp_path / "j.jsonl").records == found.records


def test_the_order_is_random_in_blocks_and_repeatable(model, tmp_path):
    orders = [[r["key"] for r in run(model, AXES, repetitions=2, seed=seed).records] for seed in (1, 1, 2)]
    assert orders[0] == orders[1] != orders[2]
    first, second = orders[0][:12], orders[0][12:]
    assert set(first) == set(second) and first != second and first != [p.key("x") for p in points(model, AXES, ikx.Settings())]


def test_axes_are_read_like_a_command_line(model):
    axes = {"-ot": [None, "ffn=CPU"], "n_ubatch": ["64", 128], "flags": ["", "-fa off -rtr"]}
    made = points(model, axes, ikx.Settings.parse("-c 256"))
    assert [p.settings.command() for p in made][:3] == ["-c 256 -ub 64", "-c 256 -ub 64 -fa off -rtr", "-c 256 -ub 128"]
    assert made[-1].values == {"-ot": "ffn=CPU", "n_ubatch": "128", "flags": "-fa off -rtr"}
    assert len(points(model, {"rtr": [False, None, True]}, ikx.Settings())) == 2  # not given and off are one


def test_types_and_models_are_axes(model, data):
    other = ikx.open(data / "run" / "llama-f16.gguf")
    found = run(model, {"model": {"a": model, "b": other}, "type": [None, "q8_0"]}, settings=ikx.Settings.parse("-ub 64"))
    assert {(r["values"]["model"], r["values"]["type"]) for r in found.done} == {(m, t) for m in "ab" for t in ("-", "q8_0")}
    assert len({r["key"] for r in found.done}) == 4


def test_the_engine_here_measures(model):
    found = ikx.grid(model, {"rtr": [False, True]}, settings=ikx.Settings.parse("-c 256 -ub 128 -t 2"), progress=False)
    assert [len(r["rows"]) for r in found.done] == [2, 2] and all(row["s_tg"] > 0 for row in found.rows)
    assert found.done[0]["facts"]["model in memory before"] and found.done[0]["machine"].startswith("CPU")


def test_a_real_program_measures_and_types_become_files(sweep_bench, model, tmp_path):
    binary = ikx.runs.Binary(sweep_bench)
    found = run(model, {"rtr": [False, True], "type": [None, "q8_0"]}, tmp_path / "j.jsonl", runner=binary)
    assert len(found.done) == 4 and found.done[0]["runner"] == "llama-sweep-bench 4100 (8337e4cd)"
    (file,) = (tmp_path / "j-models").iterdir()
    assert {t.type for t in ikx.open(file).tensors.values()} >= {"q8_0"}
    binary.env = {"STANDIN_FAULT": "oom"}
    failed = run(model, {"rtr": [False]}, runner=binary)
    assert len(failed.failed) == 1 and "out of memory" in failed.failed[0]["reason"] and len(failed.failed[0]["rows"]) == 2
    assert "failed: rtr off: llama-sweep-bench: out of memory" in failed.to_markdown()


def test_begun_again_measures_only_what_is_missing(model, tmp_path):
    path, calls = tmp_path / "j.jsonl", []

    def counting(model, settings, **more):
        calls.append(settings.command())
        return runner(model, settings)

    counting.__qualname__ = "runner"  # results of another runner would be measured again
    first = run(model, journal=path, repetitions=2, runner=counting)
    assert len(calls) == 8
    again = run(model, {**SMALL, "ub": [32, 64, 128]}, path, repetitions=3, runner=counting)
    assert len(calls) == 18 and len(again.done) == 18  # 2 new points 3 times, 4 old ones once more
    assert [r for r in again.records if r in first.records] == first.records


def test_what_does_not_fit_is_skipped_with_the_reason(model, tmp_path):
    tight = ikx.Machine.described(gpus=[{"name": "CUDA0", "free_mib": 17, "cc": 860}])
    axes = {"c": [128, 8192], "ngl": [0, 99]}
    found = run(model, axes, tmp_path / "j.jsonl", rig=tight, repetitions=2)
    reasons = {(r["values"]["c"], r["values"]["ngl"]): r["reason"] for r in found.skipped}
    assert set(reasons) == {("8192", "99")} and "does not fit: CUDA0 needs" in reasons["8192", "99"]
    assert len(found.done) == 6 and any("simulated" in w for w in ikx.grid(
        model, {"rtr": [False]}, tight, settings=ikx.Settings.parse("-c 64 -ub 32"), progress=False).warnings)
    wide = ikx.Machine.described(gpus=[{"name": "CUDA0", "free_mib": 3000, "cc": 860}])
    again = run(model, axes, tmp_path / "j.jsonl", rig=wide, repetitions=2)
    assert len(again.done) == 8 and not again.skipped


def test_values_that_do_not_go_together_are_skipped(model):
    found = run(model, {"rope_scaling": [None, "yarn"], "sm": [None, "graph"]}, rig=ikx.Machine.described(cuda_build=False))
    assert len(found.done) + len(found.skipped) == 4
    assert all("\n" not in r["reason"] for r in found.skipped)


def test_a_stop_keeps_all_that_is_finished(model, tmp_path):
    stop, path = threading.Event(), tmp_path / "j.jsonl"
    found = run(model, AXES, path, stop=stop, on_point=lambda r: len(lines_of(path)) == 3 and stop.set())
    assert found.stopped and len(found.done) == 3 == len(lines_of(path))


def test_ctrl_c_keeps_all_that_is_finished(model, tmp_path):
    path = tmp_path / "j.jsonl"

    def interrupted(model, settings, **more):
        if len(lines_of(path)) == 2:
            raise KeyboardInterrupt
        return runner(model, settings)

    found = run(model, AXES, path, runner=interrupted)
    assert found.stopped and len(found.done) == 2 and len(run(model, AXES, path, runner=interrupted).done) == 2


def test_a_failed_point_does_not_end_the_grid(model, tmp_path):
    def half(model, settings, **more):
        if settings.rtr:
            raise ikx.ModelError("no such kernel")
        return runner(model, settings)

    found = run(model, journal=tmp_path / "j.jsonl", runner=half)
    assert len(found.done) == 2 and {r["reason"] for r in found.failed} == {"no such kernel"}
    half.__code__ = (lambda model, settings, **more: runner(model, settings)).__code__
    assert len(run(model, journal=tmp_path / "j.jsonl", runner=half).failed) == 2
    mended = run(model, journal=tmp_path / "j.jsonl", runner=half, retry_failed=True)
    assert len(mended.done) == 4 and not mended.failed and len(Grid.load(tmp_path / "j.jsonl").done) == 4


@pytest.mark.parametrize("tear", [b'{"key": "a', b'{"key":"x","status":"done","repetition":0}', b"\x00" * 40])
def test_a_torn_last_line_costs_only_its_point(model, tmp_path, tear):
    path = tmp_path / "j.jsonl"
    run(model, journal=path)
    whole = lines_of(path)
    path.write_bytes(b"\n".join(whole[:3]) + b"\n" + tear)
    found = run(model, journal=path)
    assert len(found.done) == 4 and any("torn off" in text for text in found.warnings)
    assert lines_of(path)[:3] == whole[:3] and len(set(marks(lines_of(path)))) == 4 == len(lines_of(path))


def test_garbage_in_a_journal_is_named_and_kept(model, tmp_path):
    path = tmp_path / "j.jsonl"
    run(model, journal=path)
    text = path.read_bytes().split(b"\n")
    path.write_bytes(b"\n".join([text[0], b"[1, 2]", b"\xff\xfe", *text[1:]]))
    found = run(model, journal=path)
    assert len(found.done) == 4 and sum("is no record" in text for text in found.warnings) == 2
    assert b"[1, 2]" in path.read_bytes()


def test_two_grids_do_not_write_one_journal(model, tmp_path):
    with Journal(tmp_path / "j.jsonl"), pytest.raises(ikx.IkexploreError, match="another grid is writing"):
        run(model, journal=tmp_path / "j.jsonl")
    with pytest.raises(ikx.IkexploreError, match="name a file in a folder"):
        run(model, journal=tmp_path / "nothing" / "j.jsonl")


def test_kill_9_loses_no_finished_point_and_doubles_none(data, tmp_path):
    counts = killed_grid(data / "run" / "llama-iq4_ks.gguf", tmp_path / "j.jsonl", moments=3)
    assert counts[-1] == 12 * REPETITIONS and counts[0] < counts[-1]


def test_progress_tells_how_long_the_rest_takes(model):
    events = []
    run(model, on_progress=events.append)
    assert [e["done"] for e in events if e["phase"] == "grid"][-1] == 4
    assert events[0]["eta_s"] is None and events[-1]["eta_s"] == 0 and all(e["eta_s"] > 0 for e in events[2:-1])


def test_tables_and_the_best(model, tmp_path):
    found = run(model, repetitions=2)
    lines = found.to_markdown().splitlines()
    assert lines[0].startswith("| rtr | ub | n | N_KV |") and len(lines) == 6
    assert lines[2].startswith("| off | 32 | 2 | 0 | 320.00 |")
    assert found.best("s_pp").command() in ("-ub 64", "-ub 64 -rtr") and found.best().settings.rtr
    assert found.points(64)[0]["ub"] == "64" and len(found.points(64)) == 2  # only these have a row there
    assert len(found.runs(rtr="on", ub="32")) == 2
    compared = ikx.compare(found.runs(rtr="off", ub="32"), found.runs(rtr="on", ub="32"))
    assert compared.ratio["s_tg"][0] == pytest.approx(1.4)
    with pytest.raises(ikx.IkexploreError, match="no finished point"):
        found.runs(rtr="maybe")
    assert json.dumps(found.records)


def test_pandas(model, monkeypatch):
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    found = run(model, {"c": [128, 8192], "ub": [32]}, rig=ikx.Machine.described(
        gpus=[{"name": "CUDA0", "free_mib": 8, "cc": 860}]), settings=ikx.Settings.parse("-ngl 99"))
    frame = found.to_pandas()
    assert isinstance(frame, pandas.DataFrame) and list(frame["status"]) == ["done", "done", "skipped"]
    assert frame.groupby("c")["s_tg"].mean()["128"] == 5.0 and "does not fit" in frame["reason"].iloc[-1]
    monkeypatch.setitem(__import__("sys").modules, "pandas", None)
    with pytest.raises(ikx.IkexploreError, match="pip install pandas"):
        found.to_pandas()


def test_figures(model):
    found = run(model, AXES, repetitions=2)
    lines = found.plot().axes[0].lines
    assert len(lines) == 12 and all(len(line.get_xdata()) == 5 for line in lines)
    facets = found.plot(kind="facets")
    assert len(facets.axes) == 4 and [len(ax.lines) for ax in facets.axes] == [6] * 4
    with pytest.raises(ikx.IkexploreError, match="kind 'pie'"):
        found.plot(kind="pie")
    with pytest.raises(ValueError, match="too many"):
        run(model, {"ub": [32, 33, 34, 35, 36, 37, 38], "rtr": [False]}).plot(kind="facets")


@pytest.mark.parametrize(("axes", "said"), [
    ({}, "axes are a dict"), ({"rtr": []}, "has no values"), ({"ub": 512}, "is no list of values"), ({"ub": "5"}, "is no list"),
    ({"ubs": [1]}, "is no switch"), ({"ub": [-5]}, "-ub"), ({"flags": ["--frob"]}, "flag --frob"), ({"flags": [3]}, "no text"),
    ({"type": ["q99"]}, "q99"), ({"model": ["nothing.gguf"]}, "nothing.gguf"),
    ({"ub": range(1, 400), "b": range(1, 400)}, "combinations"),
])  # fmt: skip
def test_bad_axes_are_one_line(model, axes, said):
    with pytest.raises(ikx.IkexploreError, match=said) as error:
        run(model, axes)
    assert "\n" not in str(error.value)


def test_other_bad_input_is_one_line(model):
    wrong = {"measure nothing": {"repetitions": 0}, "runner 3": {"runner": 3}, "cold needs a Binary": {"cold": True},
             "client is a int|needs distributed": {"client": 5}}  # fmt: skip
    for said, more in wrong.items():
        with pytest.raises(ikx.IkexploreError, match=said):
            run(model, **more)
