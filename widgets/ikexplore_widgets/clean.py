"""Errors and text of unknown origin as one line. The page itself sets them as text, never as markup."""

from __future__ import annotations

from ikexplore.plots.words import clean

__all__ = ["clean", "one_line"]


def one_line(error: BaseException) -> str:
    """What went wrong in one line: the message of an error meant for users, else its kind and message."""
    from ikexplore.errors import IkexploreError

    message = clean(str(error), 300)
    if isinstance(error, (IkexploreError, OSError)) and message:
        return message
    return clean(f"{type(error).__name__}: {message}" if message else type(error).__name__, 300)
