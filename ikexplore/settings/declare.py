"""What a switch is: one declaration holds its spellings, kind, default, meaning and effect."""

from dataclasses import dataclass
from dataclasses import field as _field
from typing import Any

#: Engine profiles, oldest first: ik_llama.cpp at commits d345a15 (June 2025) and 8337e4c (August 2026).
PROFILES = ("2025-06", "2026-08")
DEFAULT_PROFILE = PROFILES[-1]
OLD, NEW = PROFILES

GROUPS = ("Batching", "Placement", "Attention", "Experts", "Memory", "Threads", "Graph", "Rope", "Run")


@dataclass(frozen=True)
class Switch:
    """One switch of the engine.

    ``flags`` set it (the first one is written back); ``negatives`` switch it off. Each may be limited to
    some profiles by ``flags_in`` / ``negatives_in``; a spelling of another profile is still read. ``kind`` is one of
    int, float, bool, onoff, choice, type, text, list, split, overrides, policy, pairs, ser.
    ``defaults`` is profile -> value; None means that it depends on model or machine (``default_text`` says how).
    """

    field: str
    flags: tuple[str, ...]
    kind: str
    group: str
    meaning: str
    effect: str
    defaults: dict[str, Any] = _field(hash=False)
    default_text: str = ""
    negatives: tuple[str, ...] = ()
    choices: dict[str, tuple[str, ...]] = _field(default_factory=dict, hash=False)
    minimum: float | None = None
    maximum: float | None = None
    profiles: tuple[str, ...] = PROFILES
    flags_in: tuple[str, ...] = PROFILES
    negatives_in: tuple[str, ...] = PROFILES
    #: flags that set a fixed value ("-smf32" -> "f32") or change how the value is read ("--rope-scale": 1/x)
    constants: tuple[tuple[str, Any], ...] = ()
    inverse: tuple[str, ...] = ()

    @property
    def flag(self) -> str:
        """The spelling that messages use."""
        return (self.flags or self.negatives)[0]

    @property
    def spellings(self) -> tuple[str, ...]:
        """All spellings, those that switch it off included."""
        return self.flags + self.negatives + tuple(flag for flag, _ in self.constants) + self.inverse

    def default_in(self, profile: str) -> Any:
        """The value that holds in ``profile`` when the switch is not given."""
        return self.defaults[profile]

    def choices_in(self, profile: str) -> tuple[str, ...]:
        """The names that the value may have; empty where any value of its kind will do."""
        return self.choices.get(profile, ())

    def exists_in(self, profile: str) -> bool:
        """Whether the engine of ``profile`` knows the switch at all."""
        return profile in self.profiles


def switch(
    field: str,
    flags: str,
    kind: str,
    group: str,
    meaning: str,
    effect: str,
    *,
    default: Any = None,
    newer: Any = ...,
    negatives: str = "",
    choices: Any = None,
    inverse: str = "",
    **more: Any,
) -> Switch:
    """Shorthand for the tables: spellings as one string, ``newer`` where the default changed in 2026-08."""
    names: dict[str, tuple[str, ...]] = {}
    if isinstance(choices, str):
        names = {profile: tuple(choices.split()) for profile in PROFILES}
    elif choices:
        names = {profile: tuple(text.split()) for profile, text in choices.items()}
    return Switch(
        field,
        tuple(flags.split()),
        kind,
        group,
        meaning,
        effect,
        defaults={OLD: default, NEW: default if newer is ... else newer},
        negatives=tuple(negatives.split()),
        choices=names,
        inverse=tuple(inverse.split()),
        **more,
    )
