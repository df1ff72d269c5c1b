"""Quant types for a size, the measured phase, and the command line."""

import itertools
from html import escape
from types import SimpleNamespace

import pytest
from test_tune import DATA, HEADERS, NARROW, model, rig, tuned

import ikexplore as ikx
from ikexplore.cli import main
from ikexplore.tune.recipes import best, errors, in_type, in_types

HEADER = str(DATA / "models" / "qwen3-30b-a3b-q4_k_m.json.gz")


def test_types_fill_the_size_and_no_class_can_have_better():
    m = model(HEADERS[0])
    size = sum(t.nbytes for t in m.tensors.values())
    found = best(m, size * 3 // 4)
    made = in_types(m, found.recipe)
    assert found.size == sum(t.nbytes for t in made.tensors.values()) <= size * 3 // 4
    kinds = sorted(errors(), key=lambda k: errors()[k])
    for i, (pattern, kind) in enumerate(found.recipe.rules):
        if kind == kinds[0]:
            continue
        better = kinds[kinds.index(kind) - 1]
        rules = tuple((p, better if i == n else k) for n, (p, k) in enumerate(found.recipe.rules))
        more = in_types(m, ikx.Recipe(found.recipe.default, rules, pure=True))
        larger = sum(t.nbytes for t in more.tensors.values())
        assert larger > size * 3 // 4 or larger == found.size, pattern


def test_a_size_is_met_and_its_command_told():
    front = tuned(model(HEADERS[0]), rig(), ctx=512, limits={**NARROW, "n_ubatch": 512, "size_gib": 1.2})
    assert sum(t.nbytes for t in front[0].model.tensors.values()) <= 1.2 * 2**30
    assert front[0].recipe is not None and "--custom-q" in front[0].quantize
    enough = tuned(model(HEADERS[0]), rig(), ctx=512, limits={**NARROW, "n_ubatch": 512, "size_gib": 10})
    assert enough[0].recipe is None and enough[0].quantize == ""


def test_smaller_types_leave_what_is_smaller():
    m = in_type(in_type(model(HEADERS[0]), "iq2_ks"), "q8_0")
    assert {t.type for t in m.tensors.values() if "_exps" in t.name} == {"iq2_ks"}


def test_measured_phase_corrects_and_orders():
    """A runner to which every second candidate is faster than forecast by far."""
    m, machine = model(HEADERS[0], 3), rig(1800)
    limits = {**NARROW, "n_ubatch": [512, 2048], "rtr": False, "fused_moe": True, "n_threads_batch": 16}
    before = tuned(m, machine, limits=limits, ctx=4096)
    assert len(before) > 1
    last, ran = before[1].settings, []

    def runner(model, settings, progress):
        ran.append(settings)
        boost = 3.0 if settings == last else 0.5
        rows = ikx.plan(model, settings, machine).forecast().rows
        rows = [{**r, "s_pp": r["s_pp"] * boost, "s_tg": r["s_tg"] * boost} for r in rows]
        return SimpleNamespace(rows=rows, stopped=False)

    after = tuned(m, machine, limits=limits, ctx=4096, measure=2, runner=runner)
    assert ran[:4] == [before[0].settings, last, last, before[0].settings]
    assert after[0].settings == last and after[0].measured and after.rig.learned is not None
    other = next(c for c in after if c.settings == before[0].settings)
    assert other.measured and after[0].measured[1] > other.measured[1]
    told = {c.command(): c.tg for c in after}
    assert any(abs(told[c.command()] / c.tg - 1) > 0.02 for c in before)  # forecasts moved


def test_gpus_need_a_runner():
    with pytest.raises(ikx.IkexploreError, match="runner="):
        tuned(model(HEADERS[0]), rig(3000), limits=NARROW, ctx=2048, measure=1)


def test_the_engine_here_measures():
    front = tuned(ikx.demo.model(), ikx.Machine.detect(), ctx=128, time_limit=3, measure=1,
                  limits={"n_ubatch": 128, "rtr": False, "n_threads": 1})  # fmt: skip
    assert front[0].measured and all(v > 0 for v in front[0].measured) and len(front[0].runs) == 3


def test_command_line(tmp_path, capsys):
    rig(6000, ram=30000).save(tmp_path / "rig.toml")
    common = ["tune", HEADER, "--rig", str(tmp_path / "rig.toml"), "--time-limit", "2", "--limit", "n_ubatch=512,1024"]
    assert main(common) == 0
    out = capsys.readouterr().out
    assert "Forecast, not measured" in out and "simulated" in out
    line = next(text.strip() for text in out.splitlines() if text.strip().startswith("-c "))
    s = ikx.Settings.parse(line)
    assert not s.unknown and ikx.plan(ikx.Model.from_header(HEADER), s, ikx.Machine.load(tmp_path / "rig.toml")).fits
    rig(ram=9000).save(tmp_path / "rig.toml")
    assert main([*common, "--limit", "CPU=8000"]) == 1
    out = capsys.readouterr().out
    assert "CPU lacks" in out and "MiB" in out and "a file in " in out
    assert main([*common, "--goal", "fast"]) == 2
    assert main([*common, "--limit", "rtr"]) == 2


def test_front_as_table_and_text():
    front = tuned(model(HEADERS[0]), rig(3000), limits=NARROW, ctx=2048)
    table, text = front.to_markdown(), front.to_text()
    for c in front:
        assert c.command().replace("|", "\\|") in table and c.command() in text and c.why in text
    columns = {line.replace("\\|", "").count("|") for line in table.splitlines()}
    assert len(columns) == 1
    page = front._repr_html_()
    assert "not measured" in page and all(f"<code>{escape(c.command())}</code>" in page for c in front)
    assert front[0].command(program="llama-server").startswith("llama-server -m ")


def test_both_names_can_be_called():
    import ikexplore.tune as room

    assert callable(ikx.tune) and callable(room) and room.tune is not room
    assert list(itertools.islice(room.__signature__.parameters, 3)) == ["model", "rig", "ctx"]
