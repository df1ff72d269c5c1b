"""The graph as it is cut into splits. Its page side is splits.js."""

from __future__ import annotations

from typing import Any

from ikexplore.plots.picture import Lanes, Picture

from .clean import clean


def state(picture: Picture) -> dict[str, Any]:
    """Columns of both graphs: a prompt pass and one generated token."""
    return {"pp": columns(picture.pp), "tg": columns(picture.tg)}


def columns(lanes: Lanes) -> dict[str, Any]:
    """Lane, begin on the layer axis, first node and what is copied in, per split; ``a`` also has the end."""
    return {"d": list(lanes.device), "a": [round(x, 3) for x in lanes.start], "n": list(lanes.nodes),
            "nin": list(lanes.n_inputs), "bytes": list(lanes.input_bytes), "nw": list(lanes.n_weights),
            "wbytes": list(lanes.weight_bytes), "name": [clean(name, 60) for name in lanes.first]}
