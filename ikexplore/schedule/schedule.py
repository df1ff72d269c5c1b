"""``schedule``: one graph on the backends of a placement: who computes what, in which splits, in how much memory."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..errors import SettingsError
from ..graph.graph import Graph
from ..graph.ops import OP
from ..placement import Placement
from .abilities import Rules, supports, wants
from .arena import Arena, arenas
from .assign import Assignment, assign
from .splits import Splits, split

MIB = 2**20
ALL = "ALL"


def two_decimals(x: float) -> float:
    """A number as "%.2f" prints it."""
    return float(f"{x:.2f}")


@dataclass(frozen=True)
class SplitInput:
    """A tensor that is copied in at the beginning of a split."""

    name: str
    bytes: int
    is_weight: bool


@dataclass(frozen=True, eq=False)
class Split:
    """A run of nodes that one backend computes."""

    schedule: "Schedule"
    number: int

    @property
    def backend(self) -> str:
        """Name of the backend that computes it."""
        return self.schedule.backends[int(self.schedule.cut.backend[self.number])]

    @property
    def start(self) -> int:
        """Number of its first node."""
        return int(self.schedule.cut.start[self.number])

    @property
    def end(self) -> int:
        """Number of the node behind its last one."""
        return int(self.schedule.cut.end[self.number])

    @property
    def nodes(self) -> list[str]:
        """Names of its nodes, those included that only look at memory."""
        g = self.schedule.graph
        return g.name[g.n_leafs + self.start : g.n_leafs + self.end]

    @property
    def first(self) -> str:
        """Name of the first node that computes."""
        return self.schedule.graph.name[self.schedule.computing[self.number][0]]

    @property
    def last(self) -> str:
        """Name of the last node that computes."""
        return self.schedule.graph.name[self.schedule.computing[self.number][1]]

    @property
    def layers(self) -> tuple[int, int] | None:
        """First and last layer that it computes something of; None outside the layers."""
        g = self.schedule.graph
        rows = g.layer[g.n_leafs + self.start : g.n_leafs + self.end]
        rows = rows[rows >= 0]
        return (int(rows.min()), int(rows.max())) if len(rows) else None

    @cached_property
    def inputs(self) -> list[SplitInput]:
        """What is copied in at its beginning, in order: ``name``, ``bytes``, ``is_weight``."""
        s, cut = self.schedule, self.schedule.cut
        a, b = int(cut.first_input[self.number]), int(cut.first_input[self.number + 1])
        name = s.graph.name
        return [
            SplitInput(name[row], size, bool(s.of_weight[row]))
            for row, size in zip(cut.source[a:b].tolist(), s.arena.copied[a:b].tolist())
        ]

    def row(self) -> list:
        """Backend, first and end node, first and last computing node, number and bytes of activations, of weights."""
        acts = [i.bytes for i in self.inputs if not i.is_weight]
        weights = [i.bytes for i in self.inputs if i.is_weight]
        return [
            self.backend, self.start, self.end, self.first, self.last, len(acts), sum(acts), len(weights), sum(weights)
        ]  # fmt: skip


@dataclass(frozen=True, eq=False)
class Schedule:
    """One graph, scheduled. ``backends`` are names, the GPUs first, the CPU last."""

    graph: Graph
    backends: tuple[str, ...]
    buffers: tuple[str, ...]  #: name of each backend's compute buffer
    extra: int  #: bytes that the host's buffer adds to its size
    held: np.ndarray
    weight: np.ndarray  #: bool per row: a weight
    able: np.ndarray
    wanted: np.ndarray
    at: Assignment
    cut: Splits
    arena: Arena
    n_copies: int

    @property
    def n_tokens(self) -> int:
        """Tokens of the evaluation."""
        return self.graph.n_tokens

    @property
    def graph_nodes(self) -> int:
        """Nodes of the graph, as the reference prints them."""
        return self.graph.n_nodes

    @property
    def graph_splits(self) -> int:
        """Splits of the graph, as the reference prints them."""
        return len(self.cut)

    @cached_property
    def compute_bytes(self) -> dict[str, int]:
        """Bytes of each backend's compute buffer; 1 for a backend that needs none, as in the reference."""
        sizes = self.arena.peak.tolist()
        sizes[-1] += self.extra if sizes[-1] else 0
        return {name: max(1, size) for name, size in zip(self.buffers, sizes)}

    @property
    def compute_mib(self) -> list[tuple[str, float]]:
        """(buffer, MiB) of each compute buffer that is printed: of those larger than a byte."""
        return [(name, two_decimals(size / MIB)) for name, size in self.compute_bytes.items() if size > 1]

    @cached_property
    def splits(self) -> list[Split]:
        """The splits in order."""
        return [Split(self, i) for i in range(len(self.cut))]

    @cached_property
    def computing(self) -> list[tuple[int, int]]:
        """Rows of the first and the last computing node of each split."""
        g = self.graph
        rows = np.flatnonzero(~g.is_view_op[g.n_leafs :])
        first = np.searchsorted(rows, self.cut.start)
        last = np.searchsorted(rows, self.cut.end) - 1
        return list(zip((rows[first] + g.n_leafs).tolist(), (rows[last] + g.n_leafs).tolist()))

    @property
    def backend_seq(self) -> str:
        """One letter per split: C the CPU, hex digits the GPUs by number."""
        cpu = len(self.backends) - 1
        digits = [self.backends[i].removeprefix("CUDA") for i in range(cpu)]
        letters = [format(int(d), "x") if d.isdigit() else format(i, "x") for i, d in enumerate(digits)] + ["C"]
        return "".join(letters[i] for i in self.cut.backend.tolist())

    @cached_property
    def of_weight(self) -> np.ndarray:
        """bool per row: a weight, or a view of one."""
        root = self.graph.view_src
        return self.weight | (self.weight[root] & (root >= 0))

    @cached_property
    def _copied(self) -> tuple[int, int]:
        of_weights = self.of_weight[self.cut.source]
        return int(self.arena.copied[of_weights].sum()), int(self.arena.copied[~of_weights].sum())

    @property
    def weight_bytes_copied(self) -> int:
        """Bytes of weights that are copied between backends in one evaluation."""
        return self._copied[0]

    @property
    def other_bytes_copied(self) -> int:
        """Bytes of activations and inputs that are copied between backends in one evaluation."""
        return self._copied[1]


def schedule(graph: Graph, placed: Placement, rules: Rules, policy: tuple[tuple[str, bool], ...] = ()) -> Schedule:
    """Schedules a graph. policy: (op name, may it be offloaded), in order; ``ALL`` stands for every op."""
    n_gpu = len(placed.gpus)
    backends = (*(gpu.name for gpu in placed.gpus), "CPU")
    held, weight = _held(graph, placed)
    able = np.ones((len(graph), n_gpu + 1), bool)
    by_cc: dict[int, np.ndarray] = {}
    for i, gpu in enumerate(placed.gpus):
        if gpu.cc not in by_cc:
            by_cc[gpu.cc] = supports(graph, rules, gpu.cc)
        able[:, i] = by_cc[gpu.cc]
    wanted = wants(graph, rules)
    slots = np.array([n_gpu if slot < 0 else slot for slot in placed.slots.layers], np.int8)
    offload = wanted & allowed(policy)[graph.op_id]
    at = assign(graph, held, weight, able, offload, n_gpu + 1, slots, rules.newer)
    if (graph.op_id == OP["REDUCE"]).any():
        _check_parts(graph, at, able)
    cut = split(graph, at, held, weight, rules.max_inputs, n_gpu + 1)
    n_copies = placed.n_copies or 1
    arena = arenas(graph, at, cut, held, n_copies, not rules.newer, n_gpu + 1)
    buffers = (*backends[:-1], placed.host_name)
    extra = 0 if placed.pinned else 32
    return Schedule(graph, backends, buffers, extra, held, weight, able, wanted, at, cut, arena, n_copies)


def _check_parts(graph: Graph, at: Assignment, able: np.ndarray) -> None:
    """-sm graph gives each part to its GPU, whether that GPU can compute it or not."""
    rows = np.arange(graph.n_leafs, len(graph))
    rows = rows[~graph.is_view_op[rows] & ~able[rows, at.backend[rows]]]
    if len(rows):
        node = graph[int(rows[0])]
        kind = graph.type[node.src[0]]
        raise SettingsError(
            f"-sm graph: {node.name} ({node.op} of {kind}) would be given to a GPU that has no kernel for it; use -sm layer"
        )


def _held(graph: Graph, placed: Placement) -> tuple[np.ndarray, np.ndarray]:
    """Backend of each row that has memory before the graph runs (-1: none), and whether it is a weight."""
    cpu = len(placed.gpus)
    held = np.full(len(graph), -1, np.int8)
    rows = np.arange(graph.n_leafs)
    tensor = graph.tensor[rows]
    weight = np.zeros(len(graph), bool)
    weight[rows] = tensor >= 0
    held[rows] = np.where(tensor >= 0, placed.backend[placed.place[tensor]], -1)
    cache = rows[(tensor < 0) & ((graph.flags[rows] & 1) == 0)]
    slots = np.array([cpu if slot < 0 else slot for slot in placed.kv_slots], np.int8)
    held[cache] = slots[graph.layer[cache]]
    own = np.array([-1 if "scratch" in p else p.get("gpu", -2) for _, p in graph.labels], np.int8)[graph.label_id[rows]]
    held[rows[own != -2]] = own[own != -2]  # parts of a divided cache, and what a REDUCE will fill
    return held, weight


def allowed(policy: tuple[tuple[str, bool], ...]) -> np.ndarray:
    """bool by op number: the op may be offloaded. All may, until the policy says otherwise."""
    allowed = np.ones(len(OP), bool)
    for op, on in policy:
        if op == ALL:
            allowed[:] = on
        elif op in OP:
            allowed[OP[op]] = on
    return allowed
