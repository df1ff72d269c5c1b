"""The two files of an importance matrix.

``dat`` (examples/imatrix of ik_llama.cpp, and of llama.cpp until July 2025), little-endian: int32 entries; each int32 length
and name, int32 calls, int32 n, float32 [n] mean square times calls; then int32 chunks, int32 length and the dataset's name.
``gguf`` (tools/imatrix of llama.cpp): ``general.type`` imatrix, ``imatrix.datasets``, ``imatrix.chunk_count``,
``imatrix.chunk_size``; tensors F32 ``<name>.in_sum2`` [columns, matrices] and ``<name>.counts`` [1, matrices] in tokens.
"""

import os
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np

from ..errors import GGUFError, QuantError
from ..gguf import Mapped, Metadata, read, write
from .imatrix import FORGIVEN, Imatrix


def save(imatrix: Imatrix, path: Path, format: str | None) -> None:
    """See ``Imatrix.save``."""
    kind = format or ("gguf" if path.suffix.lower() == ".gguf" else "dat")
    if kind not in ("dat", "gguf"):
        raise QuantError(f"an imatrix cannot be written as {format!r}; give dat or gguf")
    try:
        _save_gguf(imatrix, path) if kind == "gguf" else _save_dat(imatrix, path)
    except (OSError, GGUFError) as error:
        raise QuantError(f"{path}: the imatrix cannot be written ({error})") from None


def load(path: Path) -> Imatrix:
    """See ``Imatrix.load``."""
    try:
        with path.open("rb") as f:
            is_gguf = f.read(4) == b"GGUF"
        return _load_gguf(path) if is_gguf else _load_dat(path, path.read_bytes())
    except OSError as error:
        raise QuantError(f"{path}: cannot be read ({error.strerror or error})") from None


# --- gguf -------------------------------------------------------------------------------------------------------------


def _save_gguf(imatrix: Imatrix, path: Path) -> None:
    metadata = Metadata({
        "general.type": "imatrix", "imatrix.datasets": list(imatrix.datasets), "imatrix.chunk_count": imatrix.chunks,
        "imatrix.chunk_size": imatrix.chunk_size,
    })
    tensors: list[Any] = []
    for name in sorted(imatrix):
        sums, counts = imatrix.sums[name], imatrix.counts[name]
        tensors.append((f"{name}.in_sum2", sums.shape[::-1], "f32", sums.astype("<f4").tobytes()))
        tensors.append((f"{name}.counts", (1, len(counts)), "f32", counts.astype("<f4").tobytes()))
    write(path, metadata, tensors)


def _load_gguf(path: Path) -> Imatrix:
    try:
        file = read(path)
    except GGUFError as error:
        raise QuantError(str(error)) from None
    about = file.metadata
    if about.get("general.type") != "imatrix":
        raise QuantError(f"{path}: a GGUF, but general.type is {about.get('general.type')!r} and not 'imatrix'")
    found = Imatrix(int(about.get("imatrix.chunk_size", 0)), tuple(map(str, about.get("imatrix.datasets", ()))))
    found.chunks = int(about.get("imatrix.chunk_count", 0))
    entries, data = {t.name: t for t in file.tensors}, Mapped(path)
    for name in entries:
        if name.endswith(".in_sum2"):
            _add_gguf(found, path, name.removesuffix(".in_sum2"), entries, data)
    if not found.sums:
        raise QuantError(f"{path}: holds no tensor that ends in .in_sum2; it is no imatrix of llama.cpp")
    return found


def _add_gguf(found: Imatrix, path: Path, name: str, entries: dict[str, Any], data: Mapped) -> None:
    sums, counts = entries[f"{name}.in_sum2"], entries.get(f"{name}.counts")
    if counts is None or {sums.type, counts.type} != {"f32"}:
        raise QuantError(f"{path}: {name} needs .in_sum2 and .counts in f32; make the imatrix anew")
    values, n = (data.bytes(t.offset, t.nbytes).view("<f4") for t in (sums, counts))
    if not len(n) or len(values) % len(n):
        raise QuantError(f"{path}: {name} has {len(values)} sums for {len(n)} counts; make the imatrix anew")
    _checked(path, name, values)
    _checked(path, name, n)
    columns = sums.shape[0]
    matrices = len(values) // columns
    found.add(name, values.reshape(matrices, columns).astype(np.float64), np.rint(np.resize(n, matrices)).astype(np.int64))


# --- dat --------------------------------------------------------------------------------------------------------------


def _save_dat(imatrix: Imatrix, path: Path) -> None:
    calls = max(1, imatrix.chunks)
    names = [n for n, c in imatrix.counts.items() if (c == 0).sum() < max(1, round(FORGIVEN * len(c)))]
    parts = [_int(len(names))]
    for name in names:
        values = (imatrix[name].astype(np.float64) * calls).astype("<f4")
        parts += [_int(len(name.encode())), name.encode(), _int(calls), _int(len(values)), values.tobytes()]
    dataset = (imatrix.datasets[-1] if imatrix.datasets else "").encode()
    parts += [_int(imatrix.chunks), _int(len(dataset)), dataset]
    temporary = path.with_name(f".{path.name[:80]}.{uuid4().hex[:12]}.part")
    try:
        temporary.write_bytes(b"".join(parts))
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _int(n: int) -> bytes:
    return n.to_bytes(4, "little", signed=True)


def _load_dat(path: Path, data: bytes) -> Imatrix:
    """Sums over calls; the number of tokens of a call is not in the file (``chunk_size`` 0)."""
    at = 0

    def take(n: int) -> bytes:
        nonlocal at
        if n < 0 or at + n > len(data):
            raise QuantError(f"{path}: neither an imatrix.dat nor a GGUF: at byte {at} it lacks {n} bytes")
        at += n
        return data[at - n : at]

    def number() -> int:
        return int.from_bytes(take(4), "little", signed=True)

    found, most = Imatrix(0), 0
    for _ in range(number()):
        name = take(number()).decode("utf-8", "replace")
        calls, n = max(1, number()), number()
        values = np.frombuffer(take(4 * n), "<f4").astype(np.float64)
        _checked(path, name, values)
        found.add(name, values[None], np.array([calls]))
        most = max(most, calls)
    found.chunks = most
    if at < len(data):  # since 2024
        found.chunks = number()
        found.datasets = (take(number()).decode("utf-8", "replace"),) if at < len(data) else ()
    return found


def _checked(path: Path, name: str, values: np.ndarray) -> None:
    bad = ~np.isfinite(values) | (values < 0)
    if bad.any():
        at = int(np.argmax(bad))
        raise QuantError(f"{path}: {name} has the value {values[at]:g} at {at}; sums of squares are finite and not negative")
