"""Text of unknown origin made fit for one line of the panel. The page itself sets it as text, never as markup."""

from __future__ import annotations

import re
import unicodedata

_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|.)?", re.DOTALL)


def clean(value: object, limit: int = 160) -> str:
    """``value`` as one line of at most ``limit`` characters.

    Terminal sequences, control characters and marks that turn the direction of the text are taken out; a longer text
    is cut and ends in an ellipsis.
    """
    text = value if isinstance(value, str) else str(value)
    text = _ANSI.sub("", text[: 8 * limit])
    kept = "".join(" " if c.isspace() else c for c in text if c.isspace() or unicodedata.category(c)[0] != "C")
    kept = " ".join(kept.split())
    return kept if len(kept) <= limit else kept[: limit - 1] + "…"


def one_line(error: BaseException) -> str:
    """What went wrong in one line: the message of an error meant for users, else its kind and message."""
    from ikexplore.errors import IkexploreError

    message = clean(str(error), 300)
    if isinstance(error, (IkexploreError, OSError)) and message:
        return message
    return clean(f"{type(error).__name__}: {message}" if message else type(error).__name__, 300)
