"""Experts that stay in host memory: --n-cpu-moe, and what --fit chooses (August 2026)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import SettingsError
from ..models.columns import Columns
from .layers import HOST, Slots
from .rules import Rule
from .sizes import LayerSizes

_EXPERTS = r"\.ffn_(up|down|gate|gate_up)_exps\.(weight|scale)"
_MIB = 2**20


def _rule(il: int, flag: str) -> Rule:
    return Rule(rf"blk\.{il}{_EXPERTS}", "CPU", flag)


def n_cpu_moe_rules(
    cols: Columns, count: int, default: Sequence[int], n_gpu: int, n_run: int, graph: bool = False
) -> list[Rule]:
    """Rules of --n-cpu-moe: the last layers that have experts; with several GPUs (but -sm graph) each gives up its own.

    n_run: layers that run; with several GPUs the engine counts the others too.
    """
    n = cols.n_layer
    if count >= n or n_gpu < 2 or graph:
        has = cols.rows("blk.{il}.ffn_down_exps.weight")[:-1] >= 0
        return [_rule(il, "--n-cpu-moe") for il in reversed(range(n_run)) if has[il]][:count]
    left = shared_out([list(default[:n]).count(gpu) for gpu in range(n_gpu)], count, n)
    rules = []
    for il in reversed(range(n)):
        if left[default[il]] > 0:
            left[default[il]] -= 1
            rules.append(_rule(il, "--n-cpu-moe"))
    return rules


def shared_out(counts: Sequence[int], wanted: int, n_layer: int) -> list[int]:
    """How many of its layers each GPU gives up, in proportion to how many it has; float32 as in the reference."""
    one, n = np.float32(1), np.float32(n_layer)
    parts = [np.float32(one * c / n) for c in counts]
    # std::roundf rounds halves away from zero
    given = [int(float(p * np.float32(wanted)) + 0.5) for p in parts]
    want = [np.float32(np.float32(one * c * np.float32(wanted)) / n) for c in counts]
    while sum(given) > wanted:
        errors = [np.float32(g - 1 - w) if g else None for g, w in zip(given, want)]
        best = _first_best(errors, lambda a, b: a > b)
        if best is None:
            break
        given[best] -= 1
    while sum(given) < wanted:
        errors = [np.float32(g + 1 - w) if g < c else None for g, w, c in zip(given, want, counts)]
        best = _first_best(errors, lambda a, b: a < b)
        if best is None:
            break
        given[best] += 1
    return given


def _first_best(errors, better):  # type: ignore[no-untyped-def]
    best = None
    for i, error in enumerate(errors):
        if error is not None and (best is None or better(error, errors[best])):
            best = i
    return best


@dataclass(frozen=True)
class Fit:
    """What --fit decided: rules for experts, or other slots; ``device_use`` rows are device, MiB, rules, MiB there."""

    rules: tuple[Rule, ...]
    slots: Slots
    cpu_expert_layers: tuple[int, ...] = ()
    device_use: tuple[tuple[int, int, int, int], ...] = ()


def fit(
    cols: Columns, sizes: LayerSizes, slots: Slots, default: Sequence[int], free: Sequence[int], n_run: int
) -> Fit:
    """Moves experts (or, in models without, whole layers) to the host until the rest fits ``free`` bytes per GPU.

    n_run: layers that run.

    Raises SettingsError when even that does not fit ("Unable to auto-fit model" in the reference).
    """
    roles = [cols.rows(f"blk.{{il}}.ffn_{which}_exps.weight")[:-1] for which in ("down", "up", "gate", "gate_up")]
    experts = np.sum([np.where(rows < 0, 0, cols.nbytes[rows]) for rows in roles], axis=0)
    experts[n_run:] = 0
    if not np.any(experts):
        return Fit((), _fill_from_the_end(sizes.total, free))
    rules: list[Rule] = []
    layers: list[int] = []
    use = []
    for gpu, limit in enumerate(free):
        need = 0
        for il, size in enumerate(sizes.total):
            if default[il] == gpu:
                need = int(need + size)
        mine = [il for il in reversed(range(cols.n_layer)) if default[il] == gpu and experts[il]]
        for given, il in enumerate(mine if need > limit else [], 1):
            need -= int(experts[il])
            rules.append(_rule(il, "--fit"))
            layers.append(il)
            if need <= limit:
                use.append((gpu, need // _MIB, given, limit // _MIB))
                break
        if need > limit:
            raise SettingsError(
                f"--fit: GPU {gpu} needs {need // _MIB} MiB even with all its experts in host memory, and has "
                f"{limit // _MIB}; lower -c or -ub, or use more GPUs"
            )
    return Fit(tuple(rules), slots, tuple(layers), tuple(use))


def fit_graph(cols: Columns, sizes: LayerSizes, slots: Slots, available: int, n_run: int) -> Fit:
    """-sm graph: experts of the first layers go to the host until the rest and the compute buffer fit.

    Raises SettingsError when even all of them are not enough.
    """
    rules: list[Rule] = []
    layers: list[int] = []
    need = sizes.required
    for il in range(n_run):
        rows = [int(cols.rows(f"blk.{{il}}.ffn_{which}_exps.weight")[il]) for which in ("down", "up", "gate", "gate_up")]
        held = sum(int(cols.nbytes[row]) for row in rows if row >= 0)
        need -= held
        if held:
            rules.append(_rule(il, "--fit"))
            layers.append(il)
        if need <= available - sizes.compute:
            break
    if need > available:
        raise SettingsError(
            f"--fit: {need // _MIB} MiB are needed even with all experts in host memory, and {available // _MIB} are "
            "free; lower -c or -ub, or use more GPUs"
        )
    return Fit(tuple(rules), slots, tuple(layers))


def _fill_from_the_end(sizes: Sequence[float], free: Sequence[int]) -> Slots:
    """Dense models: the last GPU is filled from the output downwards, then the one before; the rest is host."""
    left, gpu = [int(f) for f in free], len(free) - 1
    slots = [HOST] * len(sizes)
    il = len(sizes) - 1
    while il >= 0 and gpu >= 0:
        if left[gpu] >= sizes[il]:
            left[gpu] = int(left[gpu] - sizes[il])
            slots[il] = gpu
            il -= 1
        else:
            gpu -= 1
    return Slots(tuple(slots[:-1]), slots[-1])
