"""From a graph to instructions: memory for every node, one or a few ops for each, activations quantized once.

``Lowering`` walks the nodes in order. Offsets into the arena become addresses at the end, when its size is known.
What varies between evaluations of one graph (tokens, positions, how much of the cache is filled) is read from the
buffers of ``Inputs``, so that a program serves a whole run.
"""

from collections import defaultdict
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ikexplore_kernels import activations, rows, tiles
from ikexplore_kernels.formats import Format, get
from ikexplore_kernels.program import Instruction, Program

from ..errors import ModelError
from ..graph import Graph
from .arena import Arena
from .weights import Weight

VIEWS = {"RESHAPE", "VIEW", "PERMUTE", "TRANSPOSE"}
PRODUCTS = {"MUL_MAT", "FUSED_UP_GATE"}


class Inputs:
    """Buffers that are filled before each evaluation: tokens, positions, rows wanted; and how far the cache is filled."""

    def __init__(self, most_tokens: int):
        self.tokens = np.zeros(most_tokens, np.int32)
        self.positions = np.zeros(most_tokens, np.int32)
        self.out_ids = np.zeros(most_tokens, np.int32)
        self.past = np.zeros(2, np.int64)  # positions before this evaluation, and after it

    def address(self, name: str) -> int | None:
        """Address of a graph input; masks are None: kernels know what a position may see."""
        buffers = {"inp_tokens": self.tokens, "inp_pos": self.positions, "inp_out_ids": self.out_ids}
        return buffers[name].ctypes.data if name in buffers else None


@dataclass(frozen=True)
class At:
    """An address to be: ``offset`` into the arena (or into the per-thread scratch)."""

    offset: int
    scratch: bool = False

    def __add__(self, more: int) -> "At":
        return At(self.offset + more, self.scratch)


@dataclass
class Tiles:
    """Activations of one node, made ready: where codes (or floats), scales and each format's offsets are."""

    count: int
    width: int
    q: At
    d: At | None = None
    s: dict[tuple[int, int], At] | None = None
    blocks: tuple[int, ...] = ()
    most: int = 0  #: tiles that one of several matrices can have; 0: all


def offset_kind(f: Format) -> tuple[int, int]:
    """What a format asks of quantized activations: (bias, columns per offset); bias -1 for minima."""
    return (-1 if f.code.has_min else f.code.bias, f.code.sub)


class Lowering:
    """State while one graph is lowered; ``program()`` is the result. Ops are in ``lower_ops``."""

    def __init__(self, graph: Graph, weights: dict[str, Weight], caches: dict[str, np.ndarray], inputs: Inputs,
                 rope: Any, threads: int, k_bits: int = 32):
        self.graph, self.weights, self.caches, self.inputs, self.rope = graph, weights, caches, inputs, rope
        self.threads, self.k_bits = threads, k_bits
        self.instructions: list[Instruction] = []
        self.arena, self.scratch = Arena(), 0
        self.keep: list[np.ndarray] = []
        self.fixed: list[tuple[np.ndarray, At]] = []
        self._node_at: dict[int, int] = {}
        self.places: dict[int, Any] = {}  # where each node's values are until the last node that reads them has run
        self._tiles: dict[tuple[int, bool], Tiles] = {}
        self.row = -1
        self._study()

    def _study(self) -> None:
        """Last use of each node's memory, and which formats will read each activation."""
        g = self.graph
        n = len(g)
        self.root = [int(v) if v >= 0 else i for i, v in enumerate(g.view_src.tolist())]
        self.srcs = [[s for s in row if s >= 0] for row in g.srcs.tolist()]
        self.last = list(range(n))
        self.readers: dict[int, list[int]] = defaultdict(list)
        for i in range(g.n_leafs, n):
            for s in self.srcs[i]:
                self.last[self.root[s]] = i
            if g.op[i] in PRODUCTS and (weight := self.weight(self.srcs[i][0])) and weight.matrices == 1:
                self.readers[self.source_key(self.srcs[i][-1])].append(i)
        self.last[self.root[n - 1]] = n

    def source_key(self, row: int) -> int:
        """Rows that show the same memory from its beginning without gaps share one quantization."""
        g = self.graph
        plain = g.view_offs[row] == 0 and self.contiguous(row)
        return self.root[row] if plain else row

    def contiguous(self, row: int) -> bool:
        ne, nb = self.graph.ne[row].tolist(), self.graph.nb[row].tolist()
        return all(nb[i] == 4 * int(np.prod(ne[:i])) for i in range(4) if ne[i] > 1)

    # -- what a row is ------------------------------------------------------------------------------------------

    def weight(self, row: int) -> Weight | None:
        """The weight that a row is, or looks into: some of its rows, or its rows as several matrices."""
        g, root = self.graph, self.root[row]
        if root >= g.n_leafs or g.tensor[root] < 0:
            return None
        found = self.weights[g.name[root]]
        if root == row:
            return found
        ne = self.ne(row)
        address = found.address + int(g.view_offs[row])
        return replace(found, address=address, columns=ne[0], rows=ne[1], matrices=ne[2] * ne[3])

    def behind(self, row: int) -> int:
        """The row that computes what a row shows: views, reshapes and permutations are looked through."""
        while self.graph.op[row] in VIEWS:
            row = self.srcs[row][0]
        return row

    def ne(self, row: int) -> list[int]:
        return self.graph.ne[row].tolist()

    def nb(self, row: int) -> list[int]:
        return self.graph.nb[row].tolist()

    def at(self, row: int) -> Any:
        """Address of a row's first value: int for what has its own memory, At in the arena."""
        g = self.graph
        root = self.root[row]
        offset = int(g.view_offs[row])
        if root >= g.n_leafs:
            return At(self._node_at[root]) + offset
        name = g.name[root]
        if name in self.caches:
            return self.caches[name].ctypes.data + offset
        weight = self.weight(root)
        address = weight.address if weight else self.inputs.address(name)
        if address is None:
            raise ModelError(f"the graph reads {name}, which this engine does not provide")
        return address + offset

    def format(self, row: int) -> Format:
        return get(self.graph.type[row])

    # -- memory and instructions --------------------------------------------------------------------------------

    def take(self, nbytes: int) -> At:
        return At(self.arena.take(nbytes))

    def give(self, *blocks: At) -> None:
        for block in blocks:
            self.arena.give(block.offset)

    def need_scratch(self, nbytes: int) -> At:
        """Per-thread scratch of at least so many bytes; instructions pass its address and ``SCRATCH_BYTES``."""
        self.scratch = max(self.scratch, -(-nbytes // 64) * 64)
        return At(0, scratch=True)

    def emit(self, op: Any, args: list, chunks: int = 1, a: Format | None = None, b: Format | None = None) -> None:
        self.instructions.append(Instruction(op, args, max(1, chunks), a, b, self.row))

    def share(self, items: int, work: int) -> int:
        """Chunks for an op of ``items`` that can be shared out and ``work`` bytes or so in all."""
        return max(1, min(items, 4 * self.threads, work // 16384)) if self.threads > 1 else 1

    # -- activations --------------------------------------------------------------------------------------------

    def columns_of(self, row: int) -> tuple[int, int, At | int]:
        """(columns, bytes from one to the next, address) of an activation matrix of up to 2 dimensions."""
        ne, nb = self.ne(row), self.nb(row)
        if ne[2] * ne[3] > 1 and not self.contiguous(row):
            raise ModelError(f"{self.graph.name[row]} is a product's input with gaps; this engine cannot run that")
        return ne[1] * ne[2] * ne[3], nb[1] if ne[1] > 1 else ne[0] * 4, self.at(row)

    def address_table(self, base: Any, step: int, n: int, width: int) -> np.ndarray:
        """int64 [tiles, width]: base + i step for n columns, then 0; arena addresses are fixed at the end."""
        count = -(-n // width)
        table = np.zeros(count * width, np.int64)
        table[:n] = np.arange(n) * step
        self.keep.append(table)
        if isinstance(base, At):
            self.fixed.append((table[:n], base))
        else:
            table[:n] += base
        return table

    def address_grid(self, base: Any, step: int, more: int, n: int, heads: int, width: int) -> np.ndarray:
        """int64 [heads, tiles, width]: base + h more + i step for n columns of each head, then 0."""
        count = -(-n // width)
        table = np.zeros((heads, count * width), np.int64)
        table[:, :n] = np.arange(heads)[:, None] * more + np.arange(n) * step
        self.keep.append(table)
        if isinstance(base, At):
            self.fixed.append((table[:, :n], base))
        else:
            table[:, :n] += base
        return table

    def ready(self, row: int, k: int, dense: bool) -> Tiles:
        """The activation matrix ``row`` as tiles; made at first use, for all who will read it."""
        key = (self.source_key(row), dense)
        if key not in self._tiles:
            n, step, base = self.columns_of(row)
            width, wide = 1 if n == 1 else tiles.TILE, None
            if self.graph.type[row] != "f32":  # rows of the cache
                wide = self.widened(base, step, k, n, self.format(row))
                step, base = 4 * k, wide
            table = self.address_table(base, step, n, width)
            kinds = set()
            for reader in self.readers[key[0]]:
                for s in self.srcs[reader][:-1]:
                    weight = self.weight(s)
                    if weight and not weight.format.dense:
                        kinds.add(offset_kind(weight.format))
            self._tiles[key] = self.make_tiles(table.ctypes.data, -(-n // width), width, k, dense, kinds)
            self._tiles[key].blocks += (max(self.readers[key[0]], default=self.row),)
            if wide is not None:
                self.give(wide)
        return self._tiles[key]

    def widened(self, base: Any, step: int, k: int, n: int, f: Format) -> At:
        """n rows of k columns of a cache type, as float32."""
        block = self.take(4 * n * k)
        self.emit(rows.widen_rows, [base, step, k, n, block], self.share(n, 4 * n * k), f)
        return block

    def make_tiles(self, table: Any, count: int, width: int, k: int, dense: bool, kinds: set, table_end: Any = 0) -> Tiles:
        """Emit the op that turns columns into tiles. ``blocks`` of the result: what to free, then the last reader."""
        chunks = self.share(count, count * width * k * 8)
        if k % (16 if dense else 32):
            raise ModelError(f"a product over {k} columns: this engine needs a multiple of {16 if dense else 32}")
        if dense:
            q = self.take(count * width * k * 4)
            self.emit(activations.gather, [table, count, width, k, q, 0, 0, 0, table_end], chunks)
            return Tiles(count, width, q, blocks=(q.offset,))
        q, d = self.take(count * width * k), self.take(count * width * k // 8)
        s = {kind: self.take(count * width * (k // kind[1]) * 4) for kind in sorted(kinds)}
        scratch = self.need_scratch(width * k * 5 // 4 + 64)
        args: list[Any] = [table, count, width, k, q, d, scratch, "scratch", table_end, len(s)]
        for (bias, sub), at in s.items():
            args += [bias, sub, at]
        self.emit(activations.quantize, args, chunks)
        return Tiles(count, width, q, d, s, (q.offset, d.offset, *(at.offset for at in s.values())))

    # -- the walk -----------------------------------------------------------------------------------------------

    def program(self) -> Program:
        """Lower every node. Raises ModelError naming a node that has no kernel."""
        for row in range(self.graph.n_leafs, len(self.graph)):
            self._lower(row)
        return self._finish()

    def _lower(self, row: int) -> None:
        """One node: room for its result, its instructions, and what nothing needs after it is free again."""
        from . import lower_attention, lower_products  # noqa: F401  (they register their ops)
        from .lower_ops import OPS

        self.row, op = row, self.graph.op[row]
        if op in VIEWS:
            return
        if self.root[row] == row:
            self._node_at[row] = self.arena.take(self.nbytes(row))
            self.places[row] = At(self._node_at[row])
        if op not in OPS:
            raise ModelError(f"{self.graph.name[row]}: this engine has no kernel for {op} yet")
        OPS[op](self, row)
        self._free_after(row)

    def nbytes(self, row: int) -> int:
        ne, nb = self.ne(row), self.nb(row)
        return 4 + sum((n - 1) * b for n, b in zip(ne, nb)) if min(ne) > 0 else 4

    def _free_after(self, row: int) -> None:
        for root in [r for r in self._node_at if self.last[r] <= row]:
            self.arena.give(self._node_at.pop(root))
        for key in [k for k, t in self._tiles.items() if t.blocks[-1] <= row]:
            for offset in self._tiles.pop(key).blocks[:-1]:
                self.arena.give(offset)

    def _finish(self) -> Program:
        """One block of memory for all; offsets become addresses."""
        memory = np.zeros(self.arena.size + 64 + self.threads * self.scratch, np.uint8)
        base = -(-memory.ctypes.data // 64) * 64
        scratch = base + self.arena.size

        def resolve(value: Any) -> int | float:
            if isinstance(value, At):
                return (scratch if value.scratch else base) + value.offset
            return self.scratch if value == "scratch" else value

        for table, at in self.fixed:
            table += resolve(at)
        for i in self.instructions:
            i.args = [resolve(v) for v in i.args]
        self.places = {row: resolve(at) for row, at in self.places.items()}
        last = len(self.graph) - 1
        return Program(self.instructions, [memory, *self.keep], base + self._node_at[self.root[last]])
