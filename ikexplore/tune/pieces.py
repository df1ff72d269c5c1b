"""What may be moved between devices: per layer, the feed-forward tensors that read the model most, in two pieces."""

import re
import weakref
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np

from ..forecast import Prices
from ..forecast.terms import HOST_CHANGE, PEER_CHANGE
from ..machine.parts import gpu_speeds
from ..models.columns import columns
from ..models.model import Model
from ..models.roles import role_of
from ..placement.layers import HOST
from ..schedule.plan import Plan

_DENSE = re.compile(r"ffn_(up|gate|down|gate_up)$")
_PAD = 640  #: bytes that a tensor may take more in a GPU's buffer than in the file


@dataclass(frozen=True, eq=False)
class Pieces:
    """Two pieces a layer: what makes the hidden activations (up, gate), which one op reads together, and down.

    ``layers`` numbers; ``roles`` the names of the roles in each piece; ``rows[layer][piece]`` tensor names.
    """

    layers: tuple[int, ...]
    roles: tuple[tuple[str, ...], tuple[str, ...]]
    rows: dict[int, tuple[tuple[str, ...], tuple[str, ...]]]

    @cached_property
    def names(self) -> dict[str, tuple[int, str]]:
        """Tensor -> (layer, role)."""
        return {name: (layer, role_of(name).role) for layer, pair in self.rows.items() for part in pair for name in part}

    @cached_property
    def keys(self) -> frozenset[tuple[int, str]]:
        """All (layer, role)."""
        return frozenset(self.names.values())


_KNOWN: "weakref.WeakKeyDictionary[Model, Pieces]" = weakref.WeakKeyDictionary()


def pieces(model: Model) -> Pieces:
    """The experts of a model that has any; else its feed-forward matrices. Made once per model."""
    if model not in _KNOWN:
        _KNOWN[model] = _pieces(model)
    return _KNOWN[model]


def _pieces(model: Model) -> Pieces:
    found: dict[int, tuple[list[str], list[str]]] = {}
    roles: tuple[set[str], set[str]] = (set(), set())
    for name in columns(model).names:
        layer, role, _, part = role_of(name)
        movable = part == "experts" if model.hparams.is_moe else _DENSE.match(role) is not None
        if layer is None or layer >= model.hparams.n_layer or not movable:
            continue
        which = 1 if "down" in role else 0
        found.setdefault(layer, ([], []))[which].append(name)
        roles[which].add(role)
    rows = {layer: (tuple(up), tuple(down)) for layer, (up, down) in sorted(found.items())}
    return Pieces(tuple(rows), (tuple(sorted(roles[0])), tuple(sorted(roles[1]))), rows)


@dataclass(frozen=True)
class Group:
    """Layers that are alike: same home, sizes and prices. ``ways``: (device of piece 0, of piece 1), as columns.

    ``pp`` and ``tg``: seconds of one layer in each way; ``held`` bytes [ways, devices] of one layer.
    """

    layers: tuple[int, ...]
    ways: tuple[tuple[int, int], ...]
    pp: np.ndarray
    tg: np.ndarray
    held: np.ndarray


def homes(plan: Plan) -> dict[int, int]:
    """Layer -> column of the device that holds the rest of it (the CPU is the last)."""
    cpu = len(plan.placement.gpus)
    return {layer: cpu if slot == HOST else slot for layer, slot in enumerate(plan.placement.slots.layers)}


def groups(plan: Plan, prices: Prices, parts: Pieces) -> list[Group]:
    """Groups of the plan's layers with the price of every way to place them; types that GPUs lack a kernel for stay off."""
    row = {name: i for i, name in enumerate(prices.names)}
    cols = plan.placement.tensors
    cost, home, gpu_type = _Changes(plan, prices), homes(plan), plan.rules.matmul
    alike: dict[tuple, list[int]] = {}
    for layer in parts.layers:
        sizes = tuple(sum(int(cols.nbytes[cols.row[n]]) + _PAD for n in part) for part in parts.rows[layer])
        at = [[row[n] for n in part if n in row] for part in parts.rows[layer]]
        seconds = tuple(
            tuple(np.round(table[i].sum(axis=0), 9).tolist() if i else (0.0,) * len(prices.devices))
            for table in (prices.pp, prices.tg) for i in at
        )  # fmt: skip
        fetched = tuple(bool(prices.fetched[i].any()) for i in at)
        able = tuple(all(gpu_type[plan.placement.file_types[cols.row[n]]] for n in part) for part in parts.rows[layer])
        alike.setdefault((home[layer], sizes, seconds, fetched, able), []).append(layer)
    return [_group(tuple(layers), key, cost, len(prices.devices)) for key, layers in alike.items()]


def _group(layers: tuple[int, ...], key: tuple, cost: "_Changes", n: int) -> Group:
    home, sizes, (pp_up, pp_down, tg_up, tg_down), fetched, able = key
    ways = tuple(way for way in _ways(home, n) if all(d == n - 1 or ok for d, ok in zip(way, able)))
    held = np.zeros((len(ways), n))
    pp, tg = np.zeros(len(ways)), np.zeros(len(ways))
    for w, (a, b) in enumerate(ways):
        held[w, a] += sizes[0]
        held[w, b] += sizes[1]
        reads = tuple(0 if d == n - 1 and fetch else d for d, fetch in zip((a, b), fetched))  # fetched by the first GPU
        pp[w] = pp_up[a] + pp_down[b] + cost.prompt(home, *reads)
        tg[w] = tg_up[a] + tg_down[b] + cost.token(home, a, b)
    return Group(layers, ways, pp, tg, held)


def _ways(home: int, n: int) -> tuple[tuple[int, int], ...]:
    """Both pieces on one device, or one of them at home (or on any GPU, for layers of the CPU) and one on the CPU."""
    cpu = n - 1
    ways = [(d, d) for d in range(n)]
    for gpu in range(cpu) if home == cpu else (home,):
        ways += [(gpu, cpu), (cpu, gpu)]
    return tuple(ways)


class _Changes:
    """Seconds for going from device to device on the way through a layer, by the constants of the forecast."""

    def __init__(self, plan: Plan, prices: Prices):
        self.cpu = len(plan.placement.gpus)
        self.host = {"pp": prices.change_pp / 2, "tg": prices.change_tg / 2}
        hp, tokens = plan.model.hparams, plan.n_tokens
        links = [gpu_speeds(g).pcie_gbs * 1e9 for g in plan.placement.gpus]
        per_byte = 1.6 / min(links) if links else 0.0  # link.act: activations move at about 0.6 of the link
        self.wide = 4.0 * hp.n_embd * tokens * per_byte
        self.hidden = 4.0 * (hp.n_ff_exp * hp.n_expert_used if hp.is_moe else hp.n_ff) * tokens * per_byte

    def prompt(self, home: int, a: int, b: int) -> float:
        copies = self.wide * ((home != a) + (b != home)) + self.hidden * (a != b)
        return copies + self._steps("pp", home, a, b)

    def token(self, home: int, a: int, b: int) -> float:
        return self._steps("tg", home, a, b)

    def _steps(self, kind: str, *way: int) -> float:
        path = (*way, way[0])
        pairs = [(x, y) for x, y in pairwise(path) if x != y]
        peer = sum(1 for x, y in pairs if self.cpu not in (x, y))
        return self.host[kind] * (len(pairs) - peer + peer * PEER_CHANGE / HOST_CHANGE)
