"""Real programs run and read, grids of settings with a journal, caches, and two settings measured in turn."""

from . import caches
from .binary import Binary
from .grid import grid
from .record import Record
from .results import Grid
from .turns import in_turn

__all__ = ["Binary", "Grid", "Record", "caches", "grid", "in_turn"]
