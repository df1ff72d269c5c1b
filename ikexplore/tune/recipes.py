"""Quant types for a file of a given size: the least error where weights are read most often.

A weight's error counts as often as the weight is read: of experts, the share that a token uses. The error of a type is that
of its codec on normal weights (types.json, made by tests/bench/tuner_types.py). That is a rule of thumb for a start, not a
perplexity; ``ikx.perplexity`` and ``ikx.kld`` measure.
"""

import itertools
import json
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import IkexploreError
from ..gguf import row_bytes
from ..models.model import Model, Tensor
from ..settings.line import quote
from .request import Request

FILE = Path(__file__).with_name("types.json")
#: the share of its rows that a token embedding is read with counts as nothing; its errors still reach every layer
EMBEDDING = 0.05
#: classes of tensors that get one type each: name -> regex of --custom-q
CLASSES = {
    "experts": r"ffn_(up|gate|gate_up)_exps\.weight",
    "experts down": r"ffn_down_exps\.weight",
    "embedding": r"token_embd\.weight",
    "output": r"^output\.weight",
    "rest": "",
}
#: classes that are small and matter: not below these types where the size allows it
FLOOR = {"embedding": "iq4_k", "output": "q6_k", "rest": "iq4_k"}
_GIB = 2**30


@dataclass(frozen=True)
class Chosen:
    """A recipe, the file's size in bytes, and the command that makes it with llama-quantize."""

    recipe: Any
    size: int
    command: str


@lru_cache(maxsize=1)
def errors() -> dict[str, float]:
    """Type -> squared error over squared weight."""
    return {k: float(v) for k, v in json.loads(FILE.read_text())["error"].items()}


def retyped(asked: Request) -> tuple[Request, Chosen | None]:
    """The request with its model in types that make the file as small as asked; None where it is that already.

    Raises IkexploreError with the smallest size that there is.
    """
    assert asked.size_gib is not None
    limit = int(asked.size_gib * _GIB)
    if sum(t.nbytes for t in asked.model.tensors.values()) <= limit:
        return asked, None
    chosen = best(asked.model, limit)
    return replace(asked, model=in_types(asked.model, chosen.recipe)), chosen


def best(model: Model, limit: int) -> Chosen:
    """The types of classes that make the weighted error least in ``limit`` bytes."""
    from ..run.recipe import Recipe

    members = _members(model)
    kinds = sorted(errors(), key=lambda k: errors()[k])
    names = [name for name in CLASSES if members[name]]
    size = np.array([[sum(_bytes(t, kind) for t in members[name]) for kind in kinds] for name in names])
    cost = np.array([[_share(model, name) * sum(_weights(t) for t in members[name]) * errors()[kind] for kind in kinds]
                     for name in names])  # fmt: skip
    kept = sum(t.nbytes for t in model.tensors.values()) - sum(t.nbytes for name in names for t in members[name])
    ways = np.array(list(itertools.product(range(len(kinds)), repeat=len(names))), np.int8)
    rows = np.arange(len(names))
    total = size[rows, ways].sum(axis=1) + kept
    if total.min() > limit:
        raise IkexploreError(
            f"size_gib {limit / _GIB:.3g}: the smallest file of this model's types here is {total.min() / _GIB:.2f} GiB "
            f"(all in {kinds[-1]}); ask for more, or for a smaller model"
        )
    worst = np.array([kinds.index(FLOOR.get(name, kinds[-1])) for name in names])
    held = (ways <= worst).all(axis=1) & (total <= limit)
    fits = np.flatnonzero(held if held.any() else total <= limit)
    price = cost[rows, ways[fits]].sum(axis=1)
    at = fits[np.lexsort((total[fits], price))[0]]
    types = {name: kinds[k] for name, k in zip(names, ways[at])}
    rules = tuple((CLASSES[name], kind) for name, kind in types.items() if CLASSES[name])
    recipe = Recipe(types.get("rest", kinds[0]), rules, pure=True)
    return Chosen(recipe, int(total[at]), _command(model, recipe))


def in_type(model: Model, kind: str) -> Model:
    """The model with its matrices in one type, without bytes; tensors that are smaller already stay."""
    from ..run.recipe import Recipe

    return in_types(model, Recipe(kind, pure=True))


def in_types(model: Model, recipe: Any) -> Model:
    """The model as ``quantize`` would make it, without bytes; tensors that are smaller already stay."""
    tensors = []
    for t in model.tensors.values():
        f, _ = recipe.type_of(t)
        size = None if f is None else t.n_rows * row_bytes(f.name, t.shape[0])
        tensors.append(t if f is None or size is None or size >= t.nbytes else Tensor(t.name, t.shape, f.name, size, None, 0))
    return Model(tensors, dict(model.metadata), model.path, (), sum(t.nbytes for t in tensors))


def _members(model: Model) -> dict[str, list[Tensor]]:
    from ..run.recipe import compiled, is_matrix

    found: dict[str, list[Tensor]] = {name: [] for name in CLASSES}
    for t in model.tensors.values():
        if is_matrix(t):
            name = next(name for name, pattern in CLASSES.items() if compiled(pattern).search(t.name))
            found[name].append(t)
    return found


def _bytes(t: Tensor, kind: str) -> int:
    """Bytes of a tensor in a type, or what it has if that is less."""
    from ..run.recipe import fitting, known

    f, _ = fitting(known(kind), t, "")
    return min(t.nbytes, t.n_rows * row_bytes(f.name, t.shape[0]))


def _weights(t: Tensor) -> float:
    return float(t.n_rows) * t.shape[0]


def _share(model: Model, name: str) -> float:
    """How often a class's weights are read per token."""
    hp = model.hparams
    if name.startswith("experts"):
        return hp.n_expert_used / hp.n_expert
    return EMBEDDING if name == "embedding" else 1.0


def _command(model: Model, recipe: Any) -> str:
    rules = ",".join(f"{pattern}={kind}" for pattern, kind in recipe.rules)
    source = quote(str(model.path)) if str(model.path).endswith(".gguf") else "IN.gguf"
    return f"llama-quantize --allow-requantize --custom-q {quote(rules)} {source} OUT.gguf {recipe.default.upper()}"

