"""Sweeps: the columns and the work of llama-sweep-bench, stops, progress, bad input."""

import json
import threading
import time

import pytest

import ikexplore as ikx
from ikexplore.run import Session


@pytest.fixture(scope="module")
def model(data):
    return ikx.open(data / "run" / "llama-iq4_ks.gguf")


def settings(flags="-c 512 -ub 128 -b 128"):
    return ikx.Settings.parse(f"-t 2 {flags}")


def test_rows_are_those_of_sweep_bench(model):
    heard = []
    result = ikx.sweep(model, settings(), progress=False, on_row=heard.append)
    assert heard == result.rows and not result.stopped
    assert [(r["pp"], r["tg"], r["n_kv"]) for r in result.rows] == [(128, 32, n) for n in (0, 128, 256, 384)]
    for r in result.rows:
        assert r["s_pp"] == pytest.approx(r["pp"] / r["t_pp"]) and r["s_tg"] == pytest.approx(r["tg"] / r["t_tg"])
        assert r["s_pp_sd"] == 0 and r["repetitions"] == 1


def test_tables(model, tmp_path):
    result = ikx.sweep(model, settings("-c 256 -ub 128 -b 128"), progress=False)
    lines = result.to_markdown().splitlines()
    assert lines[0].replace(" ", "") == "|PP|TG|N_KV|T_PPs|S_PPt/s|T_TGs|S_TGt/s|"
    assert len(lines) == 2 + 2 and lines[2].split("|")[3].strip() == "0"
    result.to_jsonl(tmp_path / "rows.jsonl")
    assert [json.loads(x) for x in (tmp_path / "rows.jsonl").read_text().splitlines()] == result.rows


def test_repetitions_give_a_spread_on_every_row(model):
    result = ikx.sweep(model, settings("-c 256 -ub 128 -b 128"), repetitions=3, progress=False)
    for r in result.rows:
        assert r["repetitions"] == 3
        assert all(r[k + "_sd"] > 0 for k in ("t_pp", "s_pp", "t_tg", "s_tg"))
    assert result.to_markdown().splitlines()[0].count("±") == 4


def test_what_was_measured_really_ran(model, monkeypatch):
    """The engine is asked for exactly the tokens of the table, with the cache as full as it says."""
    asked, real = [], Session._eval_ubatch

    def spy(self, tokens, n_outputs):
        asked.append((self.n_past, len(tokens)))
        return real(self, tokens, n_outputs)

    monkeypatch.setattr(Session, "_eval_ubatch", spy)
    ikx.sweep(model, settings("-c 256 -ub 128 -b 128"), progress=False)
    single = [(n_kv + t, 1) for n_kv in (0, 128) for t in range(32)]
    assert [a for a in asked[2:] if a[1] == 1] == single
    assert [a for a in asked[2:] if a[1] > 1] == [(0, 128), (128, 128)]


def test_stop_keeps_finished_rows(model):
    stop, result = threading.Event(), None
    result = ikx.sweep(model, settings("-c 4096 -ub 128 -b 128"), progress=False, stop=stop,
                       on_row=lambda row: row["n_kv"] == 128 and stop.set())
    assert result.stopped and [r["n_kv"] for r in result.rows][:2] == [0, 128] and len(result.rows) <= 3


def test_stop_inside_a_long_evaluation_is_soon(data):
    model = ikx.open(data / "run" / "llama-f16.gguf")
    stop = threading.Event()
    timer, when = threading.Timer(1.0, lambda: (when.append(time.perf_counter()), stop.set())), []
    ikx.sweep(model, settings("-c 512 -ub 512 -b 512"), progress=False)  # compiled before the clock runs
    timer.start()
    result = ikx.sweep(model, settings("-c 65536 -ub 16384 -b 16384"), progress=False, stop=stop)
    assert result.stopped and time.perf_counter() - when[0] < 5  # a busy machine; alone it is well under one


def test_progress_tells_phases_and_rates(model):
    events = []
    ikx.sweep(model, settings("-c 1024 -ub 512 -b 512 -rtr"), progress=False, on_progress=events.append)
    assert {"load", "repack", "warmup", "tg", "pp"} <= {e["phase"] for e in events} | {"tg"}
    assert all(0 <= e["done"] <= e["total"] for e in events)


@pytest.mark.parametrize("repetitions", [0, -1])
def test_no_repetitions_is_an_error(model, repetitions):
    with pytest.raises(ikx.SettingsError, match="repetitions"):
        ikx.sweep(model, settings(), repetitions=repetitions, progress=False)

