"""What is known of the factors of a machine: fitted to posted runs, and to the machine's own where it has any."""

import json
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

from ..machine import Learned, Machine
from .fit import PriorOf
from .priors import PRIORS, SPREADS

#: made by tests/bench/forecast_tables.py --write
FILE = Path(__file__).with_name("factors.json")


@lru_cache(maxsize=1)
def fitted() -> dict[str, tuple[float, float]]:
    """Factor -> (log of time over datasheet time, standard deviation), the same for all machines."""
    table = json.loads(FILE.read_text())["factors"]
    return {name: (float(mean), float(sd)) for name, (mean, sd) in table.items()}


def prior_of(machine: Machine) -> PriorOf:
    """Means and standard deviations by the names that points of this machine ask for (rig "", mix the model's name)."""
    return PriorOf(_own(machine.learned), fitted(), PRIORS, SPREADS)


def _own(learned: Learned | None) -> dict[str, tuple[float, float]]:
    if learned is None:
        return {}
    return {_full(n): (m, max(s, 1e-6)) for n, m, s in zip(learned.factors, learned.log, learned.sd)}


def _full(name: str) -> str:
    """The name within a fit of the name in a rig file: rig.x of rig "", mix.x of (rig "", mix)."""
    if name.startswith("mix."):
        kind, _, mix = name.partition("|")
        return f"|{mix}|{kind}"
    return f"|{name}" if name.startswith("rig.") else name


def short(full: str) -> str:
    """The name in a rig file of the name within a fit of one rig."""
    if "|mix." in full:
        _, mix, kind = full.split("|")
        return f"{kind}|{mix}"
    return full.removeprefix("|")


def covariance(names: Sequence[str], machine: Machine) -> np.ndarray:
    """Covariance of the logs of factors ``names`` (as in a fit): what runs have tied together stays tied."""
    prior = prior_of(machine)
    cov = np.diag([prior(n)[1] ** 2 for n in names])
    learned = machine.learned
    if learned is not None:
        index = {_full(n): i for i, n in enumerate(learned.factors)}
        here = [(k, index[n]) for k, n in enumerate(names) if n in index]
        if here:
            k, i = (np.array(column) for column in zip(*here))
            cov[np.ix_(k, k)] = np.array(learned.covariance)[np.ix_(i, i)]
    return cov
