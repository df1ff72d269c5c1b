"""All posted sweeps, each rig forecast from the others: the errors that docs/forecast.md tells. Needs the whole corpus."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest

from ikexplore.forecast.known import fitted

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "bench"))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "schedule"))


@pytest.fixture(scope="module")
def evaluation(shared):
    from forecast_corpus import load
    from forecast_eval import Evaluation

    return Evaluation(load(shared / "corpus" / "sweeps.json")[0])


@pytest.mark.shared
@pytest.mark.parametrize(
    ("method", "pp", "tg"), [("none", (20, 42), (12, 38)), ("one", (12, 34), (9, 32)), ("two", (9, 25), (7, 26))]
)
def test_errors_on_rigs_that_were_left_out(evaluation, method, pp, tg):
    for kind, (median, most) in (("pp", pp), ("tg", tg)):
        errors = 100 * np.abs(evaluation.errors(method, kind))
        assert np.median(errors) <= median and np.quantile(errors, 0.9) <= most, kind


@pytest.mark.shared
def test_directions_of_pairs(evaluation):
    for method, kind, share in (("none", "pp", 0.9), ("two", "pp", 0.92), ("two", "tg", 0.85)):
        right, total = evaluation.direction(method, kind)
        assert right >= share * total > 0, (method, kind)


@pytest.mark.shared
def test_bands_hold_what_they_say(evaluation):
    shares = [evaluation.coverage(method, kind)[0] for method in ("none", "one", "two") for kind in ("pp", "tg")]
    assert 0.75 <= np.mean(shares) <= 0.85 and all(0.70 <= s <= 0.90 for s in shares)


@pytest.mark.shared
def test_the_packaged_factors_are_those_of_the_corpus(evaluation):
    from forecast_eval import train

    again = train(evaluation.runs)
    assert again.keys() == fitted().keys()
    for name, (mean, sd) in again.items():
        assert fitted()[name] == (pytest.approx(mean, abs=0.3 * sd), pytest.approx(sd, rel=0.1)), name


def test_every_record_stands_in_the_docs():
    text = (Path(__file__).resolve().parents[2] / "docs" / "forecast.md").read_text(encoding="utf-8")
    table = text[text.index("<!-- records -->") : text.index("<!-- /records -->")]
    assert len(set(re.findall(r"^\| ([dip]\d+-[LM]\d+) \|", table, re.M))) > 100
    assert "Left out:" in table
