"""What a GPU can compute (supports_op) and which ops it takes from weights in host memory (offload_op).

Everything is a bool per graph row. The CPU computes every op. Source: ggml-cuda.cu of ik_llama.cpp, and its history
for what changed between the commits of the June 2025 profile.
"""

import weakref
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ..gguf.types import TYPES
from ..graph.graph import Graph
from ..graph.ops import OP
from ..graph.types import BF16, F16, F32, I32, N_TYPES, QUANTIZED, row_size, type_name
from ..machine import Machine
from ..models.context import Context
from ..settings.declare import NEW
from .flash import flash_2025, flash_2026

_BASE = """bf16 f16 f32 iq1_bn iq1_m iq1_s iq2_bn iq2_k iq2_ks iq2_s iq2_xs iq2_xxs iq3_k iq3_s iq3_xxs iq4_k iq4_ks
iq4_kss iq4_nl iq4_xs iq5_k iq6_k q2_k q3_k q4_0 q4_1 q4_k q5_0 q5_1 q5_k q6_0 q6_k q8_0 q8_k"""
#: (since when, types that a GPU multiplies from then on)
_MATMUL = (
    ("", _BASE),
    ("2025-05-02", "iq5_ks"),
    ("2025-05-22", "iq2_kt iq3_kt iq4_kt"),
    ("2025-05-26", "iq2_k_r4 iq3_k_r4 iq4_k_r4 iq5_k_r4"),
    ("2025-05-27", "iq4_ks_r4 iq5_ks_r4"),
    ("2025-06-04", "iq1_s_r4"),
    ("2025-06-05", "iq1_m_r4"),
    ("2026-08-15", "mxfp4 iq1_kt iq2_kl iq3_ks"),
)
_PROFILE_DATE = {"2025-06": "2025-06-18", NEW: "2026-08-15"}
_MOE_OFFLOAD = "2025-05-12"  # 405: both ops of the experts are offloaded, by tokens
_MOE_SHARE = "2025-06-12"  # 520: only if each expert has enough tokens on average

_ROWS = ("f32", "f16", "q4_0", "q4_1", "q5_0", "q5_1", "q8_0")
_FROM_F32 = ("f32", "f16", "bf16", "q8_0", "q4_0", "q4_1", "q5_0", "q5_1", "q6_0", "iq4_nl")
_NOT_ON_GPU_2025 = ("SUB", "ADD_ID", "HADAMARD", "MUL_MULTI_ADD", "FUSED_UP_GATE")
_HADAMARD = (64, 128, 256, 512)


@dataclass(frozen=True)
class Rules:
    """The rules of one commit: which types a GPU multiplies, from how many tokens on host weights are offloaded."""

    newer: bool
    date: str
    matmul: np.ndarray  #: bool by type id
    batch: int  #: tokens, or rows, from which an op is offloaded
    batch_per_byte: float | None  #: instead, for experts: tokens per byte of a weight's row and column

    @property
    def max_inputs(self) -> int:
        """Copies that one split takes in at most (GGML_SCHED_MAX_SPLIT_INPUTS)."""
        return 64 if self.newer else 10


def rules(cx: Context, machine: Machine, reference_kernels: bool = True) -> Rules:
    """The rules that hold for this profile, and within it for the machine's commit date.

    reference_kernels: only where the reference has a CUDA kernel; False: a GPU multiplies every type that weights can have,
    as this package's own kernels do.
    """
    date = machine.commit_date if machine.commit_date and not cx.newer else _PROFILE_DATE[cx.profile]
    matmul = np.zeros(N_TYPES, bool)
    for since, kinds in _MATMUL:
        if since <= date:
            matmul[[TYPES[kind].id for kind in kinds.split()]] = True
    if not reference_kernels:
        matmul[:] = True
        matmul[[I32]] = False
    return Rules(cx.newer, date, matmul, cx.offload_batch, cx.offload_batch_per_byte)


def _of(graph: Graph, *ops: str) -> np.ndarray:
    """Rows with one of these ops."""
    rows = [graph.rows_by_op[OP[op]] for op in ops if OP[op] in graph.rows_by_op]
    return rows[0] if len(rows) == 1 else np.concatenate([np.empty(0, np.int64), *rows])


@lru_cache(maxsize=8)
def _flags(names: tuple[str, ...]) -> np.ndarray:
    flags = np.zeros(N_TYPES, bool)
    flags[[TYPES[name].id for name in names]] = True
    return flags


#: answers about a graph, kept as long as it is: a change of -ot asks the same again
_ANSWERS: "weakref.WeakKeyDictionary[Graph, dict[tuple, np.ndarray]]" = weakref.WeakKeyDictionary()


def supports(graph: Graph, r: Rules, cc: int) -> np.ndarray:
    """bool per row: a GPU of compute capability ``cc`` (860 is 8.6) can compute it."""
    answers = _ANSWERS.setdefault(graph, {})
    key = (r.newer, r.date, r.matmul.tobytes(), cc)
    if key not in answers:
        answers[key] = _supports(graph, r, cc)
    return answers[key]


def _supports(graph: Graph, r: Rules, cc: int) -> np.ndarray:
    able = np.ones(len(graph), bool)
    kind, srcs = graph.type_id, graph.srcs
    rows = _of(graph, "MUL_MAT", "MUL_MAT_ID")
    able[rows] = _product(graph, r, rows, 1)
    rows = _of(graph, "MOE_FUSED_UP_GATE", "FUSED_UP_GATE")
    gate = srcs[rows, 1]
    same = (gate < 0) | (kind[srcs[rows, 0]] == kind[gate])
    able[rows] = same & _product(graph, r, rows, 2)
    rows = _of(graph, "GET_ROWS")
    able[rows] = _flags(_ROWS)[kind[srcs[rows, 0]]]
    if r.newer:
        able[rows] |= kind[rows] == kind[srcs[rows, 0]]
    rows = _of(graph, "CPY")
    able[rows] = _copies(kind[srcs[rows, 0]], kind[rows], r.newer)
    rows = _of(graph, "CONCAT", "REPEAT")
    able[rows] = kind[srcs[rows, 0]] != I32
    rows = _of(graph, "FLASH_ATTN_EXT")
    able[rows] = _flash(graph, r, rows, cc)
    if not r.newer:
        able[_of(graph, *_NOT_ON_GPU_2025)] = False
        return able
    rows = _of(graph, "HADAMARD")
    block = np.array([graph[int(i)].params["block"] for i in rows], np.int64)
    able[rows] = np.isin(block, _HADAMARD)
    rows = _of(graph, "ARGSORT_THRESH")
    able[rows] = graph.ne[rows, 0] <= 1024
    return able


def _product(graph: Graph, r: Rules, rows: np.ndarray, other: int) -> np.ndarray:
    a, b = graph.srcs[rows, 0], graph.srcs[rows, other]
    kind = graph.type_id
    mixed = (kind[b] == F16) & (kind[a] != F16) & ~QUANTIZED[kind[a]]
    return r.matmul[kind[a]] & ~mixed & ((graph.op_id[rows] != OP["MUL_MAT"]) | (graph.ne[a, 3] == graph.ne[b, 3]))


def _copies(a: np.ndarray, b: np.ndarray, newer: bool) -> np.ndarray:
    able = (a == F32) & _flags(_FROM_F32)[b]
    able |= (a == F16) & ((b == F16) | (b == F32))
    able |= QUANTIZED[a] & ((b == F16) | (b == F32))
    able |= (a == BF16) & np.isin(b, (F16, BF16, F32))
    if newer:
        q8_0 = TYPES["q8_0"].id
        able |= (a == q8_0) & (b == q8_0)
        able |= (a == I32) & (b == I32)
    return able


def _flash(graph: Graph, r: Rules, rows: np.ndarray, cc: int) -> np.ndarray:
    """The rule for each distinct shape of attention."""
    seen: dict[tuple, bool] = {}
    able = np.empty(len(rows), bool)
    q, k, v = (graph.srcs[rows, i] for i in range(3))
    sizes = [graph.ne[q][:, :3], graph.ne[k][:, [0, 2]], graph.ne[v][:, 0]]
    windowed = np.array(["n_swa" in params for _, params in graph.labels])[graph.label_id[rows]]
    facts = np.column_stack([*sizes, graph.type_id[k], graph.type_id[v], windowed])
    for i, key in enumerate(map(tuple, facts.tolist())):
        if key not in seen:
            d, n, heads, d_k, heads_kv, d_v, type_k, type_v, window = key
            shape = d, n, heads // heads_kv, d_k, d_v, type_name(type_k), type_name(type_v), cc
            seen[key] = flash_2026(*shape, window=bool(window)) if r.newer else flash_2025(*shape)
        able[i] = seen[key]
    return able


def wants(graph: Graph, r: Rules) -> np.ndarray:
    """bool per row: the op has enough rows that a GPU would fetch its weights from host memory."""
    answers = _ANSWERS.setdefault(graph, {})
    key = ("wants", r.date, r.batch, r.batch_per_byte)
    if key not in answers:
        answers[key] = _wants(graph, r)
    return answers[key]


def _wants(graph: Graph, r: Rules) -> np.ndarray:
    want = graph.ne[:, 1] >= r.batch
    want[_of(graph, "GET_ROWS")] = False
    for op, ids in (("MUL_MAT_ID", 2), ("MOE_FUSED_UP_GATE", 3)):
        rows = _of(graph, op)
        tokens = graph.ne[rows, 2]
        weight = graph.srcs[rows, 0]
        if r.date < _MOE_OFFLOAD:
            want[rows] |= (tokens >= r.batch) & (op == "MUL_MAT_ID")
        elif r.date < _MOE_SHARE:
            want[rows] |= tokens >= r.batch
        else:
            used, total = graph.ne[graph.srcs[rows, ids], 0], graph.ne[weight, 2]
            batch = _expert_batch(graph, r, weight)
            want[rows] = (tokens >= batch) & (tokens * used >= batch * total)
    return want


def _expert_batch(graph: Graph, r: Rules, weights: np.ndarray) -> np.ndarray:
    """Tokens from which an op of the experts is offloaded, per weight."""
    if r.batch_per_byte is None:
        return np.full(len(weights), r.batch, np.int64)
    columns = graph.ne[weights, 0]
    size = np.array([row_size(int(t), int(n)) for t, n in zip(graph.type_id[weights], columns)])
    return (r.batch_per_byte * size / columns).astype(np.int64)
