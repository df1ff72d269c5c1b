"""Numbers as logs print them: with a decimal point or, under some locales, a decimal comma."""

import re
from typing import Any

#: a number without groups of thousands; the programs never print those
NUM = r"-?\d+(?:[.,]\d+)?(?:[eE][-+]?\d+)?"
_WHOLE = re.compile(r"-?\d{1,18}", re.ASCII)
_REAL = re.compile(r"-?\d{1,30}(?:[.,]\d{1,30})?(?:[eE][-+]?\d{1,3})?", re.ASCII)
_COMMA = re.compile(r"(?<=\d),(?=\d)")
_NONE = frozenset(("nan", "-nan", "inf", "-inf", "-nan(ind)", "nan(ind)", "n/a", "-", ""))


def real(text: str) -> float:
    """A float; a comma is a point. The text has matched ``NUM``."""
    return float(text.replace(",", "."))


def value(text: str) -> Any:
    """An int, a float, or the text itself."""
    if _WHOLE.fullmatch(text):
        return int(text)
    if _REAL.fullmatch(text):
        return real(text)
    return text


def whole(text: str) -> int | None:
    """An int, or None for anything else; "16.384" and "16,384" are not whole numbers here."""
    return int(text) if _WHOLE.fullmatch(text) else None


def cell(text: str) -> float | None:
    """The number of a table cell, or None for nan and the like. Raises ValueError for other text."""
    text = text.strip("* `")
    if _REAL.fullmatch(text):
        return real(text)
    if text.lower() in _NONE:
        return None
    raise ValueError(text)


def pointed(text: str) -> str:
    """Text with decimal points for decimal commas."""
    return _COMMA.sub(".", text)
