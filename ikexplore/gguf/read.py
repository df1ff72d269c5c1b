"""Read the header of a GGUF, versions 2 and 3, little-endian, in one file or split over many.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. Only headers are touched, never tensor data. The
reader of the ``gguf`` package refuses the types of ik_llama.cpp and decodes every token, so the parser is here; the
package's constants are used.
"""

import os
import re
import struct
from dataclasses import dataclass
from pathlib import Path

from gguf.constants import GGUF_DEFAULT_ALIGNMENT, GGUF_MAGIC, Keys

from ..errors import GGUFError
from .mapped import Mapped
from .types import BY_ID, tensor_bytes
from .values import Cursor, Metadata, short

MAGIC = GGUF_MAGIC.to_bytes(4, "little")
VERSIONS = (2, 3)
_OLD_MAGICS = (b"lmgg", b"fmgg", b"tjgg", b"algg")  # ggml, ggmf, ggjt, ggla as they lie in a file
_REMOVED = {4: "q4_2", 5: "q4_3", 142: "iq2_tn", 143: "iq1_tn"}
_ENTRY = {n: struct.Struct(f"<{n}QIQ") for n in range(1, 5)}  # shape, type id, offset of a tensor
_PART = re.compile(r"(?P<stem>.*)-(?P<part>\d{5})-of-(?P<count>\d{5})\.gguf\Z", re.DOTALL)


@dataclass(frozen=True)
class TensorEntry:
    """A tensor as the file lists it. shape: ggml order, ne0 first; offset: of its first byte in ``files[file]``."""

    name: str
    shape: tuple[int, ...]
    type: str
    nbytes: int
    file: int
    offset: int


@dataclass(frozen=True)
class GGUF:
    """The headers of a model's file or files. ``metadata`` is that of the first part."""

    files: tuple[Path, ...]
    version: int
    alignment: int
    metadata: Metadata
    tensors: tuple[TensorEntry, ...]
    file_bytes: int  #: of all files


def read(path: str | os.PathLike[str]) -> GGUF:
    """Read the header of a GGUF; of a split one (``...-00001-of-00006.gguf``), any part may be given.

    Raises GGUFError naming file, byte offset and the rule that is broken.
    """
    path = Path(path)
    first = _read_one(path, 0)
    count = _split_number(first, path, Keys.Split.LLM_KV_SPLIT_COUNT, 1)
    if count <= 1:
        return first
    return _read_split(path, count)


def _read_split(path: Path, count: int) -> GGUF:
    """All parts of a split file, in order, checked against each other."""
    match = _PART.match(path.name)
    if match is None or int(match["count"]) != count:
        want = f"NAME-00001-of-{count:05d}.gguf"
        raise GGUFError(f"{path}: one of {count} parts, but not named as one; the parts must be named {want} and so on")
    files = tuple(path.with_name(f"{match['stem']}-{i + 1:05d}-of-{count:05d}.gguf") for i in range(count))
    missing = [f.name for f in files if not f.exists()]
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise GGUFError(f"{path}: part {missing[0]}{more} of {count} is missing; all parts must be in one folder")
    parts = []
    tensors: list[TensorEntry] = []
    names: set[str] = set()
    for i, file in enumerate(files):
        part = _read_one(file, i)
        number = _split_number(part, file, Keys.Split.LLM_KV_SPLIT_NO, -1)
        if number != i or _split_number(part, file, Keys.Split.LLM_KV_SPLIT_COUNT, 1) != count:
            raise GGUFError(f"{file}: its split.no is {number} where its name says {i}; parts were renamed or mixed up")
        for t in part.tensors:
            if t.name in names:
                raise GGUFError(f"{file}: tensor {short(t.name)} is in an earlier part too; parts of two models?")
            names.add(t.name)
        tensors.extend(part.tensors)
        parts.append(part)
    total = _split_number(parts[0], files[0], Keys.Split.LLM_KV_SPLIT_TENSORS_COUNT, len(tensors))
    if total != len(tensors):
        raise GGUFError(f"{files[0]}: split.tensors.count is {total}, but the parts hold {len(tensors)} tensors")
    return GGUF(
        files,
        parts[0].version,
        parts[0].alignment,
        parts[0].metadata,
        tuple(tensors),
        sum(p.file_bytes for p in parts),
    )


def _split_number(part: GGUF, path: Path, key: str, default: int) -> int:
    value = part.metadata.get(key, default)
    if type(value) is not int or not -1 <= value < 1 << 31:
        raise GGUFError(f"{path}: {key} is {value!r:.40}; it must be a whole number")
    return value


def _read_one(path: Path, file: int) -> GGUF:
    """The header of one file; its tensors get the file number ``file``."""
    mapped = Mapped(path)
    cursor = Cursor(path, mapped.bytes(0, mapped.size))
    version = _version(cursor)
    n_tensors = cursor.u64("the tensor count")
    n_keys = cursor.u64("the metadata count")
    left = cursor.size - cursor.pos
    if n_keys > left // 13:  # a key's length and first byte, a type
        cursor.fail(f"the header claims {n_keys} metadata keys, but {left} bytes are left in the file", 16)
    metadata = _metadata(cursor, n_keys)
    alignment = _alignment(cursor, metadata)
    left = cursor.size - cursor.pos
    if n_tensors > left // 33:  # a name's length and first byte, dimensions, type and offset
        cursor.fail(f"the header claims {n_tensors} tensors, but {left} bytes are left in the file", 8)
    entries = _tensors(cursor, n_tensors, alignment)
    start = -(-cursor.pos // alignment) * alignment
    tensors = []
    for at, name, shape, kind, nbytes, offset in entries:
        if start + offset + nbytes > cursor.size:
            end = start + offset + nbytes
            rule = f"tensor {short(name)} lies at bytes {start + offset} to {end}, but the file ends at {cursor.size}"
            cursor.fail(f"{rule}; it is cut short or still being downloaded", at)
        tensors.append(TensorEntry(name, shape, kind, nbytes, file, start + offset))
    return GGUF((path,), version, alignment, metadata, tuple(tensors), mapped.size)


def _version(cursor: Cursor) -> int:
    magic = cursor.data[:4].tobytes()
    if magic in _OLD_MAGICS:
        cursor.fail(f"an old GGML file (magic {magic!r}), from before GGUF; convert the model again")
    if not MAGIC.startswith(magic):
        big = "; it looks like a big-endian file" if magic == MAGIC[::-1] else ""
        cursor.fail(f"not a GGUF file: it starts with {magic!r}, not {MAGIC!r}{big}")
    cursor.need(4, "the magic")
    cursor.pos = 4
    version = cursor.u32("the version")
    if version & 0xFFFF == 0 and version:
        swapped = int.from_bytes(version.to_bytes(4, "little"), "big")
        cursor.fail(f"a big-endian GGUF (version {swapped} stored as {version:#010x}); convert it to little-endian", 4)
    if version not in VERSIONS:
        hint = "; convert the model again" if version < 2 else ""
        cursor.fail(f"GGUF version {version} is not supported, only {' and '.join(map(str, VERSIONS))}{hint}", 4)
    return version


def _metadata(cursor: Cursor, n_keys: int) -> Metadata:
    metadata = Metadata()
    for i in range(n_keys):
        start = cursor.pos
        key = cursor.name(f"metadata key {i}")
        if key in metadata:
            cursor.fail(f"metadata key {short(key)} is listed twice", start)
        metadata[key], metadata.kinds[key] = cursor.value(f"the value of {short(key)}")
    return metadata


def _alignment(cursor: Cursor, metadata: Metadata) -> int:
    alignment = metadata.get(Keys.General.ALIGNMENT, GGUF_DEFAULT_ALIGNMENT)
    if type(alignment) is not int or not 1 <= alignment < 1 << 31 or alignment & (alignment - 1):
        cursor.fail(f"{Keys.General.ALIGNMENT} is {alignment!r:.40}; it must be a power of two below 2^31")
    return alignment


def _tensors(cursor: Cursor, n_tensors: int, alignment: int) -> list[tuple[int, str, tuple[int, ...], str, int, int]]:
    """Rows (offset of the entry, name, shape, type, nbytes, offset of the data from the start of all data)."""
    rows = []
    names: set[str] = set()
    for i in range(n_tensors):
        at = cursor.pos
        name = cursor.name(f"the name of tensor {i}")
        if name in names:
            cursor.fail(f"tensor name {short(name)} is listed twice", at)
        names.add(name)
        dims_at = cursor.pos
        n_dims = cursor.u32("the dimension count of a tensor")
        if not 1 <= n_dims <= 4:
            cursor.fail(f"tensor {short(name)} has {n_dims} dimensions; a tensor has 1 to 4", dims_at)
        *shape, type_id, offset = cursor.unpack(_ENTRY[n_dims], "the shape, type and offset of a tensor")
        info = BY_ID.get(type_id)
        if info is None:
            was = f" (the removed {_REMOVED[type_id]})" if type_id in _REMOVED else ""
            rule = f"tensor {short(name)} has type id {type_id}{was}, which no known format has"
            cursor.fail(rule, dims_at + 4 + 8 * n_dims)
        try:
            nbytes = tensor_bytes(info, tuple(shape))
        except GGUFError as error:
            cursor.fail(f"tensor {short(name)}: {error}", dims_at + 4)
        if offset % alignment:
            rule = f"tensor {short(name)} has offset {offset}, no multiple of the alignment {alignment}"
            cursor.fail(rule, dims_at + 8 + 8 * n_dims)
        rows.append((at, name, tuple(shape), info.name, nbytes, offset))
    return rows
