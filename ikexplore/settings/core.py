"""``Settings``: the switches of one run, immutable, checked, read from and written to command lines.

Given and effective. A Settings holds only what was given. An attribute named after a switch gives the value that
holds: the given one, else the default of the profile (``settings.flash_attn`` is True in profile 2026-08 with nothing
given). Where the default depends on the model or the machine (``n_ctx``, ``n_threads``, rope) it is None.
``settings.given`` is a dict of what was given alone; ``settings.replace(n_ubatch=None)`` takes it back.
``settings.resolved(model, machine)`` has every value filled in, clamped and padded as the engine does.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field as _field
from typing import Any

from ..errors import SettingsError
from . import notes as _notes
from .declare import DEFAULT_PROFILE, NEW, PROFILES, Switch
from .line import quote
from .reader import read_line
from .resolve import Resolved, resolve
from .switches import FIELDS, SWITCHES
from .values import check, write


@dataclass(frozen=True, init=False, repr=False)
class Settings:
    """The switches of one run, in the terms of an engine profile ("2025-06" or "2026-08").

    ``Settings(n_ubatch=4096, rtr=True)`` or ``Settings.parse("-ub 4096 -rtr")``. Two are equal when profile, switches,
    other flags and unknown flags are; the rest of a pasted line (``env prefix program model_path``) does not count.
    Raises SettingsError, one line, for a value that a switch does not take.
    """

    profile: str
    chosen: tuple[tuple[str, Any], ...]
    #: flags without a meaning for the engine (server, sampler, files), each with its values
    other: tuple[tuple[str, ...], ...] = ()
    #: flags that nobody declared, each with the words behind it
    extra: tuple[tuple[str, ...], ...] = ()
    remarks: tuple[str, ...] = _field(default=(), compare=False)
    program: str | None = _field(default=None, compare=False)
    model_path: str | None = _field(default=None, compare=False)
    _env: tuple[tuple[str, str], ...] = _field(default=(), compare=False)
    _prefix: tuple[str, ...] = _field(default=(), compare=False)

    def __init__(self, profile: str = DEFAULT_PROFILE, **values: Any) -> None:
        self._fill(profile, values)

    def _fill(self, profile: str, values: dict[str, Any], **rest: Any) -> "Settings":
        if profile not in PROFILES:
            raise SettingsError(f"profile {profile!r} is not known; use one of {', '.join(PROFILES)}")
        chosen, remarks = _cleaned(profile, values)
        rest["remarks"] = (*rest.get("remarks", ()), *remarks)
        for name, value in {"profile": profile, "chosen": chosen, **rest}.items():
            object.__setattr__(self, name, value)
        return self

    @classmethod
    def parse(cls, line: str | Sequence[str] = "", profile: str = DEFAULT_PROFILE) -> "Settings":
        """Settings from a pasted command ``line`` (str) or an argument list, in the terms of ``profile``.

        Takes environment assignments, wrappers such as numactl, the program, ``-m model``, line continuations, quotes,
        Windows paths, ``--flag=value``, prompts and code fences. Flags that are not understood are in ``.unknown``.
        A line with a program in it is taken as a record of a run: a number with letters behind it is read up to
        them, as the engine does, and a shell variable counts as not given; ``.notes()`` says so.
        Raises SettingsError, one line, for a value that a switch does not take.

        >>> import ikexplore as ikx
        >>> s = ikx.Settings.parse("./llama-server -m x.gguf -fa -fmoe -ub 4096 -b 4096 -ot exps=CPU --frob", profile="2025-06")
        >>> s.n_ubatch, s.flash_attn, s.unknown
        (4096, True, ('--frob',))
        >>> s.command(profile="2026-08")
        '-b 4096 -ub 4096 -ot exps=CPU -fa on --frob'
        """
        if profile not in PROFILES:
            raise SettingsError(f"profile {profile!r} is not known; use one of {', '.join(PROFILES)}")
        found = read_line(line, profile)
        return cls.__new__(cls)._fill(
            profile,
            found.values,
            other=tuple(found.other),
            extra=tuple(found.extra),
            remarks=tuple(found.remarks),
            program=found.program,
            model_path=found.model_path,
            _env=tuple(found.env),
            _prefix=tuple(found.prefix),
        )

    @staticmethod
    def switches() -> tuple[Switch, ...]:
        """All declarations, in the order in which they are written."""
        return SWITCHES

    @staticmethod
    def switch(name: str) -> Switch:
        """The declaration of the field ``name``. Raises SettingsError."""
        if name not in FIELDS:
            raise SettingsError(f"{name!r} is no switch; the switches are {', '.join(FIELDS)}")
        return FIELDS[name]

    def __getattr__(self, name: str) -> Any:
        declared = FIELDS.get(name)
        if declared is None:
            raise AttributeError(f"Settings has no attribute {name!r}")
        for field, value in self.chosen:
            if field == name:
                return value
        return declared.default_in(self.profile)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *FIELDS})

    @property
    def given(self) -> dict[str, Any]:
        """What was given, field -> value, in the order of ``switches()``."""
        return dict(self.chosen)

    @property
    def unknown(self) -> tuple[str, ...]:
        """Flags that were not understood, by name."""
        return tuple(words[0].split("=", 1)[0] if words[0].startswith("-") else words[0] for words in self.extra)

    @property
    def env(self) -> dict[str, str]:
        """Environment assignments in front of a pasted command."""
        return dict(self._env)

    @property
    def prefix(self) -> tuple[str, ...]:
        """Words in front of the program, as in ``numactl --interleave=all``."""
        return self._prefix

    def replace(self, **values: Any) -> "Settings":
        """A copy in which the fields in ``values`` are changed, checked. None takes a switch back to its default; ``profile=``
        translates (see ``to``). Raises SettingsError.
        """
        base = self.to(values.pop("profile")) if "profile" in values else self
        for name in values:
            self.switch(name)
        rest = {name: getattr(base, name) for name in ("other", "extra", "program", "model_path", "_env", "_prefix")}
        return Settings.__new__(Settings)._fill(base.profile, {**base.given, **values}, **rest)

    def to(self, profile: str) -> "Settings":
        """The same settings in the terms of another ``profile``; ``notes(profile)`` names what is lost.

        Raises SettingsError for a profile that is not known.
        """
        if profile not in PROFILES:
            raise SettingsError(f"profile {profile!r} is not known; use one of {', '.join(PROFILES)}")
        if profile == self.profile:
            return self
        values, _ = _notes.translate(self, profile)
        rest = {name: getattr(self, name) for name in ("other", "extra", "program", "model_path", "_env", "_prefix")}
        return Settings.__new__(Settings)._fill(profile, values, **rest)

    def argv(self, profile: str | None = None) -> list[str]:
        """The canonical arguments, without the program and ``-m``, translated when another profile is given."""
        there = self.to(profile or self.profile)
        words: list[str] = []
        for name, value in there.chosen:
            words += write(FIELDS[name], value, there.profile)
        for group in (*there.other, *there.extra):
            words += group
        return words

    def command(self, profile: str | None = None) -> str:
        """The canonical command line, without the program and ``-m``, quoted for a POSIX shell.

        Reading it back gives equal settings. With another profile it is translated: ops keep their names
        and get their numbers there, what no longer exists is left out and listed by ``notes(profile)``.
        """
        return " ".join(map(quote, self.argv(profile)))

    def notes(self, profile: str | None = None) -> list[str]:
        """Remarks, one line each: what was read with reserve, what the engine changes silently, and, for another
        profile, what does not hold there."""
        profile = profile or self.profile
        there = self.to(profile)
        if profile == self.profile:
            return [*self.remarks, *_notes.silent(self)]
        return [
            *_notes.translate(self, profile)[1],
            *there.remarks,
            *_notes.silent(there),
            *_notes.defaults_that_differ(self, profile),
        ]

    def resolved(self, model: Any = None, machine: Any = None) -> Resolved:
        """Every value filled in, clamped and padded as the engine does; without a model or a machine its default."""
        return resolve(self, model, machine)

    def __repr__(self) -> str:
        return f"Settings.parse({self.command()!r}, profile={self.profile!r})"


def _cleaned(profile: str, values: dict[str, Any]) -> tuple[tuple[tuple[str, Any], ...], list[str]]:
    """Checked values in the order of the declarations; what equals "not given" is dropped."""
    for name in values:
        Settings.switch(name)
    chosen: list[tuple[str, Any]] = []
    remarks: list[str] = []
    for declared in SWITCHES:
        value = values.get(declared.field)
        if value is None:
            continue
        if not declared.exists_in(profile):
            if value == declared.default_in(profile):
                continue
            raise SettingsError(
                f"{declared.flag}: profile {profile} does not have it (it came with {declared.profiles[0]})"
            )
        value = check(declared, value, profile)
        if declared.field == "attn_max_batch" and profile == NEW and 0 < value < 128:
            remarks.append(f"-amb {value} is too low and becomes 128")
            value = 128
        if not _means_nothing(declared, value, profile):
            chosen.append((declared.field, value))
    return tuple(chosen), remarks


def _means_nothing(declared: Switch, value: Any, profile: str) -> bool:
    """Whether a value is the same as not giving the switch: empty, "the model's own", or a default without a flag."""
    if declared.kind in ("bool", "onoff"):
        if value:
            spelled = bool(declared.flags) and profile in declared.flags_in
        else:
            spelled = (
                bool(declared.negatives) and profile in declared.negatives_in and declared.default_in(profile) is True
            ) or (declared.kind == "onoff" and profile == NEW)
        return not spelled
    if declared.field in ("n_ctx", "rope_freq_base", "rope_freq_scale"):
        return value == 0
    if declared.field == "n_gpu_layers":
        return value == -1
    return isinstance(value, (str, tuple)) and not value
