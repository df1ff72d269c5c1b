"""Two settings, models or programs measured in turn: A B B A A B ..., so that what drifts falls on both alike."""

import threading
from collections.abc import Callable, Sequence
from typing import Any

from ..errors import Cancelled, IkexploreError
from ..logs import Comparison, interleave
from ..models import Model
from ..settings import Settings
from .binary import Binary

Heard = Callable[[dict[str, Any]], None]


def in_turn(
    model: Model,
    a: Settings | str | None = None,
    b: Settings | str | None = None,
    repetitions: int = 10,
    *,
    models: tuple[Model, Model] | None = None,
    runners: tuple[Any, Any] | Any = None,
    names: Sequence[str] | None = None,
    cold: bool = False,
    progress: bool = True,
    stop: threading.Event | None = None,
    **options: Any,
) -> Comparison:
    """Measures setting ``b`` against ``a``, ``repetitions`` times each in turn, and gives ``ikx.compare``'s result.

    ``a`` and ``b``: Settings or command lines (default: no flags). ``models``: one for each in place of ``model``.
    ``runners``: a pair, or one for both: None for the engine here, a ``Binary``, or a function like ``ikx.sweep``; two builds
    of a program are compared with ``runners=(Binary(old), Binary(new))``. ``cold``: with a Binary, the model's files leave the
    caches before each run. ``names``: in place of the flags in which the two differ. ``options`` go to ``ikx.compare``.
    ``progress`` draws a bar.
    Raises IkexploreError for bad input or a run that failed, Cancelled when ``stop`` is set.
    """
    settings = [text if isinstance(text, Settings) else Settings.parse(text or "") for text in (a, b)]
    pair = runners if isinstance(runners, tuple) else (runners, runners)
    if len(pair) != 2 or (models is not None and len(models) != 2):
        raise IkexploreError("runners and models are pairs: one for a and one for b")
    if cold and not all(isinstance(runner, Binary) for runner in pair):
        raise IkexploreError("cold needs a Binary for both: the engine here keeps the model mapped between runs")
    chosen = models or (model, model)
    labels = list(names) if names is not None else _names(settings, pair)
    bar = _bar(progress, 2 * repetitions)
    runs = [_runner(m, s, r, name, cold, stop, bar) for m, s, r, name in zip(chosen, settings, pair, labels)]
    try:
        return interleave(runs[0], runs[1], repetitions, names=labels, **options)
    finally:
        if bar is not None:
            bar.close()


def _runner(model: Model, settings: Settings, runner: Any, name: str, cold: bool, stop: Any, bar: Any) -> Callable[[], Any]:
    def once() -> Any:
        common = {"progress": False, "stop": stop}
        result: Any
        if isinstance(runner, Binary):
            result = runner.sweep(model, settings, cold=cold, **common)
        elif runner is not None:
            result = runner(model, settings, **common)
        else:
            from ..run import sweep

            result = sweep(model, settings, **common)
        if result.stopped:
            if stop is None or not stop.is_set():
                raise KeyboardInterrupt
            raise Cancelled("stopped")
        if getattr(result, "ok", True) is False or not result.rows:
            raise IkexploreError(f"{name}: {getattr(result, 'sentence', '') or 'no row was measured'}")
        if bar is not None:
            bar.set_postfix_str(name[:40])
            bar.update(1)
        return result

    return once


def _names(settings: list[Settings], runners: tuple[Any, Any]) -> list[str]:
    """The flags in which the two differ, or their programs."""
    words = [s.command().split(" -") for s in settings]
    groups = [[w if w.startswith("-") or not w else f"-{w}" for w in found] for found in words]
    alone = [" ".join(w for w in mine if w not in other) for mine, other in (groups, groups[::-1])]
    if any(alone):
        return [text or "without" for text in alone]
    names = [str(r.program.version) if isinstance(r, Binary) else "" for r in runners]
    return names if names[0] != names[1] and all(names) else ["a", "b"]


def _bar(progress: bool, total: int) -> Any:
    if not progress:
        return None
    from tqdm.auto import tqdm

    return tqdm(total=total, unit=" runs", desc="in turn", leave=False)
