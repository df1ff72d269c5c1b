"""Switches that say nothing, contradict each other, or mean something else in the other profile."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..settings.declare import NEW, OLD
from ..settings.ops import OP_NUMBERS
from .finding import Finding

if TYPE_CHECKING:
    from .plan import Plan


def findings(plan: Plan) -> list[Finding]:
    """All findings about switches as such."""
    return [*_changed_meaning(plan), *_without_effect(plan), *_remarks(plan)]


def _changed_meaning(plan: Plan) -> list[Finding]:
    """Op numbers of -op that name another op in the other profile."""
    s, found = plan.settings, []
    other = OLD if s.profile == NEW else NEW
    mine, theirs = OP_NUMBERS[s.profile], OP_NUMBERS[other]
    names = {number: op for op, number in theirs.items() if number >= 0}
    for op, on in s.offload_policy:
        number = mine.get(op, -1)
        if number < 0 or names.get(number, op) == op or op not in theirs:
            continue
        text = f"-op {number},{int(on)} is about {op} in profile {s.profile}; in {other} that number is {names[number]}"
        found.append(Finding("note", f"{text}, and {op} is {theirs[op]}.", f"-op {theirs[op]},{int(on)}"))
    return found


def _without_effect(plan: Plan) -> list[Finding]:
    s, p, hp = plan.settings, plan.placement, plan.model.hparams
    newer, given, n_gpu = s.profile == NEW, s.given, len(plan.machine.gpus)
    found = []

    def note(text: str, fix: str | None = None) -> None:
        found.append(Finding("note", text, fix))

    if s.n_ubatch > s.n_batch:
        text = f"-ub {s.n_ubatch} is more than -b {s.n_batch}: the engine takes {p.context.n_ubatch}."
        found.append(Finding("warning", text, f"-b {s.n_ubatch} -ub {s.n_ubatch}"))
    if n_gpu and newer and p.deal.n_gpu_layers == 0 and (s.overrides or s.n_cpu_moe):
        note("-ngl 0 makes this engine drop -ot and --n-cpu-moe: all weights stay in host memory.", "-ngl 999")
    if n_gpu == 1 and s.tensor_split:
        note("-ts has no effect with one GPU.")
    if "mla_attn" in given and s.mla_attn and not hp.is_mla:
        note(f"-mla has no effect: {plan.model.arch} has no latent attention.")
    if hp.is_mla and p.context.mla_attn != s.mla_attn:
        text = f"-mla {s.mla_attn} becomes {p.context.mla_attn}: the engine changes it for this model and -ngl."
        found.append(Finding("warning", text, f"-mla {p.context.mla_attn}"))
    if s.n_cpu_moe and not hp.is_moe:
        note("--n-cpu-moe has no effect: this model has no experts.")
    if "attn_max_batch" in given and s.attn_max_batch and not hp.is_mla and (p.context.flash_attn or hp.n_gqa > 1):
        note("-amb has no effect here: only attention of the own heads without flash attention, and MLA, is done in parts.")
    if s.rtr and "use_mmap" not in given and any(rule.flag == "-ot" for rule in p.rules):
        note("-rtr reads the whole file into memory: no weights are mapped.")
    if newer and s.smart_expert_reduction:
        note("-ser changes nothing in this engine's graphs.")
    return found


def _remarks(plan: Plan) -> list[Finding]:
    """What reading the command line had to say: flags that no longer parse, values that the engine changes."""
    told = ("-ub ", "with -ngl 0 ", *(f"{word}:" for word in plan.settings.unknown))  # said better elsewhere
    lines = [line for line in plan.settings.notes() if not line.startswith(told)]
    return [Finding("note", line if line.endswith(".") else f"{line}.") for line in dict.fromkeys(lines)]
