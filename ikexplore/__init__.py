"""ikexplore: see, try and forecast how quantized models run with ik_llama.cpp.

``import ikexplore as ikx``. Names are resolved on first use, so that the import itself is instant.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

#: public name -> the module that defines it
_HOME = {
    "open": "models.model", "Model": "models.model",
    "Settings": "settings",
    "Machine": "machine",
    "calibrate": "forecast", "Forecast": "forecast",
    "compare": "logs", "plan": "schedule", "Plan": "schedule",
    "quant": "qtypes", "quants": "qtypes", "Quant": "qtypes",
    "register_quant": "models.own_quants", "forget_quant": "models.own_quants",
    "Candidate": "tune", "Front": "tune", "NoFit": "tune",
    "tokenize": "run", "detokenize": "run", "logits": "run", "generate": "run", "perplexity": "run",
    "kld": "run", "Kld": "run", "base_logits": "run", "imatrix": "run", "Imatrix": "run",
    "crosscheck": "run", "pareto": "run", "Pareto": "run",
    "sweep": "run", "Sweep": "run", "requantized": "run", "quantize": "run", "Recipe": "run",
    "grid": "runs", "Grid": "runs",
    "IkexploreError": "errors", "GGUFError": "errors", "SettingsError": "errors",
    "ModelError": "errors", "QuantError": "errors", "Cancelled": "errors",
}
_ROOMS = ("demo", "forecast", "plots", "errors", "logs", "runs", "tune")
__all__ = sorted([*_HOME, *_ROOMS])


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return import_module(f"{__name__}.{name}")
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module 'ikexplore' has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
