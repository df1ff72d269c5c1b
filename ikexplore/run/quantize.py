"""A model file in other quant types, written tensor by tensor.

Peak memory is about one tensor. The file appears under its name only when it is complete.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ikexplore_kernels.formats import Format

from ..errors import ModelError, QuantError
from ..gguf import write
from ..models import Model
from ..models.model import Tensor
from .recipe import Recipe, compiled, is_matrix, known

#: weights that are decoded and encoded at a time; a stop takes effect between such pieces
PIECE = 1 << 22
Progress = Callable[[dict], None]


@dataclass(frozen=True)
class Step:
    """What becomes of one tensor: names of types, bytes before and after, and why."""

    name: str
    shape: tuple[int, ...]
    old: str
    new: str
    old_bytes: int
    new_bytes: int
    why: str


@dataclass(frozen=True)
class Quantized:
    """All steps; ``nbytes`` of tensor data after, ``bpw`` (bits per weight) over all tensors, ``path`` None: dry run."""

    steps: tuple[Step, ...]
    path: Path | None

    @property
    def nbytes(self) -> int:
        """Bytes of tensor data after."""
        return sum(s.new_bytes for s in self.steps)

    @property
    def bpw(self) -> float:
        """Bits per weight over all tensors after."""
        return 8 * self.nbytes / sum(int(np.prod(s.shape)) for s in self.steps)

    def to_text(self) -> str:
        """A line a tensor and the sum."""
        lines = []
        for s in self.steps:
            shape = "x".join(map(str, s.shape))
            lines.append(f"{s.name:40} {shape:>20}  {s.old:>8} -> {s.new:10} {s.new_bytes / 2**20:9.2f} MiB  {s.why}")
        old = sum(s.old_bytes for s in self.steps)
        return "\n".join([*lines, f"{old / 2**20:.2f} MiB -> {self.nbytes / 2**20:.2f} MiB, {self.bpw:.3f} bits per weight"])


def quantize(
    model: Model,
    out_path: str | os.PathLike[str] | None,
    recipe_or_type: Recipe | str | Sequence[tuple[str, str]],
    imatrix: Mapping[str, np.ndarray] | None = None,
    *,
    repack: bool = False,
    repack_pattern: str | None = None,
    dry_run: bool = False,
    on_progress: Progress | None = None,
) -> Quantized:
    """Write ``model`` to ``out_path`` with the types of ``recipe_or_type``: a type's name, (regex, type) pairs, or a Recipe.

    imatrix: tensor name -> importance of its columns, float [columns] or [experts * columns]; tensors without an entry
    are encoded without. repack: then interleave rows (types' ``_R4/_R8`` forms) of the tensors whose name
    ``repack_pattern`` finds (comma-separated regexes; all but the embedding by default). dry_run: sizes only.
    ``on_progress`` hears ``{"phase": "quantize", "done", "total", "text"}`` in weights.

    Raises QuantError for types, regexes and weights that are not finite, ModelError for a header without weights,
    GGUFError where the file cannot be written.

    >>> import ikexplore as ikx
    >>> done = ikx.quantize(ikx.demo.model(), None, "iq4_ks", dry_run=True)
    >>> round(done.bpw, 2)
    4.47
    """
    recipe = Recipe.of(recipe_or_type)
    patterns = [compiled(p) for p in (repack_pattern or "").split(",") if p]
    plan = [_step(t, recipe, repack, patterns) for t in model.tensors.values()]
    steps = tuple(step for step, _ in plan)
    if dry_run:
        return Quantized(steps, None)
    if out_path is None:
        raise QuantError("name the file to write, or ask for a dry run")
    if not model.has_weights:
        raise ModelError(f"{model.name}: a header without weights cannot be quantized; open the GGUF itself")
    if model.path is not None and Path(out_path).exists() and Path(out_path).samefile(model.path):
        raise QuantError(f"{out_path} is the model itself; name another file")
    total = sum(int(np.prod(s.shape)) for s in steps if s.old != s.new)
    job = _Job(model, imatrix or {}, on_progress, total)
    write(out_path, _metadata(model), [(s.name, s.shape, s.new, job.bytes_of(s, f)) for s, f in plan])
    return Quantized(steps, Path(out_path))


def _step(tensor: Tensor, recipe: Recipe, repack: bool, patterns: list[Any]) -> tuple[Step, Format | None]:
    target, why = recipe.type_of(tensor)
    if repack and is_matrix(tensor) and tensor.name != "token_embd.weight":
        plain = target or known(tensor.type)
        wide = plain.repacked
        wanted = not patterns or any(p.search(tensor.name) for p in patterns)
        if wide is not None and wanted and tensor.shape[1] % wide.interleave == 0:
            target, why = wide, f"{why}; repacked"
    new = target.name if target else tensor.type
    nbytes = tensor.n_rows * target.row_bytes(tensor.shape[0]) if target else tensor.nbytes
    return Step(tensor.name, tensor.shape, tensor.type, new, tensor.nbytes, nbytes, why), target


def _metadata(model: Model) -> Any:
    """The model's own, less the file type that holds no longer."""
    metadata = model.metadata.copy()  # type: ignore[attr-defined]
    metadata.pop("general.file_type", None)
    return metadata


class _Job:
    """Bytes of each tensor when it is its turn, with progress in weights."""

    def __init__(self, model: Model, imatrix: Mapping[str, np.ndarray], tell: Progress | None, total: int):
        self.model, self.imatrix, self.tell, self.total, self.done = model, imatrix, tell, max(1, total), 0

    def bytes_of(self, step: Step, target: Format | None) -> Callable[[], np.ndarray]:
        def make() -> np.ndarray:
            if target is None or step.old == step.new:
                return self.model.data(step.name)
            return self._encode(step, target)

        return make

    def _encode(self, step: Step, target: Format) -> np.ndarray:
        source, columns = known(step.old), step.shape[0]
        raw = self.model.data(step.name).reshape(-1, source.row_bytes(columns))
        out = np.empty((len(raw), target.row_bytes(columns)), np.uint8)
        for first, last, matrix in self._pieces(step, len(raw), max(target.interleave, source.interleave)):
            if self.tell:
                text = f"{step.name}: {step.old} to {step.new}"
                self.tell({"phase": "quantize", "done": self.done, "total": self.total, "text": text})
            x = _finite(source.decode(raw[first:last], columns), step.name, first)
            out[first:last] = target.encode(x, self._importance(step, matrix))
            self.done += x.size
        self.model.release(step.name)
        return out.reshape(-1)

    def _pieces(self, step: Step, n_rows: int, interleave: int) -> Iterator[tuple[int, int, int]]:
        """(first row, last row, number of the matrix): whole groups of rows of one expert, PIECE weights or so."""
        rows = step.shape[1]
        many = max(interleave, PIECE // step.shape[0] // interleave * interleave)
        for matrix in range(n_rows // rows):
            for first in range(matrix * rows, (matrix + 1) * rows, many):
                yield first, min(first + many, (matrix + 1) * rows), matrix

    def _importance(self, step: Step, matrix: int) -> np.ndarray | None:
        found = self.imatrix.get(step.name)
        if found is None:
            return None
        columns = step.shape[0]
        if found.size == columns:
            return np.asarray(found).reshape(-1)
        part = np.asarray(found).reshape(-1)[matrix * columns : (matrix + 1) * columns]
        if part.size != columns:
            raise QuantError(f"{step.name}: the imatrix has {found.size} values for {columns} columns")
        return part


def _finite(x: np.ndarray, name: str, first: int) -> np.ndarray:
    bad = ~np.isfinite(x)
    if bad.any():
        row, column = np.argwhere(bad)[0]
        raise QuantError(f"{name}: {x[row, column]} at row {first + row}, column {column}; quantizers need finite weights")
    return x
