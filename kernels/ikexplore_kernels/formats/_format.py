"""`Format`: what the rest of the program knows about one quant type. Imports no numba; code comes when asked for."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any, ClassVar

import numpy as np

from ._threads import by_rows

_DECODE_PART, _ENCODE_PART = 1 << 18, 1 << 13  # weights that are worth a thread of their own
_IMATRIX_POWER = 0.7


@dataclass(frozen=True)
class Code:
    """What the file of a type provides, as its ``CODE``.

    ``decode(src, dst, n_rows, n_cols)``, ``repack`` and ``unrepack`` (same arguments) are compiled and take addresses;
    repack and unrepack belong to the interleaved type. ``encode(x, w, dst, n_rows, n_cols, work)`` is given addresses
    of float32 [n_rows, n_cols], of a weight per column float32 [n_cols], of the bytes to write, and of `work_bytes`
    of scratch; ``encode_floats(x)`` of a dense type takes and returns arrays. ``decode_rows(rows, n_cols)`` and
    ``encode_rows(x, w)`` are the same in NumPy, over arrays, and go before them. The others are numba source for kernels:
    ``unpack(q, w, base, stride, b)`` of integer types, ``widen(q, w, base, stride, c)`` or ``columns(q, w, base, c)``
    of dense ones (see `base`). ``bias`` is what unpack adds to a code; ``sub`` is 16 where each half of a block of 32
    has its own scale; ``has_min`` where a minimum is subtracted; ``apart`` where eight blocks of 32
    columns side by side need more registers than what they have in common is worth.
    """

    decode: Callable[..., Any] | None = None
    encode: Callable[..., Any] | None = None
    encode_floats: Callable[..., Any] | None = None
    decode_rows: Callable[..., Any] | None = None
    encode_rows: Callable[..., Any] | None = None
    repack: Callable[..., Any] | None = None
    unrepack: Callable[..., Any] | None = None
    unpack: Callable[..., Any] | None = None
    widen: Callable[..., Any] | None = None
    columns: Callable[..., Any] | None = None
    bias: int = 0
    sub: int = 32
    has_min: bool = False
    apart: bool = False
    turn: int = 0


#: how codes are multiplied (`Format.dots`): any bytes; at most 127; SHIFT less. A difference on AVX2 alone, see ``target``
EIGHT, SEVEN, SHIFTED = range(3)
MOST_OF_SEVEN = 64  #: what unpack adds to codes that have 7 bits then


@dataclass(frozen=True)
class Kind:
    """Formats whose unpacked codes look alike: as many columns share a scale, all or none have minima, ``dots`` is the same."""

    sub: int
    has_min: bool
    dots: int
    sources: ClassVar[tuple[str, ...]] = ()  #: kernels of a kind are made of no format's file

    @property
    def name(self) -> str:
        return f"codes of {self.sub}{' with minima' if self.has_min else ''}{('', ' of 7 bits', ' shifted')[self.dots]}"

    @property
    def _numba_type_(self) -> Any:
        from .base import FormatType

        return FormatType("codes", 0, self.sub, self.has_min, False, 0, 32, False, self.dots)


class Format:
    """One quant type: sizes, codecs, and (as an empty numba value) the key that specialises kernels.

    A row of ``n_cols`` weights takes ``row_meta + n_cols / block * block_bytes`` bytes. ``interleave`` rows (1 for
    plain types) share their bytes; ``base`` is the plain type of an interleaved one and ``repacked`` the interleaved
    type of a plain one (None where there is none: some interleaved types stand alone, with codecs of their own).
    ``dense`` types hold floats and have no integer codes.
    """

    def __init__(
        self,
        name: str,
        id: int,
        *,
        block: int,
        block_bytes: int,
        row_meta: int = 0,
        interleave: int = 1,
        base: str | None = None,
        repacked: str | None = None,
        dense: bool = False,
        cols_multiple: int | None = None,
        code: Code | None = None,
        sources: tuple[str, ...] | None = None,
    ):
        self.name, self.id = name, id
        self.block, self.block_bytes, self.row_meta = block, block_bytes, row_meta
        self.interleave, self.dense = interleave, dense
        self.cols_multiple = cols_multiple or block
        self._base, self._repacked = base, repacked
        #: added while the program runs; ``code`` came with it
        self.own = code is not None
        #: files (stems) in this folder that its kernels are made of; None: not in files, so never cached on disk
        self.sources = sources if self.own else (name,)
        if code is not None:
            self.code = code

    def __repr__(self) -> str:
        return f"<Format {self.name}>"

    def __reduce__(self) -> Any:
        return _again, (self.name,)

    @property
    def base(self) -> Format | None:
        """The plain type of an interleaved one; None for a plain type."""
        return _again(self._base) if self._base else None

    @property
    def repacked(self) -> Format | None:
        """The interleaved type of a plain one; None where there is none."""
        return _again(self._repacked) if self._repacked else None

    @property
    def rows_multiple(self) -> int:
        """The number of rows of a tensor of this type is a multiple of this."""
        return self.interleave

    @property
    def bpw(self) -> float:
        """Bits per weight in the blocks; row metadata counts over a row of 512, as ggml's tables have it."""
        return 8 * (self.block_bytes / self.block + self.row_meta / 512)

    def row_bytes(self, n_cols: int) -> int:
        """Bytes of one row. Raises ValueError where ``n_cols`` is not a positive multiple of the block."""
        if n_cols <= 0 or n_cols % self.cols_multiple:
            raise ValueError(
                f"{self.name} packs {self.cols_multiple} columns together and {n_cols} is not a multiple of that: "
                "pad the rows, or take a type with a smaller block (q8_0: 32, f16: 1)"
            )
        return self.row_meta + n_cols // self.block * self.block_bytes

    @functools.cached_property
    def code(self) -> Code:
        """The compiled side of the type; imports numba."""
        return import_module(f"{__package__}.{self.name}").CODE

    @functools.cached_property
    def _numba_type_(self) -> Any:
        from .base import FormatType

        size = 16 * 32 * self.block_bytes // self.block
        number = self.id if self.sources is None else None  # tells apart what was registered under one name
        code, by_eight = self.code, self.block % 256 == 0 and not self.code.apart
        turn = code.turn or (1 if code.apart else 4 if self.interleave == 1 else 2)
        return FormatType(self.name, code.bias, code.sub, code.has_min, self.dense, size, self.block, by_eight, self.dots,
                          number, self.interleave, turn)

    @functools.cached_property
    def product_factor(self) -> float:
        """What the reference's matrix products multiply this type with (IQ2_KT, IQ3_KT); 1 for the others."""
        if self.own:
            return 1.0
        return float(getattr(import_module(f"{__package__}.{self.name}"), "PRODUCT_FACTOR", 1.0))

    @functools.cached_property
    def kind(self) -> Kind:
        """What kernels that work on unpacked codes depend on, as an empty numba value."""
        return Kind(self.code.sub, self.code.has_min, self.dots)

    @functools.cached_property
    def dots(self) -> int:
        """How kernels multiply its codes: EIGHT, SEVEN or SHIFTED. Of a user's own type nothing is known but its bias."""
        from ..target import SHIFT

        if not SHIFT or self.dense:
            return EIGHT
        if self.own or not (self.code.has_min or self.code.bias <= MOST_OF_SEVEN):
            return SHIFTED if self.code.bias > MOST_OF_SEVEN else EIGHT
        return SEVEN

    # ---------------------------------------------------------------------------------------------- codecs

    def decode(self, rows: np.ndarray, n_cols: int) -> np.ndarray:
        """uint8 [rows, row_bytes] -> float32 [rows, n_cols]. Raises ValueError for wrong sizes."""
        rows = self._checked(rows, n_cols)
        if self.code.decode_rows is not None:
            return self._made("decode", self.code.decode_rows(rows, n_cols), np.float32, (len(rows), n_cols))
        if self.code.decode is None:
            assert self.base is not None
            return self.base.decode(self.unrepack(rows, n_cols), n_cols)
        out = _aligned(len(rows), n_cols)
        _run(self.code.decode, rows, out, n_cols, self.interleave)
        return out

    def encode(self, x: np.ndarray, imatrix: np.ndarray | None = None) -> np.ndarray:
        """``x``, finite float32 [rows, n_cols] -> uint8 [rows, row_bytes]; ``imatrix``: importance of each column, [n_cols].

        Minimises the sum of error^2, weighted by a power of the importance (see `_importance`). Raises ValueError for
        wrong sizes.
        """
        x = np.ascontiguousarray(x, np.float32)
        if x.ndim != 2:
            raise ValueError(f"{self.name}: weights must be two-dimensional [rows, columns], got shape {list(x.shape)}")
        n_cols, code = x.shape[1], self.code
        size, w = self.row_bytes(n_cols), _importance(imatrix, n_cols, self.name)
        if self.base is not None:
            return self.base.repack(self.base.encode(x, imatrix), n_cols, into=self)
        self._check_groups(len(x), n_cols)
        if code.encode_rows is not None:
            return self._made("encode", code.encode_rows(x, w), np.uint8, (len(x), size))
        out = np.empty((len(x), size), np.uint8)

        def part(a: int, b: int) -> None:
            if code.encode_floats is not None:
                out[a:b] = code.encode_floats(x[a:b]).view(np.uint8)
                return
            work = np.empty(work_bytes(n_cols), np.uint8)
            at = x.ctypes.data + a * x.strides[0], w.ctypes.data, out.ctypes.data + a * size
            code.encode(*at, b - a, n_cols, work.ctypes.data)

        by_rows(len(x), self.interleave, -(-_ENCODE_PART // n_cols), part)
        return out

    def repack(self, rows: np.ndarray, n_cols: int, into: Format | None = None) -> np.ndarray:
        """Bytes of the plain type, uint8 ``rows`` [n, row_bytes] -> bytes of its interleaved type, the same shape.

        Works on either of the pair; ``into``: which one, where there are several. Raises ValueError where there is no
        interleaved form, for wrong sizes (``n_cols`` columns a row), and for rows that are not whole groups.
        """
        other = into or (self if self._base else self.repacked)
        if other is None:
            raise ValueError(f"{self.name} has no interleaved form: there is nothing to repack")
        source = self.base if self._base else self
        assert source is not None and other.base is not None
        rows = source._checked(rows, n_cols)
        other._check_groups(len(rows), n_cols)
        if other.base is not source:  # f16 goes to bf16 first, rounded to nearest even
            rows = other.base.encode(source.decode(rows, n_cols))
        out = np.empty((len(rows), other.row_bytes(n_cols)), np.uint8)
        _run(other.code.repack, rows, out, n_cols, other.interleave)
        return out

    def unrepack(self, rows: np.ndarray, n_cols: int) -> np.ndarray:
        """Bytes of the interleaved type, uint8 ``rows`` [n, row_bytes] of ``n_cols`` columns -> bytes of the plain type.

        Works on either of the pair. Raises ValueError as ``repack`` does.
        """
        other = self if self._base else self.repacked
        if other is None:
            raise ValueError(f"{self.name} has no interleaved form: there is nothing to repack")
        assert other.base is not None
        rows = other._checked(rows, n_cols)
        out = np.empty((len(rows), other.base.row_bytes(n_cols)), np.uint8)
        _run(other.code.unrepack, rows, out, n_cols, other.interleave)
        if self._base is None and other.base is not self:
            return self.encode(other.base.decode(out, n_cols))
        return out

    # ---------------------------------------------------------------------------------------------- checks

    def _made(self, what: str, got: Any, kind: type, shape: tuple[int, ...]) -> np.ndarray:
        """What a codec in NumPy returned, as it must be."""
        got = np.asarray(got)
        if got.shape != shape or (kind is np.uint8 and got.dtype != kind):
            wanted, found = f"{np.dtype(kind)} {list(shape)}", f"{got.dtype} {list(got.shape)}"
            raise ValueError(f"{self.name}: its {what} function must return {wanted}, and returned {found}")
        return np.ascontiguousarray(got, kind)

    def _checked(self, rows: np.ndarray, n_cols: int) -> np.ndarray:
        size = self.row_bytes(n_cols)
        rows = np.asarray(rows)
        if rows.dtype != np.uint8 or rows.ndim != 2:
            raise ValueError(f"{self.name}: bytes must be uint8 [rows, bytes], got {rows.dtype} {list(rows.shape)}")
        if rows.shape[1] != size:
            raise ValueError(
                f"{self.name}: a row of {n_cols} columns takes {size} bytes and these rows have {rows.shape[1]}: "
                "check the type and the number of columns"
            )
        self._check_groups(len(rows), n_cols)
        return np.ascontiguousarray(rows)

    def _check_groups(self, n_rows: int, n_cols: int) -> None:
        if n_rows % self.interleave:
            raise ValueError(
                f"{self.name} interleaves {self.interleave} rows and {n_rows} is not a multiple of that: "
                "keep such a tensor in the plain type"
            )
        self.row_bytes(n_cols)


def work_bytes(n_cols: int) -> int:
    """Scratch of an encoder: 16 lanes of the largest block with its weights and codes, or a whole row of them."""
    return 65536 + 16 * max(n_cols, 4096)


def _aligned(n_rows: int, n_cols: int) -> np.ndarray:
    """Unset float32 [n_rows, n_cols] at the start of a cache line: vector stores that cross none are up to 1.3x as fast."""
    size = n_rows * n_cols * 4
    memory = np.empty(size + 64, np.uint8)
    at = -memory.ctypes.data % 64
    return memory[at : at + size].view(np.float32).reshape(n_rows, n_cols)


def _again(name: str) -> Format:
    from . import get

    return get(name)


def _run(kernel: Any, src: np.ndarray, dst: np.ndarray, n_cols: int, step: int) -> None:
    """A kernel over addresses; the arrays outlive the call, so the addresses stay good."""
    a, b, sa, sb = src.ctypes.data, dst.ctypes.data, src.strides[0], dst.strides[0]

    def part(i: int, j: int) -> None:
        kernel(a + i * sa, b + i * sb, j - i, n_cols)

    if len(src):
        by_rows(len(src), step, -(-_DECODE_PART // n_cols), part)


def _importance(imatrix: np.ndarray | None, n_cols: int, name: str) -> np.ndarray:
    """Weights of mean 1; none is zero, so that a column nobody used still gets a sensible code.

    An imatrix is an estimate from one text. Its power 0.7 costs under 1 % of the error weighted by that very imatrix,
    and keeps the unweighted error (what another text may care for) 1 to 5 % lower.
    """
    if imatrix is None:
        return np.ones(n_cols, np.float32)
    w = np.asarray(imatrix, np.float64).reshape(-1)
    if w.shape != (n_cols,):
        raise ValueError(f"{name}: the imatrix has {w.size} values for {n_cols} columns")
    if not w.max(initial=0) > 0:
        return np.ones(n_cols, np.float32)
    w = (w / w.max()) ** _IMATRIX_POWER
    return np.maximum(w / w.mean(), 1e-6).astype(np.float32)
