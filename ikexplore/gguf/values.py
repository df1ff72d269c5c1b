"""Metadata values of a GGUF: their types, and a cursor that reads them with every length checked first."""

import struct
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from gguf.constants import GGUFValueType

from ..errors import GGUFError
from .strings import MAX_STRINGS, Strings, WalkError, walk

V = GGUFValueType
MAX_KEY = 1 << 16  # bytes of a key or of a tensor name, as in the GGUF specification
MAX_DEPTH = 4  # arrays of arrays; ggml itself knows none
MAX_NESTED = 1 << 16  # arrays inside arrays, in all

_SCALARS = {
    V.UINT8: struct.Struct("<B"),
    V.INT8: struct.Struct("<b"),
    V.UINT16: struct.Struct("<H"),
    V.INT16: struct.Struct("<h"),
    V.UINT32: struct.Struct("<I"),
    V.INT32: struct.Struct("<i"),
    V.FLOAT32: struct.Struct("<f"),
    V.BOOL: struct.Struct("<B"),
    V.UINT64: struct.Struct("<Q"),
    V.INT64: struct.Struct("<q"),
    V.FLOAT64: struct.Struct("<d"),
}
DTYPES: dict[V, np.dtype[Any]] = {
    V.UINT8: np.dtype("u1"),
    V.INT8: np.dtype("i1"),
    V.UINT16: np.dtype("<u2"),
    V.INT16: np.dtype("<i2"),
    V.UINT32: np.dtype("<u4"),
    V.INT32: np.dtype("<i4"),
    V.FLOAT32: np.dtype("<f4"),
    V.BOOL: np.dtype("?"),
    V.UINT64: np.dtype("<u8"),
    V.INT64: np.dtype("<i8"),
    V.FLOAT64: np.dtype("<f8"),
}
Kind = tuple[V, V | None]  #: value type, and the type of the elements of an array


class Metadata(dict[str, Any]):
    """Keys and values in file order. ``kinds`` remembers the value type of each, so that it can be written back.

    Values are int, float, bool, str, read-only NumPy arrays, ``Strings``, or lists (arrays of arrays).
    """

    def __init__(self, *args: Any, kinds: dict[str, Kind] | None = None, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.kinds: dict[str, Kind] = dict(kinds or {})

    def copy(self) -> "Metadata":
        """A copy that remembers the value types too."""
        return Metadata(self, kinds=self.kinds)

    def __reduce__(self):
        return _metadata, (dict(self), self.kinds)


def short(text: str) -> str:
    """A name from a file, quoted and cut, for a message."""
    quoted = repr(text[:100])
    return quoted if len(text) <= 100 else quoted[:-1] + "..." + quoted[-1]


def _metadata(items: dict[str, Any], kinds: dict[str, Kind]) -> Metadata:
    return Metadata(items, kinds=kinds)


class Cursor:
    """Reads a mapped file from front to back. Every failure is a GGUFError with the offset and the rule broken."""

    def __init__(self, path: Path, data: np.ndarray):
        self.path, self.data, self.pos = path, data, 0
        self._view = data.data  # unpacks faster than the array
        self.size = len(data)
        self.n_strings = self.n_nested = 0

    def fail(self, rule: str, at: int | None = None) -> NoReturn:
        """Raise the error that ``rule`` is broken at an offset (this one when not given)."""
        raise GGUFError(f"{self.path}: at byte {self.pos if at is None else at}: {rule}")

    def need(self, nbytes: int, what: str) -> None:
        """Fail unless ``nbytes`` more are in the file."""
        if nbytes > self.size - self.pos:
            self.fail(f"the file ends at byte {self.size}, inside {what} ({nbytes} bytes needed); it is cut short")

    def unpack(self, layout: struct.Struct, what: str) -> tuple[Any, ...]:
        self.need(layout.size, what)
        values = layout.unpack_from(self._view, self.pos)
        self.pos += layout.size
        return values

    def scalar(self, kind: V, what: str) -> Any:
        value = self.unpack(_SCALARS[kind], what)[0]
        if kind is V.BOOL:
            if value > 1:
                self.fail(f"{what} is {value}; a bool is 0 or 1", self.pos - 1)
            return bool(value)
        return value

    def u32(self, what: str) -> int:
        return self.scalar(V.UINT32, what)

    def u64(self, what: str) -> int:
        return self.scalar(V.UINT64, what)

    def raw_string(self, what: str, limit: int | None = None) -> bytes:
        """Length and bytes. ``limit``: the most bytes that make sense here."""
        start = self.pos
        length = self.u64(what)
        if limit is not None and length > limit:
            self.fail(f"{what} has a length of {length} bytes; at most {limit} are allowed", start)
        if length > self.size - self.pos:
            self.fail(f"{what} has a length of {length} bytes, but {self.size - self.pos} are left in the file", start)
        raw = self._view[self.pos : self.pos + length].tobytes()
        self.pos += length
        return raw

    def name(self, what: str) -> str:
        """A key or tensor name: UTF-8, not empty, of a sane length."""
        start = self.pos
        raw = self.raw_string(what, MAX_KEY)
        if not raw:
            self.fail(f"{what} is empty", start)
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError:
            self.fail(f"{what} is no UTF-8 text: {raw[:40]!r}", start)

    def kind(self, what: str) -> V:
        start = self.pos
        number = self.u32(what)
        try:
            return V(number)
        except ValueError:
            self.fail(f"{what} has value type {number}; types are 0 to {max(V)}", start)

    def value(self, what: str) -> tuple[Any, Kind]:
        """A typed value: the value and its kind."""
        kind = self.kind(what)
        if kind is V.STRING:
            return self.raw_string(what).decode("utf-8", "replace"), (kind, None)
        if kind is V.ARRAY:
            value, sub = self._array(what, 1)
            return value, (kind, sub)
        return self.scalar(kind, what), (kind, None)

    def _array(self, what: str, depth: int) -> tuple[Any, V]:
        sub = self.kind(what)
        start = self.pos
        count = self.u64(what)
        left = self.size - self.pos
        if sub is V.STRING:
            return self._strings(what, count, start), sub
        if sub is V.ARRAY:
            self.n_nested += min(count, MAX_NESTED + 1)
            if depth >= MAX_DEPTH:
                self.fail(f"{what} nests arrays deeper than {MAX_DEPTH} levels", start)
            if count > left // 12 or self.n_nested > MAX_NESTED:
                self.fail(f"{what} claims {count} arrays; the file has no room for them", start)
            return [self._array(what, depth + 1)[0] for _ in range(count)], sub
        dtype = DTYPES[sub]
        if count > left // dtype.itemsize:
            self.fail(f"{what} claims {count} elements of {dtype.itemsize} bytes, but {left} bytes are left", start)
        raw = self.data[self.pos : self.pos + count * dtype.itemsize]
        if sub is V.BOOL and self._has_bad_bool(raw):
            self.fail(f"{what} holds a bool that is neither 0 nor 1", start)
        self.pos += len(raw)
        return raw.view(dtype) if raw.size else np.empty(0, dtype), sub

    def _has_bad_bool(self, raw: np.ndarray) -> bool:
        step = 1 << 20
        return any((raw[i : i + step] > 1).any() for i in range(0, len(raw), step))

    def _strings(self, what: str, count: int, start: int) -> Strings:
        left = self.size - self.pos
        if count > left // 8:
            self.fail(f"{what} claims {count} strings, but {left} bytes are left in the file", start)
        self.n_strings += count
        if self.n_strings > MAX_STRINGS:
            self.fail(f"{what} claims {count} strings; more than {MAX_STRINGS} in a file make no sense", start)
        try:
            offsets, self.pos = walk(self.data, self.pos, count)
        except WalkError as error:
            length = "no room for its length" if error.length < 0 else f"a length of {error.length} bytes"
            self.fail(f"string {error.index} of {what} has {length}; the file ends at byte {self.size}", error.offset)
        return Strings(self.data, offsets)
