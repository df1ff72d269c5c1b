"""The command line that matches the switches. Its page side is command.js."""

from __future__ import annotations

from typing import Any

from .panel import Panel
from .runs import flags


def state(panel: Panel) -> dict[str, Any]:
    """The line as flags with their values; joined by spaces they are ``settings.command()``."""
    pin = panel.pinned
    old: list[str] = []
    if pin is not None:
        pairs = tuple(pair for rule in _pinned_rules(panel) for pair in rule.pairs)
        old = flags(pin.settings.replace(overrides=pairs or None).command())
    tokens: list[dict[str, Any]] = []
    for text in flags(panel.settings.command()):
        token: dict[str, Any] = {"text": text, "changed": pin is not None and text not in old}
        if text.startswith("-ot "):
            token["flag"] = "-ot"
        tokens.append(token)
    return {"tokens": tokens}


def _pinned_rules(panel: Panel) -> list[Any]:
    from .rules import read_rules

    pin = panel.pinned
    if pin is None or pin.model_id != panel.model_id:
        return []
    return read_rules(pin.texts, panel.matcher, [d.name for d in pin.picture.devices], pin.settings.profile)
