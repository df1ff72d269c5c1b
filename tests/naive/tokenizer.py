"""Slow and obvious twins of the tokenizers: every merge looks at all pairs."""

import unicodedata
from itertools import pairwise


def spm(text: str, ids: dict[str, int], scores: list[float], prefix: bool = True) -> list[int]:
    """SentencePiece merges: the neighbours whose joined text is the best-scored token, leftmost first, until none."""
    if not text:
        return []
    symbols = list(((" " if prefix else "") + text).replace(" ", "▁"))
    while True:
        best = None
        for i in range(len(symbols) - 1):
            token = ids.get(symbols[i] + symbols[i + 1])
            if token is not None and (best is None or scores[token] > best[0]):
                best = (scores[token], i)
        if best is None:
            break
        i = best[1]
        symbols[i : i + 2] = [symbols[i] + symbols[i + 1]]
    out: list[int] = []
    for s in symbols:
        out += [ids[s]] if s in ids else [ids[f"<0x{b:02X}>"] for b in s.encode()]
    return out


def byte_characters() -> dict[int, str]:
    """GPT-2's printable character of every byte."""
    table, extra = {}, 0
    for b in range(256):
        if chr(b).isprintable() and not chr(b).isspace() and b != 0xAD:
            table[b] = chr(b)
        else:
            table[b] = chr(256 + extra)
            extra += 1
    return table


def _is(char: str, kind: str) -> bool:
    return unicodedata.category(char)[0] == kind


def _space(char: str) -> bool:
    return char in "\t\n\v\f\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" or "\u2000" <= char <= "\u200a"


def words_qwen2(text: str) -> list[str]:
    """The words into which 'qwen2' cuts text, written out by hand instead of as a regular expression."""
    out, i, n = [], 0, len(text)
    while i < n:
        j = _word_end(text, i, n)
        out.append(text[i:j])
        i = j
    return out


def _word_end(text: str, i: int, n: int) -> int:
    c = text[i]
    following = text[i + 1 : i + 3]
    if c == "'" and following[:1] in tuple("sStTmMdD"):
        return i + 2
    if c == "'" and following.lower() in ("re", "ve", "ll") and following.isascii():
        return i + 3
    j = i
    if not _is(c, "L") and not _is(c, "N") and c not in "\r\n" and i + 1 < n and _is(text[i + 1], "L"):
        j = i + 1  # one other character may lead a word
    if _is(text[j], "L"):
        while j < n and _is(text[j], "L"):
            j += 1
        return j
    if _is(c, "N"):
        return i + 1
    j = i + 1 if c == " " else i
    k = j
    while k < n and not _space(text[k]) and not _is(text[k], "L") and not _is(text[k], "N"):
        k += 1
    if k > j:
        while k < n and text[k] in "\r\n":
            k += 1
        return k
    k = i
    while k < n and _space(text[k]):
        k += 1
    last_break = max((m + 1 for m in range(i, k) if text[m] in "\r\n"), default=0)
    if last_break:
        return last_break
    return k - 1 if k < n and k - i > 1 else k


def bpe(words: list[str], ids: dict[str, int], merges: list[str]) -> list[int]:
    """Byte-level BPE: the best-ranked pair of neighbours is merged, leftmost first, until none is left."""
    table = byte_characters()
    rank: dict[tuple[str, str], int] = {}
    for k, merge in enumerate(merges):
        a, _, b = merge.partition(" ")
        rank.setdefault((a, b), k)
    out: list[int] = []
    for word in words:
        symbols = [table[b] for b in word.encode()]
        while True:
            ranks = [(rank[pair], i) for i, pair in enumerate(pairwise(symbols)) if pair in rank]
            if not ranks:
                break
            i = min(ranks)[1]
            symbols[i : i + 2] = [symbols[i] + symbols[i + 1]]
        for s in symbols:
            out += [ids[s]] if s in ids else [ids[c] for c in s if c < "\x80" and c in ids]
    return out
