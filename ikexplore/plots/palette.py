"""One table of colours for the figures and the panel: colour means device, and nothing else is coloured but trouble.

CUDA0 to CUDA3, the CPU and red keep an OKLab distance of at least 0.108 under simulated protan, deutan and tritan
vision; from CUDA6 on the hues repeat with a diagonal hatch. Colour is never the only mark: lanes and bars carry names.
"""

from __future__ import annotations

from typing import Literal

Theme = Literal["light", "dark"]

#: role -> (light, dark). The panel takes JupyterLab's own variables first where CSS_VARIABLES names one.
COLOURS: dict[str, tuple[str, str]] = {
    "bg": ("#ffffff", "#1c1d20"),
    "ink": ("rgba(0,0,0,.87)", "rgba(255,255,255,.87)"),
    "ink2": ("#5d636b", "#a3a8af"),
    "ink3": ("#8b9199", "#7c8188"),
    "ghost": ("#a9aeb6", "#6d727a"),
    "line": ("#ececee", "#2b2d31"),
    "line2": ("#dcdde0", "#3a3d42"),
    "field": ("#f6f6f7", "#26282c"),
    "focus": ("#1976d2", "#64b5f6"),
    "bad": ("#c9252d", "#ff6b60"),
    "d0": ("#3960a5", "#5e88ef"),
    "d1": ("#459b7d", "#2cc4b3"),
    "d2": ("#e3a61f", "#f5bf55"),
    "d3": ("#9b205a", "#b9689b"),
    "d4": ("#6cc4f7", "#aadcfe"),
    "d5": ("#6b4a2f", "#c79b78"),
    "cpu": ("#b9bec6", "#575c63"),
    "cpu-edge": ("#7d848e", "#8b929b"),
    "stripe": ("rgba(255,255,255,.62)", "rgba(20,22,26,.5)"),
    "band": ("rgba(20,24,30,.12)", "rgba(255,255,255,.14)"),
    "veil": ("rgba(20,24,30,.05)", "rgba(255,255,255,.06)"),
}
#: role -> the JupyterLab variable that is asked first
CSS_VARIABLES = {"bg": "--jp-layout-color1", "ink": "--jp-ui-font-color1", "focus": "--jp-brand-color1"}
HUES = 6
#: strength of a device's hue by part of its memory, for borrowed work and for a simulated device
STRENGTH = {"model": 1.0, "kv": 0.62, "compute": 0.34, "borrowed": 0.5, "simulated": 0.7}


def colour(role: str, theme: Theme = "light") -> str:
    """CSS colour of ``role`` in ``theme``."""
    return COLOURS[role][0 if theme == "light" else 1]


def device_role(name: str) -> str:
    """Role of a device by its name: ``CUDA7`` -> ``d1``; whatever is no GPU -> ``cpu``."""
    digits = name.removeprefix("CUDA")
    return f"d{int(digits) % HUES}" if name.startswith("CUDA") and digits.isdigit() else "cpu"


def hatched(name: str) -> bool:
    """Whether the device's hue repeats an earlier one, so that a hatch tells them apart."""
    digits = name.removeprefix("CUDA")
    return name.startswith("CUDA") and digits.isdigit() and int(digits) >= HUES


def rgba(role: str, theme: Theme = "light") -> tuple[float, float, float, float]:
    """``role`` as four numbers from 0 to 1, for matplotlib."""
    text = colour(role, theme)
    if text.startswith("#"):
        return (*(int(text[i : i + 2], 16) / 255 for i in (1, 3, 5)), 1.0)  # type: ignore[return-value]
    r, g, b, a = (float(part) for part in text[5:-1].split(","))
    return (r / 255, g / 255, b / 255, a)


def css() -> str:
    """The table as CSS custom properties of ``.ikx`` for both themes."""
    lines = []
    for selector, theme in ((".ikx", 0), (".ikx[data-theme=dark]", 1)):
        pairs = []
        for role, values in COLOURS.items():
            value = values[theme]
            if role in CSS_VARIABLES:
                value = f"var({CSS_VARIABLES[role]},{value})"
            pairs.append(f"--{role}:{value}")
        lines.append(f"{selector}{{{';'.join(pairs)};color-scheme:{'dark' if theme else 'light'}}}")
    return "\n".join(lines) + "\n"
