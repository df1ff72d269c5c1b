"""Quant types for people: the formats of `ikexplore_kernels.formats` with input that is checked and errors that help.

q = ikexplore.quant("iq4_ks")
data = q.encode(weights)              # float32 [rows, columns] -> uint8 [rows, bytes]
back = q.decode(data, 4096)           # uint8 [rows, bytes], columns -> float32 [rows, columns]
fast = q.repack(data, 4096)           # the bytes of q.repacked, rows interleaved
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ikexplore_kernels import formats
from ikexplore_kernels.cuda.source import format_modules

from .errors import QuantError


class Quant:
    """One quant type. Arrays are two-dimensional, C order; every complaint is a QuantError of one line."""

    def __init__(self, format: formats.Format):
        self.format = format

    def __repr__(self) -> str:
        return f"<Quant {self.name}: {self.bpw:g} bits per weight, blocks of {self.block}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Quant) and other.format is self.format

    def __hash__(self) -> int:
        return hash(self.name)

    @property
    def name(self) -> str:
        """ggml's name in lower case."""
        return self.format.name

    @property
    def id(self) -> int:
        """ggml's type id, as GGUF files hold it."""
        return self.format.id

    @property
    def block(self) -> int:
        """Columns that are packed together; the columns of a tensor are a multiple of this."""
        return self.format.cols_multiple

    @property
    def bpw(self) -> float:
        """Bits per weight, for rows of 512 columns where rows carry metadata."""
        return self.format.bpw

    @property
    def rows_multiple(self) -> int:
        """Rows that are interleaved: 1 for plain types."""
        return self.format.interleave

    @property
    def repacked(self) -> Quant | None:
        """The interleaved type that `repack` makes of this one; None where there is none."""
        other = self.format.repacked
        return Quant(other) if other else None

    @property
    def has_own_layout(self) -> bool:
        """Whether the engine has a layout of its own for this type, see ``Session(layout="own16")``."""
        return formats.own16(self.format) is not None

    @property
    def base(self) -> Quant | None:
        """The plain type of an interleaved one; None for plain types."""
        other = self.format.base
        return Quant(other) if other else None

    @property
    def devices(self) -> tuple[str, ...]:
        """Kinds of device that have kernels for products with this type: "CPU", "CUDA"."""
        return ("CPU", "CUDA") if self.name in format_modules() else ("CPU",)

    def row_bytes(self, n_cols: int) -> int:
        """Bytes of a row of ``n_cols`` columns with its metadata. Raises QuantError where the block does not divide."""
        return self._do(self.format.row_bytes, n_cols)

    def decode(self, data: Any, n_cols: int) -> np.ndarray:
        """``data`` uint8 [rows, row_bytes(n_cols)] -> float32 [rows, n_cols].

        Raises QuantError for a wrong number of bytes or columns, or rows that are not whole groups. Any bytes decode;
        a scale that is NaN or infinite gives weights that are.
        """
        return self._do(self.format.decode, np.asarray(data), n_cols)

    def encode(self, weights: Any, imatrix: Any = None) -> np.ndarray:
        """``weights``, finite numbers [rows, columns] -> uint8 [rows, row_bytes(columns)], as close as a search for scales
        gets.

        ``imatrix``: the importance of each column (mean squared activation), [columns], not negative. Raises QuantError
        for NaN or infinity (named by position), a wrong shape, or columns that the block does not divide.
        """
        x = np.asarray(weights)
        if x.ndim != 2 or x.dtype.kind not in "fiu":
            raise QuantError(f"{self.name}: weights must be numbers [rows, columns], got {x.dtype} {list(x.shape)}")
        self.row_bytes(x.shape[1])
        with np.errstate(over="ignore"):
            x32 = np.ascontiguousarray(x, np.float32)
        _finite(x32, x, f"{self.name}: weight", "quantizers need finite float32 numbers; repair the tensor first")
        if imatrix is not None:
            imatrix = self._importance(imatrix, x.shape[1])
        return self._do(self.format.encode, x32, imatrix)

    def product(self, data: Any, x: Any, threads: int = 1) -> np.ndarray:
        """Finite numbers [n, columns] times the weights in ``data`` (as `decode` takes them) -> float32 [n, rows].

        By the kernels that models run with: n = 1 by that of generation, larger n by that of prompts; for all types but
        f32, f16 and bf16 they round x to 8 bits in blocks of 32. Rows of the identity as x show the weights as the
        kernel sees them. Raises QuantError for sizes that do not fit each other.
        """
        from ikexplore_kernels.single import matmul

        x32 = np.asarray(x, np.float32)
        if x32.ndim == 2:
            _finite(x32, x32, f"{self.name}: x", "products need finite numbers")
        return self._do(matmul, self.format, np.asarray(data), x32, threads)

    def repack(self, data: Any, n_cols: int) -> np.ndarray:
        """``data``, uint8 [rows, row_bytes(n_cols)] of the plain type -> the interleaved type's [rows,
        q.repacked.row_bytes(n_cols)].

        Raises QuantError where there is none, for a wrong number of bytes, or rows that are not whole groups.
        """
        return self._do(self.format.repack, np.asarray(data), n_cols)

    def unrepack(self, data: Any, n_cols: int) -> np.ndarray:
        """``data`` of the interleaved type, ``n_cols`` columns a row -> the plain type's bytes: the inverse of repack.

        Raises QuantError as ``repack`` does.
        """
        return self._do(self.format.unrepack, np.asarray(data), n_cols)

    def _importance(self, imatrix: Any, n_cols: int) -> np.ndarray:
        w = np.asarray(imatrix)
        if w.shape != (n_cols,) or w.dtype.kind not in "fiu":
            raise QuantError(f"{self.name}: the imatrix must be {n_cols} numbers, one a column; got {w.dtype} {w.shape}")
        w = w.astype(np.float64)
        _finite(w[None], w[None], f"{self.name}: imatrix value", "leave this imatrix out or make it anew")
        if (w < 0).any():
            at = int(np.argmax(w < 0))
            raise QuantError(f"{self.name}: imatrix value {w[at]:g} at column {at} is negative; it must be 0 or more")
        return w

    @staticmethod
    def _do(method: Any, *args: Any) -> Any:
        try:
            return method(*args)
        except ValueError as error:
            raise QuantError(str(error)) from None


def _finite(x: np.ndarray, original: np.ndarray, what: str, advice: str) -> None:
    good = np.isfinite(x)
    if good.all():
        return
    row, col = np.unravel_index(int(np.argmin(good)), x.shape)
    more = int(x.size - good.sum()) - 1
    others = f" (and {more} more)" if more else ""
    raise QuantError(f"{what} {original[row, col]} at row {row}, column {col}{others}: {advice}")


def quant(name: str) -> Quant:
    """The quant type of that ``name`` in any case. Raises QuantError that lists close names.

    >>> import ikexplore as ikx, numpy as np
    >>> q = ikx.quant("IQ4_KS")
    >>> q.bpw, q.block, q.repacked.name
    (4.3125, 256, 'iq4_ks_r4')
    >>> x = np.random.default_rng(0).standard_normal((4, 512), np.float32)
    >>> data = q.encode(x)                   # uint8 [rows, row_bytes]
    >>> data.shape == (4, q.row_bytes(512))
    True
    >>> back = q.decode(data, 512)           # float32 [rows, columns]
    >>> bool(np.sqrt(((back - x) ** 2).mean()) < 0.1)
    True
    >>> bool((q.unrepack(q.repack(data, 512), 512) == data).all())
    True
    """
    try:
        return Quant(formats.get(name))
    except ValueError as error:
        raise QuantError(f"{error} (ikexplore.quants() lists all)") from None


def quants() -> list[str]:
    """Names of all quant types, in the order of their ids. Never raises.

    >>> import ikexplore as ikx
    >>> len(ikx.quants()), ikx.quants()[:3]
    (73, ['f32', 'f16', 'q4_0'])
    """
    return formats.names()


def encode_error(name: str) -> float:
    """Relative RMSE of encoding normally distributed weights, 64 rows of 2048, without an imatrix."""
    x = np.random.default_rng(0).standard_normal((64, 2048)).astype(np.float32)
    q = quant(name)
    e = q.decode(q.encode(x), 2048).astype(np.float64) - x
    return float(np.sqrt(np.square(e).sum() / np.square(x, dtype=np.float64).sum()))


def table(errors: dict[str, float] | None = None) -> str:
    """The Markdown table of docs/quant-types.md; ``errors`` per type name for its last column."""
    heads = ["type", "id", "bits per weight", "block", "row metadata", "repacked to", "kernels", "encode error"]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for name in quants():
        f = formats.get(name)
        block = f"{f.block_bytes} bytes / {f.block}" + (f", {f.interleave} rows" if f.interleave > 1 else "")
        meta, to = f"{f.row_meta} bytes" if f.row_meta else "-", f.repacked.name if f.repacked else "-"
        error = f"{100 * errors[name]:.2g} %" if errors else "?"
        lines.append(f"| {name} | {f.id} | {f.bpw:g} | {block} | {meta} | {to} | {', '.join(quant(name).devices)} | {error} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":  # for docs/quant-types.md
    print(table({name: encode_error(name) for name in quants()}), end="")
