"""A ``Picture`` from a Plan: what the figures and the panel draw of it."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from .axis import positions
from .picture import Device, Grid, Lanes, Picture
from .words import clean

if TYPE_CHECKING:
    from ..placement import Placement
    from ..schedule import Plan, Schedule

_PATTERN = 90  # characters of a regex that a reason shows


def picture(plan: Plan, grid: Grid | None = None) -> Picture:
    """The plan as columns; ``grid`` saves reading the model's tensors again when it is the same model.

    The lanes are the graphs that really run once ``-op`` is active: a full micro-batch and one token.
    """
    grid = grid or Grid.of(plan.model.tensors.values(), plan.model.hparams.n_layer)
    devices = _devices(plan)
    names = [d.name for d in devices]
    at, why = _places(plan.placement, grid, names)
    return Picture(
        title=clean(plan.model.name), grid=grid, devices=devices, at=at, why=why,
        pp=_lanes(_prompt(plan), grid, names), tg=_lanes(plan.after_policy["tg"], grid, names),
        repacked={grid.index[name]: new for name, _, new in plan.repacked if name in grid.index},
    )


def _prompt(plan: Plan) -> Schedule:
    """The graph of a full micro-batch; without ``-op`` it is the one that the plan measured, if all rows are wanted."""
    same = not plan.settings.offload_policy and not plan.placement.context.n_outputs_reserved
    return plan.schedule if same else plan.after_policy["pp"]


def _devices(plan: Plan) -> tuple[Device, ...]:
    """Devices as the machine has them; the logits' buffer counts as compute."""
    return tuple(
        Device(use.name, device.kind == "cpu", device.simulated, use.capacity_mib, use.model_mib, use.kv_mib,
               use.compute_mib + use.output_mib)
        for device, use in zip(plan.machine.devices, plan.devices)
    )


def _places(placed: Placement, grid: Grid, names: list[str]) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Device number and reason per tensor of the grid; -1 for a tensor that lives inside a merged one."""
    host = len(names) - 1
    number = [names.index(gpu.name) for gpu in placed.gpus]
    at, why = [host] * len(grid.names), [""] * len(grid.names)
    rows = zip(placed.tensors.names, placed.place.tolist(), placed.rule.tolist())
    for name, place, rule in rows:
        i = grid.index.get(name)
        if i is None:
            continue
        if place == placed.divided:  # shown where what is not divided lives
            at[i], why[i] = min(placed.settings.main_gpu, host - 1), "divided over all GPUs by -sm row"
            continue
        at[i] = -1 if place < 0 else number[place] if place < len(number) else host
        why[i] = _rule(placed, rule) if rule >= 0 else _slot(placed, grid.layer[i], at[i] == host, len(number))
    return tuple(at), tuple(why)


def _rule(placed: Placement, number: int) -> str:
    rule = placed.rules[number]
    pattern = rule.pattern if len(rule.pattern) <= _PATTERN else f"{rule.pattern[: _PATTERN - 14]}…{rule.pattern[-12:]}"
    return f"{rule.flag} rule {number + 1}, {pattern}={rule.buffer}"


def _slot(placed: Placement, layer: int, on_host: bool, gpus: int) -> str:
    """Why a tensor that no rule takes is where it is."""
    total, given = placed.model.hparams.n_layer, placed.settings.n_gpu_layers
    if not gpus:
        return "no GPU in this rig"
    if layer < 0:
        return "the embedding stays in host memory" if on_host else "beside the first layer"
    what = "the output" if layer >= total else f"layer {layer} of {total}"
    if on_host:
        return f"{what} stays in host memory with -ngl {given}"
    return f"{what} by -ngl {given}" + (f", dealt over {gpus} GPUs" if gpus > 1 else "")


@lru_cache(maxsize=16)
def _positions(names: tuple[str, ...], n_layer: int) -> np.ndarray:
    """``positions``, remembered: most changes of settings leave the nodes as they are."""
    return np.asarray(positions(names, n_layer))


def _lanes(s: Schedule, grid: Grid, names: list[str]) -> Lanes:
    graph, cut = s.graph, s.cut
    nodes = graph.name[graph.n_leafs :]
    where = _positions(tuple(nodes), grid.n_layer)
    n, weight, copied = len(cut), s.weight[cut.source], s.arena.copied
    owner = np.repeat(np.arange(n), np.diff(cut.first_input[: n + 1]))

    def per_split(mask: np.ndarray, values: Any = None) -> tuple[int, ...]:
        taken = None if values is None else values[: len(owner)][mask]
        return tuple(np.bincount(owner[mask], weights=taken, minlength=n).astype(np.int64).tolist())

    is_weight = weight[: len(owner)]
    lane = [names.index(name) for name in s.backends]
    start = where[cut.start].tolist()
    return Lanes(
        device=tuple(lane[b] for b in cut.backend.tolist()),
        start=(*start, float(where[-1])),
        first=tuple(graph.name[row] for row, _ in s.computing),
        nodes=tuple((cut.end - cut.start).tolist()),
        n_inputs=per_split(~is_weight), input_bytes=per_split(~is_weight, copied),
        n_weights=per_split(is_weight), weight_bytes=per_split(is_weight, copied),
    )
