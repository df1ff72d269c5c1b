"""What a model is called and made of, in the panel's words."""

from __future__ import annotations

from typing import Any

from .clean import clean


def model_title(model: Any) -> str:
    """What a model calls itself, else its file, else its architecture."""
    name = model.metadata.get("general.name") if hasattr(model.metadata, "get") else None
    if isinstance(name, str) and clean(name):
        return clean(name)
    return clean(model.path.stem) if getattr(model, "path", None) else clean(model.arch)


def main_type(model: Any) -> str:
    """The type that holds most bytes."""
    sums: dict[str, int] = {}
    for tensor in model.tensors.values():
        sums[tensor.type] = sums.get(tensor.type, 0) + tensor.nbytes
    return max(sums, key=lambda name: sums[name], default="")
