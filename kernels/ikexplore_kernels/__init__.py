"""Bytes and numbers: SIMD vectors for numba, quant formats, and the kernels that are made of them.

Knows no GGUF, no graph and no settings. ``jit`` compiles with this package's own cache folder.
"""

from ._cache import jit

__all__ = ["jit"]
