"""From a paste to lines, and from a line to clean pieces.

A paste is UTF-8 or UTF-16 (PowerShell's ``>``), with any line ends. A line may carry ANSI codes, cursor moves, redraws
after a carriage return, quote marks of a mail, a prefix of docker or journald, and two lines of a program glued into
one. Every step looks at a character a bounded number of times, so that the cost is linear whatever is pasted.
"""

import gzip
import io
import os
import re
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

from ..errors import IkexploreError

#: a file name, not a line of a log: no blank, and an ending that logs have
_FILE_NAME = re.compile(r"[^\s|=]+\.(?:log|txt|md|out|err|json|jsonl|csv|gz)", re.I)
_ESCAPE = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*([@-~])|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[PX^_][^\x1b]*(?:\x1b\\)?|[ -/]*[0-~])?"
)
#: colour codes whose escape character was lost on the way to the forum
_BARE = re.compile(r"\[(?:\d{1,3}(?:;\d{1,3}){0,4})?m")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\u200b\u2060\ufeff]")
_TIME = r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d[.,\d]{0,10}(?:Z|[+-]\d\d:?\d\d)? +"
_PREFIX = re.compile(
    rf"(?:{_TIME}|\[\d\d:\d\d:\d\d\] +)?"
    r"(?:[A-Z][a-z]{2} +\d{1,2} \d\d:\d\d:\d\d \S{1,80} [\w.@/-]{1,80}(?:\[\d{1,10}\])?: |"
    r"[A-Za-z][\w.-]{0,60}[-_]\d{1,3} +\| |"
    r"\d{1,6}\.\d\d\.\d{3}\.\d{3} [A-Z] )?"
)
_MOVES = frozenset("ABDEFGHJSTdf")
#: colons looked at when a line is searched for glued lines
MAX_COLONS = 400


def lines_of(source: Any) -> Iterator[str]:
    """The lines of a text, of a file (path; plain or gzip), of bytes or of any iterable of lines; without line ends.

    A ``str`` is a text unless it is one line that names a file. Raises IkexploreError for a file that is not there or
    cannot be read, and for a source of another type.
    """
    path = _path(source)
    if path is not None:
        return _lines_of_file(path)
    if isinstance(source, (bytes, bytearray, memoryview)):
        return _lines_of_bytes(io.BytesIO(bytes(source)))
    if isinstance(source, str):
        return iter(source.split("\n"))
    if isinstance(source, Iterable) and not isinstance(source, dict):
        return _checked(source)
    raise IkexploreError(f"a log is a text, a path or lines of text, not {type(source).__name__}; give one of these")


def _checked(source: Iterable[Any]) -> Iterator[str]:
    for line in source:
        if not isinstance(line, str):
            raise IkexploreError(f"a log is lines of text, not of {type(line).__name__}; open the file in text mode")
        yield line[:-1] if line.endswith("\n") else line


def _path(source: Any) -> Path | None:
    if isinstance(source, os.PathLike):
        return Path(os.fspath(source))
    if not isinstance(source, str) or "\n" in source or "\0" in source or not 0 < len(source) < 4096:
        return None
    try:
        if os.path.isfile(source):
            return Path(source)
    except (OSError, ValueError):
        return None
    if _FILE_NAME.fullmatch(source):
        raise IkexploreError(f"{source}: no such file; give the path of a log or the text itself")
    return None


def _lines_of_file(path: Path) -> Iterator[str]:
    try:
        with open(path, "rb") as raw:
            packed = raw.read(2) == b"\x1f\x8b"
        with gzip.open(path, "rb") if packed else open(path, "rb") as file:
            yield from _lines_of_bytes(file)
    except (OSError, EOFError) as error:
        reason = getattr(error, "strerror", None) or str(error) or "cannot be read"
        raise IkexploreError(f"{path}: {reason}; give the path of a readable log") from None


def _lines_of_bytes(file: Any) -> Iterator[str]:
    head = file.read(256)
    file.seek(0)
    text = io.TextIOWrapper(file, encoding=_encoding(head), errors="replace", newline="\n")
    for line in text:
        yield line[:-1] if line.endswith("\n") else line
    text.detach()


def _encoding(head: bytes) -> str:
    if head[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return "utf-16"
    if len(head) >= 8 and head[1::2].count(0) > len(head) // 3:
        return "utf-16-le"
    if len(head) >= 8 and head[::2].count(0) > len(head) // 3:
        return "utf-16-be"
    return "utf-8"


def _escape(found: re.Match[str]) -> str:
    """A cursor move begins a new piece, "forward" is a blank, anything else is colour."""
    final = found.group(1) or ""
    return "\r" if final in _MOVES else " " if final == "C" else ""


def has(text: str, words: Iterable[str]) -> bool:
    """Whether one of the words is in the text; plain searches are faster than one pattern of many words."""
    return any(map(text.__contains__, words))


def clean(line: str) -> list[str]:
    """The pieces of one line that a terminal would have shown apart, stripped, without quote marks and prefixes."""
    if not line.isprintable():
        if "\x1b" in line:
            line = _ESCAPE.sub(_escape, line)
        line = _CONTROL.sub("", line).replace("\u00a0", " ")
        if "\r" in line:
            return [bare(part) for part in line.split("\r") if part.strip()] or [""]
    return [bare(line)]


#: how the most frequent lines begin; these need no further cleaning
_COMMON = ("llama_", "llm_load", "|", "Tensor ")


def bare(text: str) -> str:
    """A printable line without quote marks, colour codes that lost their escape character, and prefixes."""
    text = text.strip()
    if text.startswith(_COMMON) and "[" not in text:
        return text
    if text[:1] == ">":
        text = text.lstrip("> \t")
    if "[" in text and ("[0m" in text or "[m" in text):
        text = _BARE.sub("", text).strip()
    first = text[:1]
    # the four forms that a prefix can have: a time, a bracket, a month and a day, a name and a bar
    if first.isdigit() or first == "[" or text[3:4] == " " or " | " in text[:70]:
        found = _PREFIX.match(text)
        if found and found.end():
            text = text[found.end() :].lstrip("> \t")
    return text


class Glue:
    """Finds where lines of a program begin inside a line: at a known function name in front of a colon."""

    def __init__(self, names: Iterable[str]):
        self.tails: dict[str, list[str]] = {}
        for name in sorted(names, key=len, reverse=True):
            self.tails.setdefault(name[-4:], []).append(name)

    def alone(self, text: str, start: int) -> bool:
        """Whether no other known name stands in front of the colons behind ``start``; at most four are looked at."""
        at = text.find(":", start)
        for _ in range(4):
            if at < 0:
                return True
            if text[at - 4 : at] in self.tails:
                return False
            at = text.find(":", at + 1)
        return False

    def split(self, text: str) -> list[str]:
        """The text cut in front of each known name; one piece when it holds none behind its beginning."""
        cuts: list[int] = []
        tails = self.tails
        at = text.find(":", 4)
        for _ in range(MAX_COLONS):
            if at < 0:
                break
            for name in tails.get(text[at - 4 : at], ()):
                start = at - len(name)
                if start >= 0 and text.startswith(name, start):
                    # a short name may end a longer word; a long one is unmistakable even behind a letter
                    if start > 0 and (len(name) >= 12 or not (text[start - 1].isalnum() or text[start - 1] in "_`'\"")):
                        cuts.append(start)
                    break
            at = text.find(":", at + 1)
        if at >= 0 and cuts:
            cuts.append(at)  # more than anybody glues: the rest is a piece that no rule will know
        if not cuts:
            return [text]
        edges = [0, *cuts, len(text)]
        return [part for a, b in pairwise(edges) if (part := text[a:b].strip())]
