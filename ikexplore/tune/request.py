"""What is asked of the tuner, checked: goal, limits, and the switches that it may turn."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ..errors import IkexploreError, SettingsError
from ..machine import Machine
from ..models.model import Model
from ..settings import Settings

#: tokens of prompt per generated token when nothing is asked: as in a row of llama-sweep-bench
USUAL = (4.0, 1.0)
UBATCHES = (512, 1024, 2048, 4096, 8192)
CACHES = ("f16", "q8_0")
#: switches that a search turns; limits may hold them, or any other switch, to some values
TURNED = ("n_ubatch", "rtr", "use_mmap", "offload_policy", "cache_type_k", "cache_type_v", "mla_attn", "attn_max_batch",
          "fused_moe", "flash_attn", "n_threads", "n_threads_batch", "tensor_split", "n_gpu_layers")  # fmt: skip


@dataclass(frozen=True)
class Goal:
    """Seconds of a typical request: ``pp`` tokens of prompt, ``tg`` generated ones."""

    pp: float
    tg: float

    def seconds(self, pp: float, tg: float) -> float:
        """Seconds at rates in tokens/s."""
        return self.pp / pp + self.tg / tg


@dataclass(frozen=True)
class Request:
    """A model on a machine whose devices have as much memory as may be used; ``allowed`` values of switches."""

    model: Model
    machine: Machine
    ctx: int
    profile: str
    goal: Goal | None
    allowed: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    size_gib: float | None = None
    least: tuple[float, float] = (0.0, 0.0)  #: tokens/s that PP and TG must reach
    only: str | None = None  #: "pp" or "tg" where only one counts

    @property
    def rank(self) -> Goal:
        """The goal by which candidates are ordered."""
        return self.goal or Goal(*USUAL)

    def values(self, name: str, usual: Iterable[Any]) -> tuple[Any, ...]:
        """Values of a switch to try: the allowed ones, else the usual ones."""
        return self.allowed.get(name, tuple(usual))

    def settings(self, **values: Any) -> Settings:
        """Settings with the allowed values of switches that the search does not turn; raises SettingsError."""
        given = {name: choices[0] for name, choices in self.allowed.items()}
        return Settings(self.profile, **self.said({"n_ctx": self.ctx, **given, **values}))

    def said(self, values: dict[str, Any]) -> dict[str, Any]:
        """The values, None for those that the profile has by itself."""
        own = {name: Settings.switch(name).default_in(self.profile) for name in values}
        return {name: None if value == own[name] else value for name, value in values.items()}


def request(
    model: Model, machine: Machine, ctx: int, goal: Any, limits: Mapping[str, Any] | None, profile: str, spare_mib: float
) -> Request:
    """Raises IkexploreError that names the value for anything that makes no sense."""
    if isinstance(ctx, bool) or not isinstance(ctx, int) or not 1 <= ctx <= 2**31 - 256:
        raise IkexploreError(f"ctx {ctx!r} is no context; give tokens as a whole number, as in 8192")
    if not isinstance(spare_mib, (int, float)) or not 0 <= spare_mib < 2**40:
        raise IkexploreError(f"spare_mib {spare_mib!r} is no size; give the MiB to leave free on each GPU")
    rest = dict(limits or {})
    asked = Request(model, machine, ctx, profile, _goal(goal), only=goal if isinstance(goal, str) else None)
    asked = replace(
        asked,
        size_gib=_above(rest.pop("size_gib", None), "size_gib", "GiB"),
        least=(_above(rest.pop("pp", None), "pp", "tokens/s") or 0.0, _above(rest.pop("tg", None), "tg", "tokens/s") or 0.0),
        machine=_sized(machine, rest, spare_mib),
        allowed={name: _allowed(name, value, profile) for name, value in rest.items()},
    )
    asked.settings()  # values that no profile takes are told before anything is searched
    return asked


def _goal(goal: Any) -> Goal | None:
    if goal is None:
        return None
    if isinstance(goal, str):
        if goal not in ("pp", "tg"):
            raise IkexploreError(f'goal {goal!r} is not known; use "pp", "tg", or tokens as in {{"pp": 4000, "tg": 500}}')
        return Goal(1.0, 1e-6) if goal == "pp" else Goal(1e-6, 1.0)
    if isinstance(goal, Mapping) and set(goal) <= {"pp", "tg"}:
        pair: Any = (goal.get("pp", 0), goal.get("tg", 0))
    else:
        pair = goal
    try:
        pp, tg = (float(v) for v in pair)
    except (TypeError, ValueError):
        raise IkexploreError(f'goal {goal!r}: use "pp", "tg", or tokens as in {{"pp": 4000, "tg": 500}}') from None
    if not all(math.isfinite(v) and v >= 0 for v in (pp, tg)) or not pp + tg:
        raise IkexploreError(f"goal {goal!r}: tokens of prompt and generation are 0 or more, and not both 0")
    least = 1e-6 * (pp + tg)
    return Goal(max(pp, least), max(tg, least))


def _above(value: Any, name: str, unit: str) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < 1e9:
        raise IkexploreError(f"limits[{name!r}] {value!r}: give {unit} as a number above 0")
    return float(value)


def _sized(machine: Machine, rest: dict[str, Any], spare_mib: float) -> Machine:
    """The machine with as much memory as limits leave; takes their device names out of ``rest``."""

    def sized(device: Any, spare: float) -> Any:
        most = _above(rest.pop(device.name, None), device.name, "MiB")
        free = device.free_mib
        if most is not None:
            free = most if free is None else min(most, free)
        return replace(device, free_mib=None if free is None else max(0, int(free - spare)))

    return replace(machine, gpus=tuple(sized(gpu, spare_mib) for gpu in machine.gpus), cpu=sized(machine.cpu, 0))


def _allowed(name: str, value: Any, profile: str) -> tuple[Any, ...]:
    try:
        declared = Settings.switch(name)
    except SettingsError:
        known = "size_gib, pp, tg, a device such as CUDA0, or a switch such as rtr or n_ubatch"
        raise IkexploreError(f"limits has no {name!r}; the keys are {known}") from None
    whole = declared.kind in ("split", "overrides", "policy", "pairs", "ser", "list")
    several = isinstance(value, list) or (isinstance(value, (tuple, set, range)) and not whole)
    choices = tuple(value) if several else (value,)
    if not choices:
        raise IkexploreError(f"limits[{name!r}] is empty; give a value or a list of values")
    if name in ("overrides", "n_cpu_moe", "fit", "n_ctx"):
        raise IkexploreError(f"limits[{name!r}]: the tuner sets it; use ctx=, a device's MiB, or leave it out")
    for choice in choices:
        Settings(profile, **{name: choice})
    return choices
