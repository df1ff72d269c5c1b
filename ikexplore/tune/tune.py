"""``tune``: the settings with which a model should run best on a machine, by forecast, within memory."""

import time
from collections.abc import Mapping
from typing import Any

from ..errors import IkexploreError
from ..machine import Machine
from ..models.model import Model
from ..schedule import plan
from ..settings.declare import DEFAULT_PROFILE, PROFILES
from .candidate import Candidate, Front
from .found import Found, thinned
from .request import Request, request
from .search import Search
from .shortage import shortage
from .why import why

MOST = 8  #: candidates that are shown


def tune(
    model: Model,
    rig: Machine | None = None,
    ctx: int = 8192,
    goal: Any = None,
    limits: Mapping[str, Any] | None = None,
    time_limit: float = 20.0,
    *,
    profile: str = DEFAULT_PROFILE,
    measure: int = 0,
    runner: Any = None,
    spare_mib: float = 256,
    progress: bool = True,
) -> Front:
    """Candidates of which none beats another in both prompt and generation speed, best by ``goal`` first.

    model: a header will do; rig: a Machine (default: the present one); ctx: tokens that the context must hold; profile: of the
    engine that the commands are for; ``progress`` draws a bar.

    goal: "pp", "tg", or tokens of a typical request as {"pp": 4000, "tg": 500}; None: four tokens of prompt to one generated.
    limits: values that switches may have ({"rtr": False, "cache_type_k": ["f16", "q8_0"]}), MiB that devices may hold
    ({"CUDA0": 20000, "CPU": 96000}), least rates ({"tg": 10}), or ``size_gib``: the file's size, whose quant types are then
    chosen too. time_limit: seconds; the best so far then (or on Ctrl-C) is given. spare_mib: left free on each GPU, for what
    CUDA itself needs. measure: how many of the first are run for real, on ``runner`` (a function like ``ikx.sweep``, or a
    ``Binary``; by default the engine here, which has no GPU), after which the order is that of rates corrected by them.
    Every candidate's exact plan fits. Raises NoFit, which says what is short and what would help, where nothing does;
    IkexploreError for input that makes no sense.

    >>> import ikexplore as ikx
    >>> model, rig = ikx.demo.header("qwen3-235b-a22b-iq4_xs"), ikx.Machine.load("tr7965wx-a6000")
    >>> front = ikx.tune(model, rig, ctx=8192, time_limit=2, progress=False)
    >>> all(c.plan.fits for c in front)
    True
    """
    started = time.monotonic()
    if profile not in PROFILES:
        raise IkexploreError(f"profile {profile!r} is not known; use one of {', '.join(PROFILES)}")
    if isinstance(time_limit, bool) or not isinstance(time_limit, (int, float)) or not time_limit > 0:
        raise IkexploreError(f"time_limit {time_limit!r}: give seconds above 0")
    asked = request(model, rig or Machine.detect(), ctx, goal, limits, profile, spare_mib)
    recipe = None
    if asked.size_gib is not None:
        from .recipes import retyped

        asked, recipe = retyped(asked)
    search, stopped = _searched(asked, float(time_limit), progress)
    best = thinned(search.best(), MOST)
    if not best:
        if stopped:
            raise KeyboardInterrupt
        raise shortage(search)
    made = Front(
        (_candidate(asked, f, search.found, recipe) for f in best),
        tried=len(search.tried), planned=search.planned, stopped=stopped, complete=search.complete, rig=asked.machine,
    )  # fmt: skip
    if measure and not stopped:
        from .measure import measured

        made = measured(made, asked, measure, runner, progress)
    made.seconds = time.monotonic() - started
    return made


def _searched(asked: Request, seconds: float, progress: bool) -> tuple[Search, bool]:
    """The search as far as it came, and whether it was stopped by Ctrl-C."""
    bar = _Bar(seconds) if progress else None
    search = Search(asked, seconds)
    if bar is not None:
        search.tell = lambda text: bar.tell(search, text)
    try:
        search.run()
    except KeyboardInterrupt:
        return search, True
    finally:
        if bar is not None:
            bar.close()
    return search, False


def _candidate(asked: Request, f: Found, others: list[Found], recipe: Any) -> Candidate:
    made = plan(asked.model, f.settings, asked.machine)
    extra = {"recipe": recipe.recipe, "quantize": recipe.command} if recipe is not None else {}
    found = Candidate(f.settings, asked.model, asked.machine, f.rates, why(f, others, made), **extra)
    found.plan = made
    return found


class _Bar:
    """Seconds of the time limit, what is tried, and the best so far."""

    def __init__(self, seconds: float):
        from tqdm.auto import tqdm

        self.bar = tqdm(total=round(seconds, 1), bar_format="{desc} {n:.0f}/{total:.0f} s |{bar:20}| {postfix}", leave=False)
        self.seconds = seconds

    def tell(self, search: Search, text: str) -> None:
        self.bar.n = min(self.seconds, max(0.0, self.seconds - search.left))
        best = search.best()[:1]
        said = f"PP {best[0].pp:.0f} TG {best[0].tg:.1f} t/s" if best else "none fits yet"
        self.bar.set_description_str(f"{len(search.tried)} settings", refresh=False)
        self.bar.set_postfix_str(f"best by forecast: {said}; now {text[:60]}", refresh=True)

    def close(self) -> None:
        self.bar.close()
