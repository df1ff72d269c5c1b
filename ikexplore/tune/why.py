"""Two sentences for a choice: what is where and what the time goes to; and what the next best change would give."""

from collections.abc import Sequence

from ..schedule.plan import Plan
from .found import Found

_DIFFERENT = 0.02  #: a change that moves a rate by less is not worth telling


def why(chosen: Found, others: Sequence[Found], made: Plan) -> str:
    """Reasons from the chosen setting's forecast and from the others that were tried."""
    return f"{_where(chosen, made)} {_instead(chosen, others)}"


def _where(f: Found, made: Plan) -> str:
    p, name = made.placement, "expert" if made.model.hparams.is_moe else "feed-forward"
    spent = made.forecast(0).where(0)["tg"]
    cause, seconds = next(iter(spent.items()))
    share = f"{cause} take {100 * seconds / sum(spent.values()):.0f} % of a token's time"
    if not p.gpus:
        return f"All is in RAM on {made.settings.n_threads or 'all'} threads; {share}."
    layers = p.deal.n_gpu_layers
    total, on_gpu = made.model.hparams.n_layer, sum(device != "CPU" for _, pair in f.moved for device in pair)
    if not f.moved:
        return f"{min(layers, total)} of {total} layers are on the GPUs; {share}."
    if on_gpu == 2 * len(f.moved) and layers > total:
        return f"All layers fit on the GPUs; {share}."
    if not on_gpu:
        return f"{min(layers, total)} of {total} layers are on the GPUs, but their {name} tensors stay in RAM; {share}."
    held = f"{name} tensors of {_layers(on_gpu)} of {len(f.moved)} layers"
    if layers <= total:
        held += f" and the rest of {layers} of {total} layers"
    return f"The GPUs hold {held}, as much as fits beside attention and cache; {share}."


def _layers(pieces: int) -> str:
    return f"{pieces // 2}" + (" and a half" if pieces % 2 else "")


def _instead(f: Found, others: Sequence[Found]) -> str:
    """The best setting that differs in a switch that matters most, and what it would change."""
    told = []
    for field, word in _SWITCHES.items():
        value = getattr(f.settings, field)
        rest = [o for o in others if getattr(o.settings, field) != value and _alike(f, o, field)]
        if not rest:
            continue
        best = max(rest, key=lambda o: min(o.pp / f.pp, 1.0) * min(o.tg / f.tg, 1.0) * 1e3 + o.pp / f.pp + o.tg / f.tg)
        pp, tg = best.pp / f.pp - 1, best.tg / f.tg - 1
        if max(abs(pp), abs(tg)) >= _DIFFERENT:
            told.append((-max(abs(pp), abs(tg)), f"{word(getattr(best.settings, field))} PP {pp:+.0%}, TG {tg:+.0%}"))
    if not told:
        return "No single switch that was tried changes a rate by more than 2 %."
    return f"By forecast {' and '.join(text for _, text in sorted(told)[:2])} instead."


def _alike(f: Found, o: Found, field: str) -> bool:
    """Whether nothing else that matters differs."""
    return all(getattr(f.settings, other) == getattr(o.settings, other) for other in _SWITCHES if other != field)


_SWITCHES = {
    "rtr": lambda v: "-rtr would give" if v else "no -rtr would give",
    "n_ubatch": lambda v: f"-ub {v} would give",
    "offload_policy": lambda v: "-op (the CPU keeps large batches) would give" if v else "no -op would give",
    "cache_type_k": lambda v: f"-ctk {v} would give",
    "use_mmap": lambda v: "mmap would give" if v else "--no-mmap would give",
}  # fmt: skip
