"""Where compiled kernels are kept, and the decorator that keeps them there.

numba looks only at the file of the function that it caches: an edit of the vector vocabulary would leave stale
kernels behind. So cache folders are named after hashes: of the vocabulary for functions that use nothing else of
ours (``jit``), of every kernel source and of the formats' own files for ops (``ops_folder``).
"""

import functools
import hashlib
import os
import sys
import threading
from collections.abc import Callable, Iterable
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_HERE = Path(__file__).resolve().parent
_VOCABULARY = ("vectors.py", "target.py", "tiles.py", "simd.py")
_FORMAT_HELPERS = ("base.py", "gather.py")


def _hash(paths: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for path in sorted(paths):
        digest.update(path.name.encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


@functools.cache
def _root() -> Path:
    """The user's cache folder for these versions of Python, numba and LLVM; IKEXPLORE_CACHE moves it."""
    import llvmlite
    import numba

    root = os.environ.get("IKEXPLORE_CACHE")
    if root is None:
        import platformdirs

        root = platformdirs.user_cache_dir("ikexplore")
    versions = f"py{sys.version_info.major}{sys.version_info.minor}-nb{numba.__version__}-ll{llvmlite.__version__}"
    return Path(root) / "kernels" / versions


@functools.cache
def folder() -> Path:
    """The cache folder of functions that use the vector vocabulary and the formats' helpers, nothing else of ours."""
    helpers = [p for p in (_HERE / "formats").glob("*.py") if p.name in _FORMAT_HELPERS or p.name.startswith("_")]
    return _root() / f"vocabulary-{_hash([*(_HERE / f for f in _VOCABULARY), *helpers])}"


@functools.cache
def ops_folder(*formats: str) -> Path:
    """The cache folder of ops that are specialised for the named formats (module stems)."""
    files = [*_HERE.glob("*.py"), *(_HERE / "formats" / f"{f}.py" for f in formats)]
    return folder() / f"{'+'.join(formats) or 'plain'}-{_hash(files)}"


_ONE_PLACE = threading.RLock()  # numba's setting is one for all threads: without it one would put its cache in another's


@contextmanager
def cache_in(path: Path):
    """Within this block numba's decorators put their cache into ``path``; other threads wait for theirs."""
    from numba.core import config

    path.mkdir(parents=True, exist_ok=True)
    with _ONE_PLACE:
        before, config.CACHE_DIR = config.CACHE_DIR, str(path)
        try:
            yield
        finally:
            config.CACHE_DIR = before


def jit(fn: Callable | None = None, **options: Any) -> Any:
    """``numba.njit`` without the GIL, with C's division rules, cached in this package's folder."""
    if fn is None:
        return functools.partial(jit, **options)
    from numba import njit

    if options.get("forceinline"):
        options = piece_options(**options)
    options = {"cache": True, "nogil": True, "error_model": "numpy", **options}
    if not options["cache"]:
        return njit(**options)(fn)
    with cache_in(folder()):
        return njit(**options)(fn)


def piece_options(**more: Any) -> dict[str, Any]:
    """numba's options for functions that are only ever compiled into others."""
    from ._pieces import Piece

    return {"cache": False, "no_cpython_wrapper": True, "no_cfunc_wrapper": True, "pipeline_class": Piece, **more}


def inner(fn: Callable | None = None, **options: Any) -> Any:
    """``numba.njit`` for the pieces of ops: compiled into their callers, never cached nor called on their own."""
    if fn is None:
        return functools.partial(inner, **options)
    return jit(fn, **piece_options(**options))
