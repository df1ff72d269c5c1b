"""The SIMD vocabulary of the kernels, in one import: vectors, target instructions, tiles."""

from .target import *
from .tiles import *
from .vectors import *
