"""Text in, text out: tokens, logits, generation, perplexity."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from ..errors import Cancelled, SettingsError
from ..models import Model
from ..models.tokenizer import Tokenizer
from ..models.tokenizer import tokenizer as _make_tokenizer
from ..settings import Settings
from .chunks import Chunks, mean_error, nll, progress_bar
from .session import Session


def _tokenizer(model: Model) -> Tokenizer:
    """The model's tokenizer; made once per model."""
    found = model.__dict__.get("_tokenizer")
    if found is None:
        found = model.__dict__["_tokenizer"] = _make_tokenizer(model)
    return found


def tokenize(model: Model, text: str, add_special: bool = True, parse_special: bool = False) -> list[int]:
    """Token ids of ``text``; with the tokens that the ``model`` wants around it unless ``add_special`` is False.

    parse_special: read ``<|im_end|>`` and other control tokens in the text as such; else they are plain text.
    Raises ModelError for a vocabulary of a kind that is not known here.

    >>> import ikexplore as ikx
    >>> ids = ikx.tokenize(ikx.demo.model(), "The sea was calm.")
    >>> ids
    [639, 376, 64, 304, 277, 347, 76, 13]
    >>> ikx.detokenize(ikx.demo.model(), ids)
    'The sea was calm.'
    """
    return _tokenizer(model).encode(text, add_special=add_special, parse_special=parse_special)


def detokenize(model: Model, ids: Sequence[int]) -> str:
    """Text of token ``ids`` of a ``model``; bytes that are no UTF-8 become U+FFFD.

    Raises ModelError for an id outside the vocabulary.

    >>> import ikexplore as ikx
    >>> ikx.detokenize(ikx.demo.model(), [639, 376])
    'The se'
    """
    return _tokenizer(model).decode(list(ids))


def logits(model: Model, tokens: Sequence[int], settings: Settings | None = None) -> np.ndarray:
    """float32 [n_tokens, n_vocab]: the ``model``'s logits after every one of ``tokens`` (ids), from an empty cache.

    settings: switches of the run; the context is made large enough where they leave it open.
    Raises ModelError for a model without weights or of an architecture that does not run here, SettingsError for token ids
    outside the vocabulary or more tokens than a given context holds.

    >>> import ikexplore as ikx
    >>> model = ikx.demo.model()
    >>> x = ikx.logits(model, ikx.tokenize(model, "The sea was calm."))
    >>> x.shape, x.dtype
    ((8, 704), dtype('float32'))
    """
    given = settings or Settings()
    room = {} if given.n_ctx else {"n_ctx": max(256, len(tokens))}
    with Session(model, given.replace(**room)) as session:
        return session.eval(tokens, len(tokens))


def generate(model: Model, prompt: str, n: int = 128, settings: Settings | None = None, temperature: float = 0.0,
             seed: int = 0) -> Iterator[str]:
    """Pieces of text as they come, at most ``n`` tokens, until the model ends.

    ``temperature`` 0 takes the most likely token; above, tokens are drawn with ``seed``. settings: switches of the run; the
    context is made large enough where they leave it open. Raises SettingsError for a ``prompt`` that leaves no room in the
    context, ModelError as ``logits`` does.

    >>> import ikexplore as ikx
    >>> "".join(ikx.generate(ikx.demo.model(), "The sea ", n=4))
    'rooms, and'
    """
    if n < 1 or temperature < 0:
        raise SettingsError(f"n = {n}, temperature = {temperature}: give n of 1 or more and a temperature of 0 or more")
    tok = _tokenizer(model)
    ids = tok.encode(prompt)
    if not ids:
        ids = [tok.bos if tok.bos is not None else 0]
    given = settings or Settings()
    room = {} if given.n_ctx else {"n_ctx": len(ids) + n}
    rng = np.random.default_rng(seed)
    with Session(model, given.replace(**room)) as session:
        row, sent, made = session.eval(ids)[0], 0, b""
        for i in range(n):
            token = _choose(row, temperature, rng)
            if token == tok.eos:
                break
            made += tok.decode_bytes([token])
            text = made.decode("utf-8", "ignore" if i < n - 1 else "replace")
            yield text[sent:]
            sent = len(text)
            if i < n - 1:
                row = session.eval([token])[0]


def _choose(row: np.ndarray, temperature: float, rng: np.random.Generator) -> int:
    if temperature == 0:
        return int(row.argmax())
    p = np.exp((row - row.max()) / temperature, dtype=np.float64)
    return int(rng.choice(len(p), p=p / p.sum()))


@dataclass
class Perplexity:
    """``value`` with its standard ``error``; ``chunks``: the running value after each chunk; ``nll`` nats per token;
    ``bits_per_byte`` of the text that was predicted; ``stopped``: it was interrupted, and says what was done until then."""

    value: float
    error: float
    nll: float
    bits_per_byte: float
    chunks: list[float] = field(default_factory=list)
    stopped: bool = False


def perplexity(model: Model, text: str, ctx: int = 512, settings: Settings | None = None,
               on_chunk: Callable[[int, int, float], None] | None = None, *, chunks: int | None = None,
               progress: bool = False) -> Perplexity:
    """llama-perplexity's figure: exp of the mean of -ln p(next token).

    The text is cut into chunks of ``ctx`` tokens, each from an empty cache and with the first token replaced by BOS where the
    model wants one; the second half of each chunk counts. settings: switches of the run. chunks: at most so many.
    ``on_chunk(done, total, running value)`` hears of each; ``progress`` draws a bar. Ctrl-C after the first chunk ends it early
    with ``stopped`` set. Raises SettingsError for text shorter than a chunk, ModelError as ``logits`` does.

    >>> import ikexplore as ikx
    >>> found = ikx.perplexity(ikx.demo.model(), ikx.demo.text(), ctx=128, chunks=2)
    >>> f"{found.value:.1f} +/- {found.error:.1f}"
    '14.0 +/- 2.4'
    """
    parts = Chunks(model, text, ctx, chunks)
    found: list[np.ndarray] = []
    running: list[float] = []
    nbytes, stopped = 0, False
    with progress_bar(progress, "perplexity") as tell, parts.session(model, settings) as session:
        try:
            for i in range(len(parts)):
                found.append(np.concatenate([nll(*piece) for piece in parts.pieces(session, i)]))
                mean, error = mean_error(np.concatenate(found))
                running.append(math.exp(mean))
                nbytes += len(_tokenizer(model).decode_bytes(parts.targets(i).tolist()))
                tell(i + 1, len(parts), f"PPL {running[-1]:.4f} ± {running[-1] * error:.4f}")
                if on_chunk:
                    on_chunk(i + 1, len(parts), running[-1])
        except (KeyboardInterrupt, Cancelled):
            if not running:
                raise
            stopped = True
    values = np.concatenate(found[: len(running)])
    mean, error = mean_error(values)
    bits = float(values.sum()) / math.log(2) / max(1, nbytes)
    return Perplexity(math.exp(mean), math.exp(mean) * error, mean, bits, running, stopped)
