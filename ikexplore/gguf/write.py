"""Write a GGUF with tensors of any type of ik_llama.cpp, whole or not at all.

``gguf.GGUFWriter`` lays out header and metadata; it knows neither the ids of ik_llama.cpp nor empty or lazy
arrays, so these are added here. The file appears under its name only when it is complete.
"""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
from gguf.constants import GGUF_DEFAULT_ALIGNMENT, GGUFValueType, Keys
from gguf.gguf_writer import GGUFWriter

from ..errors import GGUFError
from .strings import Strings
from .types import TypeInfo, tensor_bytes, type_info
from .values import DTYPES, MAX_KEY, Kind, short

V = GGUFValueType
Bytes = np.ndarray | bytes | Callable[[], "np.ndarray | bytes"]
_SPLIT_KEYS = (Keys.Split.LLM_KV_SPLIT_NO, Keys.Split.LLM_KV_SPLIT_COUNT, Keys.Split.LLM_KV_SPLIT_TENSORS_COUNT)


class _Writer(GGUFWriter):
    """GGUFWriter with arrays packed at once, empty ones included."""

    def add_architecture(self) -> None:
        """Keys come from the metadata alone, in its order."""

    def _pack_val(self, val: Any, vtype: V, add_vtype: bool, sub_type: V | None = None) -> bytes:
        if vtype != V.ARRAY:
            return super()._pack_val(val, vtype, add_vtype, sub_type)
        assert sub_type is not None  # _kind_of names it for every array
        head = (self._pack("I", vtype) if add_vtype else b"") + self._pack("I", sub_type) + self._pack("Q", len(val))
        if sub_type == V.STRING:
            if isinstance(val, Strings):
                return head + val.packed()
            return head + b"".join(super(_Writer, self)._pack_val(v, V.STRING, False) for v in val)
        if sub_type == V.ARRAY:
            return head + b"".join(self._pack_val(v, V.ARRAY, False, _sub_kind(v)) for v in val)
        return head + np.asarray(val).astype(DTYPES[sub_type], casting="unsafe").tobytes()


def write(
    path: str | os.PathLike[str],
    metadata: Mapping[str, Any],
    tensors: Iterable[tuple[str, Sequence[int], str, Bytes]],
) -> None:
    """Write a GGUF (version 3, little-endian, one file).

    metadata: keys and values; a ``Metadata`` keeps the value types that it was read with, else an int is uint32 (int32,
        then 64 bits, when it does not fit), a float float32. Keys of a split file are left out.
    tensors: (name, shape in ggml order, type name, bytes); bytes are a uint8 array or ``bytes`` of the size that type
        and shape ask for, or a function that returns them when it is their turn, so that only one tensor at a time is
        in memory.
    The file is written beside ``path`` and renamed when complete: a failure leaves whatever was there.
    Raises GGUFError naming the key or tensor that cannot be written, or the reason why the file cannot.
    """
    path = Path(path)
    rows = [(name, tuple(map(int, shape)), type_info(kind), data) for name, shape, kind, data in tensors]
    sizes = [_checked_size(name, shape, info) for name, shape, info, _ in rows]
    if path.is_dir():
        raise GGUFError(f"{path} is a folder; name the file to write")
    temporary = path.with_name(f".{path.name[:80]}.{uuid4().hex[:12]}.part")
    try:
        temporary.touch(exist_ok=False)
        _write_file(temporary, metadata, rows, sizes)
        os.replace(temporary, path)
    except OSError as error:
        raise GGUFError(f"{path}: cannot be written ({error.strerror or error})") from None
    finally:
        temporary.unlink(missing_ok=True)


def _write_file(
    path: Path, metadata: Mapping[str, Any], rows: list[tuple[str, tuple[int, ...], TypeInfo, Bytes]], sizes: list[int]
) -> None:
    """Header, then the bytes of each tensor, aligned, then on to the disk."""
    writer = _Writer(path, arch="")
    alignment = metadata.get(Keys.General.ALIGNMENT, GGUF_DEFAULT_ALIGNMENT)
    if type(alignment) is not int or alignment < 1 or alignment & (alignment - 1):
        raise GGUFError(f"{Keys.General.ALIGNMENT} is {alignment!r}; it must be a power of two")
    writer.data_alignment = alignment
    for key, value in metadata.items():
        if key not in _SPLIT_KEYS:
            writer.add_key_value(key, *_typed(key, value, getattr(metadata, "kinds", {}).get(key)))
    for (name, shape, info, _), size in zip(rows, sizes):
        if name in writer.tensors[0]:
            raise GGUFError(f"tensor name {short(name)} is given twice")
        # the writer wants NumPy's order, and packs any number as the type; int8 keeps it from guessing a shape
        writer.add_tensor_info(name, shape[::-1], np.dtype("i1"), size, raw_dtype=info.id)  # type: ignore[arg-type]
    try:
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        assert writer.fout is not None
        out = writer.fout[0]
        writer.write_padding(out, out.tell())
        for (name, _, _, data), size in zip(rows, sizes):
            out.write(_checked_bytes(name, data, size))
            writer.write_padding(out, size)
        out.flush()
        os.fsync(out.fileno())
    finally:
        writer.close()


def _checked_size(name: str, shape: tuple[int, ...], info: TypeInfo) -> int:
    if not name or len(name.encode()) > MAX_KEY:
        raise GGUFError(f"tensor name {short(name)}: a name has 1 to {MAX_KEY} bytes")
    try:
        return tensor_bytes(info, shape)
    except GGUFError as error:
        raise GGUFError(f"tensor {short(name)} cannot be {info.name}: {error}") from None


def _checked_bytes(name: str, data: Bytes, size: int) -> memoryview:
    given = data() if callable(data) else data
    if isinstance(given, np.ndarray):
        if given.dtype != np.uint8:
            raise GGUFError(f"tensor {short(name)}: bytes are a uint8 array, not {given.dtype}")
        view = np.ascontiguousarray(given).reshape(-1).data
    else:
        view = memoryview(given)
    if view.nbytes != size:
        raise GGUFError(f"tensor {short(name)} has {view.nbytes} bytes; its type and shape take {size}")
    return view


def _typed(key: str, value: Any, kind: Kind | None) -> tuple[Any, V, V | None]:
    """Value, value type and element type to write; the type it was read with where the value still fits it."""
    if isinstance(value, np.generic):
        value = value.item()
    if not isinstance(key, str) or not key or len(key.encode()) > MAX_KEY:
        raise GGUFError(f"metadata key {key!r:.100}: a key is text of 1 to {MAX_KEY} bytes")
    if kind is not None and _fits(value, kind):
        return value, *kind
    found = _kind_of(value)
    if found is None:
        raise GGUFError(f"metadata {short(key)} is a {type(value).__name__} that no GGUF can hold: {value!r:.60}")
    return value, *found


def _fits(value: Any, kind: Kind) -> bool:
    guessed = _kind_of(value)
    if guessed is None:
        return False
    main, sub = kind
    if main != V.ARRAY:
        return guessed[0] == main or (guessed[0] != V.ARRAY and _scalar_fits(value, main))
    if guessed[0] != V.ARRAY or sub is None:
        return False
    if guessed[1] == sub or not len(value):
        return True
    return sub in DTYPES and guessed[1] in DTYPES and all(_scalar_fits(v, sub) for v in np.asarray(value).tolist())


def _scalar_fits(value: Any, kind: V) -> bool:
    if kind == V.STRING or kind not in DTYPES or isinstance(value, str):
        return False
    dtype = DTYPES[kind]
    if dtype.kind == "b" or isinstance(value, bool):
        return dtype.kind == "b" and isinstance(value, bool)
    if dtype.kind == "f":
        return isinstance(value, (int, float))
    return isinstance(value, int) and _in_range(value, kind)


def _int_kind(low: int, high: int) -> V | None:
    for kind in (V.UINT32, V.INT32, V.UINT64, V.INT64):
        if _in_range(low, kind) and _in_range(high, kind):
            return kind
    return None


def _in_range(value: int, kind: V) -> bool:
    limits = np.iinfo(DTYPES[kind].type)
    return bool(limits.min <= value <= limits.max)


def _kind_of(value: Any) -> Kind | None:
    """Value type of a Python or NumPy value; None when a GGUF cannot hold it."""
    if isinstance(value, str):
        return V.STRING, None
    if isinstance(value, bool):
        return V.BOOL, None
    if isinstance(value, int):
        kind = _int_kind(value, value)
        return (kind, None) if kind is not None else None
    if isinstance(value, float):
        return V.FLOAT32, None
    if isinstance(value, (Strings, np.ndarray, list, tuple)):
        sub = _sub_kind(value)
        return (V.ARRAY, sub) if sub is not None else None
    return None


def _sub_kind(value: Any) -> V | None:
    """Element type of an array; None when its elements are mixed or unknown."""
    if isinstance(value, Strings):
        return V.STRING
    if isinstance(value, np.ndarray):
        found = [k for k, d in DTYPES.items() if value.ndim == 1 and d == value.dtype.newbyteorder("<")]
        return found[0] if found else None
    if not len(value):
        return V.STRING  # an empty list has no elements to ask
    kinds = {_kind_of(v) for v in value}
    if all(type(v) is int for v in value):
        return _int_kind(min(value), max(value))
    if None in kinds or len({k[0] for k in kinds if k}) != 1:
        return None
    return next(k[0] for k in kinds if k)
