"""Is it a regression? One sentence, and what speaks against believing it: drift, cold caches, single runs."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from .samples import METRICS
from .student import p_two_sided, quantile

if TYPE_CHECKING:
    from .comparison import Comparison, Effect

#: the rule of issue 523: the means differ by more than this many standard deviations of a single run
SIGMAS = 3.0
#: and chance makes such a difference less often than this, per metric
LEVEL = 0.005
#: a trend within the repetitions of one side counts from this p on, if it moves the rate by more than this share
DRIFT_P, DRIFT_SHARE = 0.01, 0.005
#: a first repetition counts as cold from this share on
COLD_SHARE = 0.01
#: a trend that may have moved a mean is suspected from this p on
SHIFT_P, SHIFT_MARGIN, SHIFT_ERRORS = 0.1, 1.05, 1.5


def trend_of(name: str, metric: str, series: np.ndarray, paired: bool = False) -> str | None:
    """A remark on a linear trend over the repetitions, by the t test of its slope; at least 5 repetitions."""
    n = len(series)
    if n < 5:
        return None
    x = np.arange(n) - (n - 1) / 2
    slope = float(x @ series / (x @ x))
    rest = series - series.mean() - slope * x
    se = math.sqrt(float(rest @ rest) / (n - 2) / float(x @ x))
    p = p_two_sided(slope / se, n - 2) if se > 0 else 0.0
    total = slope * n
    if abs(total) < DRIFT_SHARE or p > DRIFT_P:
        return None
    advice = "it falls on both, measured in turn" if paired else "measure A B A B in turn so that it falls on both"
    return (
        f"{name}: {metric} gets {'faster' if slope > 0 else 'slower'} by {abs(math.expm1(total)):.1%} over its {n} "
        f"repetitions (drift); {advice}"
    )


def shift_of(a: np.ndarray, b: np.ndarray) -> float:
    """How far apart the means could stand through drift alone, as a share; 0 where neither side has a trend.

    A trend moves the mean of its side by half of what it covers. Its standard error is added: a trend that is
    barely seen may be larger than it looks.
    """
    if min(len(a), len(b)) < 3:
        return 0.0
    steps = [np.arange(len(v)) - (len(v) - 1) / 2 for v in (a, b)]
    slopes = [float(x @ v / (x @ x)) for x, v in zip(steps, (a, b))]
    rest = np.concatenate([v - v.mean() - slope * x for v, slope, x in zip((a, b), slopes, steps)])
    df = len(rest) - 4
    spread = math.sqrt(float(rest @ rest) / df)
    errors = [spread / math.sqrt(float(x @ x)) for x in steps]
    seen = spread == 0.0 or any(p_two_sided(slope / se, df) < SHIFT_P for slope, se in zip(slopes, errors))
    half = [abs(slope) * len(v) / 2 for slope, v in zip(slopes, (a, b))]
    error = math.hypot(*(se * len(v) / 2 for se, v in zip(errors, (a, b))))
    return SHIFT_MARGIN * sum(half) + SHIFT_ERRORS * error if seen else 0.0


def cold_start(name: str, metric: str, series: np.ndarray) -> str | None:
    """A remark on a first repetition that is no further one of the rest: cold caches, clocks that settle. At least
    5."""
    if len(series) < 5:
        return None
    rest = series[1:]
    sd = float(rest.std(ddof=1))
    step = float(series[0] - rest.mean())
    if abs(step) < COLD_SHARE or abs(step) < quantile(0.999, len(rest) - 1) * sd * math.sqrt(1 + 1 / len(rest)):
        return None
    return (
        f"{name}: the first repetition's {metric} is {abs(math.expm1(step)):.1%} "
        f"{'slower' if step < 0 else 'faster'} than the rest (a cold cache?) and is left out"
    )


def inflation(a: np.ndarray, b: np.ndarray) -> float:
    """How much wider the variance of a mean is because repetitions follow one another closely (slow drift), 1 or more.

    (1 + r) / (1 - r) for first-order autocorrelation r, pooled over both sides, corrected for the bias of small samples
    (Marriott and Pope 1954). No more than half the number of repetitions: so few cannot tell more. 2 for fewer than 5,
    which cannot tell at all.
    """
    if min(len(a), len(b)) < 5:
        return 2.0 if min(len(a), len(b)) > 1 else 1.0
    rests = [a - a.mean(), b - b.mean()]
    power = sum(float(e @ e) for e in rests)
    if power <= 0:
        return 1.0
    n = (len(a) + len(b)) / 2
    r = sum(float(e[1:] @ e[:-1]) for e in rests) / power
    r = (n * r + 1) / (n - 3)
    r = min(0.95, max(0.0, r))
    return max(1.0, min(n / 2, (1 + r) / (1 - r)))


def warnings_of(c: Comparison) -> list[str]:
    """What a reader should know before believing the figures, one line each."""
    found = []
    single = [side.name for side in (c.a, c.b) if all(s.n < 2 for rows in side.samples.values() for s in rows.values())]
    if single:
        found.append(
            f"{' and '.join(single)}: a single run, so that its spread is unknown; run-to-run changes of 2 % and more "
            "are common"
        )
    elif any(min(e.n) < 5 for e in c.overall.values()):
        n = min(min(e.n) for e in c.overall.values())
        found.append(f"{n} repetitions: only large changes can show; 10 of each are better")
    for remarks in c.drift.values():
        found += remarks
    for side in (c.a, c.b):
        if side.mixed:
            found.append(f"{side.name}: its repetitions differ among themselves in {', '.join(side.mixed[:8])}")
    if c.differences:
        names = [name for name, _, _ in c.differences]
        more = f" and {len(names) - 8} more" if len(names) > 8 else ""
        found.append(
            f"not only one thing differs: {', '.join(names[:8])}{more}" if len(names) > 1 else f"differs: {names[0]}"
        )
    for metric, name in METRICS.items():
        left, right = c.a.samples[metric], c.b.samples[metric]
        alone = [p for p in (*left, *right) if (p in left) != (p in right)]
        if alone and metric in c.effects:
            found.append(f"{name}: {len(alone)} contexts are in one of the two only and left out")
    if any(c.a.sizes.get(p) != c.b.sizes.get(p) for p in c.points):
        found.append("the rows have other PP or TG sizes: rates of different ubatches are compared")
    return found


def say(c: Comparison) -> tuple[str, str]:
    """(kind, sentence): kind is "slower", "faster", "mixed", "no difference" or "unknown"."""
    real = {m: [e for e in (c.overall[m], *c.effects[m].values()) if e.real] for m in c.effects}
    if any(real.values()):
        return _found(c, real)
    if all(e.p is None for e in c.overall.values()):
        return "unknown", _unknown(c)
    parts = [f"{METRICS[m]} {_change(e)}" for m, e in c.overall.items()]
    limit = max((e.limit or 0.0) for e in c.overall.values())
    beyond = " beyond the drift of the machine" if any(e.drifted for e in c.overall.values()) else ""
    return "no difference", (
        f"No difference{beyond} between {c.b.name} and {c.a.name}: {', '.join(parts)}; "
        f"a change of less than {math.expm1(limit):.1%} would not show"
    )


def _found(c: Comparison, real: dict[str, list[Any]]) -> tuple[str, str]:
    ways = {("slower" if e.ratio < 1 else "faster") for found in real.values() for e in found}
    kind = ways.pop() if len(ways) == 1 else "mixed"
    parts = []
    for metric, found in real.items():
        if not found:
            parts.append(f"{METRICS[metric]} is unchanged ({_change(c.overall[metric])})")
        elif c.overall[metric].real:
            e = c.overall[metric]
            parts.append(
                f"{METRICS[metric]} is {_way(e)} ({c.confidence:.0%} interval {_span(e)}, "
                f"{e.sigmas:.1f} standard deviations)"
            )
        else:
            at = [p for p, e in c.effects[metric].items() if e.real]
            worst = max((c.effects[metric][p] for p in at), key=lambda e: abs(math.log(e.ratio)))
            where = ", ".join(map(str, at[:4])) + (" ..." if len(at) > 4 else "")
            parts.append(f"{METRICS[metric]} is up to {_way(worst)} at n_kv {where} only")
    head = {"slower": "Yes, a regression", "faster": "Faster, not slower", "mixed": "A regression in part"}[kind]
    return kind, f"{head}: with {c.b.name} instead of {c.a.name} " + "; ".join(parts)


def _unknown(c: Comparison) -> str:
    parts = [f"{METRICS[m]} {_change(e)}" for m, e in c.overall.items()]
    return f"Cannot tell from one run each: {', '.join(parts)}; repeat each 10 times (rule of 3 standard deviations)"


def _way(effect: Effect) -> str:
    return f"{abs(effect.ratio - 1):.1%} {'slower' if effect.ratio < 1 else 'faster'}"


def _change(effect: Effect) -> str:
    return f"{effect.ratio - 1:+.1%}" + (f" ({_span(effect)})" if effect.low is not None else "")


def _span(effect: Effect) -> str:
    assert effect.low is not None and effect.high is not None
    return f"{effect.low - 1:+.1%} to {effect.high - 1:+.1%}"
