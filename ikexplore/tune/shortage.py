"""What is short where nothing fits, and the cheapest ways out, each checked by an exact plan."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..errors import IkexploreError
from ..schedule.plan import Plan
from ..settings import Settings
from .found import Rates
from .mapped import mapped
from .request import Request
from .search import Search
from .spread import lack, least

#: contexts below this are no way out
LEAST_CTX = 512
#: types to which a file may be made smaller, most bits first
SMALLER = ("q8_0", "q6_k", "iq5_ks", "iq4_xs", "iq4_ks", "iq3_k", "iq3_s", "iq2_k", "iq2_ks", "iq1_s")


@dataclass(frozen=True)
class Way:
    """A change after which it fits: what it is in words, and the settings (None where the machine or the file changes).

    ``from_disk_mib``: weights that RAM lacks and that are read from disk while it runs, which is slow; 0 where all is in
    memory. ``rates`` are the forecast of such a run.
    """

    text: str
    settings: Settings | None = None
    from_disk_mib: float = 0.0
    rates: Rates | None = None


class NoFit(IkexploreError):
    """Nothing fits, or nothing is as fast as was asked for. The message says it in a line.

    ``short``: device -> MiB that it lacks with the settings that need least; ``ways`` out, cheapest first, each planned
    exactly (a last one may leave weights on disk: ``from_disk_mib``); ``plan``: the plan that comes nearest, or None.
    """

    def __init__(self, text: str, short: dict[str, float], ways: tuple[Way, ...], made: Plan | None = None):
        super().__init__(text)
        self.short, self.ways, self.plan = short, ways, made


def shortage(search: Search) -> NoFit:
    """Why a search found nothing."""
    asked = search.asked
    if search.found:
        return _slow(search)
    made = min((least(asked, p.settings) for p in search.tight), key=lack, default=None)
    if made is None:
        return NoFit("no setting within the limits is one that this model and machine take; loosen the limits", {}, ())
    short = {d.name: d.over_mib for d in made.devices if d.over_mib}
    ways = (*ways_out(asked, made), *_from_disk(asked, short))
    total = sum(short.values())
    words = ", ".join(f"{name} lacks {mib:,.0f} MiB" for name, mib in short.items()) or f"{total:,.0f} MiB are lacking"
    out = "; or ".join(w.text for w in ways) if ways else "no single change is enough: use a smaller model or more memory"
    text = f"{asked.model.name} with {asked.ctx} tokens does not fit: {words} at best. Ways out: {out}"
    return NoFit(text, short, ways, made)


def _slow(search: Search) -> NoFit:
    """Something fits, but is slower than asked."""
    pp, tg = max(f.pp for f in search.found), max(f.tg for f in search.found)
    least_pp, least_tg = search.asked.least
    text = (f"nothing reaches PP {least_pp:g} and TG {least_tg:g} t/s together by forecast; the highest that fit are PP "
            f"{pp:.4g} and TG {tg:.4g} t/s: lower the limits, the context, or use a smaller quant type")  # fmt: skip
    return NoFit(text, {}, ())


def ways_out(asked: Request, made: Plan) -> tuple[Way, ...]:
    """Single changes that make it fit, those that cost least first: batch, cache type, context, layers, file."""
    base = made.settings.replace(overrides=None)
    found = [_batch(asked, base), _cache(asked, base), _layers(asked, base), _context(asked, base), _file(asked, base)]
    return tuple(way for way in found if way is not None)


def _from_disk(asked: Request, short: dict[str, float]) -> tuple[Way, ...]:
    """The mapped run that people make of a model larger than RAM."""
    run = mapped(asked, short)
    if run is None:
        return ()
    found, lacking = run
    text = (f"as it is, but slow: mapped, with {lacking / 1024:,.1f} GiB of weights that RAM lacks read from disk again "
            f"and again (forecast PP {found.pp:.3g}, TG {found.tg:.3g} t/s)")  # fmt: skip
    return (Way(text, found.settings, lacking, found.rates),)


def _try(asked: Request, settings: Settings) -> Settings | None:
    """The settings with placement rules, if they fit."""
    try:
        made = least(asked, settings)
    except IkexploreError:
        return None
    return made.settings if made.fits else None


def _batch(asked: Request, base: Settings) -> Way | None:
    for ub in (256, 128, 64, 32):
        if ub < base.n_ubatch and ub not in asked.values("n_ubatch", ()):
            found = _try(asked, base.replace(n_ubatch=ub))
            if found is not None:
                return Way(f"-ub {ub}", found)
    return None


def _cache(asked: Request, base: Settings) -> Way | None:
    mla = asked.model.hparams.is_mla
    for kind in ("q8_0", "q6_0", "q4_0"):
        if kind != base.cache_type_k:
            found = _try(asked, base.replace(cache_type_k=kind, cache_type_v=None if mla else kind))
            if found is not None:
                return Way(f"-ctk {kind}" + ("" if mla else f" -ctv {kind}"), found)
    return None


def _layers(asked: Request, base: Settings) -> Way | None:
    """More layers in RAM, where the limits hold -ngl."""
    if not asked.machine.gpus or "n_gpu_layers" not in asked.allowed:
        return None
    n = _largest(lambda ngl: _try(asked, base.replace(n_gpu_layers=ngl)), 0, asked.model.hparams.n_layer, 1)
    return None if n is None else Way(f"-ngl {n[0]} (more layers in RAM)", n[1])


def _context(asked: Request, base: Settings) -> Way | None:
    n = _largest(lambda ctx: _try(asked, _shorter(base, ctx)), LEAST_CTX, asked.ctx - 1, 256)
    return None if n is None else Way(f"-c {n[0]}", n[1])


def _shorter(base: Settings, ctx: int) -> Settings:
    return base.replace(n_ctx=ctx)


def _largest(fits: Callable[[int], Any], low: int, high: int, step: int) -> tuple[int, Any] | None:
    """The largest multiple of ``step`` in [low, high] for which ``fits`` gives something, and that."""
    low, high, best = -(-low // step), high // step, None
    while low <= high:
        middle = (low + high) // 2
        found = fits(middle * step)
        if found is not None:
            best, low = (middle * step, found), middle + 1
        else:
            high = middle - 1
    return best


def _file(asked: Request, base: Settings) -> Way | None:
    """The type with the most bits per weight in which the model would fit."""
    from dataclasses import replace

    from .recipes import in_type

    now = sum(t.nbytes for t in asked.model.tensors.values())
    for kind in SMALLER:
        smaller = in_type(asked.model, kind)
        size = sum(t.nbytes for t in smaller.tensors.values())
        if size < now * 0.97 and _try(replace(asked, model=smaller), base) is not None:
            return Way(f"a file in {kind} ({size / 2**30:.1f} in place of {now / 2**30:.1f} GiB)")
    return None
