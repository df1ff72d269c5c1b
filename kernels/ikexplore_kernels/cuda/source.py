"""The CUDA C++ text of a module, with our own headers put in place: ``source("q4_k")``.

A module is ``formats/<type>.cu`` or ``cuda/<name>.cu``. ``#include "x.cuh"`` means ``cuda/x.cuh``; two kinds of header
are made from Python's tables, so that there is one source of truth: ``"sizes/<type>.cuh"`` (from the registry) and
``"tables/<name>.cuh"`` (see `tables`). A header is put in once, however often it is asked for.
"""

from __future__ import annotations

import functools
import re
from pathlib import Path

from .. import formats

__all__ = ["expanded", "format_modules", "modules", "op_modules", "source"]

_OPS = Path(__file__).parent
_FORMATS = Path(formats.__file__).parent
_INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]+"([^"]+)"[^\n]*$', re.MULTILINE)


@functools.cache
def _format_modules() -> tuple[str, ...]:
    return tuple(name for name in formats.names() if (_FORMATS / f"{name}.cu").is_file())


def format_modules() -> list[str]:
    """Names of the quant types that have a ``.cu``, in the registry's order."""
    return list(_format_modules())


def op_modules() -> list[str]:
    """Names of the modules of ops, ``cuda/*.cu``."""
    return sorted(path.stem for path in _OPS.glob("*.cu"))


def modules() -> list[str]:
    """All names that `source` knows: ops first, then quant types."""
    return op_modules() + format_modules()


def source(*names: str) -> str:
    """The text of one translation unit with all these modules. Raises ValueError for a name that has no ``.cu``."""
    done: set[str] = set()
    return "".join(_insert(_module(name), name + ".cu", done) for name in names)


def _module(name: str) -> str:
    for folder in (_FORMATS, _OPS):
        path = folder / f"{name}.cu"
        if re.fullmatch(r"\w+", name) and path.is_file():
            return _text(path)
    raise ValueError(f"there is no CUDA module {name!r}; modules: {', '.join(modules())}")


@functools.cache
def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def _header(name: str) -> str:
    kind, _, rest = name.partition("/")
    if kind == "sizes":
        return _sizes(rest.removesuffix(".cuh"))
    if kind == "tables":
        from .tables import table  # the tables live beside the codecs, which import numba

        return table(rest.removesuffix(".cuh"))
    return _text(_OPS / name)


def _sizes(name: str) -> str:
    f = formats.get(name)
    return (
        f"struct Sizes_{f.name} {{\n"
        f"    static constexpr int block = {f.block}, bytes = {f.block_bytes}, meta = {f.row_meta}, rows = {f.interleave};\n"
        "};\n"
    )


def expanded(text: str, name: str) -> str:
    """Any text that includes our headers, as one translation unit."""
    return _insert(text, name, set())


def _insert(text: str, name: str, done: set[str]) -> str:
    """``text`` with its includes; ``#line`` lets a compiler name our files."""
    out, at = [f'#line 1 "{name}"\n'], 0
    for found in _INCLUDE.finditer(text):
        out.append(text[at : found.start()])
        at = found.end()
        if found.group(1) not in done:
            done.add(found.group(1))
            out.append(_insert(_header(found.group(1)), found.group(1), done))
        out.append(f'#line {text.count(chr(10), 0, at) + 2} "{name}"')
    out.append(text[at:] + ("" if text.endswith("\n") else "\n"))
    return "".join(out)
