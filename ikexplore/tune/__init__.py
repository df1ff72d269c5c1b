"""Search for the settings with which a model runs best on a machine: by forecast, within memory, ready to paste."""

from .candidate import Candidate, Front
from .shortage import NoFit
from .tune import tune

__all__ = ["Candidate", "Front", "NoFit", "tune"]
