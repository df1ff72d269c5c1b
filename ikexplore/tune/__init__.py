"""Search for the settings with which a model runs best on a machine: by forecast, within memory, ready to paste.

``ikx.tune`` is this room, and calling it is calling its one function: ``ikx.tune(model, rig)``.
"""

import sys
from inspect import signature
from types import ModuleType
from typing import Any

from .candidate import Candidate, Front
from .shortage import NoFit
from .tune import tune

__all__ = ["Candidate", "Front", "NoFit", "tune"]


class _Room(ModuleType):
    """The package has the name of its function; whichever a user holds can be called."""

    def __call__(self, *args: Any, **options: Any) -> Front:
        return tune(*args, **options)


_Room.__call__.__doc__ = tune.__doc__
__signature__ = signature(tune)
sys.modules[__name__].__class__ = _Room
