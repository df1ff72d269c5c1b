"""Student's t against printed tables and closed forms."""

import math

import pytest

from ikexplore.logs.student import p_two_sided, quantile

#: two-sided critical values as statistical tables print them: (level, degrees of freedom, t)
TABLE = [
    (0.95, 1, 12.706), (0.95, 2, 4.303), (0.95, 5, 2.571), (0.95, 10, 2.228), (0.95, 30, 2.042), (0.95, 120, 1.980),
    (0.99, 1, 63.657), (0.99, 3, 5.841), (0.99, 9, 3.250), (0.99, 18, 2.878), (0.995, 4, 5.598), (0.999, 7, 5.408),
    (0.90, 60, 1.671), (0.50, 8, 0.706),
]  # fmt: skip


@pytest.mark.parametrize(("level", "df", "t"), TABLE)
def test_quantile(level, df, t):
    assert quantile(level, df) == pytest.approx(t, abs=5.1e-4)
    assert 1 - p_two_sided(t, df) == pytest.approx(level, abs=3e-4)


@pytest.mark.parametrize("t", [0.0, 0.1, 1.0, 3.0, 50.0, 1e6])
def test_closed_forms(t):
    assert p_two_sided(t, 1) == pytest.approx(1 - 2 / math.pi * math.atan(t), abs=1e-12)
    assert p_two_sided(t, 2) == pytest.approx(1 - t / math.sqrt(2 + t * t), abs=1e-12)


def test_limits():
    assert p_two_sided(1.96, 1e7) == pytest.approx(0.05, abs=1e-4)
    assert p_two_sided(-2.0, 5) == p_two_sided(2.0, 5)
    for df in (1.3, 2.7, 17.9):
        assert p_two_sided(quantile(0.95, df), df) == pytest.approx(0.05, abs=1e-9)
