"""``plan``: from model, settings and machine to everything that the reference would log, and to who computes what."""

import weakref
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from typing import Any

from ..graph.graph import Graph
from ..machine import Machine
from ..models.build import build
from ..models.model import Model
from ..placement import Placement, place
from ..settings import Settings
from . import explain as _explain
from .abilities import Rules, rules
from .lint import Finding, findings
from .log import log
from .schedule import MIB, Schedule, Split, schedule, two_decimals

KEPT_GRAPHS = 12  #: per model: a plan has two, its forecast four more
_GRAPHS: "weakref.WeakKeyDictionary[Model, dict[tuple, Graph]]" = weakref.WeakKeyDictionary()


@dataclass(frozen=True)
class DeviceUse:
    """What one device must hold, MiB. ``capacity_mib`` is what is free there, None where nobody said."""

    name: str
    capacity_mib: int | None
    model_mib: float
    kv_mib: float
    output_mib: float
    compute_mib: float
    simulated: bool

    @property
    def total_mib(self) -> float:
        """All that it must hold, MiB."""
        return self.model_mib + self.kv_mib + self.output_mib + self.compute_mib

    @property
    def over_mib(self) -> float:
        """By how much the device is too small; 0 where it fits or where its size is not known."""
        return max(0.0, self.total_mib - self.capacity_mib) if self.capacity_mib is not None else 0.0


class AfterPolicy(Mapping[str, Schedule]):
    """The graphs that really run once ``-op`` is active: ``pp`` (a full micro-batch) and ``tg`` (one token).

    Both read the whole cache. Each is scheduled when it is first asked for.
    """

    def __init__(self, plan: "Plan"):
        self._plan, self._made = plan, {}  # type: ignore[var-annotated]

    def __getitem__(self, key: str) -> Schedule:
        if key not in ("pp", "tg"):
            raise KeyError(key)
        if key not in self._made:
            self._made[key] = self._plan.scheduled(self._plan.n_tokens if key == "pp" else 1, policy=True)
        return self._made[key]

    def __iter__(self) -> Iterator[str]:
        return iter(("pp", "tg"))

    def __len__(self) -> int:
        return 2


class Plan:
    """What the reference would do with a model, some settings and a machine. Made by ``plan``; a value, never changed.

    ``schedule`` is the graph that the reference measures when it starts: a full micro-batch over the whole cache, every
    op allowed on a GPU. Figures in MiB are rounded to two decimals, as they are printed.
    """

    def __init__(self, model: Model, settings: Settings, machine: Machine):
        self.model, self.settings, self.machine = model, settings, machine
        self.placement: Placement = place(model, settings, machine)
        self.rules: Rules = rules(self.placement.context, machine)
        reserved = self.placement.context.n_outputs_reserved
        self.schedule: Schedule = self.scheduled(self.n_tokens, n_outputs=reserved or None)
        self.after_policy: Mapping[str, Schedule] = AfterPolicy(self)

    def scheduled(self, n_tokens: int, n_outputs: int | None = None, policy: bool = False) -> Schedule:
        """The graph of ``n_tokens`` tokens over the whole cache, scheduled; with the offload ``policy`` if asked.

        ``n_outputs``: rows of logits that are computed (default: one per token).
        """
        graph = self.graph_of(n_tokens, n_outputs)
        return schedule(graph, self.placement, self.rules, self.settings.offload_policy if policy else ())

    def graph_of(self, n_tokens: int, n_outputs: int | None = None, n_kv: int | None = None) -> Graph:
        """The graph of ``n_tokens`` tokens over ``n_kv`` cached ones (default: the whole cache); ``n_outputs`` as for
        ``scheduled``.

        The last graphs of a model are kept: -ot and devices do not change them.
        """
        p, s, kept = self.placement, self.settings, _GRAPHS.setdefault(self.model, {})
        engine = (bool(p.gpus), self.machine.commit_date, s.split_mode, s.main_gpu, len(p.gpus))
        key = (p.context, p.tensors.signature, engine, n_tokens, n_outputs, n_kv)
        graph = kept.pop(key, None)
        if graph is None:
            graph = build(self.model, s, self.machine, n_tokens, n_kv=n_kv, n_outputs=n_outputs, tensors=p.tensors)
        kept[key] = graph  # the last one asked for is the last to go
        while len(kept) > KEPT_GRAPHS:
            kept.pop(next(iter(kept)))
        return graph

    @property
    def n_tokens(self) -> int:
        """Tokens of a full micro-batch."""
        return min(self.placement.context.n_ctx, self.placement.context.n_ubatch)

    # --- figures --------------------------------------------------------------------------------------------------

    @property
    def model_mib(self) -> list[tuple[str, float]]:
        """(buffer, MiB), one entry per line that the reference prints."""
        return [(name, two_decimals(size / MIB)) for name, size in self.placement.model_bytes]

    @property
    def kv_mib(self) -> list[tuple[str, float]]:
        """(buffer, MiB) of the KV cache, one entry per buffer."""
        return [(name, two_decimals(size / MIB)) for name, size in self.placement.kv_bytes]

    @property
    def output_mib(self) -> list[tuple[str, float]]:
        """(buffer, MiB) of the logits that a run starts with."""
        name, size = self.placement.output_bytes
        return [(name, two_decimals(size / MIB))]

    @property
    def compute_mib(self) -> list[tuple[str, float]]:
        """(buffer, MiB) of each compute buffer that is printed: of those larger than a byte."""
        return self.schedule.compute_mib

    @property
    def compute_bytes(self) -> dict[str, int]:
        """Buffer name -> bytes; 1 for a backend that computes nothing."""
        return self.schedule.compute_bytes

    @property
    def graph(self) -> Graph:
        """The graph of ``schedule``."""
        return self.schedule.graph

    @property
    def graph_nodes(self) -> int:
        """Nodes, as the reference prints them."""
        return self.schedule.graph_nodes

    @property
    def graph_splits(self) -> int:
        """Splits, as the reference prints them."""
        return self.schedule.graph_splits

    @property
    def splits(self) -> list[Split]:
        """The splits in order: ``.backend``, ``.nodes`` (names), ``.inputs`` (``.name``, ``.bytes``, ``.is_weight``)."""
        return self.schedule.splits

    @property
    def repacked(self) -> list[tuple[str, str, str]]:
        """(tensor, type in the file, type at run time) of what -rtr changes."""
        return self.placement.repacked

    @property
    def overridden(self) -> dict[str, int]:
        """Buffer name -> how many tensors the loader says went there by an override."""
        return self.placement.overridden

    # --- devices --------------------------------------------------------------------------------------------------

    @cached_property
    def devices(self) -> list[DeviceUse]:
        """What each device of the machine holds, the CPU last; buffers in pinned host memory count there.

        The buffer that -sm row divides counts with its part on each GPU; tensors of latent attention that loading
        computes count too, though no printed line has them.
        """
        rows = []
        p = self.placement
        compute = [(name, size) for name, size in self.compute_bytes.items() if size > 1]
        computed = [(name, size) for name, (_, size) in p.computed_mla.items()]
        model_bytes = [*p.model_bytes, *p.divided_bytes.items(), *computed]
        kinds = (model_bytes, [*p.kv_bytes, *p.cache_parts.items()], [p.output_bytes], compute)
        for device in self.machine.devices:
            host = device.kind == "cpu"
            names = {"CPU", "CUDA_Host"} if host else {device.name}
            model, kv, output, used = (sum(size for name, size in kind if name in names) / MIB for kind in kinds)
            rows.append(DeviceUse(device.name, device.free_mib, model, kv, output, used, device.simulated))
        return rows

    @property
    def fits(self) -> bool:
        """Whether every device whose size is known holds what it must. Mapped weights count as if they were read."""
        return not any(device.over_mib for device in self.devices)

    def forecast(self, n_kv: "int | Iterable[int] | None" = None) -> Any:
        """PP and TG against context, computed: see ``ikexplore.forecast``, the room above this one.

        ``n_kv``: tokens cached, a number or several; default: the rows that llama-sweep-bench would print.
        Raises IkexploreError for tokens that the context does not hold.
        """
        return import_module("ikexplore.forecast").forecast(self, n_kv)

    # --- words ----------------------------------------------------------------------------------------------------

    @cached_property
    def findings(self) -> list[Finding]:
        """What is wrong or worth knowing, worst first; see ``lint``."""
        return findings(self)

    def explain(self, name: str) -> str:
        """Why a tensor or a node is where it is. Raises ModelError for a name that the plan does not have."""
        return _explain.explain(self, name)

    def log(self) -> str:
        """The lines that the reference would print while it loads the model."""
        return log(self)

    def to_dict(self) -> dict[str, Any]:
        """Everything a page needs to draw the plan, as plain JSON values; node names once, splits by node numbers."""
        return _explain.to_dict(self)

    def __repr__(self) -> str:
        sizes = ", ".join(f"{name} {size:,.0f} MiB" for name, size in ((d.name, d.total_mib) for d in self.devices))
        return f"<Plan {self.model.name!r} {self.graph_nodes} nodes, {self.graph_splits} splits: {sizes}>"


def plan(model: Model, settings: Settings, machine: Machine) -> Plan:
    """Placement, splits and memory, as the reference would have them, without weights and without GPUs.

    ``model``: a Model, a header will do; ``settings``: Settings; ``machine``: described, loaded or detected. The rules are
    those of ik_llama.cpp at the commit of the settings' profile (docs/planning.md says what is proven). Raises ModelError for
    architectures that have no graph here, SettingsError for switches that contradict the model, the machine or each other.

    >>> import ikexplore as ikx
    >>> model = ikx.demo.header("qwen3-235b-a22b-iq4_xs")
    >>> rig = ikx.Machine.described([{"name": "CUDA0", "free_mib": 24000, "cc": 860}])
    >>> p = ikx.plan(model, ikx.Settings.parse("-ngl 99 -ot exps=CPU -c 32768"), rig)
    >>> p.graph_splits, p.kv_mib, p.fits
    (190, [('CUDA0', 6016.0)], True)
    >>> p.explain("blk.7.ffn_up_exps.weight")
    'blk.7.ffn_up_exps.weight (iq4_xs, 408.00 MiB) is in CUDA_Host: -ot exps=CPU, rule 1 of 1, is the first that matches.'
    """
    return Plan(model, settings, machine)
