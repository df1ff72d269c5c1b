"""Text to token ids and back, from a GGUF's own metadata, with the rules of ik_llama.cpp.

Two kinds of vocabulary: ``llama`` (SentencePiece's merges by score, tokenizer_spm.py) and ``gpt2`` (byte-level BPE,
tokenizer_bpe.py, on Hugging Face ``tokenizers``). Here is what both share: the vocabulary, its special tokens, the
cutting of text at special tokens, and the way back. Rules: ``llama_vocab`` of ik_llama.cpp 8337e4c.
"""

from collections.abc import Iterable, Mapping
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from ..errors import ModelError
from ..gguf import Strings
from .model import Model

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6  # tokenizer.ggml.token_type
_ASCII_SPACE = " \t\n\v\f\r"

#: tokens that end a generation wherever they occur, and that count as control tokens whatever the file says
_EOG = (
    "<|eot_id|> <|im_end|> <|end|> <|return|> <|call|> <|flush|> <|calls|> <end_of_turn> <|endoftext|> </s> <|eom_id|> "
    "<EOT> _<EOT> [EOT] [EOS] <|end_of_text|> <end_of_utterance> <eos> <turn|> <|tool_response> <｜end▁of▁sentence｜>"
)
EOG_TEXTS = frozenset(_EOG.split())
#: metadata key of a fill-in-the-middle token -> texts by which it is known where the key is missing
_FIM_TEXTS = {
    "fim_pre": "<|fim_prefix|> <fim-prefix> <fim_prefix> <｜fim▁begin｜> <PRE> ▁<PRE> <|code_prefix|> <|prefix|>",
    "fim_suf": "<|fim_suffix|> <fim-suffix> <fim_suffix> <｜fim▁hole｜> <SUF> ▁<SUF> <|code_suffix|> <|suffix|>",
    "fim_mid": "<|fim_middle|> <fim-middle> <fim_middle> <｜fim▁end｜> <MID> ▁<MID> <|code_middle|> <|middle|>",
    "fim_pad": "<|fim_pad|> <fim-pad> <fim_pad> <PAD> [PAD]",
    "fim_rep": "<|fim_repo|> <|repo_name|> <fim-repo> <REPO> <reponame>",
    "fim_sep": "<|file_sep|>",
}
_FIM_EOG = ("fim_pad", "fim_rep", "fim_sep")
_FIM_OLD_KEYS = {"fim_pre": "prefix", "fim_suf": "suffix", "fim_mid": "middle"}
_SHOWN_TEXTS = frozenset(("<|channel|>", "<|message|>", "<|start|>", "<|constrain|>"))  # gpt-oss: always rendered


class Vocabulary:
    """Texts, types and special ids of a GGUF's vocabulary. Raises ModelError for one that makes no sense."""

    def __init__(self, metadata: Mapping[str, Any]):
        self.metadata = metadata
        self.kind = _text(metadata, "tokenizer.ggml.model", "no_vocab")
        if self.kind in ("no_vocab", "none"):
            raise ModelError("this header has no vocabulary (tokenizer.ggml.model), so text cannot be tokenized")
        self.raw = _raw_tokens(metadata)  #: bytes of each token's text
        self.n_vocab = len(self.raw)
        #: text -> id; of equal texts the last wins; texts that are no UTF-8 cannot be found in text
        self.ids = {text: i for i, text in enumerate(map(_decoded, self.raw)) if text is not None}
        self.types = self._numbers("token_type", np.int32, NORMAL)
        self.scores = self._numbers("scores", np.float32, 0)
        is_spm = self.kind == "llama"
        self.bos = self._id("bos", 1 if is_spm else 11)
        self.eos = self._id("eos", 2 if is_spm else 11)
        self.eot = self._id("eot", None)
        self.eom = self._id("eom", None)
        self.rstrip: frozenset[int] = frozenset()  # special tokens that swallow white space after them
        self.lstrip: frozenset[int] = frozenset()
        self.eog = self._end_of_generation()
        self._strip_rules()

    def _numbers(self, key: str, dtype: Any, default: int) -> np.ndarray:
        """One number per token, a copy; the default where the file has none."""
        values = self.metadata.get(f"tokenizer.ggml.{key}")
        if values is None:
            return np.full(self.n_vocab, default, dtype)
        try:
            array = np.array(values, dtype)
        except (TypeError, ValueError, OverflowError):
            raise ModelError(f"tokenizer.ggml.{key} must be numbers") from None
        if array.ndim != 1 or len(array) < self.n_vocab:
            raise ModelError(f"tokenizer.ggml.{key} has {array.size} entries for {self.n_vocab} tokens")
        return array

    def _id(self, name: str, default: int | None) -> int | None:
        """A special token's id; as in the reference, one outside the vocabulary is ignored."""
        value = self.metadata.get(f"tokenizer.ggml.{name}_token_id", default)
        if isinstance(value, (bool, str)) or not isinstance(value, (int, np.integer)) or not 0 <= value < self.n_vocab:
            value = default if default is not None and default < self.n_vocab else None
        return value if value is None else int(value)

    def _end_of_generation(self) -> frozenset[int]:
        """Ids that end a generation. Corrects types on the way, as the reference does while it looks for them."""
        eog = set()
        for name, texts in _FIM_TEXTS.items():
            found = self._id(name, None)
            if found is None and name in _FIM_OLD_KEYS:
                found = self._id(_FIM_OLD_KEYS[name], None)
            if found is None:
                found = next((self.ids[t] for t in texts.split() if t in self.ids), None)
                if found is not None:
                    self.types[found] = CONTROL
            if found is not None and name in _FIM_EOG:
                eog.add(found)
        for text in EOG_TEXTS & self.ids.keys():
            eog.add(self.ids[text])
            self.types[self.ids[text]] = CONTROL
        for text in _SHOWN_TEXTS & self.ids.keys():
            self.types[self.ids[text]] = USER_DEFINED
        eog |= {i for i in (self.eos, self.eot, self.eom) if i is not None}
        ends = {t for t in EOG_TEXTS & self.ids.keys() if self.ids[t] in eog}
        calls = bool(ends & {"<|call|>", "<|calls|>"})
        if "<|end|>" in ends and calls and ends & {"<|return|>", "<|flush|>"}:  # there it ends a message only
            eog.discard(self.ids["<|end|>"])
            self.types[self.ids["<|end|>"]] = USER_DEFINED
        if {"<|tool_response>", "</s>"} <= ends:
            eog.discard(self.ids["</s>"])
            self.types[self.ids["</s>"]] = NORMAL
        return frozenset(eog)

    def _strip_rules(self) -> None:
        """White space around special tokens, which no GGUF records: told by names, as in the reference."""
        pre = _text(self.metadata, "tokenizer.ggml.pre", "")
        name = _text(self.metadata, "general.name", "").lower()
        if any(n in pre for n in ("jina-v2-de", "jina-v2-es", "jina-v2-code")):
            self.lstrip = frozenset({self.ids["<mask>"]} if "<mask>" in self.ids else ())
        elif "phi-3" in name or "phi3" in name:
            keep = {self.ids.get(t) for t in ("<unk>", "<s>", "<|endoftext|>")}
            strip = {*self.special_ids(), self.ids.get("</s>")}
            self.rstrip = frozenset(i for i in strip - keep if i is not None)

    def special_ids(self) -> list[int]:
        """Control, user-defined and unknown tokens, longest text first: the order in which text is cut at them."""
        found = np.flatnonzero(np.isin(self.types[: self.n_vocab], (UNKNOWN, CONTROL, USER_DEFINED))).tolist()
        return sorted(found, key=lambda i: -len(self.raw[i]))

    def flag(self, name: str, default: bool) -> bool:
        """A bool of the metadata, such as ``add_bos_token``."""
        value = self.metadata.get(f"tokenizer.ggml.{name}", default)
        return bool(value) if isinstance(value, (bool, np.bool_)) else default


class Tokenizer:
    """Encode and decode with one model's vocabulary. Made by ``tokenizer(model)``."""

    #: defaults of the kind of vocabulary; the metadata wins
    default_add_bos = False
    default_space_prefix = False

    def __init__(self, vocabulary: Vocabulary):
        self.vocabulary = vocabulary
        self.n_vocab = vocabulary.n_vocab
        self.bos, self.eos = vocabulary.bos, vocabulary.eos  #: ids, None where the vocabulary has none
        self.eog = vocabulary.eog  #: ids that end a generation
        self.add_bos = vocabulary.flag("add_bos_token", self.default_add_bos)
        self.add_eos = vocabulary.flag("add_eos_token", False)
        self.space_prefix = vocabulary.flag("add_space_prefix", self.default_space_prefix)
        special = [(i, _decoded(vocabulary.raw[i]), int(vocabulary.types[i])) for i in vocabulary.special_ids()]
        self._special = [(i, text, kind) for i, text, kind in special if text]

    def encode(self, text: str, add_special: bool = True, parse_special: bool = False) -> list[int]:
        """Token ids of a text.

        add_special: put BOS before and EOS behind, where the model asks for it.
        parse_special: read ``<|im_end|>`` and other control tokens in the text as such; else they are plain text.
            User-defined tokens are always read.
        """
        ids: list[int] = []
        if add_special and self.add_bos:
            ids.append(self._needed(self.bos, "BOS"))
        after_special = True
        for piece in self._cut(text, parse_special):
            if isinstance(piece, int):
                ids.append(piece)
            else:
                ids.extend(self._encode_text(piece, after_special))
            after_special = isinstance(piece, int)
        if add_special and self.add_eos:
            ids.append(self._needed(self.eos, "EOS"))
        return ids

    def decode(self, ids: Iterable[int], special: bool = True) -> str:
        """Text of token ids. Bytes that are no UTF-8 (a cut character) show as U+FFFD.

        special: show control tokens as their text, else leave them out. The space that ``encode`` puts before the first
        word is taken off again; for the pieces of a stream use ``decode_bytes``, which keeps every byte.
        """
        data = self.decode_bytes(ids, special)
        if self.space_prefix and data.startswith(b" "):
            data = data[1:]
        return data.decode("utf-8", "replace")

    def decode_bytes(self, ids: Iterable[int], special: bool = True) -> bytes:
        """The bytes of each token, one after the other. Raises ModelError for an id outside the vocabulary."""
        return b"".join(self.piece(i, special) for i in ids)

    def piece(self, i: int, special: bool = True) -> bytes:
        """The bytes that token ``i`` stands for; control tokens give their text, or nothing without ``special``.

        Raises ModelError for an id outside the vocabulary.
        """
        if not 0 <= i < self.n_vocab:
            raise ModelError(f"token id {i} is outside the vocabulary of {self.n_vocab} tokens")
        kind = int(self.vocabulary.types[i])
        if kind in (CONTROL, UNKNOWN):
            return self.vocabulary.raw[i] if special else b""
        if kind == USER_DEFINED:
            return self.vocabulary.raw[i]
        if kind in (NORMAL, BYTE):
            return self._piece_bytes(self.vocabulary.raw[i], kind)
        return b""  # unused

    def _needed(self, i: int | None, what: str) -> int:
        if i is None:
            raise ModelError(f"the model asks for a {what} token, but its vocabulary names none")
        return i

    def _cut(self, text: str, parse_special: bool) -> list[str | int]:
        """The text cut at special tokens: strings of plain text, and ids."""
        pieces: list[str | int] = [text] if text else []
        for i, token, kind in self._special:
            if (not parse_special and kind != USER_DEFINED) or token not in text:
                continue
            pieces = [part for piece in pieces for part in self._cut_at(piece, i, token)]
        return pieces

    def _cut_at(self, piece: str | int, i: int, token: str) -> list[str | int]:
        if isinstance(piece, int):
            return [piece]
        parts: list[str | int] = []
        strip_left, strip_right = i in self.vocabulary.lstrip, i in self.vocabulary.rstrip
        rest = piece
        while rest:
            left, found, right = rest.partition(token)
            if not found:
                parts.append(rest)
                break
            left = left.rstrip(_ASCII_SPACE) if strip_left else left
            parts += [left, i] if left else [i]
            rest = right.lstrip(_ASCII_SPACE) if strip_right else right
        return parts

    def _encode_text(self, text: str, after_special: bool) -> list[int]:
        """Ids of text without special tokens. after_special: it begins the text or follows a special token."""
        raise NotImplementedError

    def _piece_bytes(self, raw: bytes, kind: int) -> bytes:
        """Bytes of a normal or byte token with the text ``raw``."""
        raise NotImplementedError


def _text(metadata: Mapping[str, Any], key: str, default: str) -> str:
    value = metadata.get(key, default)
    if not isinstance(value, str):
        raise ModelError(f"{key} is a {type(value).__name__}; it must be text")
    return value


def _decoded(raw: bytes) -> str | None:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return None


def _raw_tokens(metadata: Mapping[str, Any]) -> list[bytes]:
    tokens = metadata.get("tokenizer.ggml.tokens")
    if isinstance(tokens, Strings):
        raw = tokens.raws()
    elif isinstance(tokens, list) and all(isinstance(t, str) for t in tokens):
        raw = [t.encode("utf-8", "replace") for t in tokens]
    else:
        raise ModelError("the header has no list of tokens (tokenizer.ggml.tokens), so text cannot be tokenized")
    if not raw:
        raise ModelError("the vocabulary is empty (tokenizer.ggml.tokens)")
    return [r or f"[EMPTY_{i}]".encode() for i, r in enumerate(raw)]


_MADE: "WeakKeyDictionary[Model, Tokenizer]" = WeakKeyDictionary()


def tokenizer(model: Model) -> Tokenizer:
    """The tokenizer of a model, made once per Model from its metadata.

    Raises ModelError for a model without vocabulary, of another kind than ``llama`` and ``gpt2``, or with a
    pre-tokenizer that is not known.
    """
    found = _MADE.get(model)
    if found is None:
        found = _MADE[model] = from_metadata(model.metadata)
    return found


def from_metadata(metadata: Mapping[str, Any]) -> Tokenizer:
    """The tokenizer that GGUF metadata describes; errors as ``tokenizer``."""
    vocabulary = Vocabulary(metadata)
    if vocabulary.kind == "llama":
        from .tokenizer_spm import SPM

        return SPM(vocabulary)
    if vocabulary.kind == "gpt2":
        from .tokenizer_bpe import BPE

        return BPE(vocabulary)
    raise ModelError(f"vocabularies of kind {vocabulary.kind!r} are not supported; only 'llama' and 'gpt2' are")
