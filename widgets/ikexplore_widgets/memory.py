"""What each device holds against what it has. Its page side is memory.js."""

from __future__ import annotations

from typing import Any

from ikexplore.plots.picture import Picture


def state(picture: Picture, seq: int) -> dict[str, Any]:
    """Devices with model, KV and compute in MiB; ``seq`` tells one plan from the next."""
    return {"seq": seq, "devices": devices(picture)}


def devices(picture: Picture) -> list[dict[str, Any]]:
    """One entry per device, the CPU last."""
    return [{"name": d.name, "host": d.host, "sim": d.simulated, "cap": d.capacity, "model": round(d.model, 3),
             "kv": round(d.kv, 3), "compute": round(d.compute, 3)} for d in picture.devices]
