"""Importance matrices: the mean squared activation of every column that a matrix is multiplied with.

Collected from the graph's own products while a text is evaluated, in the chunks of llama-imatrix. Matrices of experts (and of
heads) have a row each; a row counts the tokens that were routed to it. Files: ``imatrix_file``.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import Cancelled, QuantError, SettingsError
from ..graph import Graph
from ..models import Model
from ..settings import Settings
from .chunks import Chunks, mean_error, nll, progress_bar
from .trace import Trace

#: op -> number of its weights; the activation is the source behind them, an expert's number the one behind that
PRODUCTS = {"MUL_MAT": 1, "FUSED_UP_GATE": 2, "MUL_MAT_ID": 1, "MOE_FUSED_UP_GATE": 2}
#: experts without data that are forgiven, as a part of all (llama-imatrix)
FORGIVEN = 0.05


class Imatrix(Mapping[str, np.ndarray]):
    """``imatrix[tensor name]``: float32 [matrices * columns], the mean squared activation per column.

    A matrix that no token reached counts 1 in every column. ``sums`` (float64 [matrices, columns]) and ``counts`` (int64
    [matrices], tokens) per name are what was collected in ``chunks`` chunks of ``chunk_size`` tokens of ``datasets``.
    ``ppl``: perplexity of the text on the way (NaN when read from a file). ``stopped``: interrupted.
    """

    def __init__(self, chunk_size: int = 512, datasets: tuple[str, ...] = ()):
        self.sums: dict[str, np.ndarray] = {}
        self.counts: dict[str, np.ndarray] = {}
        self.chunks, self.chunk_size, self.datasets = 0, chunk_size, tuple(datasets)
        self.ppl, self.stopped = float("nan"), False

    def __getitem__(self, name: str) -> np.ndarray:
        counts = self.counts[name][:, None]
        means = np.where(counts > 0, self.sums[name] / np.maximum(counts, 1), 1.0)
        return means.astype(np.float32).reshape(-1)

    def __iter__(self) -> Iterator[str]:
        return iter(self.sums)

    def __len__(self) -> int:
        return len(self.sums)

    def __repr__(self) -> str:
        size = f" of {self.chunk_size} tokens" if self.chunk_size else ""
        return f"<Imatrix: {len(self)} tensors, {self.chunks} chunks{size}{', interrupted' if self.stopped else ''}>"

    def __add__(self, other: "Imatrix") -> "Imatrix":
        """Both texts' data, by the number of tokens; a .dat counts its chunks as large as the other's.

        Raises QuantError where a tensor has another shape.
        """
        size = self.chunk_size or other.chunk_size
        both = Imatrix(size, (*self.datasets, *(d for d in other.datasets if d not in self.datasets)))
        for part in (self, other):
            part = part.scaled(size) if size and not part.chunk_size else part
            for name, sums in part.sums.items():
                both.add(name, sums, part.counts[name])
        both.chunks = self.chunks + other.chunks
        return both

    def add(self, name: str, sums: np.ndarray, counts: np.ndarray) -> None:
        """Add to tensor ``name`` its ``sums`` of squares, float [matrices, columns], over ``counts`` tokens, int [matrices].

        One row may stand for all matrices. Raises QuantError for other shapes than before.
        """
        if name not in self.sums:
            self.sums[name], self.counts[name] = np.zeros(sums.shape), np.zeros(len(sums), np.int64)
        rows = max(len(sums), len(self.counts[name]))
        if self.sums[name].size == sums.size and 1 in (len(sums), len(self.counts[name])):  # a file without rows
            self.sums[name] = self.sums[name].reshape(rows, -1)
            self.counts[name] = np.resize(self.counts[name], rows)
            sums, counts = sums.reshape(rows, -1), np.resize(counts, rows)
        if self.sums[name].shape != sums.shape:
            raise QuantError(f"{name}: {list(sums.shape)} values do not go with {list(self.sums[name].shape)}; the two are of "
                             "different models")
        self.sums[name] = self.sums[name] + sums
        self.counts[name] = self.counts[name] + counts

    def scaled(self, tokens: int) -> "Imatrix":
        """The same means of a .dat, which counts calls, with each call worth so many tokens."""
        new = Imatrix(tokens, self.datasets)
        new.chunks = self.chunks
        for name, sums in self.sums.items():
            new.add(name, sums * tokens, self.counts[name] * tokens)
        return new

    def missing(self) -> dict[str, int]:
        """Tensors of which some matrices (experts) saw no token: name -> how many."""
        return {n: int((c == 0).sum()) for n, c in self.counts.items() if (c == 0).any()}

    def save(self, path: str | os.PathLike[str], format: str | None = None) -> None:
        """Write ``dat`` (llama-imatrix of ik_llama.cpp) or ``gguf`` (of llama.cpp); by the name's end if not given.

        A .dat holds means only, and leaves out tensors of which 5 % of the experts or more saw no token. The file
        appears when complete. Raises QuantError for a format that is neither or a file that cannot be written.
        """
        from .imatrix_file import save

        save(self, Path(path), format)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "Imatrix":
        """Read either format. Raises QuantError naming the file, the place and the rule."""
        from .imatrix_file import load

        return load(Path(path))


class _Collector:
    """Observer of products with the model's own matrices."""

    def __init__(self, into: Imatrix, output: bool):
        self.into, self.output = into, output

    def wants(self, graph: Graph, row: int) -> bool:
        return graph.op[row] in PRODUCTS and any(True for _ in self._weights(graph, row))

    def _weights(self, graph: Graph, row: int) -> Iterator[int]:
        for source in graph.srcs[row].tolist()[: PRODUCTS[graph.op[row]]]:
            name = graph.name[source] if source >= 0 else ""
            if 0 <= source < graph.n_leafs and (name.startswith("blk.") or (self.output and name == "output.weight")):
                yield source

    def see(self, trace: Trace, row: int) -> None:
        graph, at = trace.graph, PRODUCTS[trace.graph.op[row]]
        x = trace.array(int(graph.srcs[row][at]))[0]  # [ne2, ne1, columns]
        routed = graph.op[row] in ("MUL_MAT_ID", "MOE_FUSED_UP_GATE")
        for weight in self._weights(graph, row):
            matrices = int(graph.ne[weight][2])
            if routed:
                found = _routed(x, trace.array(int(graph.srcs[row][at + 1]))[0, 0], matrices)
            else:
                found = _plain(x, matrices)
            if not np.isfinite(found[0]).all():
                raise QuantError(f"{graph.name[weight]}: an activation is not finite; the model computes nonsense on this text")
            self.into.add(graph.name[weight], *found)


def _plain(x: np.ndarray, matrices: int) -> tuple[np.ndarray, np.ndarray]:
    """Sums and counts of x [ne2, tokens, columns] for a weight of so many matrices, each read by ne2 / matrices of x."""
    squares = np.square(x, dtype=np.float64).sum(axis=1)
    sums = squares.reshape(matrices, -1, x.shape[2]).sum(axis=1)
    return sums, np.full(matrices, x.shape[0] // matrices * x.shape[1], np.int64)


def _routed(x: np.ndarray, ids: np.ndarray, matrices: int) -> tuple[np.ndarray, np.ndarray]:
    """Sums and counts per expert; x [tokens, slots or 1, columns], ids [tokens, slots]."""
    squares = np.broadcast_to(np.square(x, dtype=np.float64), (*ids.shape, x.shape[2]))
    sums = np.stack([squares[ids == expert].sum(axis=0) for expert in range(matrices)])
    return sums, np.bincount(ids.reshape(-1), minlength=matrices).astype(np.int64)


def imatrix(model: Model, text: str, ctx: int = 512, settings: Settings | None = None, *,
            out: str | os.PathLike[str] | None = None, save_every: int = 10, resume: Any = None, chunks: int | None = None,
            dataset: str = "", process_output: bool = False,
            on_chunk: Callable[[int, int, str], None] | None = None, progress: bool = False) -> Imatrix:
    """Collect an importance matrix of ``model`` over ``text`` in chunks of ``ctx`` tokens, of all tokens of each.

    out: a file to write, every ``save_every`` chunks and at the end. resume: an Imatrix, or the file of one, of the same
    text; as many chunks as it has are passed over (ctx must be its chunk size; a .dat does not hold that). chunks: stop
    after so many. settings: switches of the run. dataset: the text's name, kept in the file.
    process_output: the output matrix too. ``on_chunk(done, total, text)`` hears of each chunk, ``progress`` draws a bar.
    Ctrl-C keeps the finished chunks (``stopped`` set) and writes them to ``out``.
    Raises SettingsError for a text that is too short, QuantError for files and activations that are no numbers.

    >>> import ikexplore as ikx
    >>> found = ikx.imatrix(ikx.demo.model(), ikx.demo.text(), ctx=128, chunks=1)
    >>> len(found), found["blk.0.attn_q.weight"].shape
    (32, (256,))
    """
    if save_every < 1:
        raise SettingsError(f"save_every = {save_every}: give a number of chunks, 1 or more")
    parts = Chunks(model, text, ctx, chunks)
    result = _begun(resume, ctx, dataset)
    seen: list[np.ndarray] = []
    with progress_bar(progress, "imatrix", on_chunk) as tell, parts.session(model, settings) as session:
        try:
            for i in range(result.chunks, len(parts)):
                part = Imatrix(ctx)
                session.observer = _Collector(part, process_output)  # a chunk counts whole or not at all
                losses = [nll(*piece) for piece in parts.pieces(session, i, every=True)]
                datasets, result = result.datasets, result + part
                result.chunks, result.datasets = i + 1, datasets
                seen += losses
                if out is not None and (i + 1) % save_every == 0 and i + 1 < len(parts):
                    result.save(out)
                tell(i + 1, len(parts), f"PPL {np.exp(mean_error(np.concatenate(seen))[0]):.4f}")
        except (KeyboardInterrupt, Cancelled):
            result.stopped = True
    result.ppl = float(np.exp(mean_error(np.concatenate(seen))[0])) if seen else float("nan")
    if out is not None and len(result):
        result.save(out)
    return result


def _begun(resume: Any, ctx: int, dataset: str) -> Imatrix:
    """A copy of what there is already, or nothing yet."""
    empty = Imatrix(ctx, (dataset,) if dataset else ())
    if resume is None:
        return empty
    old = resume if isinstance(resume, Imatrix) else Imatrix.load(resume)
    if old.chunk_size not in (ctx, 0):
        raise SettingsError(f"the imatrix to go on with has chunks of {old.chunk_size} tokens; give ctx={old.chunk_size}")
    return empty + old
