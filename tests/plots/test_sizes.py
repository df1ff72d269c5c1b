"""Cost against size: what counts as unbeaten, and names that never cover each other."""

from itertools import pairwise

import hypothesis.strategies as st
from hypothesis import HealthCheck, given, settings

from ikexplore import plots
from ikexplore.plots.sizes import spread

POINTS = {"small": (1, 9.0), "worse": (2, 9.5), "middle": (2, 4.0), "same size": (2, 5.0), "large": (8, 1.0)}


def test_what_nothing_beats():
    assert plots.unbeaten(POINTS) == ["small", "middle", "large"]


def test_only_the_unbeaten_are_named():
    figure = plots.frontier(POINTS, "bits", "error", "some")
    (ax,) = figure.axes
    assert {t.get_text() for t in ax.texts} - {""} == {"small", "middle", "large"}
    assert ax.get_yscale() == "log" and len(ax.lines[0].get_xdata()) == 5


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.floats(0, 10), min_size=1, max_size=40).map(sorted), st.floats(0.01, 1))
def test_spread_keeps_order_gap_and_borders(wanted, gap):
    found = spread(wanted, gap, 10.0)
    gap = min(gap, 10.0 / max(1, len(wanted) - 1))
    assert all(b - a >= gap - 1e-9 for a, b in pairwise(found))
    assert found[0] >= -1e-9 and found[-1] <= 10 + 1e-9


def test_spread_leaves_alone_what_has_room():
    assert spread([1.0, 3.0, 7.0], 0.5, 10.0) == [1.0, 3.0, 7.0]
