"""Compact ``-ot`` rules for a wanted placement: ranges of layers as alternatives, so that none is caught by accident."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby

CPU = "CPU"
Pieces = Mapping[tuple[int, str], str]  #: (layer, role) -> device


def numbers(wanted: Iterable[int]) -> str:
    """A regex that matches exactly the decimal numbers ``wanted`` where a ``.`` stands on both sides.

    ``[0-10]`` would be a set of the digits 0 and 1: numbers of several digits are written as alternatives.
    Raises ValueError for an empty set or a negative number.
    """
    found = sorted(set(wanted))
    if not found or found[0] < 0:
        raise ValueError(f"no layers to write: {found}")
    parts: list[str] = []
    tens: dict[int, list[int]] = {}
    for n in found:
        tens.setdefault(n // 10, []).append(n % 10)
    full = [ten for ten, ones in tens.items() if len(ones) == 10 and ten > 0]
    for ten, ones in tens.items():
        if ten not in full:
            parts.append((str(ten) if ten else "") + _digits(ones))
    for head, group in groupby(full, key=lambda ten: ten // 10):
        parts.append((str(head) if head else "") + _digits([ten % 10 for ten in group]) + "[0-9]")
    return parts[0] if len(parts) == 1 else "(" + "|".join(parts) + ")"


def _digits(ones: Sequence[int]) -> str:
    """One digit, or a class of digits with runs as ranges."""
    if len(ones) == 1:
        return str(ones[0])
    text = ""
    for _, run in groupby(enumerate(ones), key=lambda pair: pair[1] - pair[0]):
        digits = [digit for _, digit in run]
        text += f"{digits[0]}-{digits[-1]}" if len(digits) > 2 else "".join(map(str, digits))
    return f"[{text}]"


def roles_pattern(roles: Sequence[str]) -> str:
    """``ffn_(up|gate)_exps\\.`` from role names that share their beginning and end."""
    if len(roles) == 1:
        return roles[0] + r"\."
    tails = {role.rpartition("_")[2] for role in roles}
    if all(role.startswith("ffn_") for role in roles) and tails == {"exps"}:
        return "ffn_(" + "|".join(role[4:-5] for role in roles) + r")_exps\."
    if all(role.startswith("ffn_") for role in roles):
        return "ffn_(" + "|".join(role[4:] for role in roles) + r")\."
    return "(" + "|".join(roles) + r")\."


def overrides(where: Pieces, home: Mapping[int, str]) -> tuple[tuple[str, str], ...]:
    """Rules (regex, device) that put every piece where it is wanted; ``home`` is a layer's device without rules.

    Either all that is not at home is named, or, where it is shorter, what is on GPUs, with a last rule for the CPU.
    """
    away = {piece: device for piece, device in where.items() if device != home[piece[0]]}
    if not away:
        return ()
    named = _rules(away)
    if not any(device == CPU for device in away.values()):
        return named
    roles = sorted({role for _, role in where})
    rest = "exps" if all(role.endswith("_exps") for role in roles) else roles_pattern(roles)
    caught = (*_rules({piece: device for piece, device in where.items() if device != CPU}), (rest, CPU))
    return min(named, caught, key=_length)


def _rules(where: Pieces) -> tuple[tuple[str, str], ...]:
    """A rule for each device and set of roles that go there together."""
    layers: dict[tuple[str, tuple[str, ...]], list[int]] = {}
    held: dict[tuple[int, str], list[str]] = {}
    for (layer, role), device in where.items():
        held.setdefault((layer, device), []).append(role)
    for (layer, device), roles in sorted(held.items()):
        layers.setdefault((device, tuple(sorted(roles, reverse=True))), []).append(layer)
    found = [(rf"blk\.{numbers(at)}\.{roles_pattern(roles)}", device) for (device, roles), at in layers.items()]
    return tuple(sorted(found, key=lambda rule: (rule[1] == CPU, rule[1])))


def _length(rules: Sequence[tuple[str, str]]) -> int:
    return sum(len(pattern) + len(device) + 2 for pattern, device in rules)
