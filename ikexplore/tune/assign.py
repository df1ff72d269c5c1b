"""Which layers' pieces go where: an integer program over groups of like layers, solved by HiGHS."""

import ctypes
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from .pieces import Group

Way = tuple[int, int]


def assign(
    groups: Sequence[Group], room: np.ndarray, pp: float, tg: float, seconds: float = 2.0
) -> dict[int, Way] | None:
    """Layer -> way that makes ``pp`` x prompt seconds + ``tg`` x token seconds least; None where nothing fits.

    ``room``: bytes per device (inf: not limited). Layers of a group that go one way are next to each other.
    ``seconds``: what the solver may take; it then gives the best that it has.
    """
    from scipy.optimize import Bounds, LinearConstraint, milp

    if not groups:
        return {}
    first = np.cumsum([0, *(len(g.ways) for g in groups)])
    cost = np.concatenate([pp * g.pp + tg * g.tg for g in groups])
    limited = np.flatnonzero(np.isfinite(room))
    held = np.concatenate([g.held for g in groups])[:, limited] / 2**20
    each = np.zeros((len(groups), first[-1]))
    for i in range(len(groups)):
        each[i, first[i] : first[i + 1]] = 1
    counts = np.array([len(g.layers) for g in groups], float)
    constraints = [LinearConstraint(each, counts, counts)]
    if len(limited):
        constraints.append(LinearConstraint(held.T, -np.inf, np.floor(room[limited] / 2**20)))
    scale = max(float(np.abs(cost).max()), 1e-12)
    with _quiet():
        found = milp(
            cost / scale, integrality=np.ones(first[-1]), bounds=Bounds(0, each.T @ counts), constraints=constraints,
            options={"mip_rel_gap": 5e-4, "time_limit": max(0.1, seconds)},
        )  # fmt: skip
    if found.x is None:
        return None
    return _dealt(groups, np.rint(found.x).astype(int), first)


@contextmanager
def _quiet() -> Iterator[None]:
    """HiGHS 1.8 leaves a printf in its repair of solutions; it would end up in what a user redirects to a file."""
    try:
        libc, kept = ctypes.CDLL(None), os.dup(1)
    except OSError:  # nothing is printed where there is no output
        yield
        return
    if sys.stdout is not None:
        sys.stdout.flush()
    libc.fflush(None)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 1)
        yield
        libc.fflush(None)
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nowhere)


def _dealt(groups: Sequence[Group], n: np.ndarray, first: np.ndarray) -> dict[int, Way]:
    """Counts as layers: in the order of the layers, GPUs first."""
    at: dict[int, Way] = {}
    for i, g in enumerate(groups):
        counts = n[first[i] : first[i + 1]]
        order = sorted(range(len(g.ways)), key=lambda w: (g.ways[w][0], g.ways[w][1]))
        ways = [g.ways[w] for w in order for _ in range(int(counts[w]))]
        at |= dict(zip(g.layers, ways))
    return at
