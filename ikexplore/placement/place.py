"""``place``: where each tensor and each layer's cache lives, and why. Nothing here computes; all is sizes and names."""

from collections import Counter
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from ..errors import ModelError, SettingsError
from ..graph.types import type_name
from ..machine import Device, Machine
from ..models.columns import Added, Columns, columns
from ..models.context import Context, context
from ..models.model import Model
from ..settings import Settings
from ..settings.declare import NEW
from .buffers import CPU_EXTRA, cache_bytes, held_bytes, mapped_bytes
from .layers import HOST, Slots, deal_by_number, deal_by_size, shares
from .merge import merged_tensors
from .moe import Fit, fit, n_cpu_moe_rules
from .repack import repacked_types
from .rules import Rule, first_match
from .sizes import LayerSizes, layer_sizes

MIB = 2**20


@dataclass(frozen=True, eq=False)
class Placement:
    """Where everything lives. Places are numbers: a GPU's number in ``gpus``, then ``host``, then ``cpu``.

    ``host`` is memory that the loader chose for what is not on a GPU (pinned in a CUDA build: "CUDA_Host"); ``cpu`` is
    plain memory asked for by an override, a group of its own until June 2025.
    """

    model: Model
    settings: Settings
    machine: Machine
    context: Context
    gpus: tuple[Device, ...]  #: GPUs that the engine uses, by number
    slots: Slots
    tensors: Columns  #: as they are at run time: repacked types, copies and merged tensors added
    place: np.ndarray  #: int8 per row of ``tensors``; -1 for tensors that live inside a merged one
    rules: tuple[Rule, ...]
    rule: np.ndarray  #: int16 per row of ``tensors``: the rule that decided, -1 for the layer's slot
    overridden: dict[str, int]  #: buffer name -> messages "buffer type overridden"
    use_mmap: bool
    file_types: np.ndarray  #: type ids before -rtr
    sizes: LayerSizes | None = None
    fit: Fit | None = None
    n_gpu_layers: int = 0
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def host(self) -> int:
        return len(self.gpus)

    @property
    def cpu(self) -> int:
        return len(self.gpus) + 1

    @property
    def pinned(self) -> bool:
        """Whether the loader's host memory is pinned for the GPUs."""
        return self.machine.cuda_build and bool(self.machine.gpus)

    @property
    def host_name(self) -> str:
        return "CUDA_Host" if self.pinned else "CPU"

    def name(self, place: int) -> str:
        """What the reference calls the buffers of a place."""
        if place < len(self.gpus):
            return self.gpus[place].name
        return self.host_name if place == self.host else "CPU"

    @cached_property
    def kv_slots(self) -> tuple[int, ...]:
        """Slot of each layer's cache; overrides never move it."""
        return self.slots.layers if self.context.offload_kqv else (HOST,) * len(self.slots.layers)

    @cached_property
    def n_copies(self) -> int | None:
        """Copies of split inputs for pipeline parallelism; None where the reference keeps it off."""
        wanted = (
            len(self.machine.gpus) > 1
            and self.n_gpu_layers > self.model.hparams.n_layer
            and self.settings.split_mode == "layer"
            and self.context.offload_kqv
        )
        if self.settings.profile == NEW and (self.facts["user_overrides"] or self.fit is not None):
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
        for place in (self.host, self.cpu, *range(len(self.gpus))):
            rows = np.flatnonzero(self.place == place)
            if not len(rows):
                continue
            if place < len(self.gpus):
                lines.append((self.name(place), held_bytes(self.tensors, rows, True)))
            elif self.use_mmap:
                lines += [("CPU", size) for size in mapped_bytes(self.tensors, rows)]
            else:
                plain = place == self.cpu or not self.pinned
                size = held_bytes(self.tensors, rows, False)
                lines.append((self.name(place), size + (CPU_EXTRA if plain else 0)))
        return lines

    @cached_property
    def _cache(self) -> tuple[dict[int, int], int, int]:
        return cache_bytes(self.model.hparams, self.context, self.kv_slots)

    @property
    def kv_bytes(self) -> list[tuple[str, int]]:
        """(buffer name, bytes) of the KV cache."""
        lines = []
        for slot, size in self._cache[0].items():
            extra = CPU_EXTRA if slot == HOST and not self.pinned else 0
            lines.append((self.host_name if slot == HOST else self.gpus[slot].name, size + extra))
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
    """Where everything lives. Raises SettingsError for switches that contradict each other, the model or the machine."""
    newer = settings.profile == NEW
    cx, cols = context(model, settings), columns(model)
    devices, gpus = _used_gpus(settings, machine)
    ngl = settings.n_gpu_layers if gpus else 0
    sizes, found = None, None
    default: tuple[int, ...] = ()
    facts: dict[str, Any] = {"user_overrides": bool(settings.overrides) and ngl > 0}
    if newer and gpus:
        free = _free(settings, devices)
        sizes = _sizes(model, settings, cols, cx)
        facts["available"] = available(sizes, free)
        slots, default = _deal_2026(model, settings, devices, ngl, sizes, free)
        if settings.fit:
            _check_fit(settings)
            if sizes.required > facts["available"]:
                found = fit(cols, sizes, slots, default, free)
                slots = found.slots
    else:
        slots = _deal_2025(model, settings, machine, gpus, ngl)
    if newer and devices != gpus:  # layers are dealt over the devices in the order of --device
        slots = _renumbered(slots, [gpus.index(d) for d in devices])
    rules = _rules(settings, gpus, ngl, found, cols, default, machine)
    return _tensors(model, settings, machine, cx, cols, gpus, slots, rules, sizes, found, ngl, facts)


def _used_gpus(settings: Settings, machine: Machine) -> tuple[tuple[Device, ...], tuple[Device, ...]]:
    """GPUs in the order in which layers are dealt, and in the order of the machine."""
    gpus = machine.gpus
    mode = settings.split_mode
    if mode in ("row", "graph", "attn") and gpus:
        raise SettingsError(f"-sm {mode} is not planned yet; use -sm layer or -sm none")
    if settings.profile == NEW and settings.devices:
        names = [name for name in settings.devices.split(",") if name]
        known = {gpu.name: gpu for gpu in gpus}
        missing = [name for name in names if name not in known]
        if missing:
            raise SettingsError(f"--device {missing[0]}: this machine has {', '.join(known) or 'no GPU'}")
        order = tuple(known[name] for name in names)
        gpus = tuple(gpu for gpu in gpus if gpu in order)
        return order, gpus
    if mode == "none" and gpus:
        if settings.main_gpu >= len(gpus):
            raise SettingsError(f"-mg {settings.main_gpu}: this machine has {len(gpus)} GPUs, numbered from 0")
        if settings.profile == NEW and len(gpus) > 1:
            raise SettingsError("-sm none with several GPUs fails in this version; use --device to name the one to use")
        gpus = (gpus[settings.main_gpu],)
    return gpus, gpus


def _free(settings: Settings, devices: tuple[Device, ...]) -> list[int]:
    """Bytes that the loader counts as free per device: what is free less the margin."""
    margins = dict(zip(settings.gpu_fit_margin[::2], settings.gpu_fit_margin[1::2]))
    usual = settings.fit_margin or 1024
    return [max(0, (d.free_mib or 0) - int(margins.get(i, usual))) * MIB for i, d in enumerate(devices)]


def _sizes(model: Model, settings: Settings, cols: Columns, cx: Context) -> LayerSizes:
    n_ctx = settings.n_ctx or model.hparams.n_ctx_train
    n_batch = min(settings.n_batch, settings.n_ctx) if settings.n_ctx else settings.n_batch
    return layer_sizes(model.hparams, cols, cx, n_ctx, min(n_batch, settings.n_ubatch))


def available(sizes: LayerSizes, free: list[int]) -> int:
    """Bytes that the loader thinks it can use: what is free less the compute estimate, per GPU."""
    return sum(int(f - sizes.compute) for f in free if f > sizes.compute)


def _deal_2025(model: Model, settings: Settings, machine: Machine, gpus: tuple[Device, ...], ngl: int) -> Slots:
    n = model.hparams.n_layer
    if not gpus or ngl <= 0:
        return Slots((HOST,) * n, HOST)
    free = [(gpu.free_mib or 0) * MIB for gpu in gpus]
    return deal_by_number(n, ngl, shares(settings.tensor_split if len(gpus) > 1 else (), free))


def _deal_2026(
    model: Model, settings: Settings, devices: tuple[Device, ...], ngl: int, sizes: LayerSizes, free: list[int]
) -> tuple[Slots, tuple[int, ...]]:
    if settings.fit:
        ngl = 999
    split = shares(settings.tensor_split, free) if len(devices) > 1 else np.ones(1, np.float32)
    return deal_by_size(model.hparams.n_layer, ngl, split, sizes.total, sizes.compute)


def _check_fit(settings: Settings) -> None:
    if settings.overrides:
        raise SettingsError("--fit refuses -ot: the engine chooses itself; leave one of the two out")
    if settings.n_cpu_moe:
        raise SettingsError("--fit refuses --n-cpu-moe: the engine chooses itself; leave one of the two out")


def _renumbered(slots: Slots, numbers: list[int]) -> Slots:
    def new(slot: int) -> int:
        return slot if slot == HOST else numbers[slot]

    return Slots(tuple(new(s) for s in slots.layers), new(slots.output))


def _rules(
    settings: Settings,
    gpus: tuple[Device, ...],
    ngl: int,
    found: Fit | None,
    cols: Columns,
    default: tuple[int, ...],
    machine: Machine,
) -> tuple[Rule, ...]:
    """All override rules in the order in which they are tried."""
    newer = settings.profile == NEW
    names = {gpu.name for gpu in gpus} | {"CPU"}
    if newer and ngl == 0 and not settings.fit:  # without layers on a GPU the newer engine drops -ot and --n-cpu-moe
        return ()
    rules = []
    for pattern, buffer in settings.overrides:
        if buffer not in names:
            raise SettingsError(
                f"-ot {pattern}={buffer}: there is no buffer {buffer!r} here; use one of {', '.join(sorted(names))}"
            )
        rules.append(Rule(pattern, buffer))
    if found is not None:
        rules += found.rules
    if newer and settings.n_cpu_moe and gpus:
        rules += n_cpu_moe_rules(cols, settings.n_cpu_moe, default, len(gpus))
    return tuple(rules)


def _tensors(
    model: Model,
    settings: Settings,
    machine: Machine,
    cx: Context,
    cols: Columns,
    gpus: tuple[Device, ...],
    slots: Slots,
    rules: tuple[Rule, ...],
    sizes: LayerSizes | None,
    found: Fit | None,
    ngl: int,
    facts: dict[str, Any],
) -> Placement:
    newer, host = settings.profile == NEW, len(gpus)
    cols = _with_copies(cols, slots)
    # by slot: layers, then what lies outside of them (the embedding is always host, output and its norm go together)
    slot = np.array([host if s == HOST else s for s in (*slots.layers, slots.output)], np.int8)
    where = slot[cols.layer]
    where[[i for i, name in enumerate(cols.names) if name == "token_embd.weight"][:1]] = host
    rule = first_match(rules, cols.names)
    number = {gpu.name: i for i, gpu in enumerate(gpus)}
    pinned = machine.cuda_build and bool(machine.gpus)
    cpu = host + 1 if pinned and not newer else host  # a group of its own only beside a pinned one
    target = np.array([number.get(r.buffer, cpu) for r in rules] or [0], np.int8)
    where = np.where(rule >= 0, target[rule], where).astype(np.int8)

    merged = merged_tensors(model, settings, cols, slot, where) if newer else None
    overridden = _overridden(model, cols, rules, newer, merged.not_asked if merged else np.zeros(len(cols), bool))
    to_host = bool(len(rules)) and any(r.buffer == "CPU" and (rule == i).any() for i, r in enumerate(rules))
    use_mmap = settings.use_mmap and not settings.rtr
    if newer and (to_host or (merged and merged.added)):
        use_mmap = False
    if merged and merged.added:
        cols = cols.with_added(merged.added)
        where[merged.inside] = -1
        where = np.concatenate([where, merged.place]).astype(np.int8)
        rule = np.concatenate([rule, np.full(len(merged.added), -1, np.int16)])
    file_types = cols.type_id
    if settings.rtr:
        may = (where >= host) & np.array([name != "token_embd.weight" for name in cols.names])
        cols = cols.with_types(repacked_types(cols.type_id, cols.ne, may, "avx512_bf16" in machine.features, newer))
    return Placement(
        model, settings, machine, cx, gpus, slots, cols, where, rules, rule, overridden, use_mmap, file_types, sizes,
        found, 999 if settings.fit and gpus else ngl, facts,
    )  # fmt: skip


def _with_copies(cols: Columns, slots: Slots) -> Columns:
    """Adds the copies that loading makes: of rope_freqs for every layer but the first, of the embedding as output."""
    if "token_embd.weight" not in cols.index:
        raise ModelError("the model has no tensor 'token_embd.weight'; every model needs it")
    added = []
    if "output.weight" not in cols.index:
        added.append(Added("token_embd.weight", "output.weight", -1, int(cols.rows("token_embd.weight")[-1])))
    freqs = int(cols.rows("rope_freqs.weight")[-1])
    if freqs >= 0:
        layer = cols.layer.copy()
        layer[freqs] = 0
        cols = replace(cols, layer=layer)
        added += [Added("rope_freqs.weight", "rope_freqs.weight", il, freqs) for il in range(1, cols.n_layer)]
    return cols.with_added(added) if added else cols


#: tensors that the loader asks for without needing them; it reports overrides for those that are missing too
_OPTIONAL = {
    "llama": ("attn_q.bias", "attn_k.bias", "attn_v.bias", "attn_output.bias"),
    "llama dense": ("ffn_gate.bias", "ffn_down.bias", "ffn_up.bias"),
}


def _overridden(model: Model, cols: Columns, rules: tuple[Rule, ...], newer: bool, not_asked: np.ndarray) -> dict[str, int]:
    """How often the loader says that a rule decided, per buffer."""
    if not rules:
        return {}
    asked = [name for name, skip in zip(cols.names, not_asked.tolist()) if not skip]
    roles = _OPTIONAL["llama"] if model.arch == "llama" else ()
    roles += _OPTIONAL["llama dense"] if model.arch == "llama" and not model.hparams.is_moe else ()
    for role in roles:
        rows = cols.rows(f"blk.{{il}}.{role}")[:-1]
        asked += [f"blk.{il}.{role}" for il in np.flatnonzero(rows < 0)]
    if "output.weight" not in cols.names:
        asked.append("output.weight")
    if model.arch == "llama" and "rope_freqs.weight" not in cols.index:
        asked += ["rope_freqs.weight"] * cols.n_layer
    first = first_match(rules, tuple(asked))
    counts = Counter(rules[i].buffer for i in first[first >= 0].tolist())
    host = "CUDA_Host" if newer else "CPU"
    return {host if buffer == "CPU" else buffer: n for buffer, n in counts.items()}
