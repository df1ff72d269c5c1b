"""Text of unknown origin (a model's metadata, a pasted line) made fit for one line of a picture or of the panel."""

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
