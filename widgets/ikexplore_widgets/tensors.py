"""Where each tensor lives and why. Its page side is tensors.js."""

from __future__ import annotations

from typing import Any

from ikexplore.plots.picture import Picture

from .clean import clean


def state(picture: Picture) -> dict[str, Any]:
    """Device and reason per tensor, in file order; reasons are numbered."""
    reasons = list(dict.fromkeys(picture.why))
    number = {reason: i for i, reason in enumerate(reasons)}
    counts = {d.name: 0 for d in picture.devices}
    for at in picture.at:
        if 0 <= at < len(picture.devices):
            counts[picture.devices[at].name] += 1
    return {
        "at": list(picture.at), "why": [number[reason] for reason in picture.why],
        "reasons": [clean(reason, 300) for reason in reasons],
        "repacked": {str(i): name for i, name in picture.repacked.items()},
        "summary": " ".join(f"{name} holds {n}." for name, n in counts.items()),
    }
