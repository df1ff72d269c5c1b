"""Templates: the tensors of one layer, made once by ggml's rules and then repeated for every layer like it.

A ``Template`` offers ggml's constructors (``mul_mat``, ``rope``, ``view`` ...). Each returns a ``Ref`` with shape and
strides; ``expand`` marks the roots from which the reference expands its graph, in its order. References:
``Ref.row`` >= 0 is a row of the same template, PREVIOUS - n the n-th row before the last one of the template before
(PREVIOUS: a layer's input), and GLOBAL - n row n of the first template of the graph (inputs and masks).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .ops import INPUT, OP, OPS
from .types import BLOCK_BYTES, F32, I32, contiguous, row_size

NONE = -1
PREVIOUS = -2
GLOBAL = -(1 << 24)  # GLOBAL - n is row n of the first template


@dataclass(frozen=True)
class Ref:
    """A tensor while a template is made: where it is (``row``), what it looks like, whose memory it has."""

    row: int
    type: int
    ne: tuple[int, int, int, int]
    nb: tuple[int, int, int, int]
    root: int = NONE  #: row of the tensor whose memory it looks into
    offs: int = 0  #: bytes from the beginning of that memory
    kv_stride: int = 0  #: bytes of ``offs`` per cache cell before the first one written

    def as_previous(self, length: int) -> "Ref":
        """The same tensor, seen from the template after its own, which has ``length`` rows."""
        before = PREVIOUS - (length - 1)
        root = before + self.root if self.root >= 0 else self.root
        return Ref(before + self.row, self.type, self.ne, self.nb, root, self.offs, self.kv_stride)

    def as_global(self) -> "Ref":
        """The same tensor of the first template, seen from another template."""
        root = GLOBAL - self.root if self.root >= 0 else self.root
        return Ref(GLOBAL - self.row, self.type, self.ne, self.nb, root, self.offs, self.kv_stride)


def _ne4(ne: tuple[int, ...]) -> tuple[int, int, int, int]:
    return (*ne, *(1,) * (4 - len(ne)))  # type: ignore[return-value]


class Template:
    """Rows in the order of creation, as lists; see the module's docstring."""

    def __init__(self) -> None:
        self.op: list[int] = []
        self.refs: list[Ref] = []
        self.src: list[tuple[int, ...]] = []
        self.flags: list[int] = []
        self.role: list[str | None] = []  #: under which assembly finds a weight
        self.label: list[tuple[str, dict[str, Any]]] = []
        self.roots: list[int] = []
        self.late: list[tuple[int, int, int]] = []  #: (row, column of ``src``, source) set when the order is known
        self._visited: set[int] = set()

    def __len__(self) -> int:
        return len(self.op)

    # --- rows -----------------------------------------------------------------------------------------------------

    def _row(
        self,
        op: str,
        type_number: int,
        ne: tuple[int, ...],
        src: tuple[Ref | None, ...] = (),
        *,
        nb: tuple[int, ...] | None = None,
        view: Ref | None = None,
        offs: int = 0,
        kv_stride: int = 0,
        name: str | None = None,
        flags: int = 0,
        role: str | None = None,
        **params: Any,
    ) -> Ref:
        full = _ne4(ne)
        strides = contiguous(type_number, full) if nb is None else tuple(nb)
        root = NONE
        if view is not None:  # a view of a view looks into the memory of the first
            root = view.row if view.root == NONE else view.root
            offs, kv_stride = offs + view.offs, kv_stride + view.kv_stride
            if kv_stride:
                params["kv_head_stride"] = kv_stride
        ref = Ref(len(self.op), type_number, full, strides, root, offs, kv_stride)  # type: ignore[arg-type]
        self.op.append(OP[op])
        self.refs.append(ref)
        self.src.append(tuple(NONE if s is None else s.row for s in src))
        self.flags.append(flags)
        self.role.append(role)
        self.label.append((name or "node_{node}", params))
        return ref

    def named(self, ref: Ref, name: str) -> Ref:
        """Gives a row of this template the reference's name; ``{il}`` stands for the layer's number."""
        self.label[ref.row] = (name, self.label[ref.row][1])
        return ref

    def name_of(self, ref: Ref) -> str:
        """The name as it is while the template is made: empty for a row that only expansion will name."""
        name = self.label[ref.row][0]
        return "" if name == "node_{node}" else name

    def op_of(self, ref: Ref) -> str:
        """Name of the operation of a row of this template."""
        return OPS[self.op[ref.row]]

    def expand(self, ref: Ref) -> None:
        """ggml_build_forward_expand: this tensor and all it needs are in the graph, and have names, from here on."""
        self.roots.append(ref.row)
        open_rows = [ref.row]
        while open_rows:
            row = open_rows.pop()
            if row >= 0 and row not in self._visited:
                self._visited.add(row)
                open_rows += self.src[row]

    # --- leafs ----------------------------------------------------------------------------------------------------

    def weight(self, name: str, role: str, type_number: int, shape: tuple[int, ...]) -> Ref:
        """A weight of the model; assembly finds it as ``role``, such as ``blk.{il}.attn_q.weight``."""
        return self._row("NONE", type_number, shape, name=name, role=role)

    def leaf(self, name: str, type_number: int, ne: tuple[int, ...], gpu: int | None = None) -> Ref:
        """A tensor with memory of its own that is no weight: a layer's KV cache, or the part that ``gpu`` holds."""
        ref = self._row("NONE", type_number, ne, name=name)
        if gpu is not None:
            self.label[ref.row][1]["gpu"] = gpu
        return ref

    def scratch(self, like: Ref) -> Ref:
        """ggml_dup_tensor: a tensor without memory yet and without an op, that a REDUCE will fill."""
        return self._row("NONE", like.type, like.ne, name="leaf_{row}", scratch=True)

    def input(self, name: str, type_number: int, ne: tuple[int, ...]) -> Ref:
        """A graph input, filled before each evaluation."""
        return self._row("NONE", type_number, ne, name=name, flags=INPUT)

    # --- looking at memory ----------------------------------------------------------------------------------------

    def view(self, a: Ref, ne: tuple[int, ...], nb: tuple[int, ...] = (), offs: int = 0, kv_stride: int = 0) -> Ref:
        """ggml_view_nd: ``nb`` gives the strides of dimensions 1, 2 ...; the others follow from the shape."""
        full = _ne4(ne)
        strides = [int(BLOCK_BYTES[a.type]), *nb]
        if len(strides) == 1:
            strides.append(row_size(a.type, full[0]))
        while len(strides) < 4:
            strides.append(strides[-1] * full[len(strides) - 1])
        name = f"{self._base(a)} (view)"
        return self._row(
            "VIEW", a.type, full, (a,), nb=tuple(strides), view=a, offs=offs, kv_stride=kv_stride, name=name
        )

    def reshape(self, a: Ref, ne: tuple[int, ...]) -> Ref:
        return self._row("RESHAPE", a.type, ne, (a,), view=a, name=f"{self._base(a)} (reshaped)")

    def permute(self, a: Ref, *axes: int) -> Ref:
        """ggml_permute: dimension i of ``a`` becomes dimension ``axes[i]``."""
        ne, nb = [1] * 4, [0] * 4
        for i, axis in enumerate(axes):
            ne[axis], nb[axis] = a.ne[i], a.nb[i]
        name = f"{self._base(a)} (permuted)"
        return self._row("PERMUTE", a.type, tuple(ne), (a,), nb=tuple(nb), view=a, name=name)

    def transpose(self, a: Ref) -> Ref:
        ne, nb = (a.ne[1], a.ne[0], *a.ne[2:]), (a.nb[1], a.nb[0], *a.nb[2:])
        return self._row("TRANSPOSE", a.type, ne, (a,), nb=nb, view=a, name=f"{self._base(a)} (transposed)")

    def _base(self, a: Ref) -> str:
        """The name of a first source at this time; that of an unnamed one is known once it is expanded."""
        if a.row < 0:
            return ""
        return self.name_of(a) or ("{src0}" if a.row in self._visited else "")

    # --- copying --------------------------------------------------------------------------------------------------

    def cpy(self, a: Ref, b: Ref) -> Ref:
        """ggml_cpy: writes ``a`` into the memory of ``b`` and is a view of it."""
        name = f"{self._base(b)} (copy of {self._base(a)})"
        return self._row("CPY", b.type, b.ne, (a, b), nb=b.nb, view=b, name=name)

    def cast(self, a: Ref, type_number: int) -> Ref:
        """ggml_cast: a copy of another type; its second source is the result itself."""
        ref = self._row("CPY", type_number, a.ne, (a,), name=f"{self._base(a)} (copy)")
        self.src[ref.row] = (a.row, ref.row)
        return ref

    def cont(self, a: Ref, ne: tuple[int, ...] | None = None, **params: Any) -> Ref:
        return self._row("CONT", a.type, ne or a.ne, (a,), name=f"{self._base(a)} (cont)", **params)

    # --- computing ------------------------------------------------------------------------------------------------

    def reduce(self, parts: Sequence[Ref | None], idle: Sequence[tuple[int, Ref]] = ()) -> Ref:
        """ggml_reduce: adds up what each GPU has, in the memory of the last part; every GPU has the sum then.

        idle: (GPU, ``scratch``) of GPUs that have no part but read the sum.
        """
        last = next(part for part in reversed(parts) if part is not None)
        ref = self._row("REDUCE", last.type, last.ne, tuple(parts), nb=last.nb, view=last)
        self.late += [(ref.row, gpu, scratch.row) for gpu, scratch in idle]
        return ref

    def like(self, op: str, a: Ref, *others: Ref | None, **params: Any) -> Ref:
        """An op whose result has the type and shape of its first source, without gaps."""
        return self._row(op, a.type, a.ne, (a, *others), **params)

    def swiglu(self, a: Ref) -> Ref:
        """ggml_swiglu: the first half of each row is the gate of the second."""
        return self._row("UNARY", a.type, (a.ne[0] // 2, *a.ne[1:]), (a,), unary="SWIGLU")

    def norm(self, a: Ref, weight: Ref, **params: Any) -> Ref:
        """ggml_fused_rms_norm: f32, whatever the type of ``a``."""
        return self._row("FUSED_RMS_NORM", F32, a.ne, (a, weight), **params)

    def get_rows(self, a: Ref, rows: Ref) -> Ref:
        type_number = I32 if a.type == I32 else F32
        return self._row("GET_ROWS", type_number, (a.ne[0], *rows.ne[:3]), (a, rows))

    def mul_mat(self, a: Ref, b: Ref) -> Ref:
        return self._row("MUL_MAT", F32, (a.ne[1], *b.ne[1:]), (a, b))

    def mul_mat_id(self, a: Ref, b: Ref, ids: Ref) -> Ref:
        return self._row("MUL_MAT_ID", F32, (a.ne[1], ids.ne[0], b.ne[2], 1), (a, b, ids))

    def fused_up_gate(self, up: Ref, gate: Ref, b: Ref, unary: str) -> Ref:
        return self._row("FUSED_UP_GATE", F32, (up.ne[1], *b.ne[1:]), (up, gate, b), unary=unary)

    def moe_up_gate(self, up: Ref, gate: Ref | None, b: Ref, ids: Ref, unary: str, *biases: Ref | None) -> Ref:
        """MOE_FUSED_UP_GATE; ``gate`` None: ``up`` holds both, the gate's rows first (-muge). biases: of up and gate."""
        n_ff = up.ne[1] if gate is not None else up.ne[1] // 2
        sources = (up, gate, b, ids, *biases)
        return self._row("MOE_FUSED_UP_GATE", F32, (n_ff, ids.ne[0], b.ne[2], 1), sources, unary=unary)

    def argsort(self, a: Ref, name: str | None = None) -> Ref:
        return self._row("ARGSORT", I32, a.ne, (a,), name=name, descending=True)

    def argsort_thresh(self, a: Ref, min_entries: int, thresh: float) -> Ref:
        """ggml_argsort_thresh (-ser): entries after the first ``min_entries`` that weigh too little are dropped."""
        return self._row("ARGSORT_THRESH", I32, a.ne, (a,), min_entries=min_entries, thresh=thresh)

    def concat(self, a: Ref, b: Ref, axis: int) -> Ref:
        ne = tuple(n + b.ne[i] if i == axis else n for i, n in enumerate(a.ne))
        return self._row("CONCAT", a.type, ne, (a, b), axis=axis)

    def repeat(self, a: Ref, ne: tuple[int, ...]) -> Ref:
        """ggml_repeat: ``a`` over and over until it has the shape ``ne``."""
        return self._row("REPEAT", a.type, ne, (a,))

    def mul_multi_add(self, a: Ref, b: Ref) -> Ref:
        """ggml_mul_multi_add: rows of ``a`` [cols, k, tokens] weighted by ``b`` [1, k, tokens] and added up."""
        return self._row("MUL_MULTI_ADD", F32, (a.ne[0], a.ne[2]), (a, b))

    def sum_rows(self, a: Ref) -> Ref:
        return self._row("SUM_ROWS", a.type, (1, *a.ne[1:]), (a,))

    def flash_attn(self, q: Ref, k: Ref, v: Ref, mask: Ref, sinks: Ref | None = None, **params: Any) -> Ref:
        sources = (q, k, v, mask) if sinks is None else (q, k, v, mask, sinks)
        return self._row("FLASH_ATTN_EXT", F32, (v.ne[0], q.ne[2], q.ne[1], q.ne[3]), sources, **params)
