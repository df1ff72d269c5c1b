"""The regexes of -ot: the engine searches with C++'s std::regex (ECMAScript); here they become Python's ``re``.

Most constructs are shared. Translated: POSIX classes in brackets, ``[]`` and ``[^]``, control, hex and Unicode escapes,
and letters that Python would take for something else (``\\A`` is a plain A in ECMAScript). Refused, as the engine
refuses them: look-behind, named groups, inline flags, possessive and atomic forms, a brace that is no count.
"""

import re
from functools import lru_cache

from ..errors import SettingsError

_POSIX = {
    "alnum": "0-9A-Za-z",
    "alpha": "A-Za-z",
    "blank": " \\t",
    "cntrl": "\\x00-\\x1f\\x7f",
    "digit": "0-9",
    "d": "0-9",
    "graph": "!-~",
    "lower": "a-z",
    "print": " -~",
    "punct": "!-/:-@\\[-`{-~",
    "space": " \\t\\n\\r\\f\\v",
    "s": " \\t\\n\\r\\f\\v",
    "upper": "A-Z",
    "w": "0-9A-Za-z_",
    "xdigit": "0-9A-Fa-f",
}
_COUNT = re.compile(r"\{\d+(,\d*)?\}")
_HEX = {"x": 2, "u": 4}


class _Bad(Exception):
    def __init__(self, why: str, at: int) -> None:
        super().__init__(why)
        self.why, self.at = why, at


@lru_cache(maxsize=4096)
def compile_pattern(pattern: str) -> re.Pattern[str]:
    """The Python regex that matches (with ``.search``) the same tensor names as ``pattern`` does in the engine.

    Raises SettingsError that names the position (from 1) and the rule.
    """
    try:
        text, origin = _translate(pattern)
        return re.compile(text, re.ASCII)
    except _Bad as bad:
        why, at = bad.why, bad.at
    except re.error as error:
        at = origin[min(error.pos or 0, len(origin) - 1)] if origin else 0
        why = error.msg
    except (RecursionError, OverflowError):
        why, at = "too deep", 0
    raise SettingsError(
        f"-ot: bad regex {pattern!r} at position {at + 1}: {why}; write it as an ECMAScript regex, "
        r"for example blk\.[0-9]\.ffn_.*_exps"
    ) from None


def _translate(pattern: str) -> tuple[str, list[int]]:
    """Python's spelling and, per character of it, the position in ``pattern`` that it came from."""
    out: list[str] = []
    origin: list[int] = []
    i, n = 0, len(pattern)
    while i < n:
        c = pattern[i]
        if c == "\\":
            piece, end = _escape(pattern, i, inside=False)
        elif c == "[":
            piece, end = _bracket(pattern, i)
        else:
            piece, end = _plain(pattern, i)
        out.append(piece)
        origin.extend([i] * len(piece))
        i = end
    return "".join(out), origin


def _plain(pattern: str, i: int) -> tuple[str, int]:
    c = pattern[i]
    if c == "(" and pattern[i + 1 : i + 2] == "?" and pattern[i + 2 : i + 3] not in (":", "=", "!"):
        raise _Bad("after (? ECMAScript knows only :, = and !", i)
    if c == "{":
        found = _COUNT.match(pattern, i)
        if not found:
            raise _Bad("{ must begin a count such as {2}", i)
        if pattern[found.end() : found.end() + 1] == "+":
            raise _Bad("nothing to repeat", found.end())
        return found.group(), found.end()
    if c in "*+?" and pattern[i + 1 : i + 2] == "+":
        raise _Bad("nothing to repeat", i + 1)
    return ("\\" + c if c in "]}" else c), i + 1


def _escape(pattern: str, i: int, inside: bool) -> tuple[str, int]:
    if i + 1 >= len(pattern):
        raise _Bad("the pattern ends with a lone backslash", i)
    c = pattern[i + 1]
    if c in _HEX:
        digits = pattern[i + 2 : i + 2 + _HEX[c]]
        if len(digits) < _HEX[c] or not re.fullmatch("[0-9A-Fa-f]+", digits):
            raise _Bad(f"\\{c} needs {_HEX[c]} hexadecimal digits", i)
        return re.escape(chr(int(digits, 16))), i + 2 + _HEX[c]
    if c == "c":
        letter = pattern[i + 2 : i + 3]
        if not re.fullmatch("[A-Za-z]", letter):
            raise _Bad("\\c needs a letter", i)
        return f"\\x{ord(letter) % 32:02x}", i + 3
    if c == "0":
        return "\\x00", i + 2
    if c in "dDsSwWfnrtv" or (c in "bB" and not inside) or (c == "b" and inside):
        return "\\" + c, i + 2
    if c.isdigit() and not inside:
        return "\\" + c, i + 2
    return re.escape(c), i + 2


def _bracket(pattern: str, start: int) -> tuple[str, int]:
    i = start + 1
    negated = pattern[i : i + 1] == "^"
    i += negated
    out: list[str] = []
    while True:
        c = pattern[i : i + 1]
        if not c:
            raise _Bad("[ without its ]", start)
        if c == "]":
            break
        if c == "\\":
            piece, i = _escape(pattern, i, inside=True)
        elif pattern.startswith("[:", i):
            piece, i = _posix(pattern, i)
        else:
            piece, i = ("\\" + c if c in "[&~|^" else c), i + 1
        out.append(piece)
    body = "".join(out)
    if not body:
        return (r"[\s\S]" if negated else r"(?!)"), i + 1
    if "--" in body:
        body = body.replace("--", "-\\-")
    return f"[{'^' if negated else ''}{body}]", i + 1


def _posix(pattern: str, i: int) -> tuple[str, int]:
    end = pattern.find(":]", i)
    name = pattern[i + 2 : end] if end > 0 else ""
    if name.lower() not in _POSIX:
        raise _Bad("no such class; write [[:digit:]], [[:alpha:]] and so on", i)
    return _POSIX[name.lower()], end + 2
