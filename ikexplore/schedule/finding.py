"""What a finding is, and what its makers share: flags to paste, and plans of changed settings for its cost."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import IkexploreError
from ..placement.rules import Rule

if TYPE_CHECKING:
    from ..settings import Settings
    from .plan import Plan

LEVELS = ("error", "warning", "note")


@dataclass(frozen=True)
class Finding:
    """``level`` is error, warning or note; ``text`` one sentence; ``fix`` the mended flag, None where there is none."""

    level: str
    text: str
    fix: str | None = None


def override(pattern: str, buffer: str) -> str:
    """An override as it can be pasted into a shell."""
    return f"-ot {shlex.quote(f'{pattern}={buffer}')}"


def flag(rule: Rule) -> str:
    """A rule as it can be pasted into a shell."""
    return f"{rule.flag} {shlex.quote(f'{rule.pattern}={rule.buffer}')}"


@dataclass(frozen=True)
class Splits:
    """Graph splits of a full micro-batch, as measured at the start, and of one token."""

    batch: int
    token: int

    @classmethod
    def of(cls, plan: Plan) -> Splits:
        return cls(plan.graph_splits, plan.after_policy["tg"].graph_splits)


def splits_with(plan: Plan, settings: Settings) -> Splits | None:
    """Splits of the same model and machine with other settings; None if those are refused."""
    try:
        return Splits.of(type(plan)(plan.model, settings, plan.machine))
    except IkexploreError:
        return None


def cost_against(plan: Plan, pattern: str, buffer: str) -> str:
    """What one more override, tried first, would save, in words; empty where it saves nothing."""
    settings = plan.settings.replace(overrides=((pattern, buffer), *plan.settings.overrides))
    now, then = Splits.of(plan), splits_with(plan, settings)
    if then is None:
        return ""
    saved = [(now.batch - then.batch, "per prompt batch"), (now.token - then.token, "per generated token")]
    return " and ".join(f"{n} splits more {when}" for n, when in saved if n > 0)


def numbers(layers: list[int]) -> str:
    """Layers in words: 3-5, 9."""
    runs: list[list[int]] = []
    for il in layers:
        if runs and il == runs[-1][-1] + 1:
            runs[-1].append(il)
        else:
            runs.append([il])
    return ", ".join(f"{r[0]}-{r[-1]}" if len(r) > 1 else str(r[0]) for r in runs)
