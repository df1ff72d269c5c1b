"""Axes of a grid and their combinations as points: a model, settings, and the names that a table shows."""

import hashlib
import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import IkexploreError, SettingsError
from ..models import Model
from ..models.model import open as open_model
from ..settings import FIELDS, SWITCHES, Settings
from ..settings.values import read as read_value

#: axes that are no switch: quant types of the matrices, other models, whole groups of flags
SPECIAL = ("type", "model", "flags")
#: more points than this are a slip of the pen
MOST = 100_000
_NAMES = {name.lstrip("-"): switch.field for switch in SWITCHES for name in (*switch.spellings, switch.field)}


class Source:
    """A model that points share: the base model, one of the axis "model", or one of these in another quant type."""

    def __init__(self, model: Model, kind: str | None = None):
        self.base, self.kind = model, kind
        self._made: Model | None = None if kind else model
        self._files: dict[Path, Model] = {}

    @property
    def identity(self) -> list[Any]:
        """What tells it from other models; not where its file lies."""
        types: dict[str, int] = {}
        for tensor in self.base.tensors.values():
            types[tensor.type] = types.get(tensor.type, 0) + tensor.nbytes
        return [self.base.name, self.base.path.name if self.base.path else "", types, self.kind]

    def model(self) -> Model:
        """The model, its matrices in the type asked for."""
        if self._made is None:
            from ..run import requantized

            assert self.kind is not None
            self._made = requantized(self.base, self.kind)
        return self._made

    def in_file(self, folder: Path) -> Model:
        """The same in a file that a program can open, written to ``folder`` when there is none yet."""
        if self.kind is None:
            return self.base
        if folder not in self._files:
            from ..run import quantize

            path = folder / f"{Path(self.base.name).name.replace(' ', '-')[:80]}-{self.kind}.gguf"
            if not path.exists():
                folder.mkdir(parents=True, exist_ok=True)
                quantize(self.base, path, self.kind)
            self._files[folder] = open_model(path)
        return self._files[folder]


@dataclass
class Point:
    """One combination. ``values``: axis -> text; ``problem``: why it cannot be run, as far as settings tell."""

    values: dict[str, str]
    source: Source
    settings: Settings
    problem: str = ""

    def key(self, runner: str) -> str:
        """Names the point in a journal: the same for the same model, settings and runner, whatever else the grid holds."""
        said = [self.source.identity, self.settings.profile, self.settings.command(), runner, self.problem and self.values]
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:16]


def points(model: Model, axes: Mapping[str, Any], settings: Settings) -> list[Point]:
    """All combinations, the last axis changing first; equal ones once.

    An axis is named after a switch ("rtr", "ub", "-ot", "n_ubatch"), "type", "model" or "flags"; its values are what the switch
    takes, None for "not given"; texts are read as on a command line. "model": models or paths, or a dict name -> model.
    Raises IkexploreError for an axis without values or a value that is wrong by itself; what only goes wrong together
    becomes a point with a problem.
    """
    if not isinstance(axes, Mapping) or not axes:
        raise IkexploreError('axes are a dict of lists, as in {"rtr": [False, True], "ub": [512, 1024]}')
    choices = [_choices(name, values, model, settings) for name, values in axes.items()]
    total = 1
    for found in choices:
        total *= len(found)
    if total > MOST:
        raise IkexploreError(f"{total} combinations are more than {MOST}; give fewer values")
    made: list[Point] = []
    seen: set[str] = set()
    sources: dict[tuple[int, str | None], Source] = {}
    for chosen in itertools.product(*choices):
        point = _combined(dict(zip(axes, chosen)), model, settings, sources)
        if (key := point.key("")) not in seen:
            seen.add(key)
            made.append(point)
    return made


def _choices(name: str, values: Any, model: Model, settings: Settings) -> list[tuple[str, Any]]:
    """(text, value) of every value of an axis; a value that is wrong by itself is refused here."""
    if isinstance(values, Mapping) and name == "model":
        named: Iterable[tuple[str, Any]] = [(str(key), value) for key, value in values.items()]
    elif isinstance(values, (str, bytes, Mapping)) or not isinstance(values, Iterable):
        raise IkexploreError(f"axis {name!r}: {values!r} is no list of values; write [{values!r}]")
    else:
        named = [(_text(value), value) for value in values]
    found = []
    for text, value in named:
        if name == "model":
            opened = value if isinstance(value, Model) else open_model(value)
            found.append((text if isinstance(values, Mapping) else opened.name, opened))
        elif name == "type":
            from ..qtypes import quant

            found.append((text, None if value is None else quant(value).name))
        else:
            _set(settings, name, value)
            found.append((text, value))
    if not found:
        raise IkexploreError(f"axis {name!r} has no values; leave it out or give some")
    return found


def _combined(
    chosen: dict[str, tuple[str, Any]], model: Model, settings: Settings, sources: dict[tuple[int, str | None], Source]
) -> Point:
    base = chosen["model"][1] if "model" in chosen else model
    kind = chosen["type"][1] if "type" in chosen else None
    source = sources.setdefault((id(base), kind), Source(base, kind))
    values, problem = {axis: text for axis, (text, _) in chosen.items()}, ""
    for axis, (_, value) in chosen.items():
        if axis not in ("model", "type"):
            try:
                settings = _set(settings, axis, value)
            except SettingsError as error:
                problem = problem or str(error)
    return Point(values, source, settings, problem)


def _set(settings: Settings, axis: str, value: Any) -> Settings:
    """The settings with one value of an axis. Raises IkexploreError."""
    if axis == "flags":
        if not isinstance(value, str):
            raise IkexploreError(f'axis "flags": {value!r} is no text with flags; write "-ub 512 -rtr" or ""')
        read = Settings.parse(value, settings.profile)
        if read.unknown:
            raise IkexploreError(f'axis "flags": {value!r} has the unknown flag {read.unknown[0]}')
        return settings.replace(**read.given)
    field = field_of(axis)
    switch = FIELDS[field]
    if isinstance(value, str) and switch.kind not in ("choice", "type", "text"):
        value = None if not value.strip() else read_value(switch, value, settings.profile)
    return settings.replace(**{field: value})


def field_of(axis: str) -> str:
    """The field of Settings that an axis is named after. Raises IkexploreError."""
    name = str(axis).lstrip("-")
    field = _NAMES.get(name) or _NAMES.get(name.replace("_", "-"))
    if field is None:
        raise IkexploreError(
            f"axis {axis!r} is no switch; name a flag such as ub, rtr, ot, a field such as n_ubatch, or {', '.join(SPECIAL)}"
        )
    return field


def _text(value: Any) -> str:
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ",".join("=".join(map(str, x)) if isinstance(x, tuple) else str(x) for x in value)
    return str(getattr(value, "name", value))
