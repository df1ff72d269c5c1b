"""Which run to make next: the one that leaves the least doubt about all the others."""

import itertools
from collections.abc import Iterable, Sequence

import numpy as np

from .fit import Point, PriorOf, System

MAX_PAIRS = 2000


def doubts(points: Sequence[Point], prior: PriorOf) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(derivatives, prior variances, noise variances) of points, at the means of the prior."""
    system = System(points)
    given = [prior(name) for name in system.names]
    x = np.array([g[0] for g in given])
    return system.jacobian(x)[1], np.array([g[1] for g in given]) ** 2, np.array([1 / p.weight**2 for p in points])


def left(j: np.ndarray, var: np.ndarray, noise: np.ndarray, seen: Sequence[int]) -> np.ndarray:
    """Variance of the log of each point's forecast once the points ``seen`` are measured."""
    h = j[list(seen)]
    gain = (j * var) @ h.T @ np.linalg.inv((h * var) @ h.T + np.diag(noise[list(seen)]))
    return (j**2 * var).sum(axis=1) - np.einsum("ij,ij->i", gain, (j * var) @ h.T)


def choose(points: Sequence[Point], prior: PriorOf, runs: int = 1) -> tuple[str, ...]:
    """The ``runs`` runs (by their names) whose measurement leaves the least doubt about all points."""
    j, var, noise = doubts(points, prior)
    of: dict[str, list[int]] = {}
    for i, p in enumerate(points):
        of.setdefault(p.run, []).append(i)

    def score(chosen: Sequence[str]) -> float:
        variance = left(j, var, noise, [i for r in chosen for i in of[r]])
        return float(np.sqrt(np.maximum(variance, 0)).mean())

    names = sorted(of)
    sets: Iterable[tuple[str, ...]] = itertools.combinations(names, runs)
    if len(names) ** runs > MAX_PAIRS:  # one after the other
        first = choose(points, prior, runs - 1) if runs > 1 else ()
        sets = ((*first, n) for n in names if n not in first)
    return min(sets, key=score)
