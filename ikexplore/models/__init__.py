"""Models: headers with meaning, graph builders per architecture, tokenizers. Names are resolved on first use."""

from importlib import import_module
from typing import Any

_HOME = {
    "HParams": "hparams",
    "Model": "model",
    "Role": "roles",
    "Tensor": "model",
    "Tokenizer": "tokenizer",
    "open": "model",
    "role_of": "roles",
}
__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module 'ikexplore.models' has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{home}"), name)
