"""Override rules: which tensors a regex takes, and the first one that does."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ..errors import SettingsError


@dataclass(frozen=True)
class Rule:
    """Tensors whose name ``pattern`` matches anywhere go to ``buffer`` (a device name or CPU)."""

    pattern: str
    buffer: str
    flag: str = "-ot"  #: the switch that it comes from


@lru_cache(maxsize=256)
def compiled(pattern: str) -> re.Pattern[str]:
    """The regex of a rule. The reference reads ECMAScript; Python reads the patterns that people write alike.

    Raises SettingsError for a pattern that is no regex.
    """
    try:
        return re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        raise SettingsError(f"-ot {pattern}=...: {pattern!r} is no regular expression: {error}; mend it") from None


@lru_cache(maxsize=512)
def matches(pattern: str, names: tuple[str, ...]) -> np.ndarray:
    """bool per name: the pattern is found in it (std::regex_search). Kept, for names and patterns come again."""
    search = compiled(pattern).search
    found = np.array([search(name) is not None for name in names], bool)
    found.setflags(write=False)
    return found


def first_match(rules: Sequence[Rule], names: tuple[str, ...]) -> np.ndarray:
    """int16 per name: the first rule that matches, -1 for none."""
    found = np.full(len(names), -1, np.int16)
    for number in range(len(rules) - 1, -1, -1):
        found[matches(rules[number].pattern, names)] = number
    return found
