"""The search: for each setting of the switches the best placement that fits, then neighbours of what is best so far."""

import itertools
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ..errors import IkexploreError
from ..forecast import Prices, prices
from ..schedule import plan
from ..schedule.plan import Plan
from ..settings import Settings
from ..settings.declare import NEW
from .assign import Way, assign
from .found import Found, front, rates
from .patterns import CPU, overrides, roles_pattern
from .pieces import Group, Pieces, groups, homes, pieces
from .request import CACHES, UBATCHES, Request
from .spread import least

MIB = 2**20
TRIES = 6  #: plans per placement until one fits
SOLVE = 0.5  #: seconds for the integer program
WORTH = 16  #: MiB of room for which a placement is solved again
HOPE = 1.01  #: an estimate may be wrong by so much against another
MAPPED = 0.8  #: share of RAM up to which a mapped file does no harm
KEPT = 12  #: starting points that are kept
STRAY = 0.05  #: weight of the other rate where one is asked for


class Search:
    """Everything found for a request. ``run`` fills ``found``; it may be stopped at any time.

    ``tight``: the smallest plans that did not fit, to say what is short. ``tell(text)`` hears what is being tried.
    """

    def __init__(self, asked: Request, seconds: float, tell: Callable[[str], None] = lambda text: None):
        self.asked, self.tell = asked, tell
        self.end = time.monotonic() + seconds
        self.parts: Pieces = pieces(asked.model)
        self.found: list[Found] = []
        self.tight: list[Plan] = []
        self.estimates: list[tuple[float, float]] = []
        self.tried: set[tuple[Settings, str]] = set()
        self.ready: dict[Settings, tuple[Plan, Prices, list[Group]] | None] = {}
        self.planned = 0
        self.complete = False

    @property
    def most(self) -> int:
        """The largest micro-batch: prompts should be longer."""
        return min(UBATCHES[-1], max(UBATCHES[0], self.asked.ctx // 2), self.asked.ctx)

    @property
    def left(self) -> float:
        """Seconds that remain."""
        return self.end - time.monotonic()

    def run(self) -> None:
        """Seeds first, then what differs in one thing from what is on the front, best first, until all is tried."""
        for base in self.seeds():
            if self.left <= 0 and self.found:
                return
            self.explore(base, self.aims[0])
        while self.left > 0:
            todo = next((todo for f in self.best() for todo in self._near(f) if todo not in self.tried), None)
            if todo is None:
                self.complete = True
                return
            self.explore(*todo)

    @property
    def aims(self) -> tuple[str, ...]:
        """What a placement may be for: the goal, or one of the rates."""
        if self.asked.only:
            return (self.asked.only,)
        return ("goal", "pp", "tg") if self.asked.machine.gpus else ("goal",)

    def _near(self, f: Found) -> Iterator[tuple[Settings, str]]:
        """Other placements with the same switches, then single changes of a switch."""
        for aim in self.aims[1:]:
            yield _base(f.settings), aim
        for base in self.moves(f.settings):
            yield base, self.aims[0]

    def best(self) -> list[Found]:
        """The front so far, of what reaches the least rates that were asked for."""
        pp, tg = self.asked.least
        return front((f for f in self.found if f.pp >= pp and f.tg >= tg), self.asked.rank)

    # --- which switches -------------------------------------------------------------------------------------------

    def seeds(self) -> Iterator[Settings]:
        """Micro-batches x memory modes x offload, the rest as is usual for the model."""
        asked = self.asked
        batches = list(asked.values("n_ubatch", [ub for ub in UBATCHES if ub <= self.most] or [self.most]))
        batches.sort(key=lambda ub: abs(np.log(ub / 3000)))  # what is usually best comes first
        modes = self._memory()
        # reading hardly differs from mapping where RAM holds the whole file
        ram = asked.machine.cpu.total_mib
        roomy = ram is None or sum(t.nbytes for t in asked.model.tensors.values()) < MAPPED * ram * MIB
        read = [mode for mode in modes if mode == (False, False) and len(modes) > 1 and roomy]
        rounds = [([mode for mode in modes if mode not in read], 0), (read, 0), (modes, 1)]
        for some, kind in rounds:  # the later ones only where the earlier ones do not fit
            for ub, (rtr, mmap), policy in itertools.product(batches, some, self._policies()):
                try:
                    modes_of = {"rtr": rtr, "use_mmap": mmap, "offload_policy": policy, **self._cache(kind)}
                    yield asked.settings(**self._usual(), **_batch(ub), **modes_of)
                except IkexploreError:
                    continue  # values that exclude each other
            if self.found:
                return
        self._as_it_fits()

    def _as_it_fits(self) -> None:
        """Where the integer program finds no room: whole layers wherever they fit, however fast that is."""
        for made in [least(self.asked, p.settings) for p in self.tight[:KEPT]]:
            if made.fits:
                self._keep(made.settings, made, {})

    def _cache(self, number: int) -> dict[str, str]:
        """The first cache type that is allowed, or the one that takes least."""
        kinds = self.asked.values("cache_type_k", CACHES)
        values = self.asked.values("cache_type_v", kinds)
        k, v = kinds[min(number, len(kinds) - 1)], values[min(number, len(values) - 1)]
        return {"cache_type_k": k} if self.asked.model.hparams.is_mla else {"cache_type_k": k, "cache_type_v": v}

    def _usual(self) -> dict[str, Any]:
        """What the search starts from where the limits say nothing."""
        asked, hp = self.asked, self.asked.model.hparams
        usual: dict[str, Any] = {"flash_attn": True, "n_threads": asked.machine.cores}
        usual["n_gpu_layers"] = (999 if hp.n_layer >= 99 else 99) if asked.machine.gpus and asked.profile != NEW else None
        if asked.profile != NEW:
            usual["fused_moe"] = hp.is_moe
        if hp.is_mla:
            usual |= {"mla_attn": 3, "attn_max_batch": 512 if asked.profile != NEW else 256}
        return {name: asked.values(name, (value,))[0] for name, value in usual.items() if value is not None}

    def _memory(self) -> list[tuple[bool, bool]]:
        """(rtr, mmap) as the limits allow; -rtr switches mmap off."""
        rtrs, maps = self.asked.values("rtr", (False, True)), self.asked.values("use_mmap", (True, False))
        return [(r, m) for r, m in itertools.product(rtrs, maps) if not (r and m is False and True in maps)]

    def _policies(self) -> tuple[Any, ...]:
        """Weights in RAM are fetched by GPUs for large batches, or they are not."""
        if not self.asked.machine.gpus:
            return self.asked.values("offload_policy", ((),))
        experts = (("MUL_MAT_ID", False), ("MOE_FUSED_UP_GATE", False))
        off = experts if self.asked.model.hparams.is_moe else (("ALL", False),)
        return self.asked.values("offload_policy", ((), off))

    def moves(self, s: Settings) -> Iterator[Settings]:
        """Settings that differ from ``s`` in one switch, without -ot."""
        for changes in self._changes(s):
            if all(value in self.asked.allowed.get(name, (value,)) for name, value in changes.items()):
                try:
                    yield _base(s).replace(**self.asked.said(changes))
                except IkexploreError:
                    continue

    def _changes(self, s: Settings) -> Iterator[dict[str, Any]]:
        asked, hp = self.asked, self.asked.model.hparams
        for kind in self.asked.values("cache_type_k", CACHES):
            yield {"cache_type_k": kind} if hp.is_mla else {"cache_type_k": kind, "cache_type_v": kind}
        for ub in (s.n_ubatch // 2, s.n_ubatch * 2):
            if 256 <= ub <= self.most:
                yield _batch(ub)
        for rtr, mmap in self._memory():
            yield {"rtr": rtr, "use_mmap": mmap}
        for policy in self._policies():
            yield {"offload_policy": policy}
        yield from self._threads()
        if hp.is_mla:
            yield from ({"mla_attn": n} for n in self.asked.values("mla_attn", (1, 2, 3)))
            yield from ({"attn_max_batch": n} for n in asked.values("attn_max_batch", (128, 256, 512, 1024, 2048)))
        if "flash_attn" in asked.allowed:  # else on: few posted runs say what a CPU gains or loses without
            yield from ({"flash_attn": on} for on in asked.allowed["flash_attn"])
        if hp.is_moe:
            yield {"fused_moe": not s.fused_moe}
        n = len(asked.machine.gpus)
        if n > 1:
            yield from ({"tensor_split": tuple(float(i == k) for i in range(n))} for k in range(n))
            yield {"tensor_split": ()}

    def _threads(self) -> Iterator[dict[str, Any]]:
        cores, threads = self.asked.machine.cores, self.asked.machine.threads
        if not cores:
            return
        for n in self.asked.values("n_threads", sorted({max(1, cores // 2), max(1, cores * 3 // 4), cores, threads or cores})):
            yield {"n_threads": n}
        for batch in self.asked.values("n_threads_batch", {None, cores, threads}):
            yield {"n_threads_batch": batch}

    # --- placement ------------------------------------------------------------------------------------------------

    def explore(self, base: Settings, aim: str) -> None:
        """The best placement for settings without -ot, checked with exact plans and forecast."""
        self.tried.add((base, aim))
        self.tell(base.command())
        if base not in self.ready:
            while len(self.ready) >= KEPT:
                self.ready.pop(next(iter(self.ready)))
            self.ready[base] = self._prepared(base)
        ready = self.ready[base]
        if ready is not None:
            self._place(*ready, *self._weights(ready[1], aim))

    def _prepared(self, base: Settings) -> tuple[Plan, Prices, list[Group]] | None:
        """The plan that placements start from and their prices; None where there is nothing to place."""
        try:
            start = self._start(base)
            if self.asked.machine.gpus and not self.asked.model.hparams.is_moe:
                self._by_layers(base)
        except IkexploreError:
            return None  # switches that this model or machine does not take together
        if start is None or (base.rtr and not start.repacked and False in self.asked.values("rtr", (False,))):
            return None  # does not fit, or nothing is repacked
        if not start.placement.rules:  # no GPU, no pieces, or an engine that drops -ot because no layer is on a GPU
            if start.fits:
                self._keep(start.settings.replace(overrides=None), start, {})
            else:
                self.tight.append(start)
            return None
        table = prices(start, max(0, self.asked.ctx - start.n_tokens) // 2)
        return start, table, groups(start, table, self.parts)

    def _weights(self, table: Prices, aim: str) -> tuple[float, float]:
        """Weights of seconds of a micro-batch and of a token."""
        goal, n = self.asked.rank, table.plan.n_tokens
        pp, tg = (1 / float(s) for s in table.seconds(table.at))
        return {"goal": (goal.pp / n, goal.tg), "pp": (pp, STRAY * tg), "tg": (STRAY * pp, tg)}[aim]

    def _start(self, base: Settings) -> Plan | None:
        """All pieces in RAM and as many layers on GPUs as fit; None where that does not fit."""
        if not self.asked.machine.gpus:
            made = self.planned_with(base)
            if not made.fits:
                self.tight.append(made)
            return made if made.fits else None
        made = self._in_ram(base)
        if self._gpus_fit(made):
            return self._ram_fits(made)
        fewer = self._fewer_layers(base, self._in_ram)
        if fewer is not None:
            return self._ram_fits(fewer)
        self.tight.append(made)
        return None

    def _fewer_layers(self, base: Settings, planned: Callable[[Settings], Plan]) -> Plan | None:
        """The plan with as many layers on GPUs as fit there; None where not even none fits, or -ngl is given."""
        if "n_gpu_layers" in self.asked.allowed:
            return None
        best, low, high = None, -1, self.asked.model.hparams.n_layer + 1  # high does not fit
        while high - low > 1:
            middle = max(0, (low + high) // 2)
            made = planned(base.replace(n_gpu_layers=middle))
            if self._gpus_fit(made):
                best, low = made, middle
            else:
                high = middle
        return best

    def _by_layers(self, base: Settings) -> None:
        """Whole layers on GPUs, without -ot."""
        made = self.planned_with(base)
        if not self._gpus_fit(made):
            fewer = self._fewer_layers(base, self.planned_with)
            if fewer is None:
                return
            made = fewer
        if made.fits:
            self._keep(made.settings, made, {})

    def planned_with(self, settings: Settings) -> Plan:
        """The exact plan of settings."""
        self.planned += 1
        return plan(self.asked.model, settings, self.asked.machine)

    def _in_ram(self, base: Settings) -> Plan:
        rest = roles_pattern([role for part in self.parts.roles for role in part])
        return self.planned_with(base.replace(overrides=((rest, CPU),) if self.parts.layers else ()))

    @staticmethod
    def _gpus_fit(made: Plan) -> bool:
        return not any(d.over_mib for d in made.devices[:-1])

    def _ram_fits(self, made: Plan) -> Plan | None:
        """None where RAM is too small even with the GPUs full."""
        spare = sum((d.capacity_mib or 0) - d.total_mib for d in made.devices[:-1])
        if made.devices[-1].over_mib <= spare:
            return made
        self.tight.append(made)
        return None

    def _place(self, start: Plan, table: Prices, at: list[Group], pp: float, tg: float) -> None:
        """Solve, plan exactly, mend the room by what the plan tells, until it fits; once more where room is left."""
        room, best, made = self._room(start), None, start
        for _ in range(TRIES):
            ways = assign(at, room, pp, tg, min(SOLVE, max(0.1, self.left)))
            if ways is None:
                break
            guess = _guess(table, at, ways)
            if best is None and any(p > guess[0] * HOPE and t > guess[1] * HOPE for p, t in self.estimates):
                return  # another placement, one that fits, is better in both rates
            made = self._exact(start, ways)
            over = np.array([-np.inf if d.capacity_mib is None else (d.total_mib - d.capacity_mib) * MIB for d in made.devices])
            if (over > 0).any():
                if best is not None:
                    break
                room = room - np.where(over > 0, over + MIB, 0)
                continue
            left = np.where(np.isfinite(room), room, 0.0) - _held(at, ways, len(room))  # by the estimate
            gained = np.where(np.isfinite(over), -over, left) - left
            last, best = best is not None, (made, ways)
            self.estimates.append(guess)
            if last or gained.max(initial=0.0) < WORTH * MIB:
                break
            room = room + np.maximum(gained, 0)
        if best is not None:
            self._keep(best[0].settings, *best)
        else:
            self.tight.append(made)

    def _room(self, start: Plan) -> np.ndarray:
        """Bytes for pieces per device."""
        cols = start.placement.tensors
        pieced = sum(int(cols.nbytes[cols.row[name]]) for name in self.parts.names)
        room = [np.inf if d.capacity_mib is None else (d.capacity_mib - d.total_mib) * MIB for d in start.devices]
        return np.array([*room[:-1], room[-1] + pieced])

    def _exact(self, start: Plan, ways: dict[int, Way]) -> Plan:
        """The plan with -ot rules for these ways; checked to be what was meant."""
        names = [*(gpu.name for gpu in start.placement.gpus), CPU]
        home = {layer: names[d] for layer, d in homes(start).items()}
        where: dict[tuple[int, str], str] = {}
        for layer, way in ways.items():
            for roles, column in zip(self.parts.roles, way):
                where |= {(layer, role): names[column] for role in roles}
        there = {key: d for key, d in where.items() if key in self.parts.keys}
        made = plan(self.asked.model, start.settings.replace(overrides=overrides(there, home)), self.asked.machine)
        self.planned += 1
        check(made, {name: there[key] for name, key in self.parts.names.items()})
        return made

    def _keep(self, settings: Settings, made: Plan, ways: dict[int, Way]) -> None:
        names = [*(gpu.name for gpu in made.placement.gpus), CPU]
        use = tuple((d.name, d.total_mib, d.capacity_mib) for d in made.devices)
        moved = tuple((layer, (names[a], names[b])) for layer, (a, b) in sorted(ways.items()))
        if any(f.settings == settings for f in self.found):
            return
        self.found.append(Found(settings, rates(made, self.asked.ctx), use, moved))


def check(made: Plan, meant: dict[str, str]) -> None:
    """That the planner puts every tensor where it was meant, and rules touch no other. Raises RuntimeError."""
    p = made.placement
    row = p.tensors.row
    for name, device in meant.items():
        at = int(p.place[row[name]])
        found = p.gpus[at].name if at < len(p.gpus) else CPU
        if found != device:
            raise RuntimeError(f"-ot {made.settings.overrides} puts {name} on {found} where {device} was meant")
    for i in np.flatnonzero(p.rule >= 0).tolist():
        if p.tensors.names[i] not in meant:
            raise RuntimeError(f"-ot {made.settings.overrides} catches {p.tensors.names[i]}")


def _guess(table: Prices, at: list[Group], ways: dict[int, Way]) -> tuple[float, float]:
    """Tokens/s of prompt and generation, by the prices."""
    pp, tg = (float(s) for s in table.seconds(np.array(table.at)))
    cpu = len(table.devices) - 1
    for g in at:
        old = g.ways.index((cpu, cpu))
        for layer in g.layers:
            new = g.ways.index(ways[layer])
            pp, tg = pp + g.pp[new] - g.pp[old], tg + g.tg[new] - g.tg[old]
    return table.plan.n_tokens / pp, 1 / tg


def _held(at: list[Group], ways: dict[int, Way], n: int) -> np.ndarray:
    """Bytes per device of placed pieces."""
    held = np.zeros(n)
    for g in at:
        for layer in g.layers:
            held += g.held[g.ways.index(ways[layer])]
    return held


def _batch(ub: int) -> dict[str, Any]:
    """-b is an upper bound of -ub, 2048 unless given."""
    return {"n_ubatch": ub, "n_batch": max(ub, 2048)}


def _base(s: Settings) -> Settings:
    return s.replace(overrides=None)
