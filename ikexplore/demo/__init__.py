"""The embedded default model, its held-out text, and what made them (README.md beside this file).

``ikx.demo.model()`` is a small qwen3moe GGUF, trained from scratch on public-domain text, so that perplexity and
generated text mean something; ``ikx.demo.synthetic(...)`` has random weights in the true shapes of a larger model.
"""

from functools import cache
from pathlib import Path

from ..errors import ModelError
from ..models.model import Model
from ..models.model import open as open_model
from ..models.own_quants import flawed_quant

# at import, not when used: a later import of the submodule would put the module in the place of the function
from .synthetic import synthetic

__all__ = ["flawed_quant", "header", "headers", "model", "path", "synthetic", "text"]

_HERE = Path(__file__).resolve().parent


def path() -> Path:
    """Path of the packaged GGUF (Q8_0 matrices, F32 norms and routers, under 8,000,000 bytes)."""
    return _HERE / "demo.gguf"


def model() -> Model:
    """The packaged model, opened as `ikx.open` opens any file. Raises GGUFError if it is damaged."""
    return open_model(path())


def headers() -> list[str]:
    """Names of the packaged headers: models without weights, for plans and forecasts."""
    return sorted(p.name.removesuffix(".json.gz") for p in (_HERE / "headers").glob("*.json.gz"))


def header(name: str) -> Model:
    """A packaged header by name. Raises ModelError that lists the names."""
    if name not in headers():
        raise ModelError(f"there is no header {name!r}; there are {', '.join(headers())}")
    return Model.from_header(_HERE / "headers" / f"{name}.json.gz")


@cache
def text() -> str:
    """About 50 KB of English that the model has not seen: the last chapters of "Persuasion" (public domain)."""
    return (_HERE / "held_out.txt").read_text(encoding="utf-8")
