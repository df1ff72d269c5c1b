"""Undoes a terminal's line wrap: PowerShell and tmux break lines at the width of the window when they are copied.

A paste is taken as wrapped at W characters when at least three lines of a program in it are exactly W long and go on in
a line that no program would begin so, and hardly any is longer (commands, which people shorten or paste anew).
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import chain, islice

from .clean import clean
from .rules import starts_log

#: lines that are looked at to find the width
SAMPLE = 3000
#: a narrower terminal than this is not believed in
NARROWEST = 60
#: characters of one unwrapped line
LONGEST = 20_000
_BEGINS = re.compile(
    r"(?:INFO|WARN|ERR|VERB) +\[|Tensor |Computed blk|\|\s*\d+ \|\s*\d+ \||\|[- ]{3}|\|\s*PP \||```|~~~|</|<d|<s|"
    r"\$ |#+ |\s*Device \d+: |=====|\[\d+\]\d"
)


def begins(line: str) -> bool:
    """Whether a line begins something by itself and so goes on from no other."""
    text = clean(line)[0]
    return not text or starts_log(text) or bool(_BEGINS.match(text))


def width_of(lines: list[str]) -> int | None:
    """The width at which a paste was wrapped, or None."""
    lengths, going_on = Counter[int](), Counter[int]()
    for line, following in zip(lines, [*lines[1:], ""]):
        if len(line) >= NARROWEST and begins(line) and not line.lstrip().startswith(("-", "```")):
            lengths[len(line)] += 1
            if following.strip() and not begins(following):
                going_on[len(line)] += 1
    if not going_on:
        return None
    # a line whose last blank was trimmed is one shorter
    count, width = max((going_on[w] + going_on[w - 1], w) for w in list(going_on))
    longer = sum(n for length, n in lengths.items() if length > width)
    return width if count >= 3 and longer <= count // 3 else None


def unwrapped(lines: Iterable[str]) -> Iterator[tuple[int, str]]:
    """(number of physical lines, line) with wrapped lines put together again."""
    source = iter(lines)
    sample = list(islice(source, SAMPLE))
    width = width_of([line.rstrip() for line in sample])
    every = chain(sample, source)
    if width is None:
        for line in every:
            yield 1, line
        return
    count, held = 0, ""
    for line in every:
        line = line.rstrip()
        if count and (begins(line) or len(held) + len(line) > LONGEST):
            yield count, held
            count, held = 0, ""
        count, held = count + 1, held + (_continuation(held, line) if held else line)
        # a line that is full goes on; one whose last blank was trimmed is one shorter
        if len(line) == width - 1:
            held += " "
        elif len(line) != width or line.endswith(("\\", "`", "^")):
            yield count, held
            count, held = 0, ""
    if count:
        yield count, held


def _continuation(held: str, line: str) -> str:
    """What a line adds to the one before it: without its quote mark or prefix, and without the paste's indentation."""
    bare = clean(line)[0]
    if line.strip() != bare:
        return bare
    indent = len(held) - len(held.lstrip())
    return line[indent:] if line[:indent].isspace() else line
