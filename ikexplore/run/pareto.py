"""Quality, size and speed of quant types and recipes in one table, measured on this machine."""

import math
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import Cancelled, SettingsError
from ..models import Model
from ..models.model import open as open_model
from ..settings import Settings
from .base_logits import BaseFile, base_logits
from .chunks import progress_bar
from .kld import kld
from .quantize import quantize
from .recipe import Recipe
from .sweep import sweep
from .text import perplexity

COLUMNS = (
    ("name", "type or recipe", "{}"), ("bpw", "bits per weight", "{:.3f}"), ("mib", "MiB", "{:.2f}"), ("ppl", "PPL", "{:.4f}"),
    ("ppl_error", "±", "{:.4f}"), ("kld", "KLD", "{:.5f}"), ("kld_error", "±", "{:.5f}"), ("top1", "same top", "{:.2%}"),
    ("s_pp", "S_PP t/s", "{:.1f}"), ("s_tg", "S_TG t/s", "{:.1f}"),
)  # fmt: skip


@dataclass
class Pareto:
    """``rows``: dicts with ``name recipe bpw mib ppl ppl_error`` and, where measured, ``kld kld_error top1 s_pp s_pp_sd s_tg
    s_tg_sd``. The first row is the model as it is (``recipe`` None). ``metric``: "kld" or "ppl". ``stopped``: interrupted."""

    model: str
    metric: str
    settings: Settings
    rows: list[dict[str, Any]] = field(default_factory=list)
    stopped: bool = False

    @property
    def frontier(self) -> list[dict[str, Any]]:
        """Rows that no other is both smaller and better than, by size; the model as it is does not compete."""
        from ..plots import unbeaten

        rows = {row["name"]: row for row in self.rows if row["recipe"] is not None}
        return [rows[name] for name in unbeaten({name: (row["bpw"], row[self.metric]) for name, row in rows.items()})]

    def to_markdown(self) -> str:
        """A table; rows of the frontier are marked."""
        shown = [c for c in COLUMNS if any(c[0] in r for r in self.rows)]
        lines = ["| " + " | ".join(["", *(title for _, title, _ in shown)]) + " |", "|---" * (len(shown) + 1) + "|"]
        for row in self.rows:
            cells = [form.format(row[key]) if key in row else "" for key, _, form in shown]
            lines.append("| " + " | ".join(["*" if row in self.frontier else "", *cells]) + " |")
        return "\n".join(lines)

    def _repr_markdown_(self) -> str:
        return self.to_markdown()

    def to_pandas(self) -> Any:
        """The rows as a pandas DataFrame (pandas must be installed)."""
        import pandas

        return pandas.DataFrame(self.rows)


def pareto(model: Model, types: Sequence[Any] | Mapping[str, Any], text: str | None = None, ctx: int = 512,
           settings: Settings | None = None, *, metric: str = "kld", chunks: int | None = None, speed: bool = True,
           repetitions: int = 3, imatrix: Mapping[str, Any] | None = None, folder: str | Path | None = None,
           on_row: Callable[[dict[str, Any]], None] | None = None, progress: bool = True) -> Pareto:
    """Quantize ``model`` in each way and measure it.

    types: names of types, Recipes or lists of (regex, type) as ``quantize`` takes them; a mapping names them. text: what
    perplexity is measured on (the embedded held-out text if not given), in chunks of ``ctx`` tokens, at most ``chunks`` of
    them. metric: "kld" (against the model as it is, with its perplexity) or "ppl" alone. speed: PP and TG with an empty
    context, ``repetitions`` times. Files go to a temporary folder one at a time, or to ``folder``, where they stay.
    settings: switches of the runs. imatrix: importance of columns for the encoders, as ``quantize`` takes it.
    ``on_row(row)`` hears of each finished row, ``progress`` draws a bar; Ctrl-C keeps finished rows (``stopped`` set).
    Raises SettingsError for a metric that is neither, QuantError for types that are none, before anything runs.

    >>> import ikexplore as ikx
    >>> found = ikx.pareto(ikx.demo.model(), ["q8_0"], ctx=128, chunks=1, speed=False, progress=False)
    >>> [(row["name"], round(row["bpw"], 1)) for row in found.rows]
    [('as it is', 8.5), ('q8_0', 8.5)]
    """
    if metric not in ("kld", "ppl"):
        raise SettingsError(f"metric = {metric!r}: give kld or ppl")
    named = types.items() if isinstance(types, Mapping) else ((_name(t), t) for t in types)
    recipes = [(name, Recipe.of(recipe)) for name, recipe in named]
    if text is None:
        from .. import demo

        text = demo.text()
    job = _Job(model, text, ctx, settings or Settings(), metric, chunks, repetitions if speed else 0, imatrix)
    result = Pareto(model.name, metric, job.settings)
    try:
        with progress_bar(progress, "pareto", unit="rows") as tell, tempfile.TemporaryDirectory(prefix="ikexplore-") as scratch:
            job.base(Path(scratch), tell)
            for i, (name, recipe) in enumerate([("as it is", None), *recipes]):
                tell(i, len(recipes) + 1, name)
                row = job.row(name, recipe, Path(folder) if folder else Path(scratch), keep=folder is not None)
                result.rows.append(row)
                if on_row:
                    on_row(row)
    except (KeyboardInterrupt, Cancelled):
        result.stopped = True
    return result


def _name(kind: Any) -> str:
    if isinstance(kind, str):
        return kind
    recipe = Recipe.of(kind)
    return " ".join([*(f"{pattern}={t}" for pattern, t in recipe.rules), recipe.default])


@dataclass
class _Job:
    model: Model
    text: str
    ctx: int
    settings: Settings
    metric: str
    chunks: int | None
    repetitions: int
    imatrix: Mapping[str, Any] | None
    file: BaseFile | None = None

    def base(self, folder: Path, tell: Any) -> None:
        """The base's logits, once for all rows."""
        if self.metric == "kld":
            self.file = base_logits(self.model, self.text, folder / "base.logits", self.ctx, self.settings, chunks=self.chunks,
                                    on_chunk=lambda done, total, text: tell(0, 1, f"{done} of {total} chunks, {text}"))

    def row(self, name: str, recipe: Recipe | None, folder: Path, keep: bool) -> dict[str, Any]:
        if recipe is None:
            tensors = self.model.tensors.values()
            sizes = _sizes(sum(t.nbytes for t in tensors), sum(math.prod(t.shape) for t in tensors))
            return {"name": name, "recipe": None, **sizes, **self._measure(self.model)}
        path = folder / f"{''.join(c if c.isalnum() or c in '-_.' else '_' for c in name)[:100]}.gguf"
        done = quantize(self.model, path, recipe, self.imatrix)
        try:
            sizes = _sizes(done.nbytes, sum(math.prod(s.shape) for s in done.steps))
            return {"name": name, "recipe": recipe, **sizes, **self._measure(open_model(path))}
        finally:
            if not keep:
                path.unlink(missing_ok=True)

    def _measure(self, model: Model) -> dict[str, Any]:
        return {**self._quality(model), **self._speed(model)}

    def _quality(self, model: Model) -> dict[str, float]:
        if self.file is None:
            found = perplexity(model, self.text, self.ctx, self.settings, chunks=self.chunks)
            if found.stopped:
                raise KeyboardInterrupt
            return {"ppl": found.value, "ppl_error": found.error}
        r = kld(model, self.file, settings=self.settings)
        if r.stopped:
            raise KeyboardInterrupt
        return {"ppl": r.ppl, "ppl_error": r.ppl_error, "kld": r.mean, "kld_error": r.error, "top1": r.top1}

    def _speed(self, model: Model) -> dict[str, float]:
        if not self.repetitions:
            return {}
        n = min(self.settings.n_ubatch, 512)
        settings = self.settings.replace(n_ctx=max(256, n), n_ubatch=n)
        run = sweep(model, settings, self.repetitions, progress=False)
        if run.stopped:
            raise KeyboardInterrupt
        return {key: run.rows[0][key] for key in ("s_pp", "s_pp_sd", "s_tg", "s_tg_sd")}


def _sizes(nbytes: int, weights: int) -> dict[str, float]:
    return {"bpw": 8 * nbytes / weights, "mib": nbytes / 2**20}
