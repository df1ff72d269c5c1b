"""Slips in overrides: number ranges in brackets, tensors that a regex forgets, up and gate torn apart."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from ..errors import SettingsError
from ..placement.rules import matches
from .finding import Finding, cost_against, flag, numbers, override

if TYPE_CHECKING:
    from .plan import Plan

MIB = 2**20
_RANGE = re.compile(r"(?<!\\)\[(\d+)-(\d{2,})\]")


def findings(plan: Plan) -> list[Finding]:
    """All slips of a plan's overrides."""
    if not plan.settings.overrides:
        return []
    return [*_ranges(plan), *_forgotten_bias(plan), *_torn_apart(plan)]


# --- [0-10] -----------------------------------------------------------------------------------------------------------


def mended_ranges(pattern: str) -> str:
    """A pattern whose brackets with numbers above 9 became lists: [8-11] is (8|9|10|11)."""

    def as_list(found: re.Match[str]) -> str:
        first, last = int(found[1]), int(found[2])
        return f"({'|'.join(map(str, range(first, last + 1)))})" if first <= last < 1000 else found[0]

    return _RANGE.sub(as_list, pattern)


def _ranges(plan: Plan) -> list[Finding]:
    names, size, found = plan.placement.tensors.names, plan.placement.tensors.nbytes, []
    for rule in plan.placement.rules:
        better = mended_ranges(rule.pattern)
        if rule.flag != "-ot" or better == rule.pattern:
            continue
        try:
            now, then = matches(rule.pattern, names), matches(better, names)
        except SettingsError:
            continue
        wrong = _RANGE.search(rule.pattern)
        assert wrong is not None
        what = f"{wrong[0]} is a set of single characters, not the numbers {wrong[1]} to {wrong[2]}"
        missed, extra = (int(size[rows].sum()) / MIB for rows in (then & ~now, now & ~then))
        cost = f"{missed:,.0f} MiB are missed and {extra:,.0f} MiB taken by mistake"
        found.append(Finding("warning", f"{flag(rule)}: {what}; {cost}.", override(better, rule.buffer)))
    return found


# --- ffn_.* leaves exp_probs_b.bias ---------------------------------------------------------------------------------


def _forgotten_bias(plan: Plan) -> list[Finding]:
    """Layers whose experts and router were moved while the bias of the router stayed."""
    p = plan.placement
    bias, router = (p.tensors.rows(f"blk.{{il}}.{role}")[:-1] for role in ("exp_probs_b.bias", "ffn_gate_inp.weight"))
    home = p.backend[p.place]
    torn = [
        il
        for il in range(len(bias))
        if bias[il] >= 0 and router[il] >= 0 and p.rule[router[il]] >= 0 and home[bias[il]] != home[router[il]]
    ]
    found = []
    for number in sorted({int(p.rule[router[il]]) for il in torn}):
        rule, layers = p.rules[number], [il for il in torn if p.rule[router[il]] == number]
        better = _with_bias(rule.pattern)
        wanted = [f"blk.{il}.exp_probs_b.bias" for il in layers]
        if better is None or not matches(better, tuple(wanted)).all():
            better = rf"blk\.({'|'.join(map(str, layers))})\.exp_probs_b"
        cost = cost_against(plan, better, rule.buffer) or "no split is lost by it"
        text = f"{flag(rule)} moves the router of layers {numbers(layers)} but leaves its exp_probs_b.bias behind: {cost}"
        found.append(Finding("warning", text + ".", override(better, rule.buffer)))
    return found


def _with_bias(pattern: str) -> str | None:
    for part in ("ffn_", "ffn"):
        if part in pattern:
            return pattern.replace(part, f"({part}|exp_probs_b)", 1)
    return None


# --- up and gate ------------------------------------------------------------------------------------------------------


def _torn_apart(plan: Plan) -> list[Finding]:
    """Layers whose up and gate are on different devices."""
    p = plan.placement
    home = p.backend[p.place]
    found = []
    for part in ("_exps", "", "_shexp"):
        up, gate = (p.tensors.rows(f"blk.{{il}}.ffn_{which}{part}.weight")[:-1] for which in ("up", "gate"))
        pair = (up >= 0) & (gate >= 0)
        both = np.flatnonzero(pair & (home[up] != home[gate]) & (p.place[up] >= 0) & (p.place[gate] >= 0)).tolist()
        if not both:
            continue
        buffer = _buffer(plan, int(home[up[both[0]]]))
        alike = [il for il in both if home[up[il]] == home[up[both[0]]]]
        pattern = rf"blk\.({'|'.join(map(str, alike))})\.ffn_gate{part}\."
        cost = cost_against(plan, pattern, buffer)
        moved = int(p.tensors.nbytes[gate[alike]].sum()) / MIB
        text = (
            f"ffn_up{part} and ffn_gate{part} of layers {numbers(both)} are on different devices: one op cannot read both "
            f"where they are{f', {cost}' if cost else ''}, and {moved:,.0f} MiB would move to {buffer} to mend it"
        )
        found.append(Finding("warning", text + ".", override(pattern, buffer)))
    return found


def _buffer(plan: Plan, backend: int) -> str:
    gpus = plan.placement.gpus
    return gpus[backend].name if backend < len(gpus) else "CPU"
