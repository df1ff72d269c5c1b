"""Python's tables as CUDA C++: ``#include "tables/iq4.cuh"`` in a kernel. One source of truth: `formats._tables` and others.

Small tables (up to 64 signed bytes) become ``struct Table_<name>`` whose ``word(i)`` is four of them, for byte
permutations; grids become arrays in global memory, a number of 8 or 4 bytes a point.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..formats import _grids, _iqk_books, _iqk_tables, _tables, iq2_kt, iq3_kt, mxfp4

__all__ = ["table"]

_BYTES: dict[str, Sequence[int]] = {
    "iq2": _iqk_books.IQ2,
    "iq3": _iqk_books.IQ3,
    "iq4": _tables.IQ4,
    "iq5": _iqk_books.IQ5,
    "iq6": _iqk_tables._IQ6,
    "pair_first": [x for x, _ in _iqk_books.PAIRS],
    "pair_second": [y for _, y in _iqk_books.PAIRS],
    "mxfp4": mxfp4._VALUES,
}
_SHIFTS = ("SHIFT2", "SHIFT3", "SHIFT4", "SHIFT5", "SHIFT6")


def table(name: str) -> str:
    """The header ``tables/<name>.cuh``. Raises ValueError for a name that no table has."""
    if name in _BYTES:
        return _byte_table(name, _BYTES[name])
    if name == "shifts":
        lines = [f"#define {n} {getattr(_iqk_books, n)}\n" for n in _SHIFTS]
        return "".join(lines) + "".join(f"#define CUBIC{i} {x!r}f\n" for i, x in enumerate(_iqk_books.CUBIC))
    if name == "trellis":
        factors = {"IQ2_KT_FACTOR": iq2_kt.PRODUCT_FACTOR, "IQ3_KT_FACTOR": iq3_kt.PRODUCT_FACTOR}
        return "".join(f"#define {n} {x}f\n" for n, x in factors.items())
    if name.startswith("grid_") and hasattr(_grids, name[5:].upper()):
        return _grid(name, getattr(_grids, name[5:].upper()))
    raise ValueError(
        f"there is no table {name!r} for CUDA kernels; tables: {', '.join([*_BYTES, 'shifts', 'grid_iq2_xxs ...'])}"
    )


def _byte_table(name: str, values: Sequence[int]) -> str:
    """Values and, for tables that are shifted afterwards, values + 128."""
    padded = np.zeros(-(-len(values) // 8) * 8, np.int64)
    padded[: len(values)] = values
    signed, biased = (_words(v.astype(np.uint8)) for v in (padded & 255, padded + 128 & 255))
    return (
        f"struct Table_{name} {{\n    static constexpr int words = {len(padded) // 4};\n"
        f"    DEVICE static u32 word(int i) {{\n        const u32 t[] = {{{signed}}};\n        return t[i];\n    }}\n}};\n"
        f"struct Biased_{name} {{\n    static constexpr int words = {len(padded) // 4};\n"
        f"    DEVICE static u32 word(int i) {{\n        const u32 t[] = {{{biased}}};\n        return t[i];\n    }}\n}};\n"
    )


def _words(values: np.ndarray) -> str:
    return ", ".join(f"{w:#010x}u" for w in np.ascontiguousarray(values).view("<u4"))


def _grid(name: str, values: np.ndarray) -> str:
    """Points as numbers: of 4 bytes for the iq3 grids, of 8 for the others."""
    four = name.startswith("grid_iq3")
    numbers = values.view("<u4" if four else "<u8")
    body = ",\n".join(
        ", ".join(f"{x:#x}{'u' if four else 'ull'}" for x in numbers[k : k + 8]) for k in range(0, len(numbers), 8)
    )
    return f"TABLE {'u32' if four else 'u64'} {name}[{len(numbers)}] = {{\n{body}}};\n"
