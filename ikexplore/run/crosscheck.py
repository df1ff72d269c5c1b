"""The same tokens on two paths: the first node at which they part.

The first path runs and its nodes are kept. Then the second runs, and after each node that both have, its result is compared and
replaced by the first path's: every node is judged on equal inputs, so that rounding does not pile up and a fault shows where
it is made. What a node may differ by follows from its types (``_Check._rounding``), and from those of the nodes before it
that only one path has (``_Check._relative``).
"""

import re
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from ikexplore_kernels.formats import get

from ..errors import SettingsError
from ..graph import Graph
from ..models import Model
from ..models.build import build
from ..models.context import context
from ..qtypes import encode_error
from ..settings import Settings
from .imatrix import PRODUCTS
from .naive import NaiveValues, Weights, compute
from .paths import Path, is_mask, path, store
from .trace import Values

FLOAT = 2e-5  #: relative difference of float32 sums in another order and of fast exponentials
SLACK = 4.0  #: a node may differ by so many times what rounding alone does to it
APART = 10.0  #: the same behind nodes that only one path has: K's rounding is multiplied by the size of scores, V's adds to it
EIGHT = 0.005  #: relative rounding of normally distributed activations to 8 bits in blocks of 32
BF16 = 2.0**-9  #: relative rounding of weights that -rtr turns into bf16
TOKENS = 40
Key = tuple[Any, ...]


@dataclass(frozen=True)
class Difference:
    """``node`` (name in the graph), its ``op``, ``type`` (of its weight, or of what it computes with), ``weight`` (name or "");
    ``error``: relative L2 norm of the difference, ``tolerance``: what it may be; ``worst``: the largest one of a single
    value, relative to the largest value; ``tokens``: (first, how many) of the evaluation; ``a`` and ``b``: the paths."""

    node: str
    op: str
    type: str
    weight: str
    error: float
    tolerance: float
    worst: float
    tokens: tuple[int, int]
    a: str
    b: str

    def __str__(self) -> str:
        what = f" with {self.weight}" if self.weight else ""
        one = f"token {self.tokens[0]}" if self.tokens[1] == 1 else f"tokens {self.tokens[0]} to {sum(self.tokens) - 1}"
        return (f"[{self.a}] and [{self.b}] part at node {self.node}: {self.op}{what} in {self.type} differs by "
                f"{100 * self.error:.3g} % where {100 * self.tolerance:.2g} % may be rounding (worst value "
                f"{100 * self.worst:.3g} % of the largest; {one}); all nodes before it agree")


class _Parted(Exception):
    """The second path need not go on."""


def crosscheck(model: Model, a: Any = None, b: Any = "naive", tokens: Any = None, *, single: int = 2,
               settings: Settings | None = None) -> Difference | None:
    """None where two paths through ``model`` agree node by node, else the first Difference.

    a, b: Settings, flags as text ("-rtr -ub 16"), or a name in ``run.paths.PATHS``: "naive" (NumPy, weights decoded from
    the file, under the other side's settings), "repacked" (the other side's settings with -rtr), "fast" (on the CPU), "cuda"
    (all layers on GPUs, or as many as -ngl says). None: ``settings``.
    tokens: ids or a text; 40 fixed random ids if not given. The last ``single`` of them are evaluated one by one, so that the
    kernels of prompts and of generation are both checked.
    All nodes of the first path are kept in memory: give few tokens for large models.
    Raises SettingsError for paths and tokens that make no sense, ModelError for ops that a path does not have.

    >>> import ikexplore as ikx
    >>> print(ikx.crosscheck(ikx.demo.model(), "-ub 16", "-ub 16 -rtr", tokens="The sea was calm."))
    None
    """
    ids = _ids(model, tokens)
    if not 0 <= single < len(ids):
        raise SettingsError(f"{len(ids)} tokens with the last {single} one by one: give more tokens than that")
    given = next((s for s in (a, b, settings) if isinstance(s, Settings)), Settings())
    given = given.replace(n_ctx=given.n_ctx or max(256, len(ids)))
    first = path(model, a, given)
    try:
        second = path(model, b, first.settings)
        try:
            return _compare(model, first, second, ids, single)
        finally:
            second.close()
    finally:
        first.close()


def _ids(model: Model, tokens: Any) -> np.ndarray:
    if tokens is None:
        return np.random.default_rng(0).integers(0, model.hparams.n_vocab, TOKENS)
    if isinstance(tokens, str):
        from .text import tokenize

        tokens = tokenize(model, tokens)
    ids = np.asarray(tokens, np.int64).reshape(-1)
    if len(ids) == 0 or ids.min() < 0 or ids.max() >= model.hparams.n_vocab:
        raise SettingsError(f"tokens are 1 or more numbers from 0 to {model.hparams.n_vocab - 1}, or a text")
    return ids


def _compare(model: Model, first: Path, second: Path, ids: np.ndarray, single: int) -> Difference | None:
    kept = _Kept(model, first.settings)
    first.run(ids, single, kept.see)
    check = _Check(model, kept, first, second)
    with suppress(_Parted):
        second.run(ids, single, check.see)
    return check.found


# --- which node is which ----------------------------------------------------------------------------------------------

_UNNAMED = re.compile(r"\bnode_\d+|\bleaf_\d+")


def keys(graph: Graph) -> dict[int, Key]:
    """A key per computing row that is the same in graphs of other settings: op, name (of an unnamed node: what it is made
    of) and how often that occurred before."""
    labels: dict[int, Any] = {}
    seen: Counter = Counter()
    found = {}
    names, ops, srcs = graph.name, graph.op, graph.srcs.tolist()
    for row in range(len(graph)):
        if row < graph.n_leafs or not (graph.is_view_op[row] or _UNNAMED.search(names[row])):
            labels[row] = names[row]
        else:
            labels[row] = hash((ops[row], *(labels.get(s) for s in srcs[row] if s >= 0)))
        if row >= graph.n_leafs and not graph.is_view_op[row] and not is_mask(graph, row):
            base = (ops[row], labels[row])
            seen[base] += 1
            found[row] = (*base, seen[base])
    return found


Axes = tuple[int | None, int | None]


def _axes(model: Model, settings: Settings) -> dict[Key, Axes]:
    """Per key: the axis (C order) that tokens lie on, and the one that cells of the cache lie on, where there is one."""
    n_ctx, tensors = context(model, settings).n_ctx, Weights(model, settings).tensors
    few, many, deep = (build(model, settings, None, tensors=tensors, n_tokens=n, n_kv=cells, n_outputs=n, corrected=True)
                       for n, cells in ((4, n_ctx), (8, n_ctx), (4, 2 * n_ctx)))
    found = {}
    for row, key in keys(few).items():
        grown = (np.flatnonzero(few.ne[row] != other.ne[row]) for other in (many, deep))
        tokens, cells = (3 - int(axes[0]) if len(axes) else None for axes in grown)
        found[key] = tokens, cells
    return found


# --- the first path ---------------------------------------------------------------------------------------------------


class _Kept:
    """The first path's nodes: per key the parts (first token, tokens, values, cached sources)."""

    def __init__(self, model: Model, settings: Settings):
        self.axes = _axes(model, settings)
        self.parts: dict[Key, list[tuple[int, int, np.ndarray, dict[int, np.ndarray]]]] = {}
        self._keys: dict[int, tuple[Graph, dict[int, Key]]] = {}

    def keys(self, graph: Graph) -> dict[int, Key]:
        if id(graph) not in self._keys:
            self._keys[id(graph)] = graph, keys(graph)  # the graph stays alive, so that its id stays its own
        return self._keys[id(graph)][1]

    def see(self, values: Values, row: int, start: int, n: int) -> None:
        if is_mask(values.graph, row):
            return
        key = self.keys(values.graph)[row]
        part = (start, n, seen_values(values, row, n, self.axes.get(key, (None, None))), cached_sources(values, row))
        self.parts.setdefault(key, []).append(part)

    def find(self, key: Key, start: int, n: int, shape: tuple[int, ...]) -> tuple[np.ndarray, dict[int, np.ndarray]] | None:
        """Values of tokens start to start + n, and the cached sources that they were made with; None where not known."""
        parts = self.parts.get(key, [])
        for s, m, x, cached in parts:
            if (s, m) == (start, n):
                return (x, cached) if x.shape == shape else None
        axis, cells = self.axes.get(key, (None, None))
        if axis is None or cells is not None or not parts:
            return None
        per = [x.shape[axis] // m for _, m, x, _ in parts]
        if len({(*x.shape[:axis], n, *x.shape[axis + 1 :]) for n, (_, _, x, _) in zip(per, parts)}) > 1:
            return None
        whole = np.concatenate([x for _, _, x, _ in parts], axis=axis)
        x = np.take(whole, range(start * per[0], (start + n) * per[0]), axis=axis)
        later = next((c for s, m, _, c in parts if s + m >= start + n), {})
        return (x, later) if x.shape == shape else None


def seen_values(values: Values, row: int, n: int, axes: Axes) -> np.ndarray:
    """A copy of a row's values; where it has some per cell, those of cells that are empty or not to be seen are 0."""
    x, (tokens, cells) = np.array(values.floats(row)), axes
    if cells is None:
        return x
    last = np.full(x.ndim * (1,), values.past + n - 1)
    if tokens is not None and x.shape[tokens] == n:
        last = values.past + np.arange(n).reshape([n if i == tokens else 1 for i in range(x.ndim)])
    cell = np.arange(x.shape[cells]).reshape([-1 if i == cells else 1 for i in range(x.ndim)])
    return np.where(cell <= last, x, 0)


def cached_sources(values: Values, row: int) -> dict[int, np.ndarray]:
    """Source number -> its values, for sources that look into the cache."""
    g = values.graph
    if g.op[row] == "CPY":
        return {}
    found = {}
    for i, s in enumerate(g.srcs[row].tolist()):
        if s >= 0 and g.name[values.root[s]].startswith("cache_"):
            found[i] = np.array(values.floats(s))
    return found


# --- the second path --------------------------------------------------------------------------------------------------


class _Check:
    """Compares each node of the second path with the first's and goes on from that."""

    def __init__(self, model: Model, kept: _Kept, first: Path, second: Path):
        self.kept, self.first, self.second = kept, first, second
        self.weights = Weights(model, second.settings)
        self.found: Difference | None = None
        self.compared = 0
        self._start = -1
        self._apart: dict[int, float] = {}  # rounding of nodes that only this path has

    def see(self, values: Values, row: int, start: int, n: int) -> None:
        graph = values.graph
        if is_mask(graph, row):
            return
        key = self.kept.keys(graph)[row]
        got = seen_values(values, row, n, self.kept.axes.get(key, (None, None)))
        known = self.kept.find(key, start, n, got.shape)
        if start != self._start:
            self._start, self._apart = start, {}
        apart = max((self._apart.get(values.root[s], 0.0) for s in graph.srcs[row].tolist() if s >= 0), default=0.0)
        if known is None:
            self._apart[row] = max(apart, self._relative(values, row))
            return
        want, cached = known
        self.compared += 1
        self._judge(values, row, start, n, got, want, cached, apart)
        if graph.op[row] != "CPY":  # a cache keeps its own type
            store(values, row, want)

    def _relative(self, values: Values, row: int) -> float:
        """Rounding of a node that the first path has not, relative to its result: of the caches that it reads, of 8 bits."""
        g = values.graph
        sources = [s for s in g.srcs[row].tolist() if s >= 0]
        found = [encode_error(k) for side in (self.first, self.second) for k in _cache_types(side.settings)
                 if any(g.name[values.root[s]].startswith("cache_") for s in sources)]
        weights = [g.name[values.root[s]] for s in sources if g.op[row] in PRODUCTS and g.name[values.root[s]] in self.weights]
        found += [EIGHT for name in weights if not get(self.weights.type(name)).dense]
        return max(found, default=0.0)

    def _judge(self, values: Values, row: int, start: int, n: int, got: np.ndarray, want: np.ndarray,
               cached: dict[int, np.ndarray], apart: float) -> None:
        if values.graph.op[row] == "ARGSORT":
            got, want = (_chosen(values, row, x) for x in (got, want))
        norm, top = float(np.linalg.norm(want)), float(np.abs(want).max(initial=0))
        off = got.astype(np.float64) - want
        error, worst = float(np.linalg.norm(off)), float(np.abs(off).max(initial=0))
        if error <= FLOAT * norm and worst <= FLOAT * top:
            return
        rounding = self._rounding(values, row, want, cached)
        may, may_one = (FLOAT + APART * apart) * norm, (FLOAT + APART * apart) * top
        if rounding is not None:
            may += SLACK * float(np.linalg.norm(rounding))
            may_one += SLACK * float(np.abs(rounding).max(initial=0))
        if error <= may and worst <= may_one:
            return
        kind, weight = self._type(values, row)
        self.found = Difference(
            values.graph.name[row], values.graph.op[row], kind, weight, error / norm if norm else np.inf,
            may / norm if norm else 0.0, worst / top if top else np.inf, (start, n), self.first.label, self.second.label)
        raise _Parted

    def _rounding(self, values: Values, row: int, want: np.ndarray, cached: dict[int, np.ndarray]) -> np.ndarray | None:
        """What rounding alone does to a node's result, element by element; None where nothing is rounded."""
        g, op = values.graph, values.graph.op[row]
        exact = NaiveValues(self.weights, values)
        if op in PRODUCTS and exact.is_weight(exact.sources(row)[0]):
            names = [g.name[s] for s in g.srcs[row].tolist()[: PRODUCTS[op]] if s >= 0]
            if all(get(self.weights.type(name)).dense for name in names):
                kinds = {side.type_of(name) for name in names for side in (self.first, self.second)}
                if self.first.half or self.second.half:
                    x = int(g.srcs[row][PRODUCTS[op]])
                    half = NaiveValues(self.weights, values, {x: exact.floats(x).astype(np.float16).astype(np.float32)})
                    return compute(half, row) - compute(exact, row)
                return BF16 * np.abs(want) if any(k.startswith("bf16") for k in kinds) else None
            x = int(g.srcs[row][PRODUCTS[op]])
            plain = np.ascontiguousarray(exact.floats(x))
            eight = NaiveValues(self.weights, values, {x: eight_bits(plain)})
            return compute(eight, row) - compute(exact, row)
        if op == "CPY":
            kinds = {g.type[row], *(k for k in _cache_types(self.first.settings)), *(_cache_types(self.second.settings))}
            rows = np.ascontiguousarray(exact.floats(exact.sources(row)[0]), np.float32).reshape(want.shape)
            return np.sqrt(sum(np.square(_rounded(rows, kind) - rows) for kind in kinds))
        if cached:
            instead = {int(g.srcs[row][i]): x for i, x in cached.items()}
            if any(exact.floats(s).shape != x.shape for s, x in instead.items()):
                return None
            return compute(NaiveValues(self.weights, values, instead), row) - compute(exact, row)
        return None

    def _type(self, values: Values, row: int) -> tuple[str, str]:
        """(type, names of weights) of a node: as the path has it that is not the naive one."""
        g = values.graph
        count = PRODUCTS.get(g.op[row], 1 if g.op[row] == "GET_ROWS" else 0)
        names = [g.name[s] for s in g.srcs[row].tolist()[:count] if s >= 0 and g.name[s] in self.weights]
        if names:
            side = self.first if self.second.label == "naive" else self.second
            return "+".join(dict.fromkeys(side.type_of(n) for n in names)), ", ".join(names)
        caches = [g.type[s] for s in g.srcs[row].tolist() if s >= 0 and g.name[values.root[s]].startswith("cache_")]
        return "+".join(dict.fromkeys(caches)) or g.type[row], ""


def _cache_types(settings: Settings) -> tuple[str, str]:
    return settings.cache_type_k, settings.cache_type_v


def _rounded(x: np.ndarray, kind: str) -> np.ndarray:
    """``x`` stored as ``kind`` and read again; as it is where a row is no whole number of blocks."""
    f = get(kind)
    if x.shape[-1] % f.cols_multiple:
        return x
    return f.decode(f.encode(x.reshape(-1, x.shape[-1])), x.shape[-1]).reshape(x.shape)


def eight_bits(x: np.ndarray) -> np.ndarray:
    """Activations as integer products see them (kernels' activations): blocks of 32 columns in 127, 125 or 123 steps."""
    blocks = x.reshape(*x.shape[:-1], -1, 32).astype(np.float32)
    top = np.abs(blocks).max(axis=-1, keepdims=True)
    best, codes = np.full(top.shape, np.inf, np.float32), np.zeros_like(blocks)
    for steps in (127, 125, 123):
        step = top / np.float32(steps)
        found = np.rint(np.divide(blocks, step, out=np.zeros_like(blocks), where=step > 0))
        error = ((blocks - found * step) ** 2).sum(axis=-1, keepdims=True)
        codes, best = np.where(error < best, found, codes), np.minimum(error, best)
    squares = (codes * codes).sum(axis=-1, keepdims=True)
    scale = np.divide((blocks * codes).sum(axis=-1, keepdims=True), squares, out=np.zeros_like(top), where=squares > 0)
    return (codes * scale).reshape(x.shape)


def _chosen(values: Values, row: int, order: np.ndarray) -> np.ndarray:
    """The scores behind the row numbers that later nodes use: equal scores may come in any order."""
    g = values.graph
    used = max((int(g.ne[i][0]) for i in range(row + 1, len(g)) if values.root[i] == row and g.op[i] == "VIEW"),
               default=order.shape[-1])
    scores = values.floats(int(g.srcs[row][0]))
    first = np.clip(order[..., :used].astype(np.int64), 0, scores.shape[-1] - 1)
    return np.take_along_axis(scores, first, axis=-1)
