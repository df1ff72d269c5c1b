"""The SIMD vocabulary of the kernels, in one import: vectors, target instructions, tiles."""

from .target import *  # noqa: F403
from .tiles import *  # noqa: F403
from .vectors import *  # noqa: F403
