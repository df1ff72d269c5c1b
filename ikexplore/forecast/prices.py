"""``Prices``: seconds of every weight on every device, as arrays; placements are then priced by sums, without a plan.

For searches: one ``Prices`` per model, machine and settings other than ``-ot``; thousands of placements a second.
What a placement changes besides (where attention runs, copies of activations) is in ``rest`` as the plan has it.
"""

from dataclasses import dataclass
from functools import partial

import numpy as np

from ..graph.types import type_name
from ..placement.repack import repacked_types
from ..schedule.plan import Plan
from ..schedule.schedule import Schedule, allowed
from .fit import System, point
from .known import prior_of
from .rates import Forecast, mix_of
from .terms import HOST_CHANGE, Group, Rates, Terms, fetch_seconds, product_seconds
from .work import evaluation, node_products, root_of


@dataclass(frozen=True, eq=False)
class Prices:
    """Rows are weights that products read, columns devices: the GPUs in order, the CPU last. Seconds at the means.

    ``pp`` of a full micro-batch, ``tg`` of one token, if that weight lives there (one in RAM is fetched by a GPU where
    the rules and -op say so); ``fetched`` says which are. ``rest_pp`` and ``rest_tg``: all that is not a product with a
    weight. ``change_pp``, ``change_tg``: seconds of going to another device and back once.
    """

    plan: Plan
    names: tuple[str, ...]
    layer: np.ndarray
    nbytes: np.ndarray
    devices: tuple[str, ...]
    at: np.ndarray  #: the column where the plan has each weight
    pp: np.ndarray
    tg: np.ndarray
    fetched: np.ndarray
    rest_pp: float
    rest_tg: float
    change_pp: float
    change_tg: float

    def seconds(self, place: np.ndarray, changes: int | np.ndarray = 0) -> tuple[np.ndarray, np.ndarray]:
        """Seconds of a micro-batch and of a token for placements ``place`` int [..., weights] (numbers of columns).

        ``changes``: how much oftener the work changes devices than in the plan.
        """
        rows = np.arange(len(self.names))
        pp = self.pp[rows, place].sum(axis=-1) + self.rest_pp + changes * self.change_pp
        return pp, self.tg[rows, place].sum(axis=-1) + self.rest_tg + changes * self.change_tg

    def rates(self, place: np.ndarray, changes: int | np.ndarray = 0) -> tuple[np.ndarray, np.ndarray]:
        """Tokens/s of prompt and generation; ``place`` and ``changes`` as for ``seconds``."""
        pp, tg = self.seconds(place, changes)
        return self.plan.n_tokens / pp, 1.0 / tg


def prices(plan: Plan, n_kv: int = 0) -> Prices:
    """Prices for the plan's model, machine and settings with ``n_kv`` tokens cached; its -ot only says what ``at`` is."""
    at = Forecast(plan, (), [{}])
    tables, rest = {}, {}
    for kind, n in (("pp", plan.n_tokens), ("tg", 1)):
        scheduled = evaluation(plan, n, -(-(n + n_kv) // 256) * 256)
        tables[kind] = _table(plan, scheduled, kind == "pp")
        rest[kind] = _rest(plan, at.terms(n), n_kv, kind)
    every = sorted(set(tables["pp"][0]) | set(tables["tg"][0]))  # latent attention reads other weights for one token
    pp, tg = (_filled(tables[kind], every) for kind in ("pp", "tg"))
    names = tuple(plan.placement.tensors.names[t] for t in every)
    layer, nbytes = plan.placement.tensors.layer[every].astype(int), plan.placement.tensors.nbytes[every]
    place, fetched = np.maximum(pp[1], tg[1]), pp[2]
    change = {kind: _change(plan, kind) for kind in ("pp", "tg")}
    devices = (*(g.name for g in plan.placement.gpus), "CPU")
    others = (rest["pp"], rest["tg"], change["pp"], change["tg"])
    return Prices(plan, names, layer, nbytes, devices, place, pp[0], tg[0], fetched, *others)


def _filled(table: tuple, every: list[int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(seconds, column in the plan, fetched) of all weights; what a graph does not read costs nothing there."""
    tensors, held, seconds, fetched = table
    at = np.searchsorted(every, tensors)
    found = np.zeros((len(every), seconds.shape[1])), np.full(len(every), -1), np.zeros(len(every), bool)
    for target, values in zip(found, (seconds, held, fetched)):
        target[at] = values
    return found


def _value(plan: Plan, found: Terms, n_kv: float, kind: str) -> np.ndarray:
    """Seconds per group of terms at the means of what is known."""
    p = point(found, n_kv, kind, tokens=found.n_tokens, mix=mix_of(plan))
    system, prior = System([p]), prior_of(plan.machine)
    return system.groups(np.array([prior(n)[0] for n in system.names]))[0]


def _rest(plan: Plan, found: Terms, n_kv: int, kind: str) -> float:
    seconds = _value(plan, found, n_kv, kind)
    priced = ("weights", "experts")
    return float(sum(s for g, s in zip(found.groups, seconds) if g.cause not in priced and g.part != "products"))


def _change(plan: Plan, kind: str) -> float:
    if not plan.placement.gpus:
        return 0.0
    cells = _Cells(2 if kind == "pp" else 1)
    cells.add(0, Group("PCIe", "changes of device"), 2 * HOST_CHANGE, ("split", 1.0), ("rig.split", 1.0))
    return float(_value(plan, cells.terms, 0, kind).sum())


class _Cells:
    """Terms of many cells (a weight on a device) at once."""

    def __init__(self, n_tokens: int):
        self.terms, self.cell = Terms(n_tokens), []  # type: ignore[var-annotated]
        self.index: dict[tuple[int, Group], int] = {}

    def add(self, cell: int, group: Group, seconds: float, *factors: tuple[str, float], half: bool = False) -> None:
        if seconds > 0:
            if (cell, group) not in self.index:
                self.index[cell, group] = len(self.cell)
                self.cell.append(cell)
            self.terms.group.append(self.index[cell, group])
            self.terms.base.append(seconds)
            self.terms.slope.append(0.0)
            self.terms.half.append(half)
            self.terms.factors.append(factors)


def _table(plan: Plan, s: Schedule, prompt: bool) -> tuple:
    """(tensors, column in the plan, seconds [weights, devices], fetched) of the weights of one graph."""
    p, g, n = plan.placement, s.graph, len(plan.placement.gpus) + 1
    rows, weight, found = node_products(s)
    root = root_of(g, weight)
    tensors, first, number = np.unique(g.tensor[root], return_index=True, return_inverse=True)
    fetch = _fetched(plan, s, rows, tensors[number], prompt)
    times = np.bincount(number)[number]  # products that read the same weight
    on_gpu, in_ram = (kinds[tensors[number]] for kinds in _types(plan))
    kinds = np.stack([*(on_gpu for _ in range(n - 1)), in_ram], axis=1)
    pinned = (p.place[tensors[number]] == p.host) & bool(p.pinned and not p.use_mmap)
    size = p.tensors.nbytes[tensors[number]] / times
    like = [found.flops, found.weights, found.nbytes, found.expert, found.experts, found.nodes, fetch, pinned, size]
    _, of, same = np.unique(np.column_stack([*like, kinds]), axis=0, return_index=True, return_inverse=True)
    r, cells = Rates(plan, prompt), _Cells(s.n_tokens)
    twin = [r.gpus.index(g) for g in r.gpus] + [n - 1]  # GPUs of one kind cost the same
    for cell, i in enumerate(of.tolist()):
        for device in sorted(set(twin)):
            add = partial(cells.add, cell * n + device)
            fetches = device == n - 1 and fetch[i]
            product_seconds(r, 0 if fetches else device, found, i, type_name(int(kinds[i, device])), add)
            if fetches:
                fetch_seconds(r, 0, float(size[i]), bool(pinned[i]), add)
    value = np.bincount(cells.cell, _value(plan, cells.terms, 0, "pp" if prompt else "tg"), len(of) * n)
    value, seconds = value.reshape(len(of), n)[:, twin], np.zeros((len(tensors), n))
    np.add.at(seconds, number, value[same.reshape(-1)])
    fetched = np.zeros(len(tensors), bool)
    np.logical_or.at(fetched, number, fetch)
    return tensors, s.held[root[first]].astype(int), seconds, fetched


def _types(plan: Plan) -> tuple[np.ndarray, np.ndarray]:
    """Type ids of tensors on a GPU, and in RAM (after -rtr)."""
    p = plan.placement
    file = np.where(np.arange(len(p.tensors)) < len(p.file_types), p.file_types[: len(p.tensors)], p.tensors.type_id)
    if not plan.settings.rtr:
        return file, file
    may = np.array([name != "token_embd.weight" for name in p.tensors.names])
    return file, repacked_types(file, p.tensors.ne, may, "avx512_bf16" in plan.machine.features, plan.rules.newer)


def _fetched(plan: Plan, s: Schedule, rows: np.ndarray, tensors: np.ndarray, prompt: bool) -> np.ndarray:
    """bool per product: a GPU would fetch its weight from RAM."""
    if not prompt or not plan.placement.gpus:
        return np.zeros(len(rows), bool)
    may = allowed(plan.settings.offload_policy)[s.graph.op_id[rows]]
    return s.wanted[rows] & may & plan.rules.matmul[_types(plan)[1][tensors]]
