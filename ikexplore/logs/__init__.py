"""What real runs print, read into figures, and runs compared with each other."""

from .reader import Reader, read
from .run import Run, Runs

__all__ = ["Reader", "Run", "Runs", "read"]
