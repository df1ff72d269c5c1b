"""A text in chunks, as llama-perplexity and llama-imatrix take it: each from an empty cache, the first token replaced by BOS
where the model wants one; the second half of each chunk is what counts."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from ..errors import SettingsError
from ..models import Model
from ..settings import Settings
from .session import Session

LOGITS = 1 << 24  #: logits that are computed at a time
BLOCK = 1 << 20  #: logits that statistics take at a time
Tell = Callable[[int, int, str], None]


class Chunks:
    """``len(chunks)`` pieces of ``ctx`` tokens of a text, or of token ids. Raises SettingsError where there is none."""

    def __init__(self, model: Model, text: str | Sequence[int] | np.ndarray, ctx: int, most: int | None = None):
        from .text import _tokenizer

        if not 8 <= ctx <= 1 << 24:
            raise SettingsError(f"ctx = {ctx}: give the tokens of a chunk, 8 or more")
        ids = _tokenizer(model).encode(text) if isinstance(text, str) else text
        self.ids, self.ctx = np.array(ids, np.int32), ctx
        count = len(self.ids) // ctx
        self.count = count if most is None else min(count, most)
        if self.count < 1:
            raise SettingsError(f"{len(self.ids)} tokens make no chunk of {ctx}; give more text or a smaller ctx (8 or more)")
        begins = bool(model.metadata.get("tokenizer.ggml.add_bos_token", False))
        self.bos = _tokenizer(model).bos if begins else None
        self.first = ctx // 2  #: rows of logits from here on count, but the last
        self.rows = ctx - 1 - self.first

    def __len__(self) -> int:
        return self.count

    def inputs(self, i: int) -> np.ndarray:
        """int64 [ctx]: what is evaluated."""
        chunk = self.ids[i * self.ctx : (i + 1) * self.ctx].astype(np.int64)
        if self.bos is not None:
            chunk[0] = self.bos
        return chunk

    def targets(self, i: int) -> np.ndarray:
        """int64 [rows]: the tokens that the counted rows of logits predict."""
        return self.ids[i * self.ctx + self.first + 1 : (i + 1) * self.ctx].astype(np.int64)

    def pieces(self, session: Session, i: int, every: bool = False) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Evaluates chunk ``i`` from an empty cache and gives its counted rows of logits, float32 [n, n_vocab], and the
        tokens that they predict, int64 [n], piece by piece: a piece has LOGITS numbers or so, whatever the vocabulary.

        every: each token's row is computed (and the graph's last layer whole), counted or not.
        """
        session.rewind()
        ids, targets = self.inputs(i), self.targets(i)
        step = max(8, min(session.context.n_ubatch, LOGITS // session.model.hparams.n_vocab))
        for at in range(0, self.ctx, step):
            end = min(at + step, self.ctx)
            begin = at if every else min(max(at, self.first), end - 1)
            rows = session.eval(ids[at:end], end - begin)
            low, high = max(begin, self.first), min(end, self.ctx - 1)
            if high > low:
                yield rows[low - begin : high - begin], targets[low - self.first : high - self.first]

    def session(self, model: Model, settings: Settings | None) -> Session:
        """A session with room for one chunk."""
        return Session(model, (settings or Settings()).replace(n_ctx=self.ctx))


def nll(rows: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """float64 [n]: minus the log probability of each target under its row of logits."""
    found = np.empty(len(targets))
    for part in blocks(rows):
        x = rows[part].astype(np.float64)
        top = x.max(axis=1, keepdims=True)
        found[part] = np.log(np.exp(x - top).sum(axis=1)) + top[:, 0] - x[np.arange(len(x)), targets[part]]
    return found


def blocks(rows: np.ndarray) -> Iterator[slice]:
    """Slices of rows that are small enough for a few temporary copies in float64."""
    step = max(1, BLOCK // rows.shape[1])
    return (slice(at, at + step) for at in range(0, len(rows), step))


def mean_error(x: np.ndarray) -> tuple[float, float]:
    """(mean, its standard error) as llama-perplexity has it: variance by n over n - 1; 0 for up to 10 values."""
    if not len(x):
        return float("nan"), 0.0
    mean = float(x.mean())
    spread = float(np.square(x, dtype=np.float64).mean()) - mean**2
    return mean, (spread / (len(x) - 1)) ** 0.5 if spread > 0 and len(x) > 10 else 0.0


@contextmanager
def progress_bar(wanted: bool, what: str, on_chunk: Tell | None = None, unit: str = "chunks") -> Iterator[Tell]:
    """``tell(done, total, text)`` that draws a bar if wanted and passes on to ``on_chunk``."""
    bar: Any = None
    if wanted:
        from tqdm.auto import tqdm

        bar = tqdm(desc=what, unit=f" {unit}", leave=False)

    def tell(done: int, total: int, text: str) -> None:
        if bar is not None:
            bar.total = total
            bar.set_postfix_str(text, refresh=False)
            bar.update(done - bar.n)
        if on_chunk:
            on_chunk(done, total, text)

    try:
        yield tell
    finally:
        if bar is not None:
            bar.close()
