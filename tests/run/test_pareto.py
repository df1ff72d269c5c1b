"""Quality, size and speed of types and recipes in one table, and its figure."""

import pytest

import ikexplore as ikx
from ikexplore.run import Pareto, Recipe

SETTINGS = ikx.Settings(n_threads=2, n_ubatch=128)
TYPES = {"q8": "q8_0", "small": "q4_0", "mix": [("ffn_down", "q8_0"), ("", "q4_0")]}


@pytest.fixture(scope="module")
def llama(data):
    return ikx.open(data / "run" / "llama-f16.gguf")


@pytest.fixture(scope="module")
def text(data):
    return (data / "run" / "quality" / "text.txt").read_text()


@pytest.fixture(scope="module")
def result(llama, text):
    return ikx.pareto(llama, TYPES, text, 128, SETTINGS, chunks=6, repetitions=1, progress=False)


def test_rows_are_measured(result, llama, text, tmp_path):
    rows = {row["name"]: row for row in result.rows}
    assert list(rows) == ["as it is", "q8", "small", "mix"] and not result.stopped
    assert rows["as it is"]["kld"] == pytest.approx(0, abs=1e-5) and rows["as it is"]["recipe"] is None
    assert rows["as it is"]["bpw"] > 16 > rows["q8"]["bpw"] > rows["mix"]["bpw"] > rows["small"]["bpw"]
    assert rows["q8"]["kld"] < rows["mix"]["kld"] < rows["small"]["kld"]
    assert all(row["s_pp"] > 0 and row["s_tg"] > 0 for row in result.rows)
    done = ikx.quantize(llama, tmp_path / "q.gguf", TYPES["mix"])
    assert rows["mix"]["bpw"] == pytest.approx(done.bpw) and rows["mix"]["mib"] == pytest.approx(done.nbytes / 2**20)
    found = ikx.kld(ikx.open(tmp_path / "q.gguf"), llama, text, 128, SETTINGS, chunks=6)
    assert (rows["mix"]["kld"], rows["mix"]["ppl"]) == pytest.approx((found.mean, found.ppl), rel=1e-6)


def test_frontier_and_table(result):
    assert [row["name"] for row in result.frontier] == ["small", "mix", "q8"]
    worse = Pareto("m", "ppl", SETTINGS, [{"name": n, "recipe": n, "bpw": b, "ppl": p} for n, b, p in
                                          (("a", 4, 8.0), ("b", 5, 9.0), ("c", 6, 7.0), ("d", 4, 8.5))])
    assert [row["name"] for row in worse.frontier] == ["a", "c"]
    lines = result.to_markdown().splitlines()
    assert len(lines) == 6 and lines[3].startswith("| * | q8 |") and lines[2].startswith("|  | as it is |")
    assert "S_PP t/s" in lines[0]


def test_figure(result):
    beaten = {**result.rows[1], "name": "beaten", "kld": 9.0}
    shown = Pareto(result.model, result.metric, SETTINGS, [*result.rows, beaten])
    for metric in (None, "ppl"):
        figure = ikx.plots.pareto(shown, metric)
        words = " ".join(t.get_text() for t in figure.axes[0].texts)
        assert all(name in words for name in ("q8", "mix", "small", "beaten"))
        assert ("as it is" in words) == (metric == "ppl")
        assert len(figure.axes[0].collections) == 4  # an error bar a type
    with pytest.raises(ValueError, match="no row"):
        ikx.plots.pareto(Pareto("m", "ppl", SETTINGS))


def test_interrupted_keeps_rows(llama, text):
    def stop(row):
        if row["name"] == "q8_0":
            raise KeyboardInterrupt

    found = ikx.pareto(llama, ["q8_0", "q4_0"], text, 128, SETTINGS, metric="ppl", chunks=2, speed=False, on_row=stop,
                       progress=False)
    assert found.stopped and [row["name"] for row in found.rows] == ["as it is", "q8_0"]
    assert "kld" not in found.rows[0] and "s_pp" not in found.rows[0]


def test_files_stay_where_they_are_wanted(llama, text, tmp_path):
    recipe = Recipe("q4_0", (("attn_v", "q8_0"),), pure=True)
    found = ikx.pareto(llama, [recipe], text, 128, SETTINGS, chunks=1, speed=False, folder=tmp_path, progress=False)
    assert [row["name"] for row in found.rows] == ["as it is", "attn_v=q8_0 q4_0"]
    (path,) = tmp_path.iterdir()
    assert ikx.open(path).tensors["blk.0.attn_v.weight"].type == "q8_0"


@pytest.mark.parametrize("kw, error, words", [
    ({"metric": "speed"}, ikx.SettingsError, "kld or ppl"), ({"types": ["q4_x"]}, ikx.QuantError, "unknown quant type")])
def test_bad_input_is_an_error_before_anything_runs(llama, kw, error, words):
    with pytest.raises(error, match=words):
        ikx.pareto(llama, **{"types": ["q8_0"], **kw})
