"""Reading, checking and writing the value of a switch, by kind. Errors name the flag, the value and what it accepts."""

import math
import re
from collections.abc import Callable
from typing import Any

from ..errors import SettingsError
from .declare import NEW, Switch
from .ops import ALL, OP_NAMES, OP_NUMBERS
from .pattern import compile_pattern

_INT = re.compile(r"[+-]?\d{1,18}", re.ASCII)
_LIMIT = 2**31 - 1
_ON = {"on": True, "1": True, "auto": True, "true": True, "off": False, "0": False, "false": False}
_KV = re.compile(r"^[^=]+=(int|float|bool|str):.+$", re.S)


def fail(switch: Switch, value: object, accepts: str) -> SettingsError:
    """The one-line error of a value that ``switch`` does not take."""
    return SettingsError(f"{switch.flag} {shown(value)}: {switch.flag} accepts {accepts}")


def shown(value: object) -> str:
    """A value as a message shows it: one line, at most 60 characters."""
    text = value if isinstance(value, str) and value.strip() and value.isprintable() else repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def accepts(switch: Switch, profile: str) -> str:
    """What a switch takes, in words."""
    low, high = switch.minimum, switch.maximum
    if switch.kind in ("int", "float"):
        noun = "a whole number" if switch.kind == "int" else "a number"
        if low is not None and high is not None:
            return f"{noun} from {low:g} to {high:g}"
        return noun if low is None else f"{noun}, {low:g} or more"
    if switch.kind in ("choice", "type"):
        return "one of " + ", ".join(switch.choices_in(profile))
    return {
        "bool": "no value",
        "onoff": "on, off or auto",
        "text": "a text",
        "split": "shares of 0 or more, one per GPU, as in 3,1",
        "overrides": "REGEX=BUFFER pairs separated by commas, as in exps=CPU",
        "policy": f"pairs of an op number and 0 or 1, as in {OP_NUMBERS[profile]['MUL_MAT']},0 (-1: all ops)",
        "pairs": "pairs of whole numbers, as in 0,1024",
        "ser": "a whole number and a threshold, as in 6,1",
        "list": "KEY=TYPE:VALUE with TYPE one of int, float, bool, str",
    }[switch.kind]


def read(switch: Switch, text: str, profile: str) -> Any:
    """The value that ``text`` means. Raises SettingsError."""
    return check(switch, _READERS[switch.kind](switch, text, profile), profile)


def check(switch: Switch, value: Any, profile: str) -> Any:
    """The value in its one canonical form (tuples, Python numbers), or SettingsError."""
    return _CHECKS[switch.kind](switch, value, profile)


def write(switch: Switch, value: Any, profile: str) -> list[str]:
    """The words of a command line that give ``switch`` this value."""
    flag, kind = switch.flag, switch.kind
    if kind in ("bool", "onoff"):
        if kind == "onoff" and profile == NEW:
            return [flag, "on" if value else "off"]
        return [flag if value and switch.flags else switch.negatives[0]]
    for spelling, constant in switch.constants:
        if value == constant:
            return [spelling]
    if kind == "overrides":
        return [word for pattern, buffer in value for word in (flag, f"{pattern}={buffer}")]
    if kind == "list":
        return [word for item in value for word in (flag, item)]
    if kind == "policy":
        numbers = OP_NUMBERS[profile]
        return [flag, ",".join(f"{numbers[name]},{int(on)}" for name, on in value)]
    if kind == "pairs":
        return [flag, ",".join(f"{a},{b}" for a, b in value)]
    if kind in ("split", "ser"):
        return [flag, ",".join(number(item) for item in value)]
    return [flag, number(value) if kind == "float" else str(value)]


def number(value: float) -> str:
    """The shortest text that reads back as the same number."""
    return str(int(value)) if float(value).is_integer() and abs(value) < 1e15 else repr(float(value))


def _whole(switch: Switch, text: str, profile: str) -> int:
    if not _INT.fullmatch(text.strip()):
        raise fail(switch, text, accepts(switch, profile))
    return int(text)


def _real(switch: Switch, text: str, profile: str) -> float:
    try:
        return float(text) if "_" not in text else math.nan
    except ValueError:
        raise fail(switch, text, accepts(switch, profile)) from None


def _onoff(switch: Switch, text: str, profile: str) -> bool:
    if text.lower() not in _ON:
        raise fail(switch, text, accepts(switch, profile))
    return _ON[text.lower()]


def is_onoff(text: str) -> bool:
    """Whether a word can be the value of -fa."""
    return text.lower() in _ON


def _read_overrides(switch: Switch, text: str, profile: str) -> tuple[tuple[str, str], ...]:
    pieces = text.split(",")
    if len(pieces) > 1 and not pieces[-1]:
        pieces.pop()
    out = []
    for piece in pieces:
        pattern, equals, buffer = piece.partition("=")
        if not equals:
            raise SettingsError(
                f"-ot: the piece {shown(piece)} has no =BUFFER; -ot accepts {accepts(switch, profile)} "
                "(it is cut at every comma, so a regex cannot hold one)"
            )
        out.append((pattern, buffer))
    return tuple(out)


def _read_policy(switch: Switch, text: str, profile: str) -> tuple[tuple[str, bool], ...]:
    words = [word.strip() for word in text.split(",")]
    names, numbers = OP_NAMES[profile], OP_NUMBERS[profile]
    if len(words) < 2 or len(words) % 2:
        raise fail(switch, text, accepts(switch, profile))
    out = []
    for op, on in zip(words[::2], words[1::2]):
        name = names.get(int(op)) if _INT.fullmatch(op) else op.upper().removeprefix("GGML_OP_")
        if name not in numbers:
            raise SettingsError(
                f"-op {shown(op)}: no such op in profile {profile}; -op accepts {accepts(switch, profile)}"
            )
        if on not in ("0", "1"):
            raise fail(switch, text, accepts(switch, profile))
        out.append((name, on == "1"))
    return tuple(out)


def _numbers(switch: Switch, text: str, profile: str) -> list[float]:
    return [_real(switch, word, profile) for word in re.split("[,/]+", text.strip())]


def _pairs(switch: Switch, text: str, profile: str) -> tuple[tuple[int, int], ...]:
    words = text.split(",")
    if len(words) % 2 or not all(_INT.fullmatch(word.strip()) for word in words):
        raise fail(switch, text, accepts(switch, profile))
    return tuple((int(a), int(b)) for a, b in zip(words[::2], words[1::2]))


def _check_int(switch: Switch, value: Any, profile: str) -> int:
    good = isinstance(value, int) or (isinstance(value, float) and value.is_integer()) or hasattr(value, "__index__")
    if isinstance(value, bool) or not good:
        raise fail(switch, value, accepts(switch, profile))
    value = int(value)
    low = -_LIMIT if switch.minimum is None else switch.minimum
    high = (2**32 - 1 if switch.field == "seed" else _LIMIT) if switch.maximum is None else switch.maximum
    if not low <= value <= high:
        raise fail(switch, value, accepts(switch, profile) + ("" if value < low else f", at most {high:g}"))
    return value


def _check_float(switch: Switch, value: Any, profile: str) -> float:
    if isinstance(value, (bool, str)) or not hasattr(value, "__float__") or not math.isfinite(value):
        raise fail(switch, value, accepts(switch, profile))
    if switch.minimum is not None and value < switch.minimum:
        raise fail(switch, value, accepts(switch, profile))
    return float(value) + 0.0


def _check_bool(switch: Switch, value: Any, profile: str) -> bool:
    if value not in (True, False):
        raise SettingsError(f"{switch.flag} {shown(value)}: {switch.field} is True, False or None")
    value = bool(value)
    spelled = (
        (switch.flags and profile in switch.flags_in)
        if value
        else ((switch.negatives and profile in switch.negatives_in) or (switch.kind == "onoff" and profile == NEW))
    )
    if not spelled and value != switch.default_in(profile):
        raise SettingsError(f"{switch.field} = {value}: profile {profile} has no flag for it; leave it at {not value}")
    return value


def _check_choice(switch: Switch, value: Any, profile: str) -> str:
    names = {name.lower(): name for name in switch.choices_in(profile)}
    if value == "" and switch.default_in(profile) == "":
        return ""
    if not isinstance(value, str) or value.lower() not in names:
        elsewhere = [p for p in switch.profiles if isinstance(value, str) and value in switch.choices_in(p)]
        hint = f" (profile {elsewhere[0]} has it)" if elsewhere else ""
        raise fail(switch, value, accepts(switch, profile) + hint)
    return names[value.lower()]


def _check_text(switch: Switch, value: Any, profile: str) -> str:
    if not isinstance(value, str):
        raise fail(switch, value, accepts(switch, profile))
    if (
        switch.field == "cuda_params"
        and value
        and not all(re.match(r"^[^=,]+=[^=,]+$", part) for part in value.split(","))
    ):
        raise fail(switch, value, "key=value pairs separated by commas, as in offload-batch-size=64")
    return value


def _check_overrides(switch: Switch, value: Any, profile: str) -> tuple[tuple[str, str], ...]:
    if isinstance(value, str):
        value = _read_overrides(switch, value, profile) if value else ()
    out = []
    for pair in _sequence(switch, value, profile):
        if not isinstance(pair, (list, tuple)) or len(pair) != 2 or not all(isinstance(part, str) for part in pair):
            raise fail(switch, pair, accepts(switch, profile))
        pattern, buffer = pair
        if "," in pattern or "=" in pattern:
            raise SettingsError(
                f"-ot: {shown(pattern)} holds a comma or an equals sign, at which the engine cuts; "
                "write the regex without it (. matches any character)"
            )
        if not re.match(r"^[A-Za-z][\w.:\[\]/-]*$", buffer):
            raise SettingsError(
                f"-ot: {shown(pattern + '=' + buffer)} names no buffer; write a device such as CPU or CUDA0"
            )
        compile_pattern(pattern)
        out.append((pattern, buffer))
    return tuple(out)


def _check_policy(switch: Switch, value: Any, profile: str) -> tuple[tuple[str, bool], ...]:
    out = []
    for pair in _sequence(switch, value, profile):
        if not isinstance(pair, (list, tuple)) or len(pair) != 2 or pair[1] not in (0, 1):
            raise fail(switch, pair, accepts(switch, profile))
        name = str(pair[0]).upper()
        if name not in OP_NUMBERS[profile]:
            raise SettingsError(
                f"-op: profile {profile} has no op {shown(name)}; use a name such as MUL_MAT_ID, or {ALL}"
            )
        out.append((name, bool(pair[1])))
    return tuple(out)


def _check_split(switch: Switch, value: Any, profile: str) -> tuple[float, ...]:
    out = tuple(_check_float(switch, item, profile) for item in _sequence(switch, value, profile))
    if any(item < 0 for item in out):
        raise fail(switch, value, accepts(switch, profile))
    return out if any(out) else ()


def _check_pairs(switch: Switch, value: Any, profile: str) -> tuple[tuple[int, int], ...]:
    out = []
    for pair in _sequence(switch, value, profile):
        good = isinstance(pair, (list, tuple)) and len(pair) == 2
        if not good or not all(isinstance(part, int) and 0 <= part <= _LIMIT for part in pair):
            raise fail(switch, pair, accepts(switch, profile))
        out.append((int(pair[0]), int(pair[1])))
    return tuple(out)


def _check_ser(switch: Switch, value: Any, profile: str) -> tuple[float, ...]:
    items = _sequence(switch, value, profile)
    if not items:
        return ()
    if (
        len(items) != 2
        or not all(isinstance(item, (int, float)) and math.isfinite(item) for item in items)
        or items[0] != int(items[0])
    ):
        raise fail(switch, value, accepts(switch, profile))
    return int(items[0]), float(items[1])


def _check_list(switch: Switch, value: Any, profile: str) -> tuple[str, ...]:
    items = (value,) if isinstance(value, str) else tuple(_sequence(switch, value, profile))
    for item in items:
        if not isinstance(item, str) or not _KV.match(item):
            raise fail(switch, item, accepts(switch, profile))
    return items


def _sequence(switch: Switch, value: Any, profile: str) -> list[Any]:
    if isinstance(value, (str, bytes)) or not hasattr(value, "__iter__"):
        raise fail(switch, value, accepts(switch, profile))
    return list(value)


_READERS: dict[str, Callable[[Switch, str, str], Any]] = {
    "int": _whole,
    "float": _real,
    "onoff": _onoff,
    "choice": lambda s, t, p: t,
    "type": lambda s, t, p: t,
    "text": lambda s, t, p: t,
    "list": lambda s, t, p: t,
    "split": _numbers,
    "overrides": _read_overrides,
    "policy": _read_policy,
    "pairs": _pairs,
    "ser": _numbers,
}
_CHECKS: dict[str, Callable[[Switch, Any, str], Any]] = {
    "int": _check_int,
    "float": _check_float,
    "bool": _check_bool,
    "onoff": _check_bool,
    "choice": _check_choice,
    "type": _check_choice,
    "text": _check_text,
    "list": _check_list,
    "split": _check_split,
    "overrides": _check_overrides,
    "policy": _check_policy,
    "pairs": _check_pairs,
    "ser": _check_ser,
}
