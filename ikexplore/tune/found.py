"""One setting that fits: its rates at the context asked for, and how it compares."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..forecast import Forecast
from ..schedule.plan import Plan
from ..settings import Settings
from .request import Goal

SAME = 0.01  #: rates closer than this are no choice between two
TIE = 0.003  #: seconds closer than this: the simpler one


@dataclass(frozen=True)
class Rates:
    """Tokens/s, each with the range that should hold 80 % of measurements: (rate, low, high)."""

    pp: tuple[float, float, float]
    tg: tuple[float, float, float]


def rates(plan: Plan, ctx: int) -> Rates:
    """Rates of reading a prompt that fills ``ctx`` tokens, and of generating with half of them cached."""
    before = max(0, ctx - plan.n_tokens) // 2  # on average over the prompt's micro-batches
    rows = Forecast(plan, (before, ctx // 2)).rows
    pp, tg = ((r[f"s_{k}"], r[f"s_{k}_low"], r[f"s_{k}_high"]) for r, k in zip(rows, ("pp", "tg")))
    return Rates(pp, tg)


@dataclass(frozen=True)
class Found:
    """Settings whose exact plan fits. ``use``: (device, MiB that it holds, MiB that it may) of every device."""

    settings: Settings
    rates: Rates
    use: tuple[tuple[str, float, float | None], ...]
    moved: tuple[tuple[int, tuple[str, str]], ...] = field(default=())  #: layer -> devices of its two pieces

    @property
    def pp(self) -> float:
        return self.rates.pp[0]

    @property
    def tg(self) -> float:
        return self.rates.tg[0]

    @property
    def simple(self) -> tuple[int, int, int, int]:
        """Less is simpler: cache types that round, usual switches (-fa, -fmoe) that are off, switches, characters."""
        s = self.settings
        rounds = sum(kind not in ("f16", "bf16", "f32") for kind in (s.cache_type_k, s.cache_type_v))
        return rounds, (not s.flash_attn) + (not s.fused_moe), len(s.given), len(s.command())


def ordered(found: Iterable[Found], goal: Goal) -> list[Found]:
    """Best first; what is as good to 0.3 % in the order of simplicity."""

    def rank(f: Found) -> tuple[Any, ...]:
        return (round(math.log(goal.seconds(f.pp, f.tg)) / TIE), *f.simple)

    return sorted(found, key=rank)


def front(found: Iterable[Found], goal: Goal) -> list[Found]:
    """Those that no other beats in both rates, best by the goal first; of those within 1 % in both, the first."""
    kept: list[Found] = []
    for f in ordered(found, goal):
        if not any(k.pp * (1 + SAME) >= f.pp and k.tg * (1 + SAME) >= f.tg for k in kept):
            kept = [k for k in kept if not (f.pp >= k.pp and f.tg >= k.tg)]
            kept.append(f)
    return kept


def thinned(kept: Sequence[Found], most: int) -> list[Found]:
    """At most so many, spread evenly over prompt speed; the first, and the fastest of each kind, stay."""
    if len(kept) <= most:
        return list(kept)
    by_pp = sorted(kept, key=lambda f: f.pp)
    chosen = {id(kept[0]), id(by_pp[0]), id(by_pp[-1])}
    for i in range(most):
        if len(chosen) < most:
            chosen.add(id(by_pp[round(i * (len(by_pp) - 1) / (most - 1))]))
    return [f for f in kept if id(f) in chosen]
