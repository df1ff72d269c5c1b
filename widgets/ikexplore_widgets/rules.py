"""The ``-ot`` rules of the panel, one line each: what a rule takes, and why one is not used."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ikexplore.errors import SettingsError
from ikexplore.plots.picture import Grid
from ikexplore.settings import Settings, compile_pattern

from .clean import clean

EXPERTS = {"ffn_gate_exps", "ffn_up_exps", "ffn_down_exps"}


@dataclass(frozen=True)
class Rule:
    """One line of the editor. ``hits``: tensors that it decides; ``matches``: all that its regex finds."""

    text: str
    pairs: tuple[tuple[str, str], ...] = ()
    error: str = ""
    hits: int = 0
    matches: int = 0
    note: str = ""
    device: str = ""
    takes: tuple[int, ...] = ()  #: rows of the grid that it decides
    taken: tuple[tuple[int, tuple[int, ...]], ...] = ()  #: (number of the earlier rule, rows that it took)

    @property
    def bad(self) -> bool:
        """Whether the rule has no effect: not valid, without a match, or shadowed. An empty line is no error."""
        return bool(self.text.strip()) and (bool(self.error) or not self.hits)


class Matcher:
    """Which tensors of one model a regex finds; remembers, so that a keystroke costs one rule."""

    def __init__(self, grid: Grid) -> None:
        self.grid = grid
        self._found: dict[str, frozenset[int]] = {}

    def __call__(self, pattern: str) -> frozenset[int]:
        found = self._found.get(pattern)
        if found is None:
            search = compile_pattern(pattern).search
            found = frozenset(i for i, name in enumerate(self.grid.names) if search(name))
            if len(self._found) > 2000:
                self._found.clear()
            self._found[pattern] = found
        return found


def read_rules(texts: Sequence[str], matcher: Matcher, devices: Sequence[str], profile: str) -> list[Rule]:
    """Rules in the order in which they are tried; each says what it takes of what earlier ones left."""
    taken: dict[int, int] = {}
    return [_read(number, text, matcher, devices, profile, taken) for number, text in enumerate(texts, 1)]


def _read(number: int, text: str, matcher: Matcher, devices: Sequence[str], profile: str, taken: dict[int, int]) -> Rule:
    if not text.strip():
        return Rule(text, note="a regex, then = and a device, as in exps=CPU")
    try:
        pairs = tuple(Settings.parse(["-ot", text], profile=profile).overrides)
        for _, buffer in pairs:
            if buffer not in devices and buffer not in ("CPU", "CUDA_Host"):
                known = ", ".join(devices)
                raise SettingsError(f"no device {clean(buffer, 40)} in this rig; there is {known}")
        found = frozenset[int]().union(*(matcher(pattern) for pattern, _ in pairs))
    except SettingsError as error:
        message = clean(str(error).removeprefix("-ot: "), 200)
        return Rule(text, error=message, note=f"{message}: rule not used")
    hits = found - taken.keys()
    earlier: dict[int, list[int]] = {}
    for i in sorted(found - hits):
        earlier.setdefault(taken[i], []).append(i)
    taken.update(dict.fromkeys(hits, number))
    device = pairs[0][1] if pairs else ""
    if not found:
        note = "matches no tensor"
    elif not hits:
        note = f"shadowed: earlier rules take all {len(found)}"
    else:
        above = f"; {len(found) - len(hits)} taken above" if len(found) > len(hits) else ""
        note = f"{_what(matcher.grid, hits)}{above}"
    lists = tuple(sorted(hits)), tuple((n, tuple(rows)) for n, rows in sorted(earlier.items()))
    return Rule(text, pairs, "", len(hits), len(found), note, "CPU" if device == "CUDA_Host" else device, *lists)


def told(rule: Rule, grid: Grid) -> list[tuple[str, str]]:
    """(role, which layers) of all that a rule finds: what it decides first, then what earlier rules took."""
    lines = _by_role(rule.takes, grid, "")
    for number, rows in rule.taken:
        lines += _by_role(rows, grid, f"by rule {number}: ")
    return lines


def _by_role(rows: Sequence[int], grid: Grid, lead: str) -> list[tuple[str, str]]:
    layers: dict[int, list[int]] = {}
    others = []
    for i in rows:
        if grid.role[i] >= 0:
            layers.setdefault(grid.role[i], []).append(grid.layer[i])
        else:
            others.append((f"{lead}{clean(grid.names[i], 60)}", ""))
    return [*((f"{lead}{clean(grid.roles[role], 60)}", spans(sorted(set(found)))) for role, found in sorted(layers.items())),
            *others]


def _what(grid: Grid, hits: frozenset[int]) -> str:
    layers = sorted({grid.layer[i] for i in hits if grid.role[i] >= 0})
    roles = sorted({grid.roles[grid.role[i]] for i in hits if grid.role[i] >= 0})
    others = [grid.names[i] for i in sorted(hits) if grid.role[i] < 0]
    if not layers:
        return ", ".join(clean(name, 40) for name in others[:2])
    if set(roles) == EXPERTS:
        words = "experts"
    else:
        words = ", ".join(clean(role, 40) for role in roles) if len(roles) <= 2 else f"{len(roles)} roles"
    also = f" and {len(others)} more" if others else ""
    return f"{'layers' if len(layers) > 1 else 'layer'} {spans(layers)}, {words}{also}"


def spans(numbers: Sequence[int]) -> str:
    """``[0, 1, 2, 5]`` -> ``0–2, 5``."""
    out: list[list[int]] = []
    for n in numbers:
        if out and n == out[-1][1] + 1:
            out[-1][1] = n
        else:
            out.append([n, n])
    return ", ".join(str(a) if a == b else f"{a}–{b}" for a, b in out)


#: what can be picked -> (words, what follows "blk.N." in the regex, a role that must be there)
PICKS = {
    "experts": ("experts", r"ffn_.*_exps\.", "ffn_down_exps"),
    "up": ("up and gate of experts", r"ffn_(up|gate)_exps\.", "ffn_up_exps"),
    "down": ("down of experts", r"ffn_down_exps\.", "ffn_down_exps"),
    "shared": ("shared experts", r"ffn_.*_shexp\.", "ffn_down_shexp"),
    "ffn": ("feed-forward", r"ffn_(gate|up|down)\.", "ffn_down"),
    "attention": ("attention", "attn_", "attn_output"),
    "all": ("all weights", "", ""),
}


def picks(grid: Grid) -> list[tuple[str, str]]:
    """(id, words) of what can be picked in this model."""
    return [(name, words) for name, (words, _, role) in PICKS.items() if not role or role in grid.roles]


def assign(grid: Grid, first: int, last: int, device: str, what: str = "") -> str:
    """The rule that puts ``what`` (a key of PICKS) of some layers on ``device``; the experts, else the feed-forward weights."""
    first, last = sorted((first, last))
    layers = range(min(grid.n_layer - 1, max(0, first)), max(0, min(grid.n_layer - 1, last)) + 1)
    if what not in PICKS:
        what = "experts" if any(role in EXPERTS for role in grid.roles) else "ffn"
    return rf"blk\.({'|'.join(map(str, layers))})\.{PICKS[what][1]}={device}"
