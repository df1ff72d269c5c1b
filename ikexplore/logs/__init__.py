"""What real runs print, read into figures, and runs compared with each other."""

from .comparison import Comparison, compare, interleave
from .reader import Reader, read
from .run import Run, Runs

__all__ = ["Comparison", "Reader", "Run", "Runs", "compare", "interleave", "read"]
