"""How far a model's predictions are from a base model's: what llama-perplexity --kl-divergence prints, and its definitions.

Per predicted token, with p the base's and q the model's distribution and t the token that follows: KLD = sum p ln(p / q)
over tokens with ln p > -16; Δp = q(t) - p(t). Errors are standard errors of the mean; that of a difference takes the
covariance of the two. Percentiles interpolate between neighbours.
"""

import math
import os
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..errors import Cancelled, ModelError, SettingsError
from ..models import Model
from ..settings import Settings
from .base_logits import BaseFile, base_file
from .chunks import Chunks, Tell, blocks, mean_error, nll, progress_bar

LEAST = -16.0  #: log probability of the base below which a token is left out of the sum
KLD_PERCENTILES = (0, 0.1, 1, 5, 10, 50, 90, 95, 99, 99.9, 100)
P_PERCENTILES = (0, 0.1, 1, 5, 10, 25, 50, 75, 90, 95, 99, 99.9, 100)
Figure = tuple[float, float]
_FIELDS = ("kld", "p_diff", "nll", "nll_base", "same_top")


@dataclass
class Kld:
    """Per token: ``kld`` (nats), ``p_diff`` (probability), ``nll`` and ``nll_base`` (nats), ``same_top`` (bool).

    Figures are properties; those named ``*_error`` are standard errors. Δp is a probability here, per cent in the text.
    ``running``: (PPL, mean KLD) after each chunk. ``stopped``: interrupted, with what was done until then.
    """

    kld: np.ndarray = field(default_factory=lambda: np.zeros(0), repr=False)
    p_diff: np.ndarray = field(default_factory=lambda: np.zeros(0), repr=False)
    nll: np.ndarray = field(default_factory=lambda: np.zeros(0), repr=False)
    nll_base: np.ndarray = field(default_factory=lambda: np.zeros(0), repr=False)
    same_top: np.ndarray = field(default_factory=lambda: np.zeros(0, bool), repr=False)
    running: list[Figure] = field(default_factory=list, repr=False)
    stopped: bool = False

    @property
    def chunks(self) -> int:
        """Chunks that were compared."""
        return len(self.running)

    @property
    def mean(self) -> float:
        """Mean KLD in nats."""
        return mean_error(self.kld)[0]

    @property
    def error(self) -> float:
        """Standard error of ``mean``, in nats."""
        return mean_error(self.kld)[1]

    @property
    def percentiles(self) -> dict[float, float]:
        """KLD at 0 (minimum), 0.1, 1, 5, 10, 50, 90, 95, 99, 99.9 and 100 %."""
        return _percentiles(self.kld, KLD_PERCENTILES)

    @property
    def top1(self) -> float:
        """Part of the tokens for which both models think the same token the most likely one."""
        return float(self.same_top.mean()) if len(self.same_top) else float("nan")

    @property
    def top1_error(self) -> float:
        """Standard error of ``top1``: sqrt(p (1 - p) / (n - 1))."""
        return math.sqrt(self.top1 * (1 - self.top1) / max(1, len(self.same_top) - 1))

    @property
    def ppl(self) -> float:
        """Perplexity of the model, exp of the mean of -ln q(t)."""
        return math.exp(mean_error(self.nll)[0])

    @property
    def ppl_error(self) -> float:
        """Standard error of ``ppl``."""
        return self.ppl * mean_error(self.nll)[1]

    @property
    def ppl_base(self) -> float:
        """Perplexity of the base, exp of the mean of -ln p(t)."""
        return math.exp(mean_error(self.nll_base)[0])

    @property
    def ppl_base_error(self) -> float:
        """Standard error of ``ppl_base``."""
        return self.ppl_base * mean_error(self.nll_base)[1]

    @property
    def covariance(self) -> float:
        """Covariance of the two means of nll."""
        n = len(self.nll)
        if n < 10:
            return 0.0
        return (float((self.nll * self.nll_base).mean()) - float(self.nll.mean()) * float(self.nll_base.mean())) / (n - 1)

    @property
    def correlation(self) -> float:
        """Cor(ln PPL(Q), ln PPL(base)), from -1 to 1."""
        spread = mean_error(self.nll)[1] * mean_error(self.nll_base)[1]
        return self.covariance / spread if spread else float("nan")

    @property
    def ln_ratio(self) -> float:
        """Mean ln(PPL(Q) / PPL(base))."""
        return mean_error(self.nll)[0] - mean_error(self.nll_base)[0]

    @property
    def ln_ratio_error(self) -> float:
        """Standard error of ``ln_ratio``; it counts that the two means vary together."""
        return _difference(mean_error(self.nll)[1], mean_error(self.nll_base)[1], self.covariance)

    @property
    def ppl_ratio(self) -> float:
        """PPL(Q) / PPL(base)."""
        return math.exp(self.ln_ratio)

    @property
    def ppl_ratio_error(self) -> float:
        """Standard error of ``ppl_ratio``."""
        return self.ppl_ratio * self.ln_ratio_error

    @property
    def ppl_difference(self) -> float:
        """PPL(Q) - PPL(base)."""
        return self.ppl - self.ppl_base

    @property
    def ppl_difference_error(self) -> float:
        """Standard error of ``ppl_difference``."""
        return _difference(self.ppl_error, self.ppl_base_error, self.ppl * self.ppl_base * self.covariance)

    @property
    def p_mean(self) -> float:
        """Mean Δp."""
        return mean_error(self.p_diff)[0]

    @property
    def p_mean_error(self) -> float:
        """Standard error of ``p_mean``."""
        return mean_error(self.p_diff)[1]

    @property
    def p_rms(self) -> float:
        """Root mean square of Δp."""
        return math.sqrt(mean_error(self.p_diff**2)[0]) if len(self.p_diff) else float("nan")

    @property
    def p_rms_error(self) -> float:
        """Standard error of ``p_rms``."""
        return 0.5 / self.p_rms * mean_error(self.p_diff**2)[1] if self.p_rms else 0.0

    @property
    def p_percentiles(self) -> dict[float, float]:
        """Δp at 0 (minimum), 0.1, 1, 5, 10, 25, 50, 75, 90, 95, 99, 99.9 and 100 %."""
        return _percentiles(self.p_diff, P_PERCENTILES)

    def to_text(self) -> str:
        """The lines that llama-perplexity prints."""
        from .kld_text import lines

        return "\n".join(lines(self))

    def __str__(self) -> str:
        return self.to_text()

    def _repr_markdown_(self) -> str:
        return f"```\n{self.to_text()}\n```"


def _percentiles(x: np.ndarray, wanted: tuple[float, ...]) -> dict[float, float]:
    found = np.percentile(x, wanted) if len(x) else np.full(len(wanted), np.nan)
    return dict(zip(wanted, map(float, found)))


def _difference(a: float, b: float, covariance: float) -> float:
    return math.sqrt(max(0.0, a * a + b * b - 2 * covariance))


def kld(model: Model, base: Any, text: str | None = None, ctx: int = 512, settings: Settings | None = None, *,
        base_settings: Settings | None = None, save: str | os.PathLike[str] | None = None, chunks: int | None = None,
        on_chunk: Tell | None = None, progress: bool = False) -> Kld:
    """Compare ``model`` with ``base``: a Model, or a file of base logits (``base_logits``, or llama-perplexity's own).

    A base that is a Model is evaluated first, with ``base_settings``; its logits go to ``save`` (to be used again as
    ``base``) or to a temporary file of 2 bytes per vocabulary entry and counted token. A file brings its own tokens and ctx:
    ``text`` is not read then. settings: of the runs of ``model``. chunks: at most so many. ``on_chunk(done, total, text)``
    hears running figures, ``progress`` draws them as a bar. Ctrl-C ends it with what is finished, ``stopped`` set. The
    figures are those of llama-perplexity --kl-divergence; docs/quality.md has their formulas. Raises SettingsError for a text
    that is too short, ModelError for a base with another vocabulary or a bad file.

    >>> import ikexplore as ikx
    >>> model = ikx.demo.model()
    >>> same = ikx.kld(ikx.requantized(model, "q8_0"), model, ikx.demo.text(), ctx=128, chunks=1)
    >>> round(abs(same.mean), 3), same.top1
    (0.0, 1.0)
    """
    if isinstance(base, Model):
        if text is None:
            raise SettingsError("no text: give the text to compare on, or a file of base logits that brings its own")
        _same_vocabulary(model, base.hparams.n_vocab, base.name)
    result = Kld()
    try:
        with progress_bar(progress, "KLD", on_chunk) as tell:
            more = {"settings": base_settings, "chunks": chunks, "on_chunk": tell}
            with base_file(base, text, ctx, save, **more) as file:
                _same_vocabulary(model, file.n_vocab, str(file.path))
                _run(result, model, file, chunks, settings, tell)
    except (KeyboardInterrupt, Cancelled):
        result.stopped = True
    return result


def _same_vocabulary(model: Model, n_vocab: int, what: str) -> None:
    if n_vocab != model.hparams.n_vocab:
        raise ModelError(f"{what} has a vocabulary of {n_vocab} tokens and {model.name} one of {model.hparams.n_vocab}; "
                         "compare models that share a tokenizer")


def _run(result: Kld, model: Model, file: BaseFile, chunks: int | None, settings: Settings | None, tell: Tell) -> None:
    parts = Chunks(model, file.ids, file.ctx, chunks)
    with parts.session(model, settings) as session:
        for i in range(len(parts)):
            found, at = [], 0
            for logits, targets in parts.pieces(session, i):
                for block in blocks(logits):
                    rows = logits[block]
                    found.append(_compare(rows, file.rows(i, at, len(rows)), targets[block]))
                    at += len(rows)
            _add(result, found)
            tell(i + 1, len(parts), f"KLD {result.mean:.6f} ± {result.error:.6f}, PPL {result.ppl:.4f} ± "
                                    f"{result.ppl_error:.4f}, same top {100 * result.top1:.2f} %")


def _compare(logits: np.ndarray, base: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, ...]:
    """Arrays of ``_FIELDS`` from logits of the model and log probabilities of the base, both [rows, n_vocab]."""
    rows = np.arange(len(targets))
    q = logits.astype(np.float64)
    top = q.max(axis=1, keepdims=True)
    q -= top + np.log(np.exp(q - top).sum(axis=1, keepdims=True))
    p = base.astype(np.float64)
    divergence = np.where(p > LEAST, np.exp(p) * (p - q), 0.0).sum(axis=1)
    mine, bases = nll(logits, targets), -p[rows, targets]
    same = logits.argmax(axis=1) == base.argmax(axis=1)
    return divergence, np.exp(-mine) - np.exp(-bases), mine, bases, same


def _add(result: Kld, found: list[tuple[np.ndarray, ...]]) -> None:
    """Add a finished chunk."""
    for name, *values in zip(_FIELDS, *found):
        setattr(result, name, np.concatenate([getattr(result, name), *values]))
    result.running.append((result.ppl, result.mean))
