"""Estimates of the logs of factors from measured seconds: least squares with priors, over any number of rigs at once."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from .terms import NORM, Terms

#: what may differ from rig to rig, and from one mix of types to the next on one rig; the rest holds for all
RIG, MIX = "rig.", "mix."
ROBUST = 2.0  #: residuals above so many standard deviations count less
MAX_STEPS = 40

Prior = Mapping[str, tuple[float, float]]


@dataclass(eq=False)
class Point:
    """One measured rate and the terms that should add up to it. ``seconds`` is None for one that is only forecast."""

    run: str
    rig: str
    mix: str
    kind: str  #: "pp" or "tg"
    n_kv: int
    tokens: int
    seconds: float | None
    weight: float  #: 1 / standard deviation of its log, divided by the root of how many points its run has
    group: np.ndarray
    log_base: np.ndarray
    factors: list
    first: bool = True

    @property
    def rate(self) -> float:
        """Measured tokens/s."""
        assert self.seconds is not None
        return self.tokens / self.seconds


def point(terms: Terms, n_kv: float, kind: str, *, tokens: int, times: float = 1.0, seconds: float | None = None,
          run: str = "", rig: str = "", mix: str = "", weight: float = 1.0, first: bool = True) -> Point:  # fmt: skip
    """``times`` evaluations of ``terms`` with ``n_kv`` cached tokens (on average) before."""
    extra = (("mix." + kind, 1.0),)
    log_base = np.log(terms.seconds(n_kv) * times)
    factors = [f + extra for f in terms.factors]
    group = np.asarray(terms.group)
    return Point(run, rig, mix, kind, int(n_kv), tokens, seconds, weight, group, log_base, factors, first)


def key(name: str, p: Point) -> str:
    """The unknown that a factor is for a point: one per rig, one per rig and mix, or one for all."""
    if name.startswith(RIG):
        return f"{p.rig}|{name}"
    return f"{p.rig}|{p.mix}|{name}" if name.startswith(MIX) else name


def plain(name: str) -> str:
    """The factor's own name."""
    return name.rsplit("|", 1)[-1]


class System:
    """All points as flat arrays; seconds and their derivatives for any values of the factors."""

    def __init__(self, points: Sequence[Point], names: Sequence[str] | None = None):
        self.points = list(points)
        rows, cols, coefs, base, group, owner = [], [], [], [], [], []
        index: dict[str, int] = {n: i for i, n in enumerate(names or ())}
        n_groups = n_terms = 0
        for i, p in enumerate(self.points):
            base.append(p.log_base)
            group.append(p.group + n_groups)
            size = int(p.group.max()) + 1
            owner += [i] * size
            for k, factors in enumerate(p.factors):
                for name, coef in factors:
                    full = key(name, p)
                    if names is not None and full not in index:
                        continue
                    rows.append(n_terms + k)
                    cols.append(index.setdefault(full, len(index)))
                    coefs.append(coef)
            n_groups += size
            n_terms += len(p.factors)
        self.names = list(index)
        self.row, self.col, self.coef = np.array(rows, int), np.array(cols, int), np.array(coefs, float)
        self.base, self.group, self.owner = np.concatenate(base), np.concatenate(group), np.array(owner)
        self.n_groups, self.n_points = n_groups, len(self.points)
        self.term_owner = self.owner[self.group]

    def values(self, known: Mapping[str, float]) -> np.ndarray:
        return np.array([known[n] for n in self.names])

    def groups(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Seconds of every group; share of its group's seconds for every term."""
        z = self.base + np.bincount(self.row, self.coef * x[self.col], len(self.base))
        s = np.exp(NORM * z)
        total = np.bincount(self.group, s, self.n_groups)
        return total ** (1 / NORM), s / total[self.group]

    def log_seconds(self, x: np.ndarray) -> np.ndarray:
        return np.log(np.bincount(self.owner, self.groups(x)[0], self.n_points))

    def jacobian(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Log seconds [points] and their derivatives [points, names]."""
        seconds, part = self.groups(x)
        total = np.bincount(self.owner, seconds, self.n_points)
        share = part * (seconds / total[self.owner])[self.group]
        flat = self.term_owner[self.row] * len(self.names) + self.col
        j = np.bincount(flat, self.coef * share[self.row], self.n_points * len(self.names))
        return np.log(total), j.reshape(self.n_points, len(self.names))


@dataclass(frozen=True)
class Estimate:
    """Logs of factors: means and covariance, by the names of unknowns."""

    names: tuple[str, ...]
    mean: np.ndarray
    cov: np.ndarray

    @property
    def value(self) -> dict[str, float]:
        return dict(zip(self.names, self.mean.tolist()))

    @property
    def sd(self) -> dict[str, float]:
        return dict(zip(self.names, np.sqrt(np.diag(self.cov)).tolist()))


def estimate(points: Iterable[Point], prior: "PriorOf") -> Estimate:
    """The most probable factors given the points and what was known before (robust Gauss-Newton steps)."""
    system = System(list(points))
    given = [prior(name) for name in system.names]
    mu, sd = np.array([g[0] for g in given]), np.array([g[1] for g in given])
    target = np.log([p.seconds or np.nan for p in system.points])
    weight = np.array([p.weight for p in system.points])
    x, damp = mu.copy(), 1e-3
    cost = _cost(system, x, target, weight, mu, sd)
    h = np.diag(1 / sd**2)
    for _ in range(MAX_STEPS):
        y, j = system.jacobian(x)
        r = (y - target) * weight
        soft = weight**2 / np.sqrt(1 + (r / ROBUST) ** 2)  # soft-l1: large residuals pull less
        h = (j * soft[:, None]).T @ j + np.diag(1 / sd**2)
        grad = j.T @ (soft * (y - target)) + (x - mu) / sd**2
        moved = False
        while damp < 1e6:
            step = np.linalg.solve(h + damp * np.diag(np.diag(h)), grad)
            new = _cost(system, x - step, target, weight, mu, sd)
            if new < cost:
                moved, damp = True, max(damp / 5, 1e-6)
                break
            damp *= 4
        if not moved:
            break
        x, gain, cost = x - step, cost - new, new
        if gain < 1e-7 * cost:
            break
    return Estimate(tuple(system.names), x, np.linalg.inv(h))


def _cost(system: System, x: np.ndarray, target: np.ndarray, weight: np.ndarray, mu: np.ndarray, sd: np.ndarray) -> float:
    r = (system.log_seconds(x) - target) * weight
    soft = 2 * ROBUST**2 * (np.sqrt(1 + (r / ROBUST) ** 2) - 1)
    value = soft.sum() + (((x - mu) / sd) ** 2).sum()
    return float(value) if np.isfinite(value) else float("inf")


class PriorOf:
    """What is known of a factor before its rig is measured: (log, standard deviation) by name."""

    def __init__(self, *tables: Prior):
        self.tables = tables

    def __call__(self, name: str) -> tuple[float, float]:
        for table in self.tables:
            for n in (name, plain(name)):
                if n in table:
                    return table[n]
        return (1.2, 0.8)


def rates(points: Sequence[Point], known: PriorOf) -> np.ndarray:
    """Tokens/s of points for the means of what is known."""
    system = System(points)
    x = np.array([known(n)[0] for n in system.names])
    return np.array([p.tokens for p in system.points]) / np.exp(system.log_seconds(x))
