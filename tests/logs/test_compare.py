"""Runs compared: error rates over many trials, ratios and intervals, warnings, what differs, tables and JSON."""

import json
import math

import numpy as np
import pytest

from ikexplore.errors import IkexploreError
from ikexplore.logs import compare, interleave, read
from ikexplore.run.sweep import Sweep
from ikexplore.settings import Settings

N_KV = np.arange(6) * 512
TRIALS = 100


def sweep(pp, tg, settings=None, **more):
    """A sweep with given rates, one row per context."""
    rows = [
        dict(
            pp=512, tg=128, n_kv=int(n), t_pp=512 / p, s_pp=float(p), t_tg=128 / t, s_tg=float(t), repetitions=1, **more
        )
        for n, p, t in zip(N_KV, pp, tg)
    ]
    return Sweep(settings or Settings(), rows=rows)


def runs(rng, n, noise=0.01, drift=None, slower=0.0, only=None):
    """``n`` sweeps: ``noise`` relative (one number or one per row), ``drift`` a factor's logarithm per repetition."""
    drift = np.zeros(n) if drift is None else drift
    share = np.ones(len(N_KV))
    share[slice(None) if only is None else only] -= slower
    found = []
    for k in range(n):
        factor = np.exp(rng.normal(0, 1, (2, len(N_KV))) * noise + drift[k])
        found.append(sweep(300 / (1 + N_KV / 8000) * factor[0], 20 / (1 + N_KV / 20000) * factor[1] * share))
    return found


UNEVEN = np.array([0.004, 0.02, 0.008, 0.012, 0.006, 0.015])


def slow_fall(n, rng):
    """1 % slower at the end than at the beginning, every time."""
    return np.linspace(0, -0.01, n)


def levels(n, rng):
    """Each repetition as a whole is a little faster or slower."""
    return rng.normal(0, 0.005, n)


def wave(n, rng):
    return 0.005 * np.sin(np.arange(n) / 2 + rng.uniform(0, 2 * math.pi))


def none(n, rng):
    return np.zeros(n)


SHAPES = {"plain": (0.01, none), "uneven rows": (UNEVEN, none), "slow fall": (0.01, slow_fall), "levels": (0.01, levels),
          "wave": (0.01, wave), "uneven and falling": (UNEVEN, slow_fall)}  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("n", [3, 10])
def test_same_setting_gives_no_difference(shape, n):
    noise, drift = SHAPES[shape]
    right = 0
    for seed in range(TRIALS):
        rng = np.random.default_rng(seed)
        found = compare(runs(rng, n, noise, drift(n, rng)), runs(rng, n, noise, drift(n, rng)))
        right += found.kind == "no difference" and found.verdict.startswith("No difference") and not found.regression
    assert right >= 95


@pytest.mark.parametrize("shape", SHAPES)
def test_five_percent_slower_is_found(shape):
    noise, drift = SHAPES[shape]
    right = 0
    for seed in range(TRIALS):
        rng = np.random.default_rng(1000 + seed)
        found = compare(runs(rng, 10, noise, drift(10, rng)), runs(rng, 10, noise, drift(10, rng), slower=0.05))
        right += found.regression and found.kind == "slower" and "TG is" in found.verdict and "slower" in found.verdict
    assert right >= 95


def test_means_alone_do_as_well():
    """Sweeps that keep only mean and standard deviation over their repetitions."""

    def summed(n, rng, slower=0.0):
        one = sweep(np.ones(len(N_KV)), np.ones(len(N_KV)))
        for row in one.rows:
            values = {"pp": rng.normal(300, 3, n), "tg": rng.normal(20 * (1 - slower), 0.2, n)}
            for name, rates in values.items():
                row[f"s_{name}"], row[f"s_{name}_sd"] = float(rates.mean()), float(rates.std(ddof=1))
            row["repetitions"] = n
        return one

    same = found = 0
    for seed in range(TRIALS):
        rng = np.random.default_rng(seed)
        same += compare(summed(10, rng), summed(10, rng)).kind == "no difference"
        found += compare(summed(10, rng), summed(10, rng, 0.05)).regression
    assert same >= 95 and found >= 95


def test_slower_at_long_context_only():
    right = 0
    for seed in range(TRIALS):
        rng = np.random.default_rng(seed)
        found = compare(runs(rng, 10), runs(rng, 10, slower=0.06, only=[5]))
        right += found.regression and found.effects["s_tg"][N_KV[5]].real
    assert right >= 95


@pytest.mark.parametrize("method", ["welch", "bootstrap"])
def test_intervals_hold_the_true_ratio(method):
    """A 95 % interval holds the truth in about 95 of 100 (720 intervals, 5 standard errors of room below)."""
    inside = total = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        found = compare(runs(rng, 10), runs(rng, 10, slower=0.05), method=method)
        for metric, truth in (("s_tg", 0.95), ("s_pp", 1.0)):
            for low, high in found.interval[metric].values():
                inside, total = inside + (low <= truth <= high), total + 1
    assert total == 720 and 0.91 <= inside / total <= 0.995


def test_interval_of_known_numbers():
    """Two samples of three, by hand: difference of mean logarithms, Welch's standard error and degrees of freedom."""
    a, b = np.array([10.0, 10.2, 10.1]), np.array([9.0, 9.3, 9.1])
    found = compare(
        [sweep(v * np.ones(6), v * np.ones(6)) for v in a], [sweep(v * np.ones(6), v * np.ones(6)) for v in b]
    )
    x, y = np.log(a), np.log(b)
    va, vb = x.var(ddof=1) / 3, y.var(ddof=1) / 3
    df = (va + vb) ** 2 / (va**2 / 2 + vb**2 / 2)
    effect = found.effects["s_pp"][0]
    assert effect.ratio == pytest.approx(math.exp(y.mean() - x.mean()))
    # three repetitions cannot show whether they depend on one another: the variance counts twice
    half = math.log(effect.high / effect.low) / 2 / math.sqrt(2 * (va + vb))
    assert df == pytest.approx(3.28, abs=0.1) and half == pytest.approx(3.03, abs=0.15)
    assert effect.sigmas == pytest.approx(abs(y.mean() - x.mean()) / math.sqrt((x.var(ddof=1) + y.var(ddof=1)) / 2))


def test_three_sigma_rule_of_issue_523():
    """Beyond chance but within three standard deviations of a single run: not called a change."""
    rng = np.random.default_rng(3)
    found = compare(runs(rng, 40, 0.02), runs(rng, 40, 0.02, slower=0.03, only=[0]))
    effect = found.effects["s_tg"][0]
    assert effect.p < 1e-4 and effect.sigmas < 3 and not effect.real and found.kind == "no difference"


def test_faster_and_mixed():
    rng = np.random.default_rng(0)
    assert compare(runs(rng, 6, slower=0.1), runs(rng, 6)).kind == "faster"
    fast_prompt = [
        sweep([row["s_pp"] * 1.2 for row in s.rows], [row["s_tg"] * 0.8 for row in s.rows]) for s in runs(rng, 6)
    ]
    mixed = compare(runs(rng, 6), fast_prompt)
    assert mixed.kind == "mixed" and mixed.regression and "PP is" in mixed.verdict and "faster" in mixed.verdict


# ---- what is warned about ----


def test_single_runs_prove_nothing():
    rng = np.random.default_rng(0)
    found = compare(runs(rng, 1)[0], runs(rng, 1, slower=0.2)[0])
    assert found.kind == "unknown" and found.verdict.startswith("Cannot tell") and not found.regression
    assert "single run" in found.warnings[0] and set(found.interval["s_tg"].values()) == {None}
    assert found.ratio["s_tg"][0] == pytest.approx(0.8, abs=0.05)


def test_one_run_against_many():
    rng = np.random.default_rng(0)
    many = runs(rng, 10)
    assert compare(many, runs(rng, 1, slower=0.2)[0]).regression
    assert compare(many, runs(rng, 1)[0]).kind == "no difference"


def test_drift_is_named_and_not_taken_for_a_change():
    rng = np.random.default_rng(1)
    falling = np.linspace(0, -0.08, 20)
    found = compare(runs(rng, 10, 0.003, falling[:10]), runs(rng, 10, 0.003, falling[10:]))
    assert any("slower" in text and "drift" in text for text in found.warnings)
    assert found.kind == "no difference" and "beyond the drift" in found.verdict


def test_interleaved_repetitions_cancel_drift():
    rng = np.random.default_rng(1)
    walk = np.cumsum(rng.normal(0, 0.02, 20))
    a, b = runs(rng, 10, 0.003, walk[::2]), runs(rng, 10, 0.003, walk[::2], slower=0.03)
    assert not compare(a, b).regression and compare(a, b, paired=True).regression
    assert not compare(a, runs(rng, 10, 0.003, walk[::2]), paired=True).regression


def test_interleave_runs_in_turn():
    order = []
    rng = np.random.default_rng(0)

    def side(name, slower):
        def run():
            order.append(name)
            return runs(rng, 1, 0.002, slower=slower)[0]

        return run

    found = interleave(side("a", 0.0), side("b", 0.1), repetitions=4, names=("before", "after"))
    assert "".join(order) == "abbaabba" and found.regression and "after instead of before" in found.verdict


def test_cold_first_repetition_is_named_and_left_out():
    rng = np.random.default_rng(2)
    cold = np.zeros(10)
    cold[0] = -0.3
    found = compare(runs(rng, 10, 0.005, cold), runs(rng, 10, 0.005, slower=0.05))
    assert any("first repetition" in text and "cold cache" in text for text in found.warnings)
    assert found.regression and found.overall["s_tg"].ratio == pytest.approx(0.95, abs=0.01)


def test_differing_settings_are_listed():
    one, two = Settings(n_ubatch=512, rtr=True), Settings(n_ubatch=1024)
    a, b = (sweep(np.ones(6), np.ones(6), settings) for settings in (one, two))
    found = compare(a, b)
    assert found.differences == [("n_ubatch", 512, 1024), ("rtr", True, False)]
    assert any("n_ubatch, rtr" in text for text in found.warnings)
    mixed = compare([a, b], [a, a])
    assert any("differ among themselves" in text and "n_ubatch" in text for text in mixed.warnings)


LOG = """llama_new_context_with_model: n_ubatch   = {ub}
llama_new_context_with_model: graph splits = {splits}
main: n_kv_max = 8192, n_batch = 2048, n_ubatch = {ub}, flash_attn = 1, n_gpu_layers = 99, n_threads = 8, n_threads_batch = 8

|    PP |     TG |   N_KV |   T_PP s | S_PP t/s |   T_TG s | S_TG t/s |
|-------|--------|--------|----------|----------|----------|----------|
|  4096 |   1024 |      0 |   25.191 |   162.60 |  102.925 |     {tg} |
|  4096 |   1024 |   4096 |   26.593 |   154.02 |  105.827 |     9.68 |
"""


def test_log_runs():
    (a,), (b,) = read(LOG.format(ub=4096, splits=183, tg=9.95)), read(LOG.format(ub=4096, splits=149, tg=10.15))
    found = compare(a, b, names=("no rtr", "rtr"))
    assert found.ratio["s_tg"][0] == pytest.approx(10.15 / 9.95) and found.ratio["s_pp"] == {0: 1.0, 4096: 1.0}
    assert ("graph_splits", 183, 149) in found.differences and "one run each" in found.verdict
    many = compare([a] * 5, [b] * 5)
    assert many.kind in ("faster", "no difference") and many.overall["s_pp"].ratio == pytest.approx(1.0)


def test_timings_and_llama_bench():
    line = "prompt eval time = {} ms / 10188 tokens ( 1.00 ms per token, {} tokens per second)\n"
    a, b = read(line.format(161791.56, 62.97))[0], read(line.format(612061.95, 16.65))[0]
    assert compare(a, b).ratio["s_pp"][0] == pytest.approx(16.65 / 62.97)
    table = "| model | size | test | t/s |\n|---|---|---|---|\n| q | 1 GiB | pp512 | {} ± 2.00 |\n| q | 1 GiB | tg128 | 20.00 ± 0.05 |\n"
    found = compare(read(table.format("300.00"))[0], read(table.format("250.00"))[0])
    assert found.points == ["pp512", "tg128"] and found.kind == "slower" and found.overall["s_pp"].n == (5, 5)


def test_contexts_without_a_partner_are_left_out_and_named():
    a, b = sweep(np.ones(6), np.ones(6)), sweep(np.ones(6), np.ones(6))
    b.rows = b.rows[:4]
    found = compare(a, b)
    assert found.points == [0, 512, 1024, 1536] and any("2 contexts" in text for text in found.warnings)
    for row in b.rows:
        row["n_kv"] += 7
    with pytest.raises(IkexploreError, match="no context in common"):
        compare(a, b)


@pytest.mark.parametrize(
    ("a", "b", "options", "message"),
    [
        ([], [1], {}, "empty list"),
        (3, 4, {}, "int has no rows"),
        (sweep(np.ones(6), np.ones(6)), sweep(np.ones(6), np.ones(6)), {"confidence": 1.0}, "confidence 1.0"),
        (sweep(np.ones(6), np.ones(6)), sweep(np.ones(6), np.ones(6)), {"method": "guess"}, "'guess'"),
        ([{"n_kv": 0, "s_pp": None}], [{"n_kv": 0, "s_pp": 1.0}], {}, "no row with a rate"),
    ],
)
def test_bad_input(a, b, options, message):
    with pytest.raises(IkexploreError, match=message):
        compare(a, b, **options)


def test_rows_that_repeat_a_context_are_repetitions():
    rng = np.random.default_rng(0)
    rows = [row for s in runs(rng, 8) for row in s.rows]
    slower = [row for s in runs(rng, 8, slower=0.1) for row in s.rows]
    found = compare(rows, slower)
    assert found.overall["s_tg"].n == (8, 8) and found.regression


def test_tables_and_json(tmp_path):
    rng = np.random.default_rng(0)
    found = compare(runs(rng, 5), runs(rng, 5, slower=0.1), names=("<a>", "b|c"))
    text = found.to_markdown()
    assert "<a>" not in text and "b\\|c" in text and text.count("\n| ") >= 7 and "Yes, a regression" in text
    kept = json.loads(found.to_json(tmp_path / "c.json"))
    assert kept == json.loads((tmp_path / "c.json").read_text()) and kept["kind"] == "slower"
    row = kept["rows"][0]["s_tg"]
    assert row["ratio"] == pytest.approx(0.9, abs=0.03) and row["interval"][0] < row["ratio"] < row["interval"][1]
    assert row["a"]["n"] == 5 and kept["overall"]["s_tg"]["real"]
    json.dumps(compare(runs(rng, 1), runs(rng, 1)).to_dict(), allow_nan=False)
