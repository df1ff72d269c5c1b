"""Paths on which the same tokens can be computed, for ``crosscheck``: each shows the values of every node.

``PATHS`` is the registry: name -> function(model, settings of the other side) -> Path. A path evaluates ``tokens`` and calls
``see(values, row, start, n)`` for each node that computes something, in graph order; what is written into ``values.array(row)``
is what later nodes read.
"""

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from ..errors import SettingsError
from ..graph import Graph
from ..machine import Machine
from ..models import Model
from ..models.build import build
from ..models.context import context
from ..settings import Settings
from .naive import NaiveValues, Weights, compute
from .session import CpuSession, Session, n_cells
from .trace import Trace, Values

See = Callable[[Values, int, int, int], None]


class Path(Protocol):
    """``label`` for messages; ``settings`` whose graph is computed; ``run`` once, then ``close``. ``half``: products with
    float weights may round activations to half."""

    label: str
    settings: Settings
    half: bool

    def run(self, tokens: np.ndarray, single: int, see: See) -> None: ...

    def type_of(self, name: str) -> str: ...

    def close(self) -> None: ...


def parts(n: int, n_ubatch: int, single: int) -> list[tuple[int, int]]:
    """(first token, how many) of each evaluation: ubatches, then the last ``single`` tokens one by one."""
    prompt = n - single
    ubatches = [(at, min(n_ubatch, prompt - at)) for at in range(0, prompt, n_ubatch)]
    return [*ubatches, *((prompt + i, 1) for i in range(single))]


class FastPath:
    """The engine's kernels under some settings, on the CPU."""

    half = False

    def __init__(self, model: Model, settings: Settings):
        self.settings, self.label = settings, settings.command() or "the defaults"
        self.session = self._session(model)

    def _session(self, model: Model) -> Session:
        return CpuSession(model, self.settings)

    def run(self, tokens: np.ndarray, single: int, see: See) -> None:
        for start, n in parts(len(tokens), self.session.context.n_ubatch, single):
            self.session.observer = _Tell(see, start, n)
            self.session.eval(tokens[start : start + n], n)

    def type_of(self, name: str) -> str:
        return self.session.weights[name].format.name

    def close(self) -> None:
        self.session.close()


class CudaPath(FastPath):
    """A hybrid session: what the settings put on GPUs is computed there, all layers where -ngl is not given.

    machine, runtimes: the machine to plan for and a runtime per GPU; those that are here if not given. Raises SettingsError
    where there is no GPU that can be used.
    """

    half = True

    def __init__(self, model: Model, settings: Settings, machine: Machine | None = None, runtimes: Any = None):
        self._machine, self._runtimes = machine or Machine.detect(), runtimes
        if runtimes is None:
            from ikexplore_kernels.cuda.build import available

            can, reason = available()
            if not can or not self._machine.gpus:
                raise SettingsError(f"the path 'cuda' needs a GPU: {reason if not can else 'none was detected'}")
        if "n_gpu_layers" not in settings.given:
            settings = settings.replace(n_gpu_layers=999)
        super().__init__(model, settings)
        self.label = f"{self.label} on {self.session.computed_on}"

    def _session(self, model: Model) -> Any:
        from .hybrid.session import HybridSession

        return HybridSession(model, self.settings, machine=self._machine, runtimes=self._runtimes)


class _Tell:
    """Observer that passes every node on."""

    def __init__(self, see: See, start: int, n: int):
        self.tell, self.start, self.n = see, start, n

    def wants(self, graph: Graph, row: int) -> bool:
        return True

    def see(self, trace: Trace, row: int) -> None:
        self.tell(trace, row, self.start, self.n)


class _Memory(Values):
    """Memory of the naive path: an array per tensor; caches stay from one evaluation to the next."""

    def __init__(self, graph: Graph, weights: Weights, caches: dict[str, np.ndarray], tokens: np.ndarray, past: int):
        super().__init__(graph)
        self.weights, self.caches, self._past = weights, caches, past
        n = np.arange(len(tokens), dtype=np.int32)
        self.inputs = {"inp_tokens": tokens.astype(np.int32), "inp_pos": past + n, "inp_out_ids": n}
        self.nodes: dict[int, np.ndarray] = {}

    @property
    def past(self) -> int:
        return self._past

    def bytes_of(self, root: int) -> np.ndarray:
        name, g = self.graph.name[root], self.graph
        if root >= g.n_leafs:
            if root not in self.nodes:
                self.nodes[root] = np.zeros(int(g.nb[root][3] * g.ne[root][3]), np.uint8)
            return self.nodes[root]
        if name.startswith("cache_"):
            if name not in self.caches:
                self.caches[name] = np.zeros(int(g.nb[root][3] * g.ne[root][3]), np.uint8)
            return self.caches[name]
        if name in self.weights:
            return self.weights.raw(name)
        return self.inputs[name].view(np.uint8)


class NaivePath:
    """Plain NumPy on the weights as they are in the file, over the graph that these settings give."""

    half = False

    def __init__(self, model: Model, settings: Settings):
        self.model, self.settings, self.label = model, settings, "naive"
        self.weights, self.context = Weights(model, settings), context(model, settings)

    def run(self, tokens: np.ndarray, single: int, see: See) -> None:
        caches: dict[str, np.ndarray] = {}
        for start, n in parts(len(tokens), self.context.n_ubatch, single):
            memory = _Memory(self._graph(start, n), self.weights, caches, tokens[start : start + n], start)
            values = NaiveValues(self.weights, memory)
            graph = memory.graph
            for row in range(graph.n_leafs, len(graph)):
                if not graph.is_view_op[row] and not is_mask(graph, row):
                    store(values, row, compute(values, row))
                    see(values, row, start, n)

    def _graph(self, past: int, n: int) -> Graph:
        about = {"n_tokens": n, "n_kv": n_cells(self.context, n, past + n), "n_outputs": n}
        return build(self.model, self.settings, None, tensors=self.weights.tensors, corrected=True, **about)

    def type_of(self, name: str) -> str:
        return self.weights.type(name)

    def close(self) -> None:
        """Nothing to end."""


def is_mask(graph: Graph, row: int) -> bool:
    """Whether the row is a copy of a mask, which nothing reads."""
    source = int(graph.srcs[row][0])
    return graph.op[row] == "CPY" and graph.name[source].startswith("KQ_mask")


def store(values: Values, row: int, x: np.ndarray) -> None:
    """Put values where the row's are, in the row's type."""
    to, kind = values.array(row), values.graph.type[row]
    if to.dtype == np.uint8 or kind == "bf16":
        from ikexplore_kernels.formats import get

        n = int(values.graph.ne[row][0])
        to[...] = get(kind).encode(np.ascontiguousarray(x, np.float32).reshape(-1, n)).view(to.dtype).reshape(to.shape)
    else:
        to[...] = np.asarray(x).reshape(to.shape)


PATHS: dict[str, Callable[[Model, Settings], Path]] = {
    "cuda": CudaPath,
    "fast": FastPath,
    "naive": NaivePath,
    "repacked": lambda model, settings: FastPath(model, settings.replace(rtr=True)),
}


def path(model: Model, what: Any, other: Settings) -> Path:
    """A path from a name in ``PATHS``, from a function like those there, from Settings, from flags as text, or None (the
    other side's settings).

    Raises SettingsError for a name that is none.
    """
    if isinstance(what, str) and what in PATHS:
        return PATHS[what](model, other)
    if callable(what):
        return what(model, other)
    if what is None or isinstance(what, Settings):
        return FastPath(model, _roomy(what or other, other))
    if isinstance(what, str) and (not what.strip() or what.strip().startswith("-")):
        return FastPath(model, _roomy(Settings.parse(what, profile=other.profile), other))
    raise SettingsError(f"{what!r} is no path; give Settings, flags as text, or one of {', '.join(sorted(PATHS))}")


def _roomy(settings: Settings, other: Settings) -> Settings:
    return settings.replace(n_ctx=other.n_ctx)
