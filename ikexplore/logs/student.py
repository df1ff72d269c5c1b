"""Student's t distribution: probability and quantile, by the continued fraction of the incomplete beta function.

Formulas: Abramowitz and Stegun, Handbook of Mathematical Functions, 26.5.8 (continued fraction), 26.7.1 (t from beta).
"""

import math
from functools import lru_cache

_TINY = 1e-300


def _incomplete_beta(a: float, b: float, x: float) -> float:
    """The regularised incomplete beta function I_x(a, b), 0 <= x <= 1, to about 1e-12."""
    if x <= 0.0 or x >= 1.0:
        return 0.0 if x <= 0.0 else 1.0
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x))
    # the fraction converges fast below the mean; above it the symmetric one does
    if x > (a + 1.0) / (a + b + 2.0):
        return 1.0 - front * _fraction(b, a, 1.0 - x) / b
    return front * _fraction(a, b, x) / a


def _fraction(a: float, b: float, x: float) -> float:
    """Lentz's evaluation of the continued fraction."""
    c, d = 1.0, 1.0 / _away(1.0 - (a + b) * x / (a + 1.0))
    value = d
    for m in range(1, 500):
        for numerator in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1.0 / _away(1.0 + numerator * d)
            c = _away(1.0 + numerator / c)
            value *= c * d
        if abs(c * d - 1.0) < 1e-14:
            break
    return value


def _away(value: float) -> float:
    return value if abs(value) > _TINY else _TINY


def p_two_sided(t: float, df: float) -> float:
    """Probability that |T| exceeds |t| for ``df`` degrees of freedom (not necessarily whole)."""
    return _incomplete_beta(df / 2.0, 0.5, df / (df + t * t))


@lru_cache(maxsize=4096)
def quantile(p: float, df: float) -> float:
    """t > 0 with P(|T| <= t) = ``p``, ``p`` within 0 and 1: Newton's steps, kept within a bracket."""
    low, high = 0.0, 2.0
    while 1.0 - p_two_sided(high, df) < p and high < 1e12:
        low, high = high, 2.0 * high
    scale = math.exp(math.lgamma((df + 1) / 2) - math.lgamma(df / 2)) / math.sqrt(df * math.pi)
    t = (low + high) / 2.0
    for _ in range(60):
        wrong = 1.0 - p_two_sided(t, df) - p
        low, high = (t, high) if wrong < 0 else (low, t)
        step = wrong / (2 * scale * math.exp(-(df + 1) / 2 * math.log1p(t * t / df)))
        t = t - step if low < t - step < high else (low + high) / 2.0
        if abs(step) < 1e-13 * t:
            break
    return t
