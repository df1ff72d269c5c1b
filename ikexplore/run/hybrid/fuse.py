"""Runs of neighbouring launches as one, for evaluations of one token, where a launch costs more than what it does.

Only how a split is launched changes: the fused kernels (``ops_fused.cu``) compute as the single ones do, bit for bit, and
write every value in between. A watched evaluation launches node by node as ever. A run is left as it is where blocks of the
one kernel could meet in memory that the single ones used one after another.
"""

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

from .launches import THREADS, Launch, Place, Step

#: arguments of the kernels that are looked for, by their names there
_ARGS = {
    "binary": "x z y kind n n1 n2 n3 xb1 xb2 xb3 zn zn1 zn2 zn3 zb1 zb2 zb3",
    "rms_norm": "x y weight n ne1 xb1 xb2 yb1 yb2 eps",
    "quantize_q8": "x q s cols stride",
    "rope": "x y size heads tokens xb1 xb2 yb1 yb2 n_rot mode turns",
    "copy": "x y kind to n n1 n2 n3 xb0 xb1 xb2 xb3 yb0 yb1 yb2 yb3 past per_past",
    "soft_max": "x y n ne1 scale past window sinks",
    "argsort": "x y n least part",
    "pick_values": "x ids y slots tokens x_step ids_step",
    "sum_rows": "x y n",
    "multi_add": "x w y n tokens slots token_step slot_step",
    "merge_parts": "parts y n_parts dv heads sinks",
    "gated": "gate up y n rows gate_step up_step kind gate_bias up_bias bias_step ids ids_step slots",
}
_ADD, _DIVIDE = 0, 3
Found = tuple[Launch, int]  #: what replaces so many steps


def fused(steps: Sequence[Step]) -> list[Step]:
    """The steps of a split for one token, with runs that have a kernel of their own as one launch."""
    out: list[Step] = []
    at = 0
    while at < len(steps):
        found = next((f for pattern in _PATTERNS if (f := pattern(steps, at))), None)
        out.append(found[0] if found else steps[at])
        at += found[1] if found else 1
    return out


def _call(steps: Sequence[Step], at: int, kernel: str) -> Any:
    """The launch there with its arguments by name, if it is one of ``kernel``."""
    step = steps[at] if at < len(steps) else None
    if not isinstance(step, Launch) or step.kernel != kernel:
        return None
    return SimpleNamespace(step=step, **dict(zip(_ARGS[kernel].split(), step.args, strict=True)))


def _launch(kernel: str, grid: int, block: Any, args: list[Any], last: Step) -> Launch:
    return Launch("ops_fused", kernel, (grid, 1, 1), block, args, last.node)


def _eight_bits(steps: Sequence[Step], at: int, of: Any, n: int) -> Any:
    """The step that quantizes rows of n numbers at ``of``, without gaps."""
    bits = _call(steps, at, "quantize_q8")
    return bits if bits and bits.x == of and int(bits.cols) == int(bits.stride) == n else None


# -- sum, norm, 8 bits ---------------------------------------------------------------------------------------------


def _add_norm(steps: Sequence[Step], at: int) -> Found | None:
    """Experts' results added up, the sum with the row before, its norm, and the norm in 8 bits; or two and more of these."""
    experts = _call(steps, at, "multi_add")
    if experts and experts.tokens != 1:
        return None
    count = 1 if experts else 0
    add = _call(steps, at + count, "binary")
    add = add if add and add.kind == _ADD and _row(add) == (add.n, 1, 1, 1) == _row(add, "z") else None
    if experts and (not add or experts.y not in (add.x, add.z) or experts.n != add.n or add.x == add.z):
        return None
    if experts and add and _Rows(add.y, 1, 0, add.n).meets(_Rows(experts.x, experts.slots, experts.slot_step, experts.n)):
        return None  # one thread's sum where another's experts are
    count += 1 if add else 0
    norm = _call(steps, at + count, "rms_norm")
    if not norm or norm.step.grid != (1, 1, 1) or (add and (norm.x, norm.n) != (add.y, add.n)):
        return None
    bits = _eight_bits(steps, at + count + 1, norm.y, norm.n)
    count += 2 if bits else 1
    if count == 1:
        return None
    x, z, total = (add.x, add.z, add.y) if add else (norm.x, 0, 0)
    if experts and experts.y == z:
        x, z = z, x
    parts = [experts.x, experts.w, experts.slots, experts.slot_step] if experts else [0, 0, 0, 0]
    args = [*parts, x, z, total, norm.y, norm.weight, norm.n, norm.eps, *([bits.q, bits.s] if bits else [0, 0])]
    return _launch("add_norm", 1, norm.step.block, args, steps[at + count - 1]), count


def _row(call: Any, of: str = "") -> tuple[int, ...]:
    """The four sizes of a binary op's result, or of its second operand."""
    return tuple(getattr(call, f"{of}n{i or ''}") for i in range(4))


# -- Q, K and V before attention ----------------------------------------------------------------------------------------


def _turn_and_store(steps: Sequence[Step], at: int) -> Found | None:
    """Rotary positions of Q and of K, each after its norm if it has one, then K and V into the cache. Q alone, and K with what
    follows, where they cannot be at once: the planned buffer likes to put K where Q was."""
    q, middle = _turned(steps, at)
    k, end = _turned(steps, middle) if q else (None, at)
    if k and q.shape == k.shape and (found := _heads(steps, at, end, q, k)):
        return found
    return _heads(steps, at, middle, None, q) if q else None


def _heads(steps: Sequence[Step], at: int, end: int, q: Any, k: Any) -> Found | None:
    """Heads that are turned, and what of the copies behind them can go along."""
    cells = _stored(steps, end)
    whole = (k.y, k.size * k.heads, 4 * k.size)
    if cells and ((cells.x, cells.n * cells.n1, k.yb1) != whole or (cells.xb0, cells.xb1) != (4, 4 * cells.n)):
        cells = None  # of something else, or heads with gaps
    v = _stored(steps, end + 1) if cells else None
    if v and (v.past != cells.past or not _independent(k.rows, v.rows)):
        v = None
    end += bool(cells) + bool(v)
    if end - at < 2 or not _independent(q.rows if q else [], k.rows, v.rows if v else []):
        return None
    to = [cells.y, cells.to, cells.n, cells.yb0, cells.yb1, cells.per_past] if cells else [0, 0, 1, 0, 0, 0]
    values = [v.x, v.n * v.n1, v.xb0, v.xb1, v.y, v.to, v.n, v.yb0, v.yb1, v.per_past] if v else [0, 0, 0, 0, 0, 0, 1, 0, 0, 0]
    args = [*(q.args if q else _NO_HEADS), *k.args, *k.shape, *to, *values, cells.past if cells else 0]
    blocks = (q.heads if q else 0) + k.heads + -(-values[1] // k.block)
    return _launch("turn_and_store", blocks, k.block, args, steps[end - 1]), end - at


_NO_HEADS = [0, 0, 0, 0, 0, 0, 0, 0, 0.0]


def _turned(steps: Sequence[Step], at: int) -> tuple[Any, int]:
    """Rope of one token, after a norm of the same rows if there is one before it, and where the steps go on."""
    norm = _call(steps, at, "rms_norm")
    rope = _call(steps, at + bool(norm), "rope")
    if not rope or rope.tokens != 1:
        return None, at
    heads, size, x, step = rope.heads, rope.size, rope.x, rope.xb1
    args: list[Any] = [0, 0]
    rows = [_Rows(rope.y, heads, rope.yb1, size)]
    if norm:
        if (norm.y, norm.n, norm.yb1, norm.step.grid) != (x, size, step, (heads, 1, 1)) or norm.ne1 < heads:
            return None, at
        args, x, step = [norm.y, norm.weight], norm.x, norm.xb1
        rows.append(_Rows(norm.y, heads, norm.yb1, size))
    rope.block = min(THREADS, -(-size // 32) * 32)
    if norm and norm.step.block != rope.block:  # sums in another order
        return None, at
    rope.shape = (size, rope.n_rot, rope.mode, rope.turns)
    rope.args = [x, *args, rope.y, heads, step, norm.yb1 if norm else 0, rope.yb1, norm.eps if norm else 0.0]
    rope.rows = [*rows, _Rows(x, heads, step, size, written=False)]
    return rope, at + bool(norm) + 1


def _stored(steps: Sequence[Step], at: int) -> Any:
    """A copy of float32 in two dimensions to where the position says."""
    copy = _call(steps, at, "copy")
    if not copy or copy.kind != 0 or copy.to > 2 or copy.n2 * copy.n3 != 1 or not copy.past:
        return None
    last = (copy.n - 1) * copy.xb0 + (copy.n1 - 1) * copy.xb1
    copy.rows = [_Rows(copy.x, 1, 0, last // 4 + 1, written=False)]
    return copy


class _Rows:
    """Rows of float32, ``step`` bytes apart."""

    def __init__(self, at: Any, count: int, step: int, n: int, written: bool = True):
        self.at, self.step, self.written = at, step, written
        self.where, self.first = (at.where, at.offset) if isinstance(at, Place) else ("", int(at))
        self.end = self.first + (count - 1) * step + 4 * n

    def meets(self, other: "_Rows") -> bool:
        return self.where == other.where and self.first < other.end and other.first < self.end

    def same(self, other: "_Rows") -> bool:
        return (self.at, self.step) == (other.at, other.step)


def _independent(*chains: list[_Rows]) -> bool:
    """Whether blocks that work on a row of a chain each may run at once: they meet others' memory only where all of them read.

    The planned buffer reuses what is no longer needed: Q's memory may be K's a node later.
    """
    for i, chain in enumerate(chains):
        for a in chain:
            others = [b for j, other in enumerate(chains) if j != i for b in other]
            if a.written and any(a.meets(b) for b in others):
                return False
            if a.written and any(a.meets(b) and not a.same(b) for b in chain):  # a row may be worked on in its place
                return False
    return True


# -- the router, and what goes into the last product --------------------------------------------------------------------


def _route(steps: Sequence[Step], at: int) -> Found | None:
    """Probabilities of the experts, their order, those chosen, and these over their sum."""
    p, order, w = _call(steps, at, "soft_max"), _call(steps, at + 1, "argsort"), _call(steps, at + 2, "pick_values")
    if not p or not order or not w or p.step.grid != (1, 1, 1) or p.past or p.sinks:
        return None
    if (order.x, order.n, w.x, w.ids, w.tokens) != (p.y, p.n, p.y, order.y, 1):
        return None
    total, over = _call(steps, at + 3, "sum_rows"), _call(steps, at + 4, "binary")
    if total and over and (total.x, total.n, over.x, over.z, over.kind) == (w.y, w.slots, w.y, total.y, _DIVIDE) and (
            _row(over), _row(over, "z")) == ((w.slots, 1, 1, 1), (1, 1, 1, 1)):
        rest, count = [total.y, over.y], 5
    else:
        rest, count = [0, 0], 3
    args = [p.x, p.y, order.y, w.y, *rest, p.n, w.slots, p.scale, order.least, order.part]
    return _launch("route", 1, p.step.block, args, steps[at + count - 1]), count


def _gated_q8(steps: Sequence[Step], at: int) -> Found | None:
    """A gate, and its result in 8 bits."""
    gate = _call(steps, at, "gated")
    bits = _eight_bits(steps, at + 1, gate.y, gate.n) if gate else None
    if not bits or bits.step.grid[1] != gate.rows:
        return None
    read = [_Rows(gate.gate, gate.rows, gate.gate_step, gate.n), _Rows(gate.up, gate.rows, gate.up_step, gate.n)]
    if not _apart(bits, gate.n * gate.rows, read):
        return None
    blocks = -(-gate.n * gate.rows // (4 * THREADS))
    return _launch("gated_q8", blocks, THREADS, [*gate.step.args, bits.q, bits.s], bits.step), 2


def _merge_q8(steps: Sequence[Step], at: int) -> Found | None:
    """The end of attention, and its result in 8 bits."""
    merge = _call(steps, at, "merge_parts")
    bits = _eight_bits(steps, at + 1, merge.y, merge.heads * merge.dv) if merge else None
    if not bits or merge.dv % 32 or (merge.step.grid[0], bits.step.grid[1]) != (merge.heads, 1):
        return None
    if not _apart(bits, merge.heads * merge.dv, [_Rows(merge.parts, 1, 0, merge.heads * merge.n_parts * (merge.dv + 2))]):
        return None
    block = min(THREADS, -(-merge.dv // 128) * 32)
    return _launch("merge_q8", merge.heads, block, [*merge.step.args, bits.q, bits.s], bits.step), 2


def _apart(bits: Any, count: int, read: list[_Rows]) -> bool:
    """Whether ``count`` codes and their scales lie elsewhere than what is read while they are written."""
    made = _Rows(bits.q, 1, 0, count // 4), _Rows(bits.s, 1, 0, count // 16)
    return not any(a.meets(b) for a in made for b in read)


_PATTERNS: tuple[Callable[[Sequence[Step], int], Found | None], ...] = (
    _add_norm, _turn_and_store, _route, _gated_q8, _merge_q8)
