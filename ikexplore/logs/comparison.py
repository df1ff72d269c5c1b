"""Two runs compared: ratio of rates at each context, its confidence interval, and whether the difference is real.

The rule of issue 523 of ik_llama.cpp: run each setting several times; performance changed when the means differ by more
than three standard deviations of a single run. Here a difference also has to be one that chance hardly makes:
Welch's t test over the repetitions, at a level that allows for all contexts looked at and for drift.
"""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import IkexploreError
from .run import escaped, plain
from .samples import METRICS, Sample, Side, differences, sample_of, side_of
from .student import p_two_sided, quantile
from .verdict import LEVEL, SIGMAS, cold_start, inflation, say, shift_of, trend_of, warnings_of

#: resamples of the bootstrap
RESAMPLES = 4000


@dataclass
class Effect:
    """b against a: ``ratio`` of rates, its interval, ``p`` of no difference, and the difference in standard
    deviations."""

    ratio: float
    low: float | None = None
    high: float | None = None
    p: float | None = None
    #: relative standard deviation of a single run, pooled over both sides
    sigma: float | None = None
    n: tuple[int, int] = (1, 1)
    #: what the difference would have to exceed to count as real, as a share of the rate
    limit: float | None = None
    real: bool = False
    #: real but for a trend that explains it as well
    drifted: bool = False

    @property
    def sigmas(self) -> float | None:
        """The difference in standard deviations of a single run; None without repetitions."""
        return abs(math.log(self.ratio)) / self.sigma if self.sigma else None


@dataclass
class Comparison:
    """What ``compare`` found. Rates of b over rates of a: below 1 means that b is slower.

    ``ratio`` and ``interval``: metric ("s_pp", "s_tg") -> context -> number or (low, high); None where nothing was
    repeated.
    ``overall``: metric -> Effect over all common contexts. ``verdict``: one sentence.
    """

    a: Side
    b: Side
    points: list[Any]
    effects: dict[str, dict[Any, Effect]]
    overall: dict[str, Effect]
    confidence: float
    method: str
    kind: str = ""
    verdict: str = ""
    warnings: list[str] = field(default_factory=list)
    differences: list[tuple[str, Any, Any]] = field(default_factory=list)
    #: metric -> remarks on trends and first repetitions
    drift: dict[str, list[str]] = field(default_factory=dict)

    @property
    def ratio(self) -> dict[str, dict[Any, float]]:
        """metric -> context -> rate of b over rate of a."""
        return {metric: {point: e.ratio for point, e in found.items()} for metric, found in self.effects.items()}

    @property
    def interval(self) -> dict[str, dict[Any, tuple[float, float] | None]]:
        """metric -> context -> (low, high) of the ratio, None where nothing was repeated."""
        return {
            metric: {p: (e.low, e.high) if e.low is not None and e.high is not None else None for p, e in found.items()}
            for metric, found in self.effects.items()
        }

    @property
    def regression(self) -> bool:
        """Whether b is really slower in prompt or generation."""
        return self.kind in ("slower", "mixed")

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        rows = []
        for point in self.points:
            row: dict[str, Any] = {"n_kv": point}
            for metric in METRICS:
                if point in self.effects.get(metric, {}):
                    row[metric] = {"a": _sample(self.a, metric, point), "b": _sample(self.b, metric, point),
                                   **_effect(self.effects[metric][point])}  # fmt: skip
            rows.append(row)
        return plain({
            "a": self.a.name, "b": self.b.name, "verdict": self.verdict, "kind": self.kind, "confidence":
            self.confidence,
            "method": self.method, "overall": {m: _effect(e) for m, e in self.overall.items()}, "rows": rows,
            "warnings": self.warnings, "differences": [[name, str(x), str(y)] for name, x, y in self.differences],
        })  # fmt: skip

    def to_json(self, path: str | Path | None = None) -> str:
        """``to_dict`` as JSON; written to ``path`` when given."""
        text = json.dumps(self.to_dict(), indent=2)
        if path is not None:
            Path(path).write_text(text, encoding="utf-8")
        return text

    def to_markdown(self) -> str:
        """Verdict, warnings, the table of contexts, and what else differs."""
        return "\n".join(_markdown(self))

    def _repr_markdown_(self) -> str:
        return self.to_markdown()


def compare(
    a: Any,
    b: Any,
    *,
    names: Sequence[str] = ("a", "b"),
    confidence: float = 0.95,
    method: str = "welch",
    paired: bool = False,
) -> Comparison:
    """Compares ``b`` with ``a``: Sweeps, log Runs, lists of rows, or lists of Sweeps or Runs as repetitions.

    ``names``: what to call the two. ``confidence``: level of the intervals shown. ``method``: "welch", or "bootstrap" for
    intervals by resampling whole repetitions (the verdict rests on Welch's t either way; docs/logs.md has the rule).
    ``paired``: repetition i of a and of b were run next to each other (A B A B), so that what drifts in both cancels. Raises
    IkexploreError for sources without rates, without a common context, or for options out of range.

    >>> import ikexplore as ikx
    >>> before = [[{"n_kv": 0, "s_pp": 100 + i, "s_tg": 10 + i / 10}] for i in (0, 1, -1, 1, 0, -1)]
    >>> after = [[{"n_kv": 0, "s_pp": 100 + i, "s_tg": 8 + i / 10}] for i in (1, 0, -1, 0, 1, -1)]
    >>> c = ikx.compare(before, after)
    >>> c.regression, round(c.ratio["s_tg"][0], 2)
    (True, 0.8)
    """
    if not 0.5 <= confidence < 1:
        raise IkexploreError(f"confidence {confidence}: give a number from 0.5 to below 1, as in 0.95")
    if method not in ("welch", "bootstrap"):
        raise IkexploreError(f"method {method!r}: give 'welch' or 'bootstrap'")
    left, right = side_of(a, names[0]), side_of(b, names[1])
    points = {m: [p for p in left.samples[m] if p in right.samples[m]] for m in METRICS}
    if not any(points.values()):
        raise IkexploreError(
            f"no context in common: {names[0]} has n_kv {_few(left)}, {names[1]} has {_few(right)}; "
            "compare runs with the same steps"
        )
    result = Comparison(
        left, right, list(dict.fromkeys(p for m in METRICS for p in points[m])), {}, {}, confidence, method
    )
    tests = [_Metric(left, right, m, common, confidence, method, paired) for m, common in points.items() if common]
    for test in tests:
        # what drifts is the machine: a trend seen in one metric may have moved the other
        test.into(result, max(other.shift for other in tests))
    result.differences = differences(a, b, left.facts, right.facts)
    result.warnings = warnings_of(result)
    result.kind, result.verdict = say(result)
    return result


def interleave(
    run_a: Callable[[], Any],
    run_b: Callable[[], Any],
    repetitions: int = 5,
    *,
    names: Sequence[str] = ("a", "b"),
    **options: Any,
) -> Comparison:
    """Runs A B B A A B ..., ``repetitions`` times each, and compares, so that drift falls on both alike.

    ``run_a()`` and ``run_b()`` give a Sweep or a Run; ``names`` and ``options`` as for ``compare``. Raises IkexploreError for
    fewer than two repetitions.
    """
    if repetitions < 2:
        raise IkexploreError(f"{repetitions} repetitions tell nothing about spread; give 2 or more")
    found: tuple[list[Any], list[Any]] = ([], [])
    for i in range(repetitions):
        for side in ((0, 1), (1, 0))[i % 2]:
            found[side].append((run_a, run_b)[side]())
    return compare(*found, names=names, paired=True, **options)


def _few(side: Side) -> str:
    points = list(dict.fromkeys(p for found in side.samples.values() for p in found))
    return ", ".join(map(str, points[:4])) + (" ..." if len(points) > 4 else "")


class _Metric:
    """The tests of one metric over its common contexts."""

    def __init__(self, a: Side, b: Side, metric: str, points: list[Any], confidence: float, method: str, paired: bool):
        self.a, self.b, self.metric, self.points = a, b, metric, points
        self.confidence, self.method = confidence, method
        self.remarks: list[str] = []
        self.weights = self._weights()
        for side in (a, b):
            self._without_cold(side)
        self.weights = self._weights()
        self.series = [self._series(side) for side in (a, b)]
        self.paired = paired and min(map(len, self.series)) > 1 and len(self.series[0]) == len(self.series[1])
        self.remarks += [t for s, v in zip((a, b), self.series) if (t := trend_of(s.name, METRICS[metric], v, self.paired))]
        self.inflation = 1.0 if self.paired else inflation(*self.series)
        self.shift = 0.0 if self.paired else shift_of(*self.series)

    def _without_cold(self, side: Side) -> None:
        """Leaves out a first repetition that stands apart."""
        said = cold_start(side.name, METRICS[self.metric], self._series(side))
        if not said:
            return
        self.remarks.append(said)
        first, side.series[self.metric] = side.series[self.metric][0], side.series[self.metric][1:]
        for point, found in side.samples[self.metric].items():
            if found.values is not None and point in first and found.n > 2:
                side.samples[self.metric][point] = sample_of([math.exp(x) for x in found.values[1:]])

    def into(self, result: Comparison, shift: float) -> None:
        """Fills the effects, marks those that are real and larger than a drift of ``shift``."""
        self.shift = shift
        found = {p: self._at(p) for p in self.points}
        overall = self._overall()
        self._decide(found, overall)
        result.effects[self.metric], result.overall[self.metric] = found, overall
        result.drift[self.metric] = self.remarks

    def _weights(self) -> np.ndarray:
        """Contexts count by the precision of their rates; one that is very steady does not outweigh all others."""
        spread = np.array(
            [self.a.samples[self.metric][p].sd ** 2 + self.b.samples[self.metric][p].sd ** 2 for p in self.points]
        )
        weights = 1.0 / (spread + np.median(spread)) if np.median(spread) > 0 else np.ones(len(self.points))
        return weights / weights.sum()

    def _series(self, side: Side) -> np.ndarray:
        """One number per repetition: the weighted mean of the logarithms of its rates over the common contexts."""
        rows = [
            [means[p] for p in self.points]
            for means in side.series[self.metric]
            if all(p in means for p in self.points)
        ]
        return np.array(rows) @ self.weights if rows else np.empty(0)

    def _at(self, point: Any) -> Effect:
        a, b = self.a.samples[self.metric][point], self.b.samples[self.metric][point]
        if self.paired and a.values is not None and b.values is not None and len(a.values) == len(b.values):
            return self._paired(b.values - a.values, a, b)
        effect = self._welch(a, b)
        if self.method == "bootstrap" and a.values is not None and b.values is not None and min(a.n, b.n) > 1:
            effect.low, effect.high = _bootstrap(a.values, b.values, self.confidence, self.inflation)
        return effect

    def _overall(self) -> Effect:
        """Over all contexts, with the run as the unit: what moves all rows of a run together does not count many
        times."""
        if all(len(values) for values in self.series):
            a, b = (Sample(float(v.mean()), _spread(v), len(v), v) for v in self.series)
        else:
            a, b = (self._whole(side) for side in (self.a, self.b))
        if self.paired and a.values is not None and b.values is not None:
            return self._paired(b.values - a.values, a, b)
        effect = self._welch(a, b)
        if self.method == "bootstrap" and a.values is not None and b.values is not None and min(a.n, b.n) > 1:
            effect.low, effect.high = _bootstrap(a.values, b.values, self.confidence, self.inflation)
        return effect

    def _whole(self, side: Side) -> Sample:
        """From means alone: rows of one sweep may move together, so that their spreads add without cancelling."""
        samples = [side.samples[self.metric][p] for p in self.points]
        mean = float(np.dot(self.weights, [s.mean for s in samples]))
        return Sample(mean, float(np.dot(self.weights, [s.sd for s in samples])), min(s.n for s in samples))

    def _welch(self, a: Sample, b: Sample) -> Effect:
        effect = Effect(math.exp(b.mean - a.mean), n=(a.n, b.n))
        if a.n < 2 and b.n < 2:
            return effect
        if a.n < 2 or b.n < 2:  # one single run against a sample: is it one more of that sample?
            known = a if a.n > 1 else b
            effect.sigma, df = known.sd, known.n - 1.0
            se = known.sd * math.sqrt(1 + 1 / known.n)
        else:
            va, vb = a.sd**2 / a.n, b.sd**2 / b.n
            se = math.sqrt(va + vb)
            df = (va + vb) ** 2 / (va**2 / (a.n - 1) + vb**2 / (b.n - 1))
            effect.sigma = math.sqrt(((a.n - 1) * a.sd**2 + (b.n - 1) * b.sd**2) / (a.n + b.n - 2))
        return self._tested(effect, b.mean - a.mean, se, df)

    def _paired(self, steps: np.ndarray, a: Sample, b: Sample) -> Effect:
        sd = max(float(steps.std(ddof=1)), 1e-9)
        # the difference of two runs varies by the root of two more than one run does
        effect = Effect(math.exp(float(steps.mean())), sigma=sd / math.sqrt(2), n=(a.n, b.n))
        return self._tested(effect, float(steps.mean()), sd / math.sqrt(len(steps)), len(steps) - 1.0)

    def _tested(self, effect: Effect, step: float, se: float, df: float) -> Effect:
        """Interval and p, with the standard error widened where repetitions depend on one another."""
        se *= math.sqrt(self.inflation)
        width = quantile(self.confidence, round(df, 2)) * se
        effect.low, effect.high = math.exp(step - width), math.exp(step + width)
        effect.p = p_two_sided(step / se, df) if se > 0 else 0.0
        effect.limit = max(SIGMAS * (effect.sigma or 0.0), quantile(1 - LEVEL, round(df, 2)) * se)
        return effect

    def _decide(self, found: dict[Any, Effect], overall: Effect) -> None:
        """Marks what is real: beyond three standard deviations, beyond chance (Holm over the contexts), beyond
        drift."""
        self._mark(overall)
        ranked = sorted((e for e in found.values() if e.p is not None), key=lambda e: e.p or 0.0)
        for rank, effect in enumerate(ranked):
            if (effect.p or 0.0) * (len(ranked) - rank) >= LEVEL:
                break
            self._mark(effect)

    def _mark(self, effect: Effect) -> None:
        step = math.log(effect.ratio)
        if effect.p is None or effect.p >= LEVEL or abs(step) <= SIGMAS * (effect.sigma or 0.0):
            return
        effect.drifted = abs(step) < self.shift
        effect.real = not effect.drifted


def _spread(logs: np.ndarray) -> float:
    """Standard deviation of logarithms, never quite 0, so that equal runs can be divided by it; 0 for a single one."""
    return max(float(logs.std(ddof=1)), 1e-7) if len(logs) > 1 else 0.0


def _bootstrap(a: np.ndarray, b: np.ndarray, confidence: float, inflation: float) -> tuple[float, float]:
    """Bootstrap-t interval of the ratio: the studentized difference is resampled, which holds its level for few."""
    rng = np.random.default_rng(0)
    step, se = b.mean() - a.mean(), math.sqrt(a.var(ddof=1) / len(a) + b.var(ddof=1) / len(b))
    picked = [values[rng.integers(0, len(values), (RESAMPLES, len(values)))] for values in (a, b)]
    means = picked[1].mean(axis=1) - picked[0].mean(axis=1)
    errors = np.sqrt(sum(v.var(axis=1, ddof=1) / v.shape[1] for v in picked))
    # a resample of equal values would divide by nothing
    t = (means - step) / np.maximum(errors, max(se / 20, 1e-12))
    low, high = np.quantile(t, [(1 - confidence) / 2, (1 + confidence) / 2]) * se * math.sqrt(inflation)
    return math.exp(step - high), math.exp(step - low)


def _sample(side: Side, metric: str, point: Any) -> dict[str, Any]:
    found = side.samples[metric][point]
    return {"rate": found.rate, "sd": found.sd * found.rate, "n": found.n}


def _effect(effect: Effect) -> dict[str, Any]:
    return {"ratio": effect.ratio, "interval": [effect.low, effect.high] if effect.low is not None else None, "p":
    effect.p,
            "sigmas": effect.sigmas, "real": effect.real}  # fmt: skip


def _markdown(c: Comparison) -> list[str]:
    lines = [f"**{escaped(c.verdict)}**", ""]
    lines += [f"- {escaped(text)}" for text in c.warnings]
    metrics = [m for m in METRICS if m in c.effects]
    head = ["N_KV"]
    for m in metrics:
        head += [
            f"{METRICS[m]} {escaped(c.a.name)} t/s",
            f"{METRICS[m]} {escaped(c.b.name)} t/s",
            f"ratio, {c.confidence:.0%} interval",
        ]
    lines += ["", "| " + " | ".join(head) + " |", "|---:" * len(head) + "|"]
    for point in c.points:
        cells = [escaped(str(point))]
        for m in metrics:
            cells += _cells(c, m, point)
        lines.append("| " + " | ".join(cells) + " |")
    if c.differences:
        lines += ["", f"| differs | {escaped(c.a.name)} | {escaped(c.b.name)} |", "|---|---|---|"]
        lines += [f"| {escaped(name)} | {escaped(_short(x))} | {escaped(_short(y))} |" for name, x, y in c.differences]
    return lines


def _cells(c: Comparison, metric: str, point: Any) -> list[str]:
    effect = c.effects[metric].get(point)
    if effect is None:
        return ["", "", ""]
    shown = []
    for side in (c.a, c.b):
        found = side.samples[metric][point]
        shown.append(f"{found.rate:.2f}" + (f" ± {found.sd * found.rate:.2f}" if found.n > 1 else ""))
    span = f" ({effect.low:.3f} to {effect.high:.3f})" if effect.low is not None else ""
    return [*shown, f"{effect.ratio:.3f}{span}{' *' if effect.real else ''}"]


def _short(value: Any) -> str:
    text = "not given" if value is None else str(value)
    return text if len(text) <= 120 else text[:117] + "..."
