"""The rig in full, to be edited: every device with its figures. Its page side is rig.js."""

from __future__ import annotations

from typing import Any

from . import rigs
from .panel import DETECTING, Panel


def state(panel: Panel) -> dict[str, Any]:
    """The view where it is open: devices with their fields, what was typed wrongly, and what measured runs have shown."""
    if "rig" not in panel.open:
        return {"open": False}
    machine = panel.machine
    rows = rigs.fields(machine)
    for row, device in zip(rows, machine.devices):
        row["sim"], row["host"] = device.simulated, device.kind == "cpu"
        for field in row["fields"]:
            raw, error = panel.drafts.get(f"rig.{row['id']}.{field['key']}", (None, ""))
            field["value"], field["error"] = (field["value"] if raw is None else raw), error
    count, words = (panel.drafts.get(f"rig.{key}", (None, "")) for key in ("count", "words"))
    errors = [told for key, (_, told) in panel.drafts.items() if key.startswith("rig.")]
    learned = machine.learned
    return {
        "open": True, "seq": panel.seq, "devices": rows, "count": len(machine.gpus) if count[0] is None else count[0],
        "words": words[0] or "", "errors": errors[:3], "note": _note(panel),
        "learned": "calibrated by measured runs; an edit forgets that" if learned is not None else "",
        "detecting": panel.doing == DETECTING, "locked": panel.jobs.busy,
    }


def _note(panel: Panel) -> str:
    if panel.machine.simulated:
        return "described, not present: planned and forecast, never timed"
    return "another computer: planned and forecast, never timed" if panel.rigs.described else "this computer"
