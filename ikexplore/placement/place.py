"""``place``: where each tensor and each layer's cache lives, and why. Nothing here computes; all is sizes and names."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..errors import SettingsError
from ..graph.types import type_name
from ..machine import Device, Machine
from ..models.columns import Columns, columns
from ..models.context import MLA_ON_REQUEST, Context, before, context
from ..models.model import Model
from ..settings import Settings
from ..settings.declare import NEW
from .asked import overridden, with_copies
from .buffers import CPU_EXTRA, cache_bytes, divided_cache, held_bytes, mapped_bytes, split_bytes
from .deal import Deal, deal
from .divide import Division, divide
from .latent import computed_tensors
from .layers import HOST, Slots
from .merge import Merged, merged_tensors
from .moe import n_cpu_moe_rules
from .repack import repacked_types
from .rules import Rule, first_match

#: matrices that -sm row divides over all GPUs
_DIVIDED = ("attn_q.weight", "attn_k.weight", "attn_v.weight", "output.weight", "ffn_up.weight", "ffn_gate.weight",
            "ffn_down.weight")  # fmt: skip


@dataclass(frozen=True, eq=False)
class Placement:
    """Where everything lives. Places are numbers: a GPU's number in ``gpus``, then ``host``, ``cpu`` and ``divided``.

    ``host`` is memory that the loader chose for what is not on a GPU (pinned in a CUDA build: "CUDA_Host"); ``cpu`` is
    plain memory asked for by an override, a group of its own until June 2025; ``divided`` is -sm row's split buffer.
    """

    model: Model
    settings: Settings
    machine: Machine
    context: Context
    deal: Deal
    tensors: Columns  #: as they are at run time: repacked types, copies and merged tensors added
    place: np.ndarray  #: int8 per row of ``tensors``; -1 for tensors that live inside a merged one
    rules: tuple[Rule, ...]
    rule: np.ndarray  #: int16 per row of ``tensors``: the rule that decided, -1 for the layer's slot
    overridden: dict[str, int]  #: buffer name -> messages "buffer type overridden"
    use_mmap: bool
    file_types: np.ndarray  #: type ids before -rtr
    part: np.ndarray  #: bool per row: what one GPU holds of a tensor that -sm graph divides
    division: Division | None
    computed: np.ndarray  #: bool per row of ``tensors``: computed while loading, in a buffer of its own

    @property
    def gpus(self) -> tuple[Device, ...]:
        """GPUs that compute, by number."""
        return self.deal.gpus

    @property
    def slots(self) -> Slots:
        """The slot (a GPU's number, or the host) of each layer and of the output, as dealt before overrides."""
        return self.deal.slots

    @property
    def host(self) -> int:
        """Number of the place that the loader takes for what is not on a GPU."""
        return len(self.gpus)

    @property
    def cpu(self) -> int:
        """Number of the place of what an override put into plain memory."""
        return len(self.gpus) + 1

    @property
    def divided(self) -> int:
        """Number of the place of -sm row's split buffer."""
        return len(self.gpus) + 2

    @cached_property
    def backend(self) -> np.ndarray:
        """Number of the backend that reads a place: int8 per place; the CPU's is the number of GPUs."""
        return np.array([*range(len(self.gpus)), self.host, self.host, 0], np.int8)

    @property
    def pinned(self) -> bool:
        """Whether the loader's host memory is pinned for the GPUs."""
        return self.machine.cuda_build and bool(self.machine.gpus)

    @property
    def host_name(self) -> str:
        """What the reference calls the buffer of ``host``."""
        return "CUDA_Host" if self.pinned else "CPU"

    def name(self, place: int) -> str:
        """What the reference calls the buffers of a place."""
        if place < len(self.gpus):
            return self.gpus[place].name
        return (self.host_name, "CPU", "CUDA_Split")[place - len(self.gpus)]

    @cached_property
    def kv_slots(self) -> tuple[int, ...]:
        """Slot of each layer's cache; overrides never move it. Layers that do not run have none."""
        run = self.model.hparams.n_layer_run
        return self.slots.layers[:run] if self.context.offload_kqv else (HOST,) * run

    @cached_property
    def n_copies(self) -> int | None:
        """Copies of split inputs for pipeline parallelism; None where the reference keeps it off."""
        wanted = (
            len(self.machine.gpus) > 1
            and self.deal.n_gpu_layers > self.model.hparams.n_layer
            and self.context.split_mode == "layer"
            and self.context.offload_kqv
        )
        if self.settings.profile == NEW and (self.settings.overrides or self.deal.fit is not None):
            wanted = False
        return self.machine.sched_max_copies if wanted else None

    @cached_property
    def repacked(self) -> list[tuple[str, str, str]]:
        """(tensor, type in the file, type at run time) of what -rtr changed."""
        changed = np.flatnonzero(self.tensors.type_id != self.file_types)
        names, before, after = self.tensors.names, self.file_types, self.tensors.type_id
        return [(names[i], type_name(int(before[i])), type_name(int(after[i]))) for i in changed]

    @cached_property
    def model_bytes(self) -> list[tuple[str, int]]:
        """(buffer name, bytes), one entry per line that the reference prints: host first, then CPU, then GPUs."""
        lines: list[tuple[str, int]] = []
        for place in (self.host, self.cpu, self.divided, *range(len(self.gpus))):
            rows = np.flatnonzero((self.place == place) & ~self.computed & ~self.part)
            if not len(rows):
                continue
            if place < len(self.gpus):
                lines.append((self.name(place), held_bytes(self.tensors, rows, True)))
            elif place == self.divided and self.division is not None:
                lines.append((self.name(place), self.division.alloc))
            elif place == self.divided:
                lines.append((self.name(place), split_bytes(self.tensors, rows, self.deal.split or ())[0]))
            elif self.use_mmap:
                lines += [("CPU", size) for size in mapped_bytes(self.tensors, rows)]
            else:
                plain = place == self.cpu or not self.pinned
                size = held_bytes(self.tensors, rows, False)
                lines.append((self.name(place), size + (CPU_EXTRA if plain else 0)))
        return lines

    def computed_name(self, row: int) -> str:
        """Name of the buffer of the computed tensor in ``row``; beside mapped weights it is plain memory."""
        place = int(self.place[row])
        return "CPU" if place == self.host and self.use_mmap else self.name(place)

    @cached_property
    def computed_mla(self) -> dict[str, tuple[int, int]]:
        """(tensors, bytes) of what loading computes for latent attention, per buffer; no printed size has them."""
        found: dict[str, tuple[int, int]] = {}
        for row in np.flatnonzero(self.computed).tolist():
            name = self.computed_name(row)
            n, size = found.get(name, (0, 0))
            found[name] = n + 1, size + int(self.tensors.nbytes[row])
        return found

    @cached_property
    def divided_bytes(self) -> dict[str, int]:
        """Bytes that each GPU holds of what -sm row or -sm graph divides; empty without."""
        if self.division is not None:
            return {gpu.name: size for gpu, size in zip(self.gpus, self.division.used)}
        rows = np.flatnonzero(self.place == self.divided)
        if not len(rows):
            return {}
        parts = split_bytes(self.tensors, rows, self.deal.split or ())[1]
        return {gpu.name: size for gpu, size in zip(self.machine.gpus, parts)}

    @cached_property
    def cache_parts(self) -> dict[str, int]:
        """Bytes of the cache that each GPU holds of divided layers; empty without -sm graph."""
        if self.division is None:
            return {}
        return {gpu.name: size for gpu, size in zip(self.gpus, self._divided_cache[1])}

    @cached_property
    def _divided_cache(self) -> tuple[int, list[int]]:
        return divided_cache(self.model.hparams, self.context, self.tensors, len(self.gpus), self.kv_slots)

    @cached_property
    def _cache(self) -> tuple[dict[int, int], int, int]:
        return cache_bytes(self.model.hparams, self.context, self.kv_slots)

    @property
    def kv_bytes(self) -> list[tuple[str, int]]:
        """(buffer name, bytes) of the KV cache."""
        lines = []
        for slot, size in self._cache[0].items():
            if self.division is not None and slot != HOST:
                continue
            extra = CPU_EXTRA if slot == HOST and not self.pinned else 0
            lines.append((self.host_name if slot == HOST else self.gpus[slot].name, size + extra))
        if self.division is not None:
            lines.append(("CUDA_Split", self._divided_cache[0]))
        return lines

    @property
    def kv_self_bytes(self) -> tuple[int, int]:
        """Bytes of all K and of all V tensors."""
        return self._cache[1], self._cache[2]

    @property
    def output_bytes(self) -> tuple[str, int]:
        """(buffer name, bytes) of the logits that a run starts with."""
        size = self.context.n_seq_max * self.model.hparams.n_vocab * 4
        return self.host_name, size + (0 if self.pinned else CPU_EXTRA)


def place(model: Model, settings: Settings, machine: Machine) -> Placement:
    """Where everything lives under ``settings``: copies and merges, slots, overrides, repack.

    Raises SettingsError for switches that contradict each other, the model or the machine; ModelError for a model that
    lacks a tensor.
    """
    newer, cx, cols = settings.profile == NEW, context(model, settings, machine), columns(model)
    dealt = deal(model, settings, machine, cx, cols)
    rules = _rules(settings, dealt, cols, model.hparams.n_layer_run)
    pinned = machine.cuda_build and bool(machine.gpus)
    cols = with_copies(cols)
    slot = _slot_places(dealt)
    rule = first_match(rules, cols.names)
    where = _places(cols, dealt, slot, rules, rule, apart=pinned and not newer)

    merged = merged_tensors(model, settings, cols, slot, where) if newer else Merged.none(len(cols))
    host_name = "CUDA_Host" if newer and pinned else "CPU"
    said = overridden(model, cols, rules, merged.not_asked, host_name, newer)
    to_host = said.get(host_name, 0) > 0
    where[cols.layer >= model.hparams.n_layer_run] = -1
    use_mmap = settings.use_mmap and not settings.rtr and not (newer and (to_host or merged.added))
    if merged.added:
        cols = cols.with_added(merged.added)
        where[merged.inside] = -1
        where = np.concatenate([where, merged.place]).astype(np.int8)
        rule = np.concatenate([rule, np.full(len(merged.added), -1, np.int16)])
    division, n_whole = None, len(cols)
    if dealt.points is not None:
        run = dealt.slots.layers[: model.hparams.n_layer_run]
        on_gpus = [il for il, slot in enumerate(run) if slot != HOST]
        division = divide(model, cols, dealt.points, on_gpus, rule >= 0)
        where = np.where(np.isin(np.arange(len(cols)), division.whole), len(dealt.gpus) + 2, where)
        cols = cols.with_added(division.added)
        where = np.concatenate([where, division.place]).astype(np.int8)
        rule = np.concatenate([rule, np.full(len(division.added), -1, np.int16)])
    part = np.arange(len(cols)) >= n_whole
    always = not newer and before(machine, MLA_ON_REQUEST)
    made = computed_tensors(model, cols, where, 1 if always else cx.mla_attn, division)
    if len(made):
        cols = cols.with_added(made.added)
        where = np.concatenate([where, made.place]).astype(np.int8)
        rule = np.concatenate([rule, np.full(len(made), -1, np.int16)])
    part = np.concatenate([part, np.zeros(len(made), bool)])
    computed = np.arange(len(cols)) >= len(cols) - len(made)
    file_types = cols.type_id
    if settings.rtr:
        n_gpu = len(dealt.gpus)
        may = (where == n_gpu) | (where == n_gpu + 1)
        may &= np.array([name != "token_embd.weight" for name in cols.names])
        cols = cols.with_types(repacked_types(cols.type_id, cols.ne, may, "avx512_bf16" in machine.features, newer))
    return Placement(
        model, settings, machine, cx, dealt, cols, where, rules, rule, said, use_mmap, file_types, part,
        division, computed,
    )  # fmt: skip


def _rules(settings: Settings, dealt: Deal, cols: Columns, n_run: int) -> tuple[Rule, ...]:
    """All override rules in the order in which they are tried."""
    newer = settings.profile == NEW
    names = [*(gpu.name for gpu in dealt.gpus), "CPU"]
    rules = []
    for pattern, buffer in settings.overrides:
        if buffer not in names:
            known = ", ".join(names)
            raise SettingsError(f"-ot {pattern}={buffer}: there is no buffer {buffer!r} here; use one of {known}")
        rules.append(Rule(pattern, buffer))
    first_match(rules, ())  # a bad pattern is told even where no rule is tried
    if newer and dealt.n_gpu_layers == 0:  # without layers on a GPU the newer engine drops -ot and --n-cpu-moe
        return ()
    if dealt.fit is not None:
        rules += dealt.fit.rules
    if newer and settings.n_cpu_moe and dealt.gpus:
        rules += n_cpu_moe_rules(cols, settings.n_cpu_moe, dealt.default, len(dealt.gpus), n_run, dealt.points is not None)
    return tuple(rules)


def _slot_places(dealt: Deal) -> np.ndarray:
    """Place of each layer's slot, then of the output's: int8."""
    host = len(dealt.gpus)
    return np.array([host if s == HOST else s for s in (*dealt.slots.layers, dealt.slots.output)], np.int8)


def _places(
    cols: Columns, dealt: Deal, slot: np.ndarray, rules: tuple[Rule, ...], rule: np.ndarray, apart: bool
) -> np.ndarray:
    """Place of each tensor: its layer's slot, then the first rule. ``apart``: CPU is another place than host."""
    host = len(dealt.gpus)
    where = slot[cols.layer]
    where[cols.names.index("token_embd.weight")] = host
    if dealt.split is not None:
        matrix = np.array([name.endswith(_DIVIDED) for name in cols.names])
        where[matrix & (where < host)] = host + 2
    number = {gpu.name: i for i, gpu in enumerate(dealt.gpus)}
    target = np.array([number.get(r.buffer, host + 1 if apart else host) for r in rules] or [0], np.int8)
    return np.where(rule >= 0, target[rule], where).astype(np.int8)
