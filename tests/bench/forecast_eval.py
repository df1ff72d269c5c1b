"""Errors of the forecast where neither the rig nor its threads were seen, with no, one and two runs of the system."""

import math
from collections import defaultdict
from collections.abc import Callable, Sequence

import numpy as np
from forecast_corpus import Run

from ikexplore.forecast.design import choose, doubts, left
from ikexplore.forecast.fit import Estimate, Point, PriorOf, estimate, rates
from ikexplore.forecast.priors import PRIORS, SPREADS
from ikexplore.forecast.rates import band_sd

APART = 0.1  #: what a factor differs by from one rig to the next, however many runs tell of it
CLASSES = ("all", "cpu-only", "hybrid", "full-gpu", "cpu+gpu-offload-op")

#: runs that the model of costs does not describe: kept out of the fit, listed with the reason
ODD = {
    "d357-L1539": "CUDA+OpenBLAS build: the CPU decodes to f32 and calls BLAS",
    "i523-L226": "build with a regression of the IQ3_XXS kernel (PR 518)",
    "p386-L134": "model larger than RAM, read from disk",
    "p386-L156": "model larger than RAM, read from disk",
}


def shared_factors(found: Estimate) -> dict[str, tuple[float, float]]:
    """The factors that hold for all rigs."""
    sd = found.sd
    return {n: (v, math.hypot(sd[n], APART)) for n, v in found.value.items() if "|" not in n}


def train(runs: Sequence[Run]) -> dict[str, tuple[float, float]]:
    points = [p for r in runs if r.id not in ODD for p in r.points]
    return shared_factors(estimate(points, PriorOf(PRIORS, SPREADS)))


class Evaluation:
    """Forecasts per method: {method: {point number: tokens/s}}; ``sd`` of their logs where a method tells it."""

    def __init__(self, runs: Sequence[Run], factors: Callable[[str, set], dict] | None = None):
        self.runs = list(runs)
        self.points: list[Point] = [p for r in runs for p in r.points]
        self.run_of = {id(p): r for r in runs for p in r.points}
        self.forecast: dict[str, dict[int, float]] = defaultdict(dict)
        self.any_run: dict[int, list[float]] = defaultdict(list)
        self.sd: dict[str, dict[int, float]] = defaultdict(dict)
        self.chosen: dict[tuple[str, int], tuple[str, ...]] = {}
        factors = factors or self._without
        for rig in sorted({r.rig for r in runs}):
            own = [r for r in runs if r.rig == rig]
            self._rig(own, PriorOf(factors(rig, {r.record["source"]["number"] for r in own}), PRIORS, SPREADS))

    def _without(self, rig: str, threads: set) -> dict:
        return train([r for r in self.runs if r.rig != rig and r.record["source"]["number"] not in threads])

    def _rig(self, own: list[Run], prior: PriorOf) -> None:
        index = {id(p): i for i, p in enumerate(self.points)}
        points = [p for r in own for p in r.points]
        j, var, _ = doubts(points, prior)
        for p, rate, sd in zip(points, rates(points, prior), band_sd((j**2 * var).sum(axis=1), points)):
            self.forecast["none"][index[id(p)]] = rate
            self.sd["none"][index[id(p)]] = sd
        for system in sorted({r.record["system"] for r in own}):
            here = [r for r in own if r.record["system"] == system]
            if len(here) < 2:
                continue
            mine = [p for r in here for p in r.points]
            picks = here if len(here) <= 6 else [here[k] for k in np.linspace(0, len(here) - 1, 6).astype(int)]
            for r in picks:
                for i, rate in self._after(mine, (r.id,), prior, index)[0].items():
                    self.any_run[i].append(rate)
            if len(here) < 3:
                continue
            for n, method in ((1, "one"), (2, "two")):
                self.chosen[system, n] = best = choose(mine, prior, n)
                found, sd = self._after(mine, best, prior, index)
                self.forecast[method] |= found
                self.sd[method] |= sd

    def _after(self, points: list[Point], seen: Sequence[str], prior: PriorOf, index: dict) -> tuple[dict, dict]:
        known = [p for p in points if p.run in seen]
        rest = [p for p in points if p.run not in seen]
        if not rest:
            return {}, {}
        found = estimate(known, prior)
        values = {n: (v, 1.0) for n, v in found.value.items()}
        j, var, noise = doubts(points, prior)
        at = [i for i, p in enumerate(points) if p.run in seen]
        spread = dict(zip(map(id, points), band_sd(left(j, var, noise, at), points)))
        sd = {index[id(p)]: spread[id(p)] for p in rest}
        return {index[id(p)]: r for p, r in zip(rest, rates(rest, PriorOf(values, *prior.tables)))}, sd

    # --- tables -----------------------------------------------------------------------------------------------

    def errors(self, method: str, kind: str, cls: str = "all", first: bool = True) -> np.ndarray:
        out = []
        for i, rate in self.forecast[method].items():
            p = self.points[i]
            if p.kind == kind and (p.first or not first) and cls in ("all", self.run_of[id(p)].record["class"]):
                out.append(rate / p.rate - 1)
        return np.array(out)

    def any_errors(self, kind: str) -> np.ndarray:
        return np.array([r / self.points[i].rate - 1 for i, rs in self.any_run.items() for r in rs
                         if self.points[i].kind == kind and self.points[i].first])  # fmt: skip

    def direction(self, method: str, kind: str, effect: float = 0.10) -> tuple[int, int]:
        """(right, all) pairs of one system and model whose commands differ and whose rates differ by more than ``effect``."""
        by: dict[tuple, list[int]] = defaultdict(list)
        for i in self.forecast[method]:
            p = self.points[i]
            if p.first and p.kind == kind:
                by[self.run_of[id(p)].record["system"], p.mix].append(i)
        right = total = 0
        for group in by.values():
            for x, a in enumerate(group):
                for b in group[:x]:
                    pa, pb = self.points[a], self.points[b]
                    seen = np.log(pa.rate / pb.rate)
                    if abs(seen) < np.log(1 + effect) or self._command(pa) == self._command(pb):
                        continue
                    said = np.log(self.forecast[method][a] / self.forecast[method][b])
                    total += 1
                    right += bool(np.sign(said) == np.sign(seen) and abs(said) > 0.01)
        return right, total

    def _command(self, p: Point) -> tuple:
        run = self.run_of[id(p)]
        return run.plan.settings.chosen, run.record["class"]

    def coverage(self, method: str, kind: str) -> tuple[float, float]:
        """(share of first rows inside the 80 % band, median half width of the log)."""
        inside, width = [], []
        for i, sd in self.sd[method].items():
            p = self.points[i]
            if p.kind == kind and p.first:
                inside.append(abs(np.log(self.forecast[method][i] / p.rate)) < 1.2816 * sd)
                width.append(1.2816 * sd)
        return float(np.mean(inside)), float(np.median(width))


def say(e: np.ndarray) -> str:
    a = np.abs(e)
    return f"{100 * np.median(a):3.0f} ({100 * np.quantile(a, 0.9):3.0f}) {len(a)}" if len(a) else "-"


def report(ev: Evaluation) -> str:
    lines = []
    for kind in ("pp", "tg"):
        for method in ("none", "one", "two"):
            if method in ev.forecast:
                cells = " | ".join(f"{say(ev.errors(method, kind, c)):14s}" for c in CLASSES)
                right, total = ev.direction(method, kind)
                inside, width = ev.coverage(method, kind)
                lines.append(f"{kind} {method:5s} {cells} dir {right}/{total} {100 * right / max(1, total):.0f}% "
                             f"band {100 * inside:.0f}% x/{np.exp(width):.2f}")  # fmt: skip
        lines.append(f"{kind} any   {say(ev.any_errors(kind))}")
    return "\n".join(lines)


def wrong_pairs(ev: Evaluation, method: str, kind: str, effect: float = 0.10) -> list[str]:
    """The pairs whose direction was not told, for people."""
    by: dict[tuple, list[int]] = defaultdict(list)
    for i in ev.forecast[method]:
        p = ev.points[i]
        if p.first and p.kind == kind:
            by[ev.run_of[id(p)].record["system"], p.mix].append(i)
    lines = []
    for (system, mix), group in by.items():
        for x, a in enumerate(group):
            for b in group[:x]:
                pa, pb = ev.points[a], ev.points[b]
                seen, said = np.log(pa.rate / pb.rate), np.log(ev.forecast[method][a] / ev.forecast[method][b])
                counts = abs(seen) >= np.log(1 + effect) and ev._command(pa) != ev._command(pb)
                if counts and (np.sign(said) != np.sign(seen) or abs(said) <= 0.01):
                    lines.append(f"{system} {mix[:30]}: {pa.run}/{pb.run} seen {np.exp(seen):.2f} said {np.exp(said):.2f}")
    return lines
