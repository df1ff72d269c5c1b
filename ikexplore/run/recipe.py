"""Which tensor gets which quant type: a default, rules in order, and what never changes."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from ikexplore_kernels.formats import Format, get, names

from ..errors import QuantError
from ..models.model import Tensor

Rules = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Recipe:
    """``rules``: (regex, type) pairs, searched anywhere in the tensor's name, the first match wins (``--custom-q``).

    Without a match: ``output`` for the output matrix and ``embedding`` for the token embedding when given; with
    ``pure`` the ``default`` for all matrices; else the output gets at least q6_k and the embedding at least q4_k.
    Vectors, norms and routers keep their type. Types are names as in ``ikx.quants()``.
    Raises QuantError for an unknown type or a bad regex, naming it.
    """

    default: str
    rules: Rules = ()
    pure: bool = False
    output: str | None = None
    embedding: str | None = None

    def __post_init__(self) -> None:
        for kind in (self.default, *(t for _, t in self.rules), self.output, self.embedding):
            if kind is not None:
                known(kind)
        for pattern, _ in self.rules:
            compiled(pattern)

    @classmethod
    def of(cls, recipe: "Recipe | str | Sequence[tuple[str, str]]", **options: object) -> "Recipe":
        """A Recipe from one, from a type's name, or from (regex, type) pairs: ``recipe``. The last pair has an empty regex.

        ``options``: fields of Recipe, for a type's name or pairs. Raises QuantError for what is none of these.
        """
        if isinstance(recipe, Recipe):
            return recipe
        if isinstance(recipe, str):
            return cls(recipe, **options)  # type: ignore[arg-type]
        pairs = [tuple(pair) for pair in recipe]
        if not pairs or any(len(pair) != 2 for pair in pairs) or pairs[-1][0] != "":
            raise QuantError("a recipe is a list of (regex, type) that ends with the default as ('', type)")
        return cls(pairs[-1][1], tuple(pairs[:-1]), **options)  # type: ignore[arg-type]

    def type_of(self, tensor: Tensor) -> tuple[Format | None, str]:
        """(format, why) of a tensor; None: it keeps its own."""
        if not is_matrix(tensor):
            return None, "kept"
        for pattern, kind in self.rules:
            if compiled(pattern).search(tensor.name):
                return fitting(known(kind), tensor, f"rule {pattern}")
        if tensor.name == "output.weight" and (self.output or not self.pure):
            return fitting(known(self.output or _at_least(self.default, "q6_k")), tensor, "output")
        if tensor.name == "token_embd.weight" and (self.embedding or not self.pure):
            return fitting(known(self.embedding or _at_least(self.default, "q4_k")), tensor, "embedding")
        return fitting(known(self.default), tensor, "default")


def parse_rules(text: str) -> Rules:
    """``regex=type,regex=type`` as ``--custom-q`` takes it. Raises QuantError naming the part that is none."""
    rules = []
    for part in filter(None, text.split(",")):
        pattern, equals, kind = part.rpartition("=")
        if not equals or not pattern:
            raise QuantError(f"--custom-q {part!r} is no rule; write regex=type, as in attn_.*=q6_k")
        rules.append((pattern, kind))
    return tuple(rules)


def known(kind: str) -> Format:
    """The format of that name. Raises QuantError that lists close names."""
    try:
        return get(kind)
    except ValueError as error:
        raise QuantError(str(error)) from None


def compiled(pattern: str) -> re.Pattern[str]:
    """The regex. Raises QuantError naming it and what is wrong."""
    try:
        return re.compile(pattern)
    except re.error as error:
        raise QuantError(f"bad regex {pattern!r}: {error}; mend it") from None


def is_matrix(tensor: Tensor) -> bool:
    """Whether a tensor is quantized at all: weights of two and more dimensions but norms and routers."""
    keeps = tensor.suffix != "weight" or "norm" in tensor.name or tensor.role in ("ffn_gate_inp", "rope_freqs")
    return len(tensor.shape) > 1 and not keeps


def _at_least(kind: str, least: str) -> str:
    return kind if known(kind).bpw >= known(least).bpw else least


def fitting(f: Format, tensor: Tensor, why: str) -> tuple[Format, str]:
    """``f``, or what takes its place where rows or columns do not divide: the plain type, then the smallest type of
    blocks of 32 with as many bits, then f16."""
    columns, rows = tensor.shape[:2]
    if f.base is not None and rows % f.interleave:
        f, why = f.base, f"{why}; {rows} rows cannot be interleaved by {f.interleave}"
    if columns % f.cols_multiple == 0:
        return f, why
    plain = [get(n) for n in names() if get(n).base is None and not get(n).dense and get(n).cols_multiple == 32]
    fits = sorted((g.bpw, g.name) for g in plain if g.bpw >= f.bpw and columns % 32 == 0)
    other = get(fits[0][1]) if fits else get("f16")
    return other, f"{why}; {columns} columns are no multiple of {f.cols_multiple}, so {other.name} for {f.name}"
