"""``ikexplore tune``: a table, then a line to paste for each candidate; what is short, and ways out, where nothing fits."""

import sys
from typing import Any

from ..errors import IkexploreError
from ..machine import Machine
from ..models.model import Model
from ..settings import DEFAULT_PROFILE
from .shortage import NoFit
from .tune import tune

DONE, NO, INTERRUPTED = 0, 1, 130


def command(options: Any, model: Model) -> int:
    """Runs the command; gives its exit code."""
    rig = Machine.load(options.rig) if options.rig else Machine.detect()
    profile, runner = options.profile or DEFAULT_PROFILE, None
    if options.binary:
        from ..runs import Binary

        runner = Binary(options.binary, profile=options.profile)
    goal = options.goal if options.goal in (None, "pp", "tg") else options.goal.split(",")
    try:
        found = tune(
            model, rig, options.ctx, goal, limits(options.limit), options.time_limit, profile=profile,
            measure=options.measure, runner=runner, progress=sys.stderr.isatty(),
        )  # fmt: skip
    except NoFit as no:
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
