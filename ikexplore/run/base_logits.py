"""Log probabilities of a base model in 16 bits a token, in the file that llama-perplexity --kl-divergence-base writes.

Layout (examples/perplexity of ik_llama.cpp and llama.cpp), little-endian: ``_logits_``, int32 tokens a chunk, int32 n_vocab,
int32 chunks, int32 tokens [chunks * ctx]; then per chunk and per row of its second half (but the last) float32 scale,
float32 minimum, uint16 [n_vocab], padded to an even number: log p = scale * code + minimum. The codes span the logits
from the largest down to at most 24 below it; what is less likely counts as the smallest.
"""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO
from uuid import uuid4

import numpy as np

from ..errors import ModelError
from ..models import Model
from ..settings import Settings
from .chunks import Chunks, Tell, blocks, mean_error, nll

MAGIC = b"_logits_"
SPAN = 24.0  #: nats below the largest logit that are told apart


def encode(logits: np.ndarray) -> np.ndarray:
    """float32 [rows, n_vocab] -> uint16 [rows, 4 + n_vocab (+ 1)]: scale, minimum, codes."""
    rows, n = logits.shape
    x = logits.astype(np.float32, copy=False)
    top = x.max(axis=1, keepdims=True)
    low = np.maximum(x.min(axis=1, keepdims=True), top - np.float32(SPAN))
    total = np.exp(x - top, dtype=np.float32).sum(axis=1, dtype=np.float64, keepdims=True)
    scale = (top - low) / np.float32(65535)
    head = np.concatenate([scale, low - top - np.log(total).astype(np.float32)], axis=1).astype("<f4")
    inverse = np.divide(np.float32(1), scale, out=np.zeros_like(scale), where=scale > 0)
    out = np.zeros((rows, width(n)), "<u2")
    out[:, :4] = np.ascontiguousarray(head).view("<u2")
    out[:, 4 : 4 + n] = np.rint(np.maximum(x - low, 0) * inverse)
    return out


def decode(rows: np.ndarray, n_vocab: int) -> np.ndarray:
    """uint16 rows of the file -> float32 [rows, n_vocab]: log probabilities."""
    head = np.ascontiguousarray(rows[:, :4]).view("<f4")
    return head[:, :1] * rows[:, 4 : 4 + n_vocab] + head[:, 1:]


def width(n_vocab: int) -> int:
    """uint16 numbers in a row."""
    return 4 + n_vocab + n_vocab % 2


class BaseFile:
    """A file of base logits, open for reading: ``ctx n_vocab count`` (chunks) ``ids`` (int32 tokens); ``rows(i)``.

    Raises ModelError for a file that is none or that is shorter than its header says.
    """

    def __init__(self, path: str | os.PathLike[str]):
        self.path = Path(path)
        try:
            self.size = self.path.stat().st_size
            with self.path.open("rb") as f:
                magic, head = f.read(8), f.read(12)
                if magic != MAGIC or len(head) < 12:
                    raise ModelError(f"{path}: holds no base logits (it begins with {magic[:8]!r}, not {MAGIC!r}); "
                                     "make one with ikx.base_logits or llama-perplexity --kl-divergence-base")
                self.ctx, self.n_vocab, self.count = np.frombuffer(head, "<i4").tolist()
                if min(self.ctx, self.n_vocab, self.count) < 1 or self.start + self.count * self.chunk_bytes > self.size:
                    raise ModelError(f"{path}: {self.size} bytes are too few for {self.count} chunks of {self.ctx} tokens and "
                                     f"{self.n_vocab} logits; make the file anew")
                self.ids = np.frombuffer(f.read(4 * self.count * self.ctx), "<i4")
        except OSError as error:
            raise ModelError(f"{path}: cannot be read ({error.strerror or error})") from None

    @property
    def start(self) -> int:
        """Byte of the first chunk's rows."""
        return 20 + 4 * self.count * self.ctx

    @property
    def chunk_bytes(self) -> int:
        return 2 * width(self.n_vocab) * (self.ctx - 1 - self.ctx // 2)

    def rows(self, i: int, first: int = 0, count: int | None = None) -> np.ndarray:
        """float32 [count, n_vocab]: the base model's log probabilities of chunk ``i``, its counted rows from ``first`` on."""
        row = 2 * width(self.n_vocab)
        count = self.ctx - 1 - self.ctx // 2 - first if count is None else count
        with self.path.open("rb") as f:
            f.seek(self.start + i * self.chunk_bytes + first * row)
            raw = np.frombuffer(f.read(count * row), "<u2").reshape(-1, width(self.n_vocab))
        return decode(raw, self.n_vocab)


@contextmanager
def _appearing(path: Path) -> Iterator[BinaryIO]:
    """A file to write that gets its name when all went well, and is gone otherwise."""
    temporary = path.with_name(f".{path.name[:80]}.{uuid4().hex[:12]}.part")
    try:
        with temporary.open("xb") as out:
            yield out
            out.flush()
            os.fsync(out.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def base_logits(model: Model, text: str, path: str | os.PathLike[str], ctx: int = 512, settings: Settings | None = None,
                *, chunks: int | None = None, on_chunk: Tell | None = None) -> BaseFile:
    """Evaluate ``text`` in chunks of ``ctx`` tokens and write the ``model``'s log probabilities to ``path``.

    The file is that of llama-perplexity --kl-divergence-base, 2 bytes a token of the vocabulary. settings: switches of the run.
    chunks: at most so many. ``on_chunk(done, total, text)`` hears of each. The file appears when it is complete; Ctrl-C
    leaves none. Raises SettingsError for a text that is too short, ModelError where the file cannot be written.

    >>> import ikexplore as ikx, tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> model, path = ikx.demo.model(), folder.name + "/base.kld"
    >>> base = ikx.base_logits(model, ikx.demo.text(), path, ctx=128, chunks=1)
    >>> ikx.kld(model, path).chunks
    1
    >>> folder.cleanup()
    """
    parts = Chunks(model, text, ctx, chunks)
    path, seen = Path(path), []
    try:
        with _appearing(path) as out, parts.session(model, settings) as session:
            out.write(MAGIC + np.array([ctx, model.hparams.n_vocab, len(parts)], "<i4").tobytes())
            out.write(parts.ids[: len(parts) * ctx].astype("<i4").tobytes())
            for i in range(len(parts)):
                for rows, targets in parts.pieces(session, i):
                    out.writelines(encode(rows[block]).tobytes() for block in blocks(rows))
                    seen.append(nll(rows, targets))
                if on_chunk:
                    on_chunk(i + 1, len(parts), f"base PPL {np.exp(mean_error(np.concatenate(seen))[0]):.4f}")
    except OSError as error:
        raise ModelError(f"{path}: cannot be written ({error.strerror or error})") from None
    return BaseFile(path)


@contextmanager
def base_file(base: Any, text: str | None, ctx: int, save: Any = None, **more: Any) -> Iterator[BaseFile]:
    """``base`` as a BaseFile: a path of one, or a Model, whose logits go to ``save`` or to a file that goes again."""
    if isinstance(base, BaseFile):
        yield base
    elif not isinstance(base, Model):
        yield BaseFile(base)
    elif save is not None:
        yield base_logits(base, text or "", save, ctx, **more)
    else:
        with tempfile.TemporaryDirectory(prefix="ikexplore-") as folder:
            yield base_logits(base, text or "", Path(folder) / "base.logits", ctx, **more)
