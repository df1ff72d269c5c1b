"""Override rules: which tensors a regex takes, and the first one that does."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ..settings.pattern import compile_pattern


@dataclass(frozen=True)
class Rule:
    """Tensors whose name ``pattern`` matches anywhere go to ``buffer`` (a device name or CPU)."""

    pattern: str
    buffer: str
    flag: str = "-ot"  #: the switch that it comes from


@lru_cache(maxsize=512)
def matches(pattern: str, names: tuple[str, ...]) -> np.ndarray:
    """bool per name: the pattern is found in it (std::regex_search). Kept, for names and patterns come again."""
    search = compile_pattern(pattern).search
    found = np.array([search(name) is not None for name in names], bool)
    found.setflags(write=False)
    return found


def first_match(rules: Sequence[Rule], names: tuple[str, ...]) -> np.ndarray:
    """int16 per name: the first rule that matches, -1 for none."""
    found = np.full(len(names), -1, np.int16)
    for number in range(len(rules) - 1, -1, -1):
        found[matches(rules[number].pattern, names)] = number
    return found
