"""Findings: what is wrong with a plan or worth knowing, each one sentence, with a mended flag where there is one."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from ..graph.types import type_name
from ..models.traits import FULL_PROOF, traits_of
from ..placement.rules import matches
from . import contradictions, slips
from .finding import LEVELS, Finding, flag, splits_with

if TYPE_CHECKING:
    from .plan import Plan

MIB = 2**20
#: architectures whose graph -rcache changes (August 2026)
ROPE_CACHED = ("deepseek2", "gemma3", "glm4moe", "qwen3")


def findings(plan: Plan) -> list[Finding]:
    """All findings of a plan, the worst first."""
    found = [*_sizes(plan), *_rules(plan), *_repack(plan), *_copies(plan), *_unknown(plan)]
    found += _not_planned(plan)
    found += [*slips.findings(plan), *contradictions.findings(plan)]
    return sorted(found, key=lambda f: LEVELS.index(f.level))


def _sizes(plan: Plan) -> list[Finding]:
    found = []
    for d in plan.devices:
        if d.over_mib:
            sizes = f"it needs {d.total_mib:,.0f} MiB and has {d.capacity_mib:,}, over by {d.over_mib:,.0f} MiB"
            text = f"{d.name} does not fit: {sizes}"
            if plan.placement.deal.fit is not None and d.compute_mib:
                text += f"; --fit does not count the compute buffer of {d.compute_mib:,.0f} MiB with its room for experts"
            found.append(Finding("error", text + "."))
    return found


def _rules(plan: Plan) -> list[Finding]:
    """Patterns that match nothing, or only what earlier ones took."""
    found = []
    p = plan.placement
    names = p.tensors.names
    taken = Counter(p.rule[p.rule >= 0].tolist())
    own = ~(p.part | p.computed)  # overrides are asked for tensors of the file
    for number, rule in enumerate(p.rules):
        if rule.flag != "-ot" or taken[number]:
            continue
        said = flag(rule)
        hits = np.flatnonzero(matches(rule.pattern, names) & own)
        if not len(hits):
            found.append(Finding("warning", f"{said} matches no tensor of this model."))
            continue
        winners = Counter(p.rule[hits][p.rule[hits] >= 0].tolist())
        if not winners:
            continue
        first = p.rules[winners.most_common(1)[0][0]]
        text = f"{said} changes nothing: all {len(hits)} tensors that it matches are taken by rules before it"
        same = all(p.rules[w].buffer == rule.buffer for w in winners)
        fix = None if same else f"{said} {flag(first)}"
        text += f", such as {flag(first)}."
        found.append(Finding("note" if same else "warning", text, fix))
    return found


def _repack(plan: Plan) -> list[Finding]:
    """Types that -rtr makes and no CUDA kernel multiplies."""
    if not plan.repacked or not plan.placement.gpus:
        return []
    lost: Counter[str] = Counter()
    size = 0
    p = plan.placement
    for row in np.flatnonzero(p.tensors.type_id != p.file_types).tolist():
        kind = int(p.tensors.type_id[row])
        if not plan.rules.matmul[kind]:
            lost[type_name(kind)] += 1
            size += int(p.tensors.nbytes[row])
    if not lost:
        return []
    kinds = ", ".join(f"{n} {kind}" for kind, n in lost.most_common())
    n = sum(lost.values())
    without = plan.settings.replace(rtr=False)
    then = splits_with(plan, without)
    splits = "?" if then is None else then.batch
    text = (
        f"-rtr makes {n} tensors ({size / MIB:,.0f} MiB) types that no CUDA kernel multiplies ({kinds}): "
        f"their ops stay on the CPU, for prompts too ({plan.graph_splits} splits, {splits} without -rtr)"
    )
    fix = without.command() or None
    return [Finding("warning", text + ".", fix)]


def _copies(plan: Plan) -> list[Finding]:
    """Host weights that are held several times on a GPU for pipeline parallelism."""
    s = plan.schedule
    if s.n_copies < 2:
        return []
    size = s.weight_bytes_copied
    if not size:
        return []
    text = (
        f"the build holds every copied input {s.n_copies} times (GGML_SCHED_MAX_COPIES), offloaded host weights too: "
        f"{s.n_copies * size / MIB:,.0f} MiB of GPU memory; build with GGML_SCHED_MAX_COPIES=1"
    )
    return [Finding("warning", text + ".", "-DGGML_SCHED_MAX_COPIES=1")]


def _unknown(plan: Plan) -> list[Finding]:
    flags = plan.settings.unknown
    return [Finding("note", f"{word} was not understood and has no part in this plan.") for word in flags]


def _not_planned(plan: Plan) -> list[Finding]:
    """Switches that change the graph and that no plan follows; what was not compared with the engine."""
    hp, words = plan.model.hparams, {words[0] for words in plan.settings.other}
    changed = {"--rope-cache": hp.arch in ROPE_CACHED, "--multi-token-prediction": hp.n_nextn > 0}
    found = []
    for word, matters in changed.items():
        if matters and word in words:
            text = f"{word} changes the graph of {hp.arch} and is not planned: this plan is without it."
            found.append(Finding("warning", text))
    traits, cx = traits_of(hp.arch), plan.placement.context
    if plan.settings.split_mode == "graph" and cx.split_mode != "graph" and plan.placement.gpus:
        text = f"-sm graph does not divide {hp.arch}: the engine goes back to -sm layer."
        found.append(Finding("note", text, "-sm layer"))
    if traits.proof != FULL_PROOF and plan.placement.gpus:
        what = "graph, cache and compute buffer were compared with the engine's on the CPU"
        found.append(Finding("note", f"{hp.arch}: {what}; what GPUs do follows from rules compared with other architectures."))
    return found
