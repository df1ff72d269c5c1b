"""What does not survive a change of profile, what differs by default, and what the engine changes silently."""

from typing import TYPE_CHECKING, Any

from .declare import NEW, OLD, PROFILES, Switch
from .ops import OP_NUMBERS
from .other import OTHER
from .switches import FIELDS, SWITCHES
from .values import write

if TYPE_CHECKING:
    from .core import Settings

_QUIET = {"n_ctx", "n_threads"}


def translate(settings: "Settings", profile: str) -> tuple[dict[str, Any], list[str]]:
    """(values that hold in ``profile``, one line for each that does not)."""
    values: dict[str, Any] = {}
    lost: list[str] = []
    for name, value in settings.chosen:
        declared = FIELDS[name]
        said = " ".join(write(declared, value, settings.profile))
        if name == "offload_policy":
            gone = [op for op, _ in value if op not in OP_NUMBERS[profile]]
            lost += [f"-op: profile {profile} has no op {op}; its policy is left out" for op in gone]
            value = tuple(pair for pair in value if pair[0] not in gone)
        elif not declared.exists_in(profile):
            lost.append(f"{said}: profile {profile} does not have it; {_instead(name, value)}")
            continue
        elif declared.kind in ("choice", "type") and value not in declared.choices_in(profile):
            lost.append(f"{said}: profile {profile} refuses it and accepts {', '.join(declared.choices_in(profile))}")
            continue
        elif declared.kind == "bool" and not _spelled(declared, value, profile):
            default = declared.default_in(profile)
            lost.append(
                f"{said}: no longer a flag in profile {profile}, where it is "
                + ("the default" if default == value else "never so")
            )
            continue
        values[name] = value
    lost += [
        f"{words[0]}: profile {profile} does not know it"
        for words in settings.other
        if words[0] in OTHER and profile not in OTHER[words[0]][2]
    ]
    return values, lost


def _spelled(declared: Switch, value: bool, profile: str) -> bool:
    flags, here = (declared.flags, declared.flags_in) if value else (declared.negatives, declared.negatives_in)
    return bool(flags) and profile in here


def _can_say(declared: Switch, value: Any, profile: str) -> bool:
    """Whether a command line of ``profile`` has words for ``value``."""
    if declared.kind == "bool":
        return _spelled(declared, value, profile)
    return declared.kind != "onoff" or profile != OLD


def _instead(name: str, value: Any) -> str:
    if name == "n_cpu_moe":
        return "write -ot exps=CPU in its place" if value >= 999 else "write -ot with the layers in its place"
    if name in ("fit", "fit_margin"):
        return "place the experts with -ot"
    return "left out"


def defaults_that_differ(settings: "Settings", profile: str) -> list[str]:
    """For each switch that was not given and has another default in ``profile``: what that means."""
    out = []
    for declared in SWITCHES:
        here, there = declared.default_in(settings.profile), declared.default_in(profile)
        if declared.field in settings.given or here == there or declared.field in _QUIET:
            continue
        keep = ""
        if declared.exists_in(profile) and _can_say(declared, here, profile):
            keep = f"; {' '.join(write(declared, here, profile))} keeps it as it was"
        out.append(
            f"{declared.meaning}: {_word(there)} by default in profile {profile}, "
            f"{_word(here)} in {settings.profile}{keep}"
        )
    return out


def _word(value: Any) -> str:
    return {True: "on", False: "off"}.get(value, str(value)) if isinstance(value, bool) else str(value)


def silent(settings: "Settings") -> list[str]:
    """What the engine does with these settings without saying much."""
    s, out = settings, []
    given = s.given
    if s.n_ubatch > s.n_batch:
        out.append(f"-ub {s.n_ubatch} is lowered to {s.n_batch}, the value of -b; give -b {s.n_ubatch} as well")
    if s.cache_type_v not in ("f16", "f32", "bf16") and not s.flash_attn:
        out.append(f"-ctv {s.cache_type_v} needs flash attention; the engine refuses it without -fa")
    if s.fit and (s.overrides or s.n_cpu_moe):
        out.append("--fit refuses -ot and --n-cpu-moe; leave one of them out")
    if s.profile == NEW and given.get("n_gpu_layers") == 0 and (s.overrides or s.n_cpu_moe):
        out.append("with -ngl 0 the engine ignores -ot and --n-cpu-moe")
    if s.offload_policy and s.profile == PROFILES[0] and s.n_gpu_layers == 0 and "n_gpu_layers" not in given:
        out.append("-op concerns host weights that a GPU may take; it says nothing on a machine without one")
    return out
