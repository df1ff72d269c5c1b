"""Text in, text out: tokens, logits, generation, perplexity."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from ..errors import SettingsError
from ..models import Model
from ..models.tokenizer import Tokenizer
from ..models.tokenizer import tokenizer as _make_tokenizer
from ..settings import Settings
from .session import Session


def _tokenizer(model: Model) -> Tokenizer:
    """The model's tokenizer; made once per model."""
    found = model.__dict__.get("_tokenizer")
    if found is None:
        found = model.__dict__["_tokenizer"] = _make_tokenizer(model)
    return found


def tokenize(model: Model, text: str, add_special: bool = True, parse_special: bool = False) -> list[int]:
    """Token ids of ``text``; with the tokens that the model wants around it unless ``add_special`` is False."""
    return _tokenizer(model).encode(text, add_special=add_special, parse_special=parse_special)


def detokenize(model: Model, ids: Sequence[int]) -> str:
    """Text of token ids; bytes that are no UTF-8 become U+FFFD."""
    return _tokenizer(model).decode(list(ids))


def logits(model: Model, tokens: Sequence[int], settings: Settings | None = None) -> np.ndarray:
    """float32 [n_tokens, n_vocab]: logits after every one of ``tokens``, from an empty cache."""
    given = settings or Settings()
    room = {} if given.n_ctx else {"n_ctx": max(256, len(tokens))}
    with Session(model, given.replace(**room)) as session:
        return session.eval(tokens, len(tokens))


def generate(model: Model, prompt: str, n: int = 128, settings: Settings | None = None, temperature: float = 0.0,
             seed: int = 0) -> Iterator[str]:
    """Pieces of text as they come, at most ``n`` tokens, until the model ends. ``temperature`` 0 is greedy.

    Raises SettingsError for a prompt that leaves no room in the context.
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
    ``bits_per_byte`` of the text that was predicted."""

    value: float
    error: float
    nll: float
    bits_per_byte: float
    chunks: list[float] = field(default_factory=list)


def perplexity(model: Model, text: str, ctx: int = 512, settings: Settings | None = None,
               on_chunk: Callable[[int, int, float], None] | None = None) -> Perplexity:
    """llama-perplexity's figure: the text in chunks of ``ctx`` tokens, each from an empty cache and with the
    first token replaced by BOS where the model wants one; the second half of each chunk counts.

    ``on_chunk(done, total, running value)`` hears of each. Raises SettingsError for text shorter than two chunks.
    """
    tok = _tokenizer(model)
    ids = np.array(tok.encode(text), np.int64)
    total = len(ids) // ctx
    if total < 1 or ctx < 8:
        raise SettingsError(f"{len(ids)} tokens make no chunk of {ctx}; give more text or a smaller ctx (8 or more)")
    begins = bool(model.metadata.get("tokenizer.ggml.add_bos_token", False)) and tok.bos is not None
    found, running, nbytes = [], [], 0
    with Session(model, (settings or Settings()).replace(n_ctx=ctx)) as session:
        for i in range(total):
            chunk = ids[i * ctx : (i + 1) * ctx].copy()
            if begins:
                chunk[0] = tok.bos
            session.rewind()
            first = ctx // 2
            out = session.eval(chunk, ctx - first)[:-1].astype(np.float64)
            targets = chunk[first + 1 :]
            found.append(_nll(out, targets))
            nbytes += len(tok.decode_bytes(targets.tolist()))
            running.append(math.exp(np.concatenate(found).mean()))
            if on_chunk:
                on_chunk(i + 1, total, running[-1])
    nll = np.concatenate(found)
    mean = float(nll.mean())
    error = math.exp(mean) * math.sqrt(max(0.0, float((nll**2).mean()) - mean**2) / max(1, len(nll) - 1))
    return Perplexity(math.exp(mean), error, mean, float(nll.sum()) / math.log(2) / max(1, nbytes), running)


def _nll(rows: np.ndarray, targets: np.ndarray) -> np.ndarray:
    top = rows.max(axis=1, keepdims=True)
    return np.log(np.exp(rows - top).sum(axis=1)) + top[:, 0] - rows[np.arange(len(targets)), targets]
