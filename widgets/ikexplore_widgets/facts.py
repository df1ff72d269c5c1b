"""The model as its header tells it: facts, hyper-parameters, types by role, metadata. Its page side is facts.js."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from itertools import islice
from math import prod
from typing import Any

from ikexplore.plots.picture import MIB

from .clean import clean
from .models import main_type
from .panel import Panel

_KEYS = 400  # metadata entries that are shown
_SKIP = {"arch"}


def state(panel: Panel) -> dict[str, Any]:
    """The view where it is open; made anew for another model only."""
    name = f"{panel.model_id} {panel.quant}"
    return {"open": True, "id": name, **_made(panel)} if "facts" in panel.open else {"open": False, "id": name}


def _made(panel: Panel) -> dict[str, Any]:
    if panel.facts is None or panel.facts[0] is not panel.model:
        panel.facts = (panel.model, {"facts": facts(panel.model), "hparams": hparams(panel.model.hparams),
                                     "roles": roles(panel.grid),
                                     "metadata": metadata(panel.model.metadata, panel.model.arch)})
    return panel.facts[1]


def facts(model: Any) -> list[tuple[str, str]]:
    """What the file is: architecture, type, numbers of weights and tensors, sizes, where it is."""
    tensors = list(model.tensors.values())
    weights, size = sum(prod(t.shape) for t in tensors), sum(t.nbytes for t in tensors)
    path = getattr(model, "path", None)
    found = [
        ("Architecture", clean(model.arch, 60)), ("Main type", clean(main_type(model).upper(), 40)),
        ("Parameters", _count(weights)), ("Tensors", f"{len(tensors)}"), ("Size", amount(size)),
        ("Bits per weight", f"{size * 8 / max(1, weights):.3f}"),
        ("File", clean(path.name, 120) if path is not None else "in memory"),
        ("Weights", "at hand" if model.has_weights else "none, a header only"),
    ]
    parts = getattr(model, "files", ()) or ()
    return [*found, *([("Parts", str(len(parts)))] if len(parts) > 1 else [])]


def hparams(given: Any) -> list[tuple[str, str]]:
    """Hyper-parameters that are set, under the names of the code."""
    values: Mapping[str, Any] = asdict(given) if is_dataclass(given) and not isinstance(given, type) else vars(given)
    return [(clean(k, 40), shown(v)) for k, v in values.items() if k not in _SKIP and v not in (None, "", 0, False)]


def roles(grid: Any) -> list[dict[str, Any]]:
    """Per role (and per tensor outside the layers): types, number of tensors, MiB, bits per weight, share of all bytes."""
    found: dict[str, list[int]] = {}
    for i, role in enumerate(grid.role):
        found.setdefault(clean(grid.roles[role] if role >= 0 else grid.names[i].removesuffix(".weight"), 40), []).append(i)
    total = max(1, sum(grid.nbytes))
    order = sorted(found.items(), key=lambda item: grid.role[item[1][0]] if grid.role[item[1][0]] >= 0 else -1)
    out = []
    for name, rows in order:
        size, types = sum(grid.nbytes[i] for i in rows), dict[str, int]()
        for i in rows:
            types[grid.types[i]] = types.get(grid.types[i], 0) + 1
        kinds = sorted(types.items(), key=lambda kind: -kind[1])
        words = kinds[0][0] if len(kinds) == 1 else ", ".join(f"{k} × {n}" for k, n in kinds[:3]) + (" …" if kinds[3:] else "")
        bits = size * 8 / max(1, sum(prod(grid.shapes[i]) for i in rows))
        out.append({"role": name, "types": clean(words, 60), "n": len(rows), "mib": round(size / MIB, 3), "bpw": round(bits, 3),
                    "share": round(size / total, 4)})
    return out


def metadata(given: Mapping[str, Any], arch: str) -> list[tuple[str, str]]:
    """Keys (without the architecture's name) and values as one line of text each; arrays by their length and beginning."""
    return [(clean(str(key).removeprefix(f"{arch}."), 80), shown(value)) for key, value in list(given.items())[:_KEYS]]


def shown(value: Any) -> str:
    """A value as one line of at most 120 characters; nothing long is turned into text first."""
    if isinstance(value, (str, bool, int, float)):
        return clean(f"{value:g}" if isinstance(value, float) else value, 120)
    try:
        length = len(value)
    except TypeError:
        return clean(value, 120)
    if isinstance(value, Mapping):
        return f"{length} entries"
    first = [clean(item, 24) for item in islice(value, 3)]
    return f"{length} values: {', '.join(first)}{' …' if length > 3 else ''}"


def amount(nbytes: float) -> str:
    """Bytes in GiB or MiB."""
    return f"{nbytes / MIB / 1024:.2f} GiB" if nbytes >= 1 << 30 else f"{nbytes / MIB:.2f} MiB"


def _count(n: int) -> str:
    for scale, unit in ((10**9, "billion"), (10**6, "million")):
        if n >= scale:
            return f"{n / scale:.4g} {unit}"
    return str(n)
