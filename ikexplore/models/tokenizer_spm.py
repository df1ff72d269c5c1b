"""SentencePiece vocabularies (``tokenizer.ggml.model = llama``): merge the best-scored pair until none is left.

The merges compare the scores of the merged tokens, then positions. A BPE model of Hugging Face ``tokenizers`` cannot
say that: it gives every pair a rank of its own, but all pairs that make the same token (``a+aa`` and ``aa+a``) have
one score, and then the leftmost goes first. So the merging is done here, a word at a time.
"""

import heapq
from functools import lru_cache

from ..errors import ModelError
from .tokenizer import BYTE, Tokenizer, Vocabulary

SPACE = "▁"  # stands for a space inside tokens
MAX_KEPT = 64  # characters of a word whose ids are remembered
_MARK = SPACE.encode()


class SPM(Tokenizer):
    """Encoder for ``llama`` vocabularies, with byte tokens for what has no token."""

    default_add_bos = True
    default_space_prefix = True

    def __init__(self, vocabulary: Vocabulary):
        super().__init__(vocabulary)
        self._ids = vocabulary.ids
        self._scores = vocabulary.scores.tolist()
        # no token has these characters before a space: no merge crosses there, so text may be cut there
        spaced = [text for text in self._ids if SPACE in text[1:]]
        self._before_space = {text[i - 1] for text in spaced for i in range(1, len(text)) if text[i] == SPACE}
        self._known_word = lru_cache(maxsize=1 << 16)(self._merge)

    def _encode_text(self, text: str, after_special: bool) -> list[int]:
        if self.space_prefix and after_special:
            text = " " + text
        ids: list[int] = []
        for word in self._words(text.replace(" ", SPACE)):
            ids.extend(self._known_word(word) if len(word) <= MAX_KEPT else self._merge(word))
        return ids

    def _words(self, text: str) -> list[str]:
        """The text cut before spaces, wherever no token spans the cut; the merges of the parts are independent."""
        words = []
        begin = 0
        at = text.find(SPACE, 1)
        while at != -1:
            if text[at - 1] not in self._before_space:
                words.append(text[begin:at])
                begin = at
            at = text.find(SPACE, at + 1)
        words.append(text[begin:])
        return words

    def _merge(self, word: str) -> tuple[int, ...]:
        """Ids of a word: its characters, merged pair by pair, best score first, then leftmost."""
        symbols: list[str | None] = list(word)
        count = len(symbols)
        before, after = list(range(-1, count - 1)), list(range(1, count + 1))
        queue: list[tuple[float, int, int, str]] = []

        def consider(left: int, right: int) -> None:
            if left >= 0 and right < count:
                text = symbols[left] + symbols[right]  # type: ignore[operator]
                token = self._ids.get(text)
                if token is not None:
                    heapq.heappush(queue, (-self._scores[token], left, right, text))

        for i in range(count - 1):
            consider(i, i + 1)
        while queue:
            _, left, right, text = heapq.heappop(queue)
            a, b = symbols[left], symbols[right]
            if a is None or b is None or len(a) + len(b) != len(text):
                continue  # one of them was merged with another
            symbols[left], symbols[right] = text, None
            after[left] = after[right]
            if after[right] < count:
                before[after[right]] = left
            consider(before[left], left)
            consider(left, after[left])
        return tuple(i for s in symbols if s is not None for i in self._symbol_ids(s))

    def _symbol_ids(self, symbol: str) -> list[int]:
        token = self._ids.get(symbol)
        if token is not None:
            return [token]
        return [self._byte_id(b) for b in symbol.encode("utf-8", "replace")]

    def _byte_id(self, byte: int) -> int:
        token = self._ids.get(f"<0x{byte:02X}>")
        if token is None and byte < 128:
            token = self._ids.get(chr(byte))
        if token is None:
            raise ModelError(f"the vocabulary has no token for byte 0x{byte:02X}, which this text needs")
        return token

    def _piece_bytes(self, raw: bytes, kind: int) -> bytes:
        if kind != BYTE:
            return raw.replace(_MARK, b" ")
        try:
            return bytes([int(raw[3:5], 16)])  # <0x0A>
        except ValueError:
            return raw
