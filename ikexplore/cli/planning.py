"""Commands that run no model: plan, forecast, tune, detect."""

import argparse
import sys
from typing import Any

from ..errors import IkexploreError
from .shared import DONE, INTERRUPTED, NO, model_of, no_flags, rig_of, settings_of, warn


def plan(options: argparse.Namespace) -> int:
    """The log of a load, a table of devices, findings."""
    made = _planned(options)
    print(made.log())
    print("\n".join(["", *_device_table(made.devices), *_findings(made.findings)]))
    return DONE if made.fits else NO


def _planned(options: argparse.Namespace) -> Any:
    from .. import schedule

    settings, rig = settings_of(options), rig_of(options)
    return schedule.plan(model_of(options, settings), settings, rig)


def _device_table(devices: Any) -> list[str]:
    """MiB per device against its capacity; what is simulated says so."""
    lines = [f"{'device':24}{'model':>12}{'KV':>10}{'output':>10}{'compute':>10}{'total':>12}{'capacity':>12}"]
    for d in devices:
        name = f"{d.name} (simulated)" if d.simulated else d.name
        parts = f"{d.model_mib:12.2f}{d.kv_mib:10.2f}{d.output_mib:10.2f}{d.compute_mib:10.2f}{d.total_mib:12.2f}"
        capacity = "not known" if d.capacity_mib is None else f"{d.capacity_mib:.0f}"
        over = f"  over by {d.over_mib:.0f} MiB" if d.over_mib else ""
        lines.append(f"{name:24}{parts}{capacity:>12}{over}")
    return lines


def _findings(findings: Any) -> list[str]:
    """A line a finding, its mended flag behind it."""
    return [f"{f.level}: {f.text}" + (f"  Try: {f.fix}" if f.fix else "") for f in findings]


def forecast(options: argparse.Namespace) -> int:
    """Rates against context in their band."""
    made = _planned(options)
    found = made.forecast()
    print(f"Forecast, not measured: {made.model.name} on {made.machine.name or 'this machine'}\n\n{found.to_markdown()}")
    if options.where is not None:
        print(f"\n{found.where(options.where).to_markdown()}")
    if not made.fits:
        warn("it does not fit; ikexplore plan says what is too large")
    return DONE if made.fits else NO


def tune(options: argparse.Namespace) -> int:
    """A table, then a line to paste for each candidate; what is short, and ways out, where nothing fits."""
    from .. import tune as tuner
    from ..settings import DEFAULT_PROFILE

    no_flags(options)
    model = model_of(options)
    rig = rig_of(options)
    profile, runner = options.profile or DEFAULT_PROFILE, None
    if options.binary:
        from ..runs import Binary

        runner = Binary(options.binary, profile=options.profile)
    goal = options.goal if options.goal in (None, "pp", "tg") else options.goal.split(",")
    try:
        found = tuner.tune(
            model, rig, options.ctx, goal, limits(options.limit), options.time_limit, profile=profile,
            measure=options.measure, runner=runner, progress=sys.stderr.isatty(),
        )  # fmt: skip
    except tuner.NoFit as no:
        print(str(no).partition(" Ways out:")[0])
        for way in no.ways:
            print(f"  {way.text}" + (f":  {way.settings.command()}" if way.settings else ""))
        return NO
    simulated = "; simulated GPUs" if rig.simulated else ""
    print(f"Forecast, not measured, at {options.ctx} tokens{simulated}: {found.planned} plans in {found.seconds:.0f} s\n")
    print(found.to_text())
    if found.stopped:
        print("ikexplore: stopped; this is the best so far", file=sys.stderr)
        return INTERRUPTED
    return DONE


def limits(texts: list[str]) -> dict[str, Any]:
    """NAME=VALUE each; several values of a switch are separated by commas. Raises IkexploreError."""
    found: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name or not value:
            raise IkexploreError(f"--limit {text!r}: write NAME=VALUE, as in CUDA0=20000 or rtr=false")
        words = [_word(word) for word in value.split(",")]
        found[name] = words if len(words) > 1 else words[0]
    return found


def _word(word: str) -> Any:
    known = {"true": True, "false": False}
    if word.lower() in known:
        return known[word.lower()]
    try:
        return int(word) if word.lstrip("-").isdigit() else float(word)
    except ValueError:
        return word


def detect(options: argparse.Namespace) -> int:
    """This machine, measured where asked, saved where asked."""
    from ..machine import Machine
    from ..runs import caches

    no_flags(options)
    machine = Machine.detect()
    print(machine)

    print("; ".join(f"{name} {value}" for name, value in caches.numa().items()))
    if options.measure is not None:
        options.model = options.measure or None
        found = machine.probe(model_of(options) if options.model else None, progress=sys.stderr.isatty())
        print(f"\n{found.to_markdown()}")
        machine = found.machine
    if options.save:
        machine.save(options.save)
        print(f"written to {options.save}")
    return DONE
