"""What one evaluation of a plan amounts to: bytes, operations and copies, summed over like nodes. Nothing is timed here."""

import itertools
from dataclasses import dataclass

import numpy as np

from ..graph.graph import Graph
from ..graph.ops import OP
from ..graph.types import BLOCK, BLOCK_BYTES, ROW_META
from ..schedule.plan import Plan
from ..schedule.schedule import Schedule, schedule

_PRODUCTS = ("MUL_MAT", "MUL_MAT_ID", "MOE_FUSED_UP_GATE", "FUSED_UP_GATE")
_EXPERTS = ("MUL_MAT_ID", "MOE_FUSED_UP_GATE")
_TWO = ("MOE_FUSED_UP_GATE", "FUSED_UP_GATE")


@dataclass(frozen=True)
class Products:
    """Products with weights, one row per weight of a node, or summed by (backend, type, experts, home).

    ``flops`` 2 x multiplications; ``weights`` numbers of weights and ``nbytes`` their bytes as far as they are touched:
    of experts, the share that so many tokens should touch; ``experts`` touched; ``nodes`` operations.
    """

    backend: np.ndarray
    type_id: np.ndarray
    expert: np.ndarray
    home: np.ndarray
    flops: np.ndarray
    weights: np.ndarray
    nbytes: np.ndarray
    experts: np.ndarray
    nodes: np.ndarray

    def __len__(self) -> int:
        return len(self.flops)

    def summed(self) -> "Products":
        """Sums over rows of one backend, type, kind and home."""
        key = ((self.backend * 1024 + self.type_id) * 2 + self.expert) * 64 + self.home + 1
        _, first, inverse = np.unique(key, return_index=True, return_inverse=True)
        same = (getattr(self, name)[first] for name in ("backend", "type_id", "expert", "home"))
        sums = (np.bincount(inverse, getattr(self, name), len(first)) for name in
                ("flops", "weights", "nbytes", "experts", "nodes"))  # fmt: skip
        return Products(*same, *sums)


@dataclass(frozen=True)
class Attention:
    """Attention, one row per (backend, kind, query heads that share a KV head, query heads).

    ``flops``; ``nbytes`` of cache that is read, once for all heads that share it, and its ``numbers`` (elements).
    """

    backend: np.ndarray
    kind: list[str]
    shared: np.ndarray
    heads: np.ndarray
    flops: np.ndarray
    nbytes: np.ndarray
    numbers: np.ndarray


@dataclass(frozen=True)
class Work:
    """One evaluation of ``n_tokens`` tokens with ``n_kv`` cells of cache. Arrays by backend have the CPU last."""

    n_tokens: int
    n_kv: int
    products: Products
    attention: Attention
    other_bytes: np.ndarray  #: per backend: read and written by everything else
    other_nodes: np.ndarray  #: per backend
    weight_copies: dict[tuple[int, bool], tuple[float, int]]  #: (to, from pinned memory) -> bytes, copies
    copies: dict[tuple[int, int], tuple[float, int]]  #: (from, to) -> bytes, copies of activations
    changes: dict[tuple[int, int], int]  #: (backend, next backend) -> how often the work goes on elsewhere
    splits: int


def work(plan: Plan, n_tokens: int, n_kv: int, scheduled: Schedule | None = None) -> Work:
    """The work of ``n_tokens`` tokens (only the last one's logits wanted) that read ``n_kv`` cells, -op in effect."""
    if scheduled is None:
        scheduled = evaluation(plan, n_tokens, n_kv)
    g, s = scheduled.graph, scheduled
    rows = np.arange(g.n_leafs, len(g))
    rows = rows[~g.is_view_op[rows]]
    backend = s.at.backend[rows].astype(np.int64)
    first = g.srcs[rows, 0]
    product = np.isin(g.op_id[rows], [OP[op] for op in _PRODUCTS])
    weight = product & s.of_weight[first]
    flash = g.op_id[rows] == OP["FLASH_ATTN_EXT"]
    inner = product & ~weight
    rest = ~product & ~flash
    n = len(s.backends)
    return Work(
        n_tokens,
        n_kv,
        node_products(s)[2].summed(),
        _attention(g, rows[flash], backend[flash], rows[inner], backend[inner]),
        np.bincount(backend[rest], _moved(g, rows[rest]), n),
        np.bincount(backend[~weight], minlength=n).astype(float),
        *_copies(plan, s),
        _changes(s),
        len(s.cut),
    )


def evaluation(plan: Plan, n_tokens: int, n_kv: int) -> Schedule:
    """The graph of ``n_tokens`` tokens over ``n_kv`` cells, scheduled with the offload policy."""
    graph = plan.graph_of(n_tokens, 1, n_kv)
    return schedule(graph, plan.placement, plan.rules, plan.settings.offload_policy)


def _row_bytes(kind: np.ndarray, columns: np.ndarray) -> np.ndarray:
    return ROW_META[kind] + columns * BLOCK_BYTES[kind] / BLOCK[kind]


def node_products(s: Schedule) -> tuple[np.ndarray, np.ndarray, Products]:
    """(graph row, graph row of the weight, its share of the work) of every weight that a product reads.

    Nodes that multiply two weights (up and gate) give two rows, each with half of the node's work.
    """
    g = s.graph
    rows = np.arange(g.n_leafs, len(g))
    rows = rows[np.isin(g.op_id[rows], [OP[op] for op in _PRODUCTS]) & ~g.is_view_op[rows]]
    rows = rows[s.of_weight[g.srcs[rows, 0]]]
    gate = np.where(np.isin(g.op_id[rows], [OP[o] for o in _TWO]), g.srcs[rows, 1], -1)
    merged = np.where(np.isin(g.op_id[rows], [OP[o] for o in _TWO]) & (gate < 0), 2.0, 1.0)  # both in one tensor
    every = np.concatenate([rows, rows[gate >= 0]])
    weight = np.concatenate([g.srcs[rows, 0], gate[gate >= 0]])
    return every, weight, _shares(s, every, weight, np.concatenate([merged, np.ones((gate >= 0).sum())]))


def _shares(s: Schedule, rows: np.ndarray, w: np.ndarray, times: np.ndarray) -> Products:
    g = s.graph
    op = g.op_id[rows]
    ne, kind = g.ne[w].astype(float), g.type_id[w]
    size = _row_bytes(kind, g.ne[w, 0]) * ne[:, 1] * ne[:, 2] * ne[:, 3]
    share, touched = np.ones(len(rows)), np.zeros(len(rows))
    for name, at in (("MUL_MAT_ID", 2), ("MOE_FUSED_UP_GATE", 3)):
        i = np.flatnonzero(op == OP[name])
        used, tokens, total = g.ne[g.srcs[rows[i], at], 0], g.ne[rows[i], 2], ne[i, 2]
        share[i] = 1.0 - (1.0 - np.minimum(1.0, used / total)) ** tokens  # expected share that a micro-batch touches
        touched[i] = share[i] * total
    return Products(
        s.at.backend[rows].astype(np.int64),
        kind.astype(np.int64),
        np.isin(op, [OP[o] for o in _EXPERTS]),
        s.held[root_of(g, w)].astype(np.int64),
        2.0 * ne[:, 0] * g.ne[rows].astype(float).prod(axis=1) * times,
        ne.prod(axis=1) * share,
        size * share,
        touched,
        np.ones(len(rows)),
    )


def root_of(g: Graph, rows: np.ndarray) -> np.ndarray:
    """The tensors whose memory rows look into."""
    return np.where(g.view_src[rows] >= 0, g.view_src[rows], rows)


def _attention(g: Graph, flash: np.ndarray, at: np.ndarray, inner: np.ndarray, inner_at: np.ndarray) -> Attention:
    """Flash attention by the width of its heads; products of activations are attention without it."""
    q, k, v = (g.srcs[flash, i] for i in range(3))
    ne = g.ne.astype(float)
    flops = 2.0 * ne[q, 1] * ne[q, 2] * ne[k, 1] * (ne[k, 0] + ne[v, 0])
    k_bytes = _row_bytes(g.type_id[k], g.ne[k, 0]) * ne[k, 1] * ne[k, 2]
    v_bytes = _row_bytes(g.type_id[v], g.ne[v, 0]) * ne[v, 1] * ne[v, 2]
    part = (g.view_src[k] >= 0) & (g.view_src[k] == g.view_src[v])  # V is a part of the latent K
    nbytes = k_bytes + np.where(part, 0.0, v_bytes)
    numbers = ne[k, 1] * ne[k, 2] * (ne[k, 0] + np.where(part, 0.0, ne[v, 0]))
    kind = np.where(ne[k, 0] == ne[v, 0], 0, np.where(ne[k, 0] >= 320, 1, 2))
    heads = g.ne[q, 2]
    a, c = (g.srcs[inner, i] for i in range(2))
    inner_numbers = ne[a, :3].prod(axis=1)
    inner_flops = 2.0 * ne[a, 0] * ne[inner].prod(axis=1)
    inner_bytes = _row_bytes(g.type_id[a], g.ne[a, 0]) * ne[a, 1] * ne[a, 2]
    key = np.concatenate([
        np.stack([at, kind, heads // g.ne[k, 2], heads], axis=1),
        np.stack([inner_at, np.full(len(a), 3), g.ne[c, 2] // g.ne[a, 2], g.ne[c, 2]], axis=1),
    ])  # fmt: skip
    rows, inverse = np.unique(key, axis=0, return_inverse=True)
    inverse, n = inverse.reshape(-1), len(rows)
    return Attention(
        rows[:, 0],
        [("gqa", "latent", "expanded", "plain")[i] for i in rows[:, 1]],
        np.maximum(rows[:, 2], 1),
        np.maximum(rows[:, 3], 1),
        np.bincount(inverse, np.concatenate([flops, inner_flops]), n),
        np.bincount(inverse, np.concatenate([nbytes, inner_bytes]), n),
        np.bincount(inverse, np.concatenate([numbers, inner_numbers]), n),
    )


def _moved(g: Graph, rows: np.ndarray) -> np.ndarray:
    """Bytes that nodes read and write, by the sizes of their sources and results; broadcast sources once."""
    size = _row_bytes(g.type_id, g.ne[:, 0]) * g.ne[:, 1].astype(float) * g.ne[:, 2] * g.ne[:, 3]
    size = np.append(size, 0.0)
    out = size[rows]
    copied = g.op_id[rows] == OP["CPY"]  # its second source is where it writes
    gathers = g.op_id[rows] == OP["GET_ROWS"]
    total = out + np.where(gathers, out, size[g.srcs[rows, 0]])
    return total + np.where(copied | gathers, 0.0, size[g.srcs[rows, 1]])


def _copies(plan: Plan, s: Schedule) -> tuple[dict, dict]:
    """Copies between backends: of weights by target and kind of memory, of activations by the two backends."""
    g, cut, p = s.graph, s.cut, plan.placement
    weights: dict[tuple[int, bool], tuple[float, int]] = {}
    acts: dict[tuple[int, int], tuple[float, int]] = {}
    root = root_of(g, cut.source)
    is_weight = s.of_weight[cut.source]
    pinned = np.zeros(len(root), bool)
    tensor = g.tensor[root]
    known = tensor >= 0
    pinned[known] = (p.place[tensor[known]] == p.host) & p.pinned & (not p.use_mmap)
    pinned |= cut.to == len(p.gpus)  # what the CPU takes in lands in its compute buffer, which is pinned
    home = np.where(s.held[root] >= 0, s.held[root], s.at.backend[cut.source])
    for i, size in enumerate(s.arena.copied.tolist()):
        if is_weight[i]:
            k = (int(cut.to[i]), bool(pinned[i]))
            weights[k] = (weights.get(k, (0.0, 0))[0] + size, weights.get(k, (0.0, 0))[1] + 1)
        else:
            a = (int(home[i]), int(cut.to[i]))
            acts[a] = (acts.get(a, (0.0, 0))[0] + size, acts.get(a, (0.0, 0))[1] + 1)
    return weights, acts


def _changes(s: Schedule) -> dict[tuple[int, int], int]:
    found: dict[tuple[int, int], int] = {}
    sequence = s.cut.backend.tolist()
    for a, b in itertools.pairwise(sequence):
        if a != b:
            found[a, b] = found.get((a, b), 0) + 1
    return found
