"""What several commands need: settings behind ``--``, the model, the text, warnings on stderr."""

import argparse
import sys
from pathlib import Path
from typing import Any

from ..errors import IkexploreError

DONE, NO, BAD, BROKEN, INTERRUPTED = 0, 1, 2, 3, 130


def settings_of(options: argparse.Namespace) -> Any:
    """Settings from the words behind ``--``; what was not understood and what is remarkable goes to stderr."""
    from ..settings import DEFAULT_PROFILE, Settings

    flags = options.flags[0] if len(options.flags) == 1 else options.flags
    settings = Settings.parse(flags, profile=options.profile or DEFAULT_PROFILE)
    for flag in settings.unknown:
        warn(f"unknown flag {flag} is ignored")
    for note in settings.notes():
        warn(note)
    return settings


def warn(text: str) -> None:
    print(f"ikexplore: warning: {' '.join(text.split())}", file=sys.stderr)


def no_flags(options: argparse.Namespace) -> None:
    if options.flags:
        raise IkexploreError(f"{options.command} takes no flags behind --; leave {options.flags[0]} out")


def model_of(options: argparse.Namespace, settings: Any = None) -> Any:
    """The named model or packaged header, the one of a pasted ``-m``, or the embedded one."""
    from .. import demo

    path = options.model or getattr(settings, "model_path", None)
    if path is None:
        return demo.model()
    if not Path(path).exists() and Path(path).name == path and "." not in path:
        if path not in demo.headers():
            known = ", ".join(demo.headers())
            raise IkexploreError(f"{path}: there is no such file, and the headers that come along are {known}")
        return demo.header(path)
    from ..models.model import Model
    from ..models.model import open as open_model

    if str(path).endswith((".json", ".json.gz")):
        return Model.from_header(path)
    return open_model(path)


def rig_of(options: argparse.Namespace) -> Any:
    """The named rig, or this machine."""
    from ..machine import Machine

    return Machine.load(options.rig) if options.rig else Machine.detect()


def text_of(path: str | None) -> str:
    """What a text file holds; the embedded held-out text for none."""
    if path is None:
        from .. import demo

        return demo.text()
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise IkexploreError(f"{path}: is no readable UTF-8 text ({error})") from None
