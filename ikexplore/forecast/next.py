"""Which run to make next on a machine, so that the forecasts of all others become surer."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import IkexploreError
from ..schedule.plan import Plan
from .design import choose, doubts, left
from .fit import Point, PriorOf
from .known import prior_of
from .rates import BAND, Forecast


@dataclass(frozen=True)
class NextRun:
    """A run worth making: its plan, and the median width of the 80 % bands of all candidates before and after it.

    Widths are factors: 1.5 means from rate / 1.5 to rate x 1.5. ``tells`` are the causes of which it says most.
    """

    plan: Plan
    before: float
    after: float
    tells: tuple[str, ...]

    def command(self) -> str:
        """The flags to run it with."""
        return self.plan.settings.command()

    def __str__(self) -> str:
        says = f" (tells of {', '.join(self.tells)})" if self.tells else ""
        return f"{self.command()}: bands from x/÷ {self.before:.2f} to x/÷ {self.after:.2f}{says}"


def next_runs(plans: Sequence[Plan], runs: int = 1) -> list[NextRun]:
    """Of some plans on one machine, the ``runs`` whose measurement leaves the least doubt about all of them, best first.

    What the machine has learned already counts. Raises IkexploreError for plans of several machines.
    """
    plans = list(plans)
    if len(plans) < 2 or any(p.machine != plans[0].machine for p in plans):
        raise IkexploreError("next_runs compares two or more plans on one machine; give such plans")
    if not 1 <= runs < len(plans):
        raise IkexploreError(f"runs {runs!r}: choose 1 to {len(plans) - 1} of {len(plans)} plans")
    points: list[Point] = []
    for i, p in enumerate(plans):
        n_ctx = p.placement.context.n_ctx
        points += Forecast(p, (), [{}]).points([0, max(0, n_ctx - p.n_tokens)], run=f"{i:04d}")
    prior = prior_of(plans[0].machine)
    found, seen = [], []
    before = _width(points, prior, [])
    for name in choose(points, prior, runs):
        seen += [i for i, p in enumerate(points) if p.run == name]
        after = _width(points, prior, seen)
        found.append(NextRun(plans[int(name)], before, after, _tells(points, prior, name)))
        before = after
    return found


def _width(points: list[Point], prior: PriorOf, seen: list[int]) -> float:
    j, var, noise = doubts(points, prior)
    variance = left(j, var, noise, seen) if seen else (j**2 * var).sum(axis=1)
    return float(np.exp(BAND * np.sqrt(np.median(np.maximum(variance, 0)))))


def _tells(points: list[Point], prior: PriorOf, name: str) -> tuple[str, ...]:
    """The rig's factors that this run moves most."""
    from .fit import System, plain

    mine = [p for p in points if p.run == name]
    j, var, _ = doubts(mine, prior)
    names = System(mine).names
    weight = (j**2 * var).sum(axis=0)
    order = [i for i in np.argsort(-weight) if plain(names[i]).startswith("rig.")]
    words = {"rig.cpu.read": "the CPU's memory", "rig.cpu.rate": "the CPU's products", "rig.gpu.read": "the GPUs' memory",
             "rig.gpu.rate": "the GPUs' products", "rig.gpu.node": "starting ops on GPUs", "rig.link": "PCIe",
             "rig.stage": "copies of mapped weights", "rig.split": "changes of device",
             "rig.peer": "changes between GPUs"}  # fmt: skip
    return tuple(words[plain(names[i])] for i in order[:2] if weight[i] > 0.05 * weight.sum())
