"""``Model``: a header with meaning, and the bytes of its tensors on demand.

Opening reads headers only; bytes are memory-mapped when a tensor is first asked for.
"""

import gzip
import json
import os
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import GGUFError, ModelError
from ..gguf import Mapped, read
from ..gguf.types import row_bytes, tensor_bytes, type_info
from .hparams import HParams, hparams
from .roles import Role, role_of

HEADER_MAX = 64 << 20  # bytes of an unpacked JSON header; real ones are below 1 MB
ALIGNMENT = 32  # of tensor data in a file that does not name its own


@dataclass(frozen=True)
class Tensor:
    """One tensor: where its bytes are. ``file`` indexes Model.files; None: held in memory, or a header only."""

    name: str
    shape: tuple[int, ...]  #: ggml order, ne0 first, 1 to 4 numbers
    type: str  #: lower-case type name
    nbytes: int
    file: int | None
    offset: int  #: of the first byte in the file; in a header without weights, from the start of the data

    @property
    def n_elements(self) -> int:
        """Number of weights."""
        return prod(self.shape)

    @property
    def n_rows(self) -> int:
        """Rows of ne0 columns, over all matrices."""
        return prod(self.shape[1:])

    @property
    def row_bytes(self) -> int:
        """Bytes of a row of ne0 columns, with its metadata. Raises GGUFError when they do not fill whole blocks."""
        return row_bytes(self.type, self.shape[0])

    @property
    def layer(self) -> int | None:
        """Block number, None outside the blocks."""
        return role_of(self.name).layer

    @property
    def role(self) -> str:
        """``ffn_down_exps`` for ``blk.3.ffn_down_exps.weight``; see roles.Role for the rest."""
        return role_of(self.name).role

    @property
    def suffix(self) -> str:
        """``weight``, ``bias``, ``scale`` or ""."""
        return role_of(self.name).suffix

    @property
    def part(self) -> str:
        """The part of the model that it belongs to, one of roles.PARTS."""
        return role_of(self.name).part


class Model:
    """A model's header, hyper-parameters and tensors. Never changes; ``replaced`` makes another one."""

    def __init__(
        self,
        tensors: Iterable[Tensor],
        metadata: Mapping[str, Any],
        path: Path | None = None,
        files: tuple[Path, ...] = (),
        file_bytes: int = 0,
        memory: Mapping[str, np.ndarray | Callable[[], np.ndarray]] | None = None,
    ):
        self.path = path  #: file (first part of a split one) or header; None for a model made in memory
        self.files = files  #: the GGUF files that hold the bytes
        self.file_bytes = file_bytes  #: bytes of all files; of the tensor data where there is no file
        self.metadata = metadata  #: GGUF keys and values, arrays as NumPy arrays or lazy string lists
        self.tensors = {t.name: t for t in tensors}  #: name -> Tensor, in file order
        self._memory = dict(memory or {})  # read-only uint8 [nbytes], or what makes it when it is first asked for
        self._maps: dict[int, Mapped] = {}

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> "Model":
        """Open a GGUF (any part of a split one) or a JSON header; reads no tensor data.

        Raises GGUFError for a file that cannot be read as GGUF, ModelError for a bad JSON header.
        """
        path = Path(path).expanduser()
        if path.name.endswith((".json", ".json.gz")):
            return cls.from_header(path)
        found = read(path)
        tensors = (Tensor(t.name, t.shape, t.type, t.nbytes, t.file, t.offset) for t in found.tensors)
        return cls(tensors, found.metadata, found.files[0], found.files, found.file_bytes)

    @classmethod
    def from_header(cls, path: str | os.PathLike[str]) -> "Model":
        """A model without weights from a JSON(.gz) header: {"metadata": {...}, "tensors": [[name, shape, type] ...]}.

        Offsets are those that the tensors have one after the other, each aligned to 32 bytes.
        Raises ModelError naming the file and the rule that it breaks.
        """
        path = Path(path)
        header = _load_json(path)
        metadata, rows = header.get("metadata"), header.get("tensors")
        if not isinstance(metadata, dict) or not isinstance(rows, list):
            raise ModelError(f"{path}: a header is an object with 'metadata' (object) and 'tensors' (list)")
        tensors, end = _header_tensors(path, rows)
        return cls(tensors, metadata, path, (), end)

    @property
    def arch(self) -> str:
        """general.architecture. Raises ModelError when the file has none."""
        arch = self.metadata.get("general.architecture")
        if not isinstance(arch, str) or not arch:
            raise ModelError(f"{self.path or 'this model'}: the header has no general.architecture, so it is no model")
        return arch

    @property
    def name(self) -> str:
        """general.name, else the file's name without its ending. Untrusted text: escape it where it is shown."""
        name = self.metadata.get("general.name")
        if isinstance(name, str) and name:
            return name
        return self.path.name.removesuffix(".gguf") if self.path else "unnamed model"

    @cached_property
    def hparams(self) -> HParams:
        """Hyper-parameters. Raises ModelError for a header that lacks what every model has."""
        embd = self.find("token_embd")
        return hparams(self.metadata, embd.shape[1] if embd and len(embd.shape) > 1 else 0)

    @cached_property
    def _by_role(self) -> dict[Role, Tensor]:
        return {role_of(t.name)._replace(part=""): t for t in self.tensors.values()}

    def find(self, role: str, layer: int | None = None, suffix: str = "weight") -> Tensor | None:
        """The tensor of a ``role``, ``layer`` (None: outside the layers) and ``suffix``, or None.

        ``find("attn_q", 3)``, ``find("output_norm")``.
        """
        return self._by_role.get(Role(layer, role, suffix, ""))

    @property
    def has_weights(self) -> bool:
        """Whether every tensor's bytes can be had."""
        return bool(self.tensors) and all(self._held(t) for t in self.tensors.values())

    def _held(self, tensor: Tensor) -> bool:
        return tensor.file is not None or tensor.name in self._memory

    def data(self, name: str) -> np.ndarray:
        """The bytes of a tensor: read-only uint8 [nbytes], memory-mapped or held in memory, never copied.

        Raises ModelError for an unknown name and for a header without weights; GGUFError when the file has gone or
        has become shorter since it was opened.
        """
        tensor = self.tensors.get(name)
        if tensor is None:
            raise ModelError(f"{self.path or 'this model'} has no tensor {name!r}")
        if name in self._memory:
            kept = self._memory[name]
            if callable(kept):
                kept = self._memory[name] = held(name, tensor.shape, tensor.type, kept())[1]
            return kept
        if tensor.file is None:
            raise ModelError(f"{self.path or 'this model'} is a header without weights; it cannot give {name!r}")
        mapped = self._maps.get(tensor.file)
        if mapped is None:
            mapped = self._maps.setdefault(tensor.file, Mapped(self.files[tensor.file]))
        return mapped.bytes(tensor.offset, tensor.nbytes)

    def release(self, name: str) -> None:
        """Let the pages of a memory-mapped tensor go, once its bytes have been used; they come back when touched."""
        tensor = self.tensors[name]
        if tensor.file in self._maps and name not in self._memory:
            self._maps[tensor.file].release(tensor.offset, tensor.nbytes)

    def replaced(self, tensors: Mapping[str, tuple[str, np.ndarray]]) -> "Model":
        """A new Model in which some tensors have another type and bytes, held in memory.

        tensors: name -> (type name, uint8 array of any shape with that type's number of bytes).
        Raises ModelError for a name that the model lacks or bytes that do not fit the tensor's shape.
        """
        changed, memory = dict(self.tensors), dict(self._memory)
        for name, (kind, data) in tensors.items():
            old = self.tensors.get(name)
            if old is None:
                raise ModelError(f"{self.path or 'this model'} has no tensor {name!r} to replace")
            changed[name], memory[name] = held(name, old.shape, kind, data)
        return Model(changed.values(), self.metadata, self.path, self.files, self.file_bytes, memory)

    def __repr__(self) -> str:
        arch = self.metadata.get("general.architecture")
        size = sum(t.nbytes for t in self.tensors.values()) / 2**20
        return f"<Model {self.name!r} {arch} {len(self.tensors)} tensors, {size:,.1f} MiB>"


def held(name: str, shape: tuple[int, ...], kind: str, data: np.ndarray) -> tuple[Tensor, np.ndarray]:
    """A tensor held in memory and its bytes as read-only uint8 [nbytes]; ModelError when they do not fit each other."""
    try:
        info = type_info(kind)
        nbytes = tensor_bytes(info, shape)
    except GGUFError as error:
        raise ModelError(f"tensor {name!r} cannot be {kind}: {error}") from None
    if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.size != nbytes:
        got = f"{data.dtype} {list(data.shape)}" if isinstance(data, np.ndarray) else type(data).__name__
        raise ModelError(f"tensor {name!r} as {info.name} takes a uint8 array of {nbytes} bytes, not {got}")
    flat = np.ascontiguousarray(data).reshape(-1).view()
    flat.flags.writeable = False
    return Tensor(name, tuple(shape), info.name, nbytes, None, 0), flat


def _load_json(path: Path) -> dict[str, Any]:
    """The object in a .json or .json.gz file, with a bound on what it may unpack to."""
    try:
        with path.open("rb") as raw, (gzip.open(raw) if path.name.endswith(".gz") else raw) as f:
            text = f.read(HEADER_MAX + 1)
    except FileNotFoundError:
        raise ModelError(f"no such file: {path}") from None
    except (OSError, EOFError, zlib.error) as error:
        raise ModelError(f"{path}: cannot be read ({error})") from None
    if len(text) > HEADER_MAX:
        raise ModelError(f"{path}: a header of more than {HEADER_MAX >> 20} MiB is no header")
    try:
        header = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{path}: not a JSON header ({error})") from None
    if not isinstance(header, dict):
        raise ModelError(f"{path}: a header is a JSON object, not a {type(header).__name__}")
    return header


def _header_tensors(path: Path, rows: list[Any]) -> tuple[list[Tensor], int]:
    """Tensors of a JSON header, laid out in order; and the end of the last one, aligned."""
    tensors: list[Tensor] = []
    seen: set[str] = set()
    offset = 0
    for row in rows:
        try:
            name, shape, kind = row
            shape = tuple(shape)
            if not isinstance(name, str) or not all(type(n) is int for n in shape):
                raise TypeError
        except (TypeError, ValueError):
            text = repr(row)[:80]
            raise ModelError(f"{path}: tensor {len(tensors)} is {text}; it must be [name, shape, type]") from None
        if name in seen:
            raise ModelError(f"{path}: tensor {name!r} is listed twice")
        seen.add(name)
        try:
            info = type_info(kind)
            nbytes = tensor_bytes(info, shape)
        except GGUFError as error:
            raise ModelError(f"{path}: tensor {name!r}: {error}") from None
        tensors.append(Tensor(name, shape, info.name, nbytes, None, offset))
        offset += -(-nbytes // ALIGNMENT) * ALIGNMENT
    return tensors, offset


def open(path: str | os.PathLike[str]) -> Model:
    """Open a model file at ``path``: a GGUF of any size, any part of a split one, or a JSON(.gz) header. Reads no tensor data.

    Raises GGUFError for a file that cannot be read as GGUF (names the offset and the rule), ModelError for a bad JSON header.

    >>> import ikexplore as ikx
    >>> model = ikx.open(ikx.demo.path())
    >>> model.arch, model.hparams.n_layer, len(model.tensors)
    ('qwen3moe', 4, 51)
    >>> model.tensors["blk.0.attn_q.weight"].type
    'q8_0'
    """
    return Model.open(path)
