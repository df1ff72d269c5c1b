"""What is worth knowing about the plan, in one sentence each. Its page side is findings.js."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .clean import clean
from .headline import grouped, left
from .panel import Panel

NOTE, WARNING, ERROR = 0, 1, 2
_LEVELS = {"note": NOTE, "warning": WARNING, "error": ERROR}


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


def act(panel: Panel, text: str) -> None:
    """Carry out the action of the finding that reads ``text``, wherever it stands by now; nothing if it is gone."""
    apply = next((item.apply for item in items(panel) if item.text == text), None)
    if apply is not None:
        apply()


def _memory(panel: Panel) -> list[Item]:
    return [Item(ERROR, f"{d.name} needs {grouped(d.total)} MiB and has {grouped(d.capacity)}: "
                        f"over by {grouped(-left(d))} MiB.")
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
    """What the plan itself finds, less what is said above with an action: sizes and -ot rules."""
    out = []
    for finding in getattr(panel.plan, "findings", None) or ():
        level, text = _LEVELS.get(finding.level, NOTE), clean(finding.text, 400)
        if text.startswith("-ot ") or (level == ERROR and "does not fit" in text):
            continue
        if text.startswith("-rtr ") and panel.base.rtr:
            out.append(Item(level, text, "turn -rtr off", lambda: panel.change({"rtr": False})))
        else:
            out.append(Item(level, text))
    return out
