"""Byte-level BPE vocabularies (``tokenizer.ggml.model = gpt2``), on Hugging Face ``tokenizers``.

The text is cut into words by the pre-tokenizer's regular expressions, the bytes of a word become printable characters
(the table of GPT-2), and the merges of the file are applied to them.
"""

import warnings
from typing import Any

from ..errors import ModelError
from ..gguf import Strings
from .tokenizer import BYTE, Tokenizer, Vocabulary, _text
from .tokenizer_pre import IGNORE_MERGES, NO_BOS, WITH_BOS, patterns


def _byte_table() -> dict[str, int]:
    """GPT-2's printable character for every byte: itself where it prints, else from U+0100 on."""
    prints = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [b for b in range(256) if b not in prints]
    return {chr(b): b for b in prints} | {chr(0x100 + i): b for i, b in enumerate(others)}


BYTE_OF = _byte_table()  #: character in a token's text -> byte


class BPE(Tokenizer):
    """Encoder for ``gpt2`` vocabularies."""

    def __init__(self, vocabulary: Vocabulary):
        pre = _text(vocabulary.metadata, "tokenizer.ggml.pre", "")
        if not pre:
            warnings.warn("the header names no pre-tokenizer (tokenizer.ggml.pre); 'default' is taken", stacklevel=4)
            pre = "default"
        expressions = patterns(pre)
        if pre in NO_BOS and "tokenizer.ggml.bos_token_id" not in vocabulary.metadata:
            vocabulary.bos = None
        self.default_add_bos = pre in WITH_BOS
        super().__init__(vocabulary)
        self.pre = pre  #: name of the pre-tokenizer
        texts, merges = dict(vocabulary.ids), _merges(vocabulary)
        self._expand = _close(texts, merges, vocabulary.ids)
        self._engine = _engine(texts, merges, expressions, pre in IGNORE_MERGES)

    def _encode_text(self, text: str, after_special: bool) -> list[int]:
        ids = self._engine.encode(text.encode("utf-8", "replace").decode(), add_special_tokens=False).ids
        if not any(i >= self.n_vocab for i in ids):
            return ids
        return [k for i in ids for k in (self._expand[i] if i >= self.n_vocab else (i,))]

    def _piece_bytes(self, raw: bytes, kind: int) -> bytes:
        text = raw.decode("utf-8", "replace")
        if kind == BYTE and len(text) == 1 and text in BYTE_OF:
            return bytes([BYTE_OF[text]])
        return b"".join(bytes([BYTE_OF[c]]) if c in BYTE_OF else c.encode() for c in text)


def _merges(vocabulary: Vocabulary) -> list[tuple[str, str]]:
    """The merges of the file, best first; of a pair that is listed twice the first counts."""
    listed = vocabulary.metadata.get("tokenizer.ggml.merges")
    if not isinstance(listed, (Strings, list)):
        raise ModelError("the header has no merges (tokenizer.ggml.merges), which a 'gpt2' vocabulary needs")
    pairs: dict[tuple[str, str], None] = {}
    for merge in listed:
        at = merge.find(" ", 1)
        if at > 0 and at + 1 < len(merge):
            pairs.setdefault((merge[:at], merge[at + 1 :]))
    return list(pairs)


def _close(
    texts: dict[str, int], merges: list[tuple[str, str]], known: dict[str, int]
) -> dict[int, tuple[int, ...]]:
    """Give every text that can come up while merging an id, adding some to ``texts`` behind the vocabulary's.

    Returns what the added ids stand for: as in the reference, a text without token becomes the tokens of its single
    characters where these are ASCII, and nothing otherwise.
    """
    expand: dict[int, tuple[int, ...]] = {}
    number = max(texts.values(), default=-1) + 1
    for text in (*BYTE_OF, *(t for a, b in merges for t in (a, b, a + b))):
        if text not in texts:
            texts[text] = number
            expand[number] = tuple(known[c] for c in text if c < "\x80" and c in known)
            number += 1
    return expand


def _engine(
    texts: dict[str, int], merges: list[tuple[str, str]], expressions: tuple[str, ...], ignore_merges: bool
) -> Any:
    """The Hugging Face tokenizer: regular expressions one after the other, then bytes, then merges."""
    from tokenizers import Regex, models, pre_tokenizers
    from tokenizers import Tokenizer as Engine

    engine = Engine(models.BPE(vocab=texts, merges=merges, ignore_merges=ignore_merges))
    cuts = [pre_tokenizers.Split(Regex(e), behavior="isolated") for e in expressions]
    last = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    engine.pre_tokenizer = pre_tokenizers.Sequence([*cuts, last])
    return engine
