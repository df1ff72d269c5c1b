"""Every switch of the engine, declared once; command lines read and written per engine profile."""

from ..errors import SettingsError
from .core import Settings
from .declare import DEFAULT_PROFILE, GROUPS, NEW, OLD, PROFILES, Switch
from .ops import OP_NAMES, OP_NUMBERS
from .pattern import compile_pattern
from .resolve import MASK_PAD, Resolved, cuda_params
from .switches import FIELDS, SWITCHES

__all__ = [
    "DEFAULT_PROFILE",
    "FIELDS",
    "GROUPS",
    "MASK_PAD",
    "NEW",
    "OLD",
    "OP_NAMES",
    "OP_NUMBERS",
    "PROFILES",
    "SWITCHES",
    "Resolved",
    "Settings",
    "SettingsError",
    "Switch",
    "compile_pattern",
    "cuda_params",
]
