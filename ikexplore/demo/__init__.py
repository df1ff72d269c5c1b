"""The embedded default model, its held-out text, and what made them (README.md beside this file).

``ikx.demo.model()`` is a small qwen3moe GGUF, trained from scratch on public-domain text, so that perplexity and
generated text mean something; ``ikx.demo.synthetic(...)`` has random weights in the true shapes of a larger model.
"""

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..models.model import Model

__all__ = ["model", "path", "synthetic", "text"]

_HERE = Path(__file__).resolve().parent


def path() -> Path:
    """Path of the packaged GGUF (Q8_0 matrices, F32 norms and routers, under 8,000,000 bytes)."""
    return _HERE / "demo.gguf"


def model() -> "Model":
    """The packaged model, opened as `ikx.open` opens any file.

    Raises
    ------
    GGUFError
        if the packaged file is damaged.
    """
    from ..models.model import open as open_model

    return open_model(path())


@cache
def text() -> str:
    """About 50 KB of English that the model has not seen: the last chapters of "Persuasion" (public domain)."""
    return (_HERE / "held_out.txt").read_text(encoding="utf-8")


def __getattr__(name: str) -> Any:
    if name == "synthetic":
        # the import binds the submodule's name here; the function of the same name takes its place
        from .synthetic import synthetic

        globals()["synthetic"] = synthetic
        return synthetic
    raise AttributeError(f"module 'ikexplore.demo' has no attribute {name!r}")
