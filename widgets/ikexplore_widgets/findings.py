"""What is worth knowing about the plan, in one sentence each. Its page side is findings.js."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .clean import clean
from .headline import grouped, left
from .panel import Panel

NOTE, WARNING, ERROR = 0, 1, 2


@dataclass(frozen=True)
class Item:
    """One finding; ``apply`` is what its action does to the panel."""

    level: int
    text: str
    action: str = ""
    apply: Callable[[], None] | None = None


def items(panel: Panel) -> list[Item]:
    """Errors, warnings, notes, in that order."""
    found = [*_memory(panel), *_rules(panel), *_plan(panel)]
    return sorted(found, key=lambda item: -item.level)


def state(panel: Panel) -> dict[str, Any]:
    """The findings as the page shows them."""
    return {"items": [{"level": i.level, "text": i.text, "action": i.action} for i in items(panel)]}


def act(panel: Panel, index: int, text: str) -> None:
    """Carry out the action of a finding; ``text`` makes sure that it is still the one that was shown."""
    found = items(panel)
    if 0 <= index < len(found) and found[index].text == text and found[index].apply is not None:
        found[index].apply()


def _memory(panel: Panel) -> list[Item]:
    return [Item(ERROR, f"{d.name} needs {grouped(d.total)} MiB and has {grouped(d.capacity)}: over by {grouped(-left(d))} MiB.")
            for d in panel.picture.devices if d.capacity is not None and left(d) < 0]


def _rules(panel: Panel) -> list[Item]:
    def remove(text: str) -> Callable[[], None]:
        def done() -> None:
            with panel.lock:
                if text in panel.texts:
                    panel.texts.remove(text)
            panel.changed()
        return done

    return [Item(ERROR if rule.error else WARNING, f"-ot rule {n}: {rule.error or rule.note}.", "remove", remove(rule.text))
            for n, rule in enumerate(panel.rules, 1) if rule.bad]


def _plan(panel: Panel) -> list[Item]:
    out = []
    for finding in getattr(panel.plan, "findings", None) or ():
        level, text = _read(finding)
        if not any(word in text for word in ("over by", "does not fit")) or level != ERROR:
            out.append(Item(level, clean(text, 400)))
    return out


def _read(finding: Any) -> tuple[int, str]:
    """Level and sentence of a plan's finding, which may be a plain sentence."""
    if isinstance(finding, str):
        return NOTE, finding
    get = finding.get if isinstance(finding, dict) else lambda name, default=None: getattr(finding, name, default)
    level = str(get("level") or get("severity") or "note").lower()
    return {"error": ERROR, "warning": WARNING, "warn": WARNING}.get(level, NOTE), str(get("text") or get("message") or finding)
