"""``calibrate``: a machine that has learned from runs that were measured on it."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np

from ..errors import IkexploreError
from ..machine import Learned, Machine
from ..models import Model
from ..schedule.plan import Plan, plan
from ..settings import Settings
from .fit import Point, PriorOf, estimate
from .known import fitted, short
from .priors import PRIORS, SPREADS
from .rates import Forecast

#: rows of one run that are used: what lies between them follows from them
ROWS = 3
#: factors that a run says nothing about are not kept
SAYS = 0.02


def calibrate(machine: Machine, runs: Any) -> Machine:
    """The ``machine`` with ``learned``: its factors as measured runs show them, in place of what it had learned before.

    runs: one or more, each a Sweep; ``(model, run)`` with a Run of ``ikx.logs`` (its settings and rows);
    ``(model, settings, rows)`` with rows as dicts ``n_kv``, ``s_pp`` and/or ``s_tg`` (tokens/s), ``pp`` (default a
    micro-batch); or a Plan's ``(plan, rows)``. Every run is taken to be made on this machine: give all of them at once.
    ``learned.to_markdown()`` reports what was learnt and how sure it is. Raises IkexploreError for runs without rows.

    >>> import ikexplore as ikx
    >>> model, rig = ikx.demo.header("qwen3-235b-a22b-iq4_xs"), ikx.Machine.load("tr7965wx-a6000")
    >>> flags = ikx.Settings.parse("-ngl 99 -ot exps=CPU -c 4096")
    >>> before = ikx.plan(model, flags, rig).forecast(0).rows[0]
    >>> faster = ikx.calibrate(rig, (model, flags, [{"n_kv": 0, "s_pp": 2 * before["s_pp"], "s_tg": 2 * before["s_tg"]}]))
    >>> after = ikx.plan(model, flags, faster).forecast(0).rows[0]
    >>> before["s_tg"] < after["s_tg"] < 2 * before["s_tg"]
    True
    """
    every = _several(runs)
    if not every:
        raise IkexploreError("calibrate needs at least one measured run; next_runs says which one tells most")
    points: list[Point] = []
    for number, run in enumerate(every):
        planned, rows = _planned(run, machine, number)
        points += Forecast(planned, (), [{}]).points(measured=_picked(rows, number), run=f"run {number + 1}")
    return replace(machine, learned=learn(points, PriorOf(fitted(), PRIORS, SPREADS), len(every)))


def learn(points: list[Point], prior: PriorOf, runs: int) -> Learned:
    """What points of one rig (named "") show."""
    found = estimate(points, prior)
    before = np.array([prior(n)[1] for n in found.names])
    moved = np.abs(found.mean - [prior(n)[0] for n in found.names]) / before
    told = 1 - np.sqrt(np.diag(found.cov)) / before
    keep = np.flatnonzero((moved > SAYS) | (told > SAYS))
    cov = found.cov[np.ix_(keep, keep)]
    return Learned(
        tuple(short(found.names[i]) for i in keep),
        tuple(float(found.mean[i]) for i in keep),
        tuple(tuple(float(v) for v in row) for row in cov),
        runs,
    )


def _several(runs: Any) -> list[Any]:
    if isinstance(runs, tuple) or hasattr(runs, "rows"):
        return [runs]
    if isinstance(runs, Iterable) and not isinstance(runs, (str, dict)):
        return list(runs)
    raise IkexploreError(f"{type(runs).__name__} is no run; give a Sweep, (model, run) or (model, settings, rows)")


def _planned(run: Any, machine: Machine, number: int) -> tuple[Plan, list[dict]]:
    """The plan of a run on this machine, and its rows."""
    where = f"run {number + 1}"
    if isinstance(run, tuple) and len(run) == 2 and isinstance(run[0], Plan):
        rows: Any = getattr(run[1], "rates", run[1])
        return run[0], list(rows)
    if isinstance(run, tuple) and len(run) == 3 and isinstance(run[0], Model) and isinstance(run[1], Settings):
        return plan(run[0], run[1], machine), list(run[2])
    if isinstance(run, tuple) and len(run) == 2 and isinstance(run[0], Model) and hasattr(run[1], "rates"):
        if run[1].settings is None:
            raise IkexploreError(f"{where}: the log shows no command; give (model, settings, rows)")
        return plan(run[0], run[1].settings, machine), list(run[1].rates)
    if isinstance(getattr(run, "source", None), Model) and hasattr(run, "settings"):
        return plan(run.source, run.settings, machine), list(run.rows)
    if hasattr(run, "rates"):
        raise IkexploreError(f"{where}: a log does not hold the model; give (model, run), the model from ikx.open or a header")
    raise IkexploreError(f"{where}: give a Sweep, (model, run) or (model, settings, rows)")


def _picked(rows: list[dict], number: int) -> list[dict]:
    """The first, the middle and the last row that tell a rate."""
    told = [r for r in rows if r.get("s_pp") or r.get("s_tg")]
    for row in told:
        for key in ("s_pp", "s_tg"):
            value = row.get(key)
            if value is not None and not (np.isfinite(value) and value > 0):
                raise IkexploreError(f"run {number + 1}: {key} {value!r} is no rate; tokens per second are above 0")
        if not isinstance(row.get("n_kv"), (int, np.integer)) or row["n_kv"] < 0:
            raise IkexploreError(f"run {number + 1}: n_kv {row.get('n_kv')!r} is no count of cached tokens")
    if not told:
        raise IkexploreError(f"run {number + 1} has no row with s_pp or s_tg; nothing to learn from")
    at = sorted({round(i * (len(told) - 1) / (ROWS - 1)) for i in range(ROWS)})
    return [told[i] for i in at]
