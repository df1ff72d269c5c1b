"""From the words of a command line to values: which flag, how many words belong to it, what is not understood."""

import re
from dataclasses import dataclass, field
from typing import Any

from ..errors import SettingsError
from .declare import PROFILES, Switch
from .line import Pasted, is_program, take_apart
from .other import OTHER
from .switches import BY_FLAG
from .values import accepts, is_onoff, read, shown

_MODEL = ("-m", "--model")
_NUMBER = re.compile(r"^[-+]?\.?\d")
_VARIABLE = re.compile(r"\$[\w({]|%\w+%|^\$|^<[\w -]+>$|^\.{3}$|^…$")


@dataclass
class Found:
    """What a command line says."""

    values: dict[str, Any] = field(default_factory=dict)
    other: list[tuple[str, ...]] = field(default_factory=list)
    extra: list[tuple[str, ...]] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    env: list[tuple[str, str]] = field(default_factory=list)
    prefix: list[str] = field(default_factory=list)
    program: str | None = None
    model_path: str | None = None


class _Reader:
    def __init__(self, pasted: Pasted, profile: str) -> None:
        self.words, self.profile, self.at = pasted.argv, profile, 0
        self.record = pasted.program is not None
        self.out = Found(env=pasted.env, prefix=pasted.prefix, program=pasted.program)

    def run(self) -> Found:
        while self.at < len(self.words):
            word = self.words[self.at]
            self.at += 1
            if word == "--":
                continue
            name, glued = _split(word)
            if name in _MODEL:
                self.out.model_path = next(iter(self.take(name, 1, glued)), self.out.model_path)
            elif name in BY_FLAG and BY_FLAG[name].exists_in(self.profile):
                self.switch(name, glued)
            elif name in OTHER:
                canonical, count, _ = OTHER[name]
                values = self.take(name, count, glued)
                if len(values) == count:
                    self.out.other.append((canonical, *values))
            else:
                self.stray(word, name)
        if self.out.program and not self.words and not is_program(self.out.program):
            self.out.extra.append((self.out.program,))
        return self.out

    def take(self, name: str, count: int, glued: str | None = None) -> list[str]:
        """The next ``count`` words; too few end a record quietly and are an error otherwise."""
        values = [] if glued is None else [glued]
        for word in self.words[self.at : self.at + count - len(values)]:
            if _is_known(word) and (self.record or name in BY_FLAG):
                break
            values.append(word)
            self.at += 1
        if len(values) < count:
            if not self.record:
                raise SettingsError(f"{name}: the value is missing; write it behind the flag")
            self.out.remarks.append(f"{name}: its value is missing, so it is left out")
        return values

    def stray(self, word: str, name: str) -> None:
        """A word that no table knows: kept with the plain words behind it, or only remarked on."""
        if not (word.startswith("-") and len(word) > 1 and not _NUMBER.match(word)):
            self.out.remarks.append(f"{word!r} is no flag and is left out")
            return
        group = [word]
        while self.at < len(self.words) and not _looks_like_flag(self.words[self.at]):
            group.append(self.words[self.at])
            self.at += 1
        self.out.extra.append(tuple(group))
        if name in BY_FLAG:
            self.out.remarks.append(
                f"{name} came with profile {BY_FLAG[name].profiles[0]}; {self.profile} does not have it"
            )

    def switch(self, name: str, glued: str | None) -> None:
        declared = BY_FLAG[name]
        constants = dict(declared.constants)
        if name in constants:
            value: Any = constants[name]
        elif name in declared.negatives:
            value = self.plain(declared, name, False, glued)
        elif declared.kind == "bool":
            value = self.plain(declared, name, True, glued)
        elif declared.kind == "onoff":
            value = self.onoff(declared, name, glued)
        else:
            words = self.take(name, 1, glued)
            if not words:
                return
            value = self.value(declared, name, words[0])
        if value is None:
            return
        if declared.kind in ("overrides", "policy", "list"):
            value = (*self.out.values.get(declared.field, ()), *value)
        self.out.values[declared.field] = value

    def plain(self, declared: Switch, name: str, value: bool, glued: str | None) -> bool | None:
        """A flag without a value; one that left the command line is remarked on."""
        if glued is not None:
            raise SettingsError(f"{name}={shown(glued)}: {name} takes no value; write {name} alone")
        here = declared.flags_in if value else declared.negatives_in
        if self.profile in here:
            return value
        default = declared.default_in(self.profile)
        state = "is the default there" if default == value else "cannot be chosen there"
        self.out.remarks.append(
            f"{name} does not exist in profile {self.profile}: {declared.meaning} ({'on' if value else 'off'}) {state}"
        )
        return None

    def onoff(self, declared: Switch, name: str, glued: str | None) -> bool:
        if glued is None and self.at < len(self.words) and is_onoff(self.words[self.at]):
            glued = self.words[self.at]
            self.at += 1
        if glued is None and self.profile != PROFILES[0]:
            self.out.remarks.append(f"{name} takes on, off or auto in profile {self.profile}; alone it is read as on")
        return True if glued is None else read(declared, glued, self.profile)

    def value(self, declared: Switch, name: str, text: str) -> Any:
        if declared.field == "n_gpu_layers" and text.lower() in ("all", "auto"):
            return 999 if text.lower() == "all" else -1
        try:
            value = read(declared, text, self.profile)
        except SettingsError as error:
            return self.reserve(declared, name, text, error)
        if name in declared.inverse:
            return 1.0 / value if value else None
        if declared.kind == "overrides":
            self.out.remarks += [
                f"-ot {pattern!r}: the blank in front is part of the regex, so that it matches no tensor"
                for pattern, _ in value
                if pattern != pattern.lstrip()
            ]
        return value

    def reserve(self, declared: Switch, name: str, text: str, error: SettingsError) -> Any:
        """A value of a pasted record that does not read cleanly: a shell variable, letters behind a number, a slip."""
        if not self.record:
            raise error
        if _VARIABLE.search(text) and declared.kind != "overrides":
            self.out.remarks.append(
                f"{name} {shown(text)}: a variable of the shell has no value here, so it is left out"
            )
            return None
        elsewhere = [p for p in PROFILES if p != self.profile and text in declared.choices_in(p)]
        if elsewhere:
            self.out.remarks.append(
                f"{name} {shown(text)} holds in profile {elsewhere[0]}; {self.profile} accepts "
                f"{accepts(declared, self.profile)}, so it is left out"
            )
            return None
        shorter = _without_tail(declared, text, self.profile)
        if shorter is None:
            raise error
        value = read(declared, shorter, self.profile)
        self.out.remarks.append(f"{name} {shown(text)} is read as {shorter}")
        return value


def _without_tail(declared: Switch, text: str, profile: str) -> str | None:
    """The number in front of other characters (so the engine reads it), or a type name less one stray character."""
    if declared.kind in ("int", "float"):
        found = re.match(r"\s*[-+]?\d+" if declared.kind == "int" else r"\s*[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?", text)
        return found.group() if found and found.group() != text else None
    if declared.kind in ("type", "choice") and text[:-1] in declared.choices_in(profile):
        return text[:-1]
    return None


def _split(word: str) -> tuple[str, str | None]:
    """(flag, glued value). Underscores in long flags are dashes, as the engine reads them."""
    name, equals, value = word.partition("=")
    if name.startswith("--"):
        name = "--" + name[2:].replace("_", "-")
    if equals and (name in BY_FLAG or name in OTHER or name in _MODEL):
        return name, value
    return (name, None) if not equals else (word, None)


def _is_known(word: str) -> bool:
    return word in BY_FLAG or word in OTHER or word in _MODEL


def _looks_like_flag(word: str) -> bool:
    return word.startswith("-") and len(word) > 1 and not _NUMBER.match(word)


def read_line(line: object, profile: str) -> Found:
    """What a pasted text or an argument list says. Raises SettingsError."""
    return _Reader(take_apart(line), profile).run()
