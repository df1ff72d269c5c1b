"""The second phase: the first candidates run for real, and what they show corrects the forecast of all."""

from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import IkexploreError
from ..forecast import calibrate
from ..schedule import plan
from .candidate import Candidate, Front
from .found import rates
from .request import Request

REPEATS = 3  #: runs of each, in turn: 1 2 3 3 2 1 1 2 3, so that what drifts falls on all alike


def measured(made: Front, asked: Request, most: int, runner: Any, progress: bool) -> Front:
    """The front with its first ``most`` run, best by what was measured (then by corrected forecast) first.

    Raises IkexploreError where the runner cannot run them, or none of the runs gave a row.
    """
    if isinstance(most, bool) or not isinstance(most, int) or most < 1:
        raise IkexploreError(f"measure {most!r}: how many of the first candidates to run, 1 or more")
    run, chosen = _runner(runner, asked), made[:most]
    stopped = _in_turn(run, chosen, asked, progress)
    seen = [c for c in chosen if c.runs]
    if not seen:
        if stopped:
            return Front(made, **{**vars(made), "stopped": True})
        raise IkexploreError("none of the candidates gave a row when run; run one alone to see why")
    rig = calibrate(asked.machine, [(c.model, c.settings, [_middle(c, asked.ctx)]) for c in seen])
    for c in made:
        c.machine, c.rates = rig, rates(plan(c.model, c.settings, rig), asked.ctx)
        c.__dict__.pop("plan", None)
        c.__dict__.pop("forecast", None)
    for c in seen:
        row = _middle(c, asked.ctx)
        c.measured = (row["s_pp"], row["s_tg"])
    order = sorted(made, key=lambda c: asked.rank.seconds(*(c.measured or (c.pp, c.tg))))
    return Front(order, **{**vars(made), "stopped": stopped, "rig": rig})


def _runner(runner: Any, asked: Request) -> Callable[..., Any]:
    if runner is not None:
        run = getattr(runner, "sweep", runner)
        if not callable(run):
            raise IkexploreError(f"runner {runner!r}: give a function like ikx.sweep, or a Binary")
        return run  # type: ignore[no-any-return]
    if asked.machine.gpus:
        raise IkexploreError("the engine here measures CPUs only; give runner= a Binary of the program that uses the GPUs")
    from ..run import sweep

    return sweep


def _in_turn(run: Callable[..., Any], chosen: list[Candidate], asked: Request, progress: bool) -> bool:
    """Runs them in turn, there and back; True where Ctrl-C ended it."""
    turns = [c for i in range(REPEATS) for c in (chosen if i % 2 == 0 else chosen[::-1])]
    bar = _bar(progress, len(turns))
    try:
        for c in turns:
            if bar is not None:
                bar.set_postfix_str(c.command()[:60])
            result = run(c.model, c.settings, progress=False)
            if result.rows:
                c.runs.append(result)
            if result.stopped:
                return True
            if bar is not None:
                bar.update(1)
    except KeyboardInterrupt:
        return True
    finally:
        if bar is not None:
            bar.close()
    return False


def _middle(c: Candidate, ctx: int) -> dict[str, Any]:
    """The middle row, with the medians of the rates over the runs: about half the context is cached."""
    rows = [r.rows for r in c.runs]
    at = min(len(r) for r in rows) // 2
    if at and rows[0][at]["n_kv"] > ctx // 2:
        at -= 1
    found = dict(rows[0][at])
    for key in ("s_pp", "s_tg"):
        found[key] = float(np.median([r[at][key] for r in rows]))
    return found


def _bar(progress: bool, total: int) -> Any:
    if not progress:
        return None
    from tqdm.auto import tqdm

    return tqdm(total=total, unit=" runs", desc="measuring", leave=False)
