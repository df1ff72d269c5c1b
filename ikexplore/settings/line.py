"""From pasted text to words: prompts, code fences, line continuations, quotes, Windows paths; then what is what.

Three ways of writing are told apart: a POSIX shell (the default), PowerShell (a backtick ends a line, ``$env:``) and
cmd (a caret ends a line). In the last two, and wherever a path such as ``C:\\models`` or ``.\\bin`` shows that the
text came from Windows, a backslash is a plain character. So it is in a line that no shell would take as it stands:
one with a bare bracket or bar inside a word, as in ``-ot blk\\.(3|4)=CPU`` typed into a field.
"""

import re
import shlex
from dataclasses import dataclass, field

from ..errors import SettingsError

_DASHES = dict.fromkeys(map(ord, "\u2010\u2011\u2012\u2013\u2212"), "-")
_DASHES[0x2014] = "--"
_QUOTES = {
    '"': '"',
    "'": "'",
    "\u201c": '\u201d\u201c"',
    "\u201d": '\u201d"',
    "\u2018": "\u2019\u2018'",
    "\u2019": "\u2019'",
}
_NOTHING = "\u200b\ufeff"
_PROMPT = re.compile(
    r"^\s*(?:\([\w.-]+\)\s*)?(?:PS\s+(?:[A-Za-z]:)?[^>\n]*>\s*|[A-Za-z]:\\[^>\n]*>\s*|"
    r"(?:[\w.-]+@[\w.-]+[:\s]\S*\s*|\[[^\]\n]*\]\s*|~\S*\s*)?[$%❯➜]\s+|[\w.-]+@[\w.-]+:\S*#\s+|>\s+)"
)
_WINDOWS = re.compile(r"(?:^|[\s\"'=&])(?:[A-Za-z]:\\|\.{1,2}\\\w)|\.exe\b|\$env:|(?:^|\s)PS [A-Za-z]:", re.M)
_OPERATORS = ("&&", "||", "|", ";", "&", ">", ">>", "<", "2>", "2>&1", "&>", "1>")
_PROGRAM = re.compile(
    r"^(?:ik[-_]?)?(?:llama(?:[-_.].*)?|main|server|perplexity|simple|sweep-bench|ikexplore|llamafile"
    r"|koboldcpp)$"
)
_WRAPPERS = {
    "numactl",
    "sudo",
    "nice",
    "taskset",
    "time",
    "env",
    "ionice",
    "nohup",
    "chrt",
    "stdbuf",
    "gdb",
    "perf",
    "strace",
    "nsys",
    "docker",
    "podman",
    "exec",
    "start",
    "mpirun",
    "systemd-run",
    "timeout",
    "export",
    "set",
    "cmd",
    "screen",
    "tmux",
    "doas",
    "command",
    "watch",
    "catchsegv",
    "valgrind",
    "proxychains",
}
_ASSIGN = re.compile(r"^(?:\$env:)?[A-Za-z_][A-Za-z0-9_]*=")


@dataclass
class Pasted:
    """A command line taken apart; ``argv`` is what follows the program."""

    env: list[tuple[str, str]] = field(default_factory=list)
    prefix: list[str] = field(default_factory=list)
    program: str | None = None
    argv: list[str] = field(default_factory=list)


def take_apart(line: object) -> Pasted:
    """Words of a pasted text (str) or of an argument list, sorted into environment, prefix, program and flags."""
    if isinstance(line, str):
        return _choose(split_commands(line))
    if isinstance(line, (list, tuple)) and all(isinstance(word, str) for word in line):
        return _sort(list(line))
    raise SettingsError(f"a command line is a text or a list of texts, not {type(line).__name__}")


def split_commands(text: str) -> list[list[str]]:
    """The commands in a pasted text, each a list of words with quotes and escapes resolved."""
    text = _unfenced(text.replace("\r\n", "\n").replace("\r", "\n"))
    lines = [_PROMPT.sub("", raw.rstrip()) if not _is_flag(raw) else raw.rstrip() for raw in text.split("\n")]
    lines = [raw for raw in lines if raw.strip() and not re.match(r"\s*(?:#|REM\s|::)", raw)]
    windows = bool(_WINDOWS.search(text)) or any(raw.endswith(("`", "^")) for raw in lines)
    joined = _joined(lines, windows)
    words = _words(joined, literal=windows)
    if (
        not windows
        and "\\" in joined
        and any(bare and word not in _OPERATORS and any(c in word for c in "()|<>;&") for word, bare in words)
    ):
        words = _words(joined, literal=True)
    commands: list[list[str]] = [[]]
    for word, bare in words:
        if (bare and word in _OPERATORS) or (bare and word == "\n"):
            commands.append([])
        else:
            commands[-1].append(_dashed(word) if bare else word)
    return [command for command in commands if command] or [[]]


def _is_flag(raw: str) -> bool:
    return raw.lstrip().startswith("-")


def _unfenced(text: str) -> str:
    """The inside of the first code fence, if there is one; quote marks of a mail or a thread are dropped."""
    found = re.search(r"^[ \t>]*(?:```+|~~~+)[^\n]*\n(.*?)(?:^[ \t>]*(?:```|~~~)|\Z)", text, re.M | re.S)
    if found and found.group(1).strip():
        text = found.group(1)
    text = re.sub(r"^\s*`+([^`]*)`+\s*$", r"\1", text)
    lines = text.split("\n")
    if len([raw for raw in lines if raw.strip()]) > 1 and all(
        raw.lstrip().startswith(">") for raw in lines if raw.strip()
    ):
        return "\n".join(re.sub(r"^\s*>\s?", "", raw) for raw in lines)
    return text


def _joined(lines: list[str], windows: bool) -> str:
    """One text: continued lines are joined, others stay apart by a newline unless the next one begins with a flag."""
    out = ""
    for number, raw in enumerate(lines):
        marks = ("`", "^", "\\") if windows else ("\\",)
        continued = raw.endswith(marks) and not (windows and raw.endswith("\\") and re.search(r"\w:?\\$", raw))
        body = raw[:-1] if continued else raw
        following = lines[number + 1] if number + 1 < len(lines) else None
        glue = "" if following is None else (" " if continued or _is_flag(following) else "\n")
        out += body + glue
    return out


def _words(text: str, literal: bool) -> list[tuple[str, bool]]:
    """(word, whether no quote was in it). ``literal``: a backslash is a plain character, save before a double quote."""
    words: list[tuple[str, bool]] = []
    current: list[str] = []
    started, bare = False, True
    i, n = 0, len(text)

    def flush() -> None:
        nonlocal started, bare, current
        if started:
            words.append(("".join(current), bare))
        current, started, bare = [], False, True

    while i < n:
        c = text[i]
        if c in " \t\u00a0":
            flush()
        elif c == "\n" or (c == ";" and text[i + 1 : i + 2] in ("", " ", "\t", "\n")):
            flush()
            words.append((c, True))
        elif text.startswith("$'", i):
            end = _closing(text, i + 1, "'", escapes=True)
            current.append(_ansi(text[i + 2 : end]))
            started, bare, i = True, False, end
        elif c in _QUOTES:
            end = _closing(text, i, _QUOTES[c], escapes=c != "'", literal=literal)
            current.append(_inside(text[i + 1 : end], c, literal))
            started, bare, i = True, False, end
        elif c == "\\" and i + 1 < n and (not literal or text[i + 1] == '"'):
            current.append(text[i + 1])
            started, bare, i = True, bare and text[i + 1] not in "\"'()|<>;&", i + 1
        elif c not in _NOTHING:
            current.append(c)
            started = True
        i += 1
    flush()
    return words


def _closing(text: str, start: int, marks: str, escapes: bool, literal: bool = False) -> int:
    """Where the quote that opens at ``start`` is closed."""
    i = start + 1
    while i < len(text):
        if text[i] == "\\" and escapes and i + 1 < len(text) and (not literal or text[i + 1] == '"'):
            i += 2
            continue
        if text[i] in marks:
            return i
        i += 1
    raise SettingsError(f"the quote {text[start]} at character {start + 1} of the command line is not closed; close it")


def _inside(text: str, quote: str, literal: bool) -> str:
    if quote in "'\u2018\u2019":
        return text
    return re.sub(r'\\(")' if literal else r'\\(["\\$`])', r"\1", text)


_ANSI = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v", "e": "\x1b", "E": "\x1b"}


def _ansi(text: str) -> str:
    """The inside of the shell's $'...'."""

    def one(found: re.Match[str]) -> str:
        code = found.group(1)
        if code[0] in "xuU" and len(code) > 1:
            return chr(min(int(code[1:], 16), 0x10FFFF))
        return chr(int(code, 8) % 256) if code[0] in "01234567" else _ANSI.get(code, code)

    return re.sub(r"\\(x[0-9A-Fa-f]{1,2}|u[0-9A-Fa-f]{1,4}|U[0-9A-Fa-f]{1,8}|[0-7]{1,3}|.)", one, text, flags=re.S)


def quote(word: str) -> str:
    """``word`` for a POSIX shell, on one line: control characters are written as $'...' does."""
    if all(c.isprintable() for c in word):
        return shlex.quote(word)
    body = "".join(
        c
        if c.isprintable() and c not in "\\'"
        else f"\\{c}"
        if c in "\\'"
        else f"\\x{ord(c):02x}"
        if ord(c) < 256
        else f"\\U{ord(c):08x}"
        for c in word
    )
    return f"$'{body}'"


def _dashed(word: str) -> str:
    """A typographic dash that a forum made of "-" or "--" in front of a flag."""
    head = word[:1]
    return word.translate(_DASHES) if head and ord(head) in _DASHES and len(word) > 1 and "=" not in word else word


def _base(word: str) -> str:
    return re.sub(r"\.exe$", "", re.split(r"[\\/]", word)[-1], flags=re.I).lower()


def _choose(commands: list[list[str]]) -> Pasted:
    """The command that runs a model among those pasted; assignments in the ones before it count as environment."""
    env: list[tuple[str, str]] = []
    best: Pasted | None = None
    for command in commands:
        found = _sort(command)
        known = found.program is not None and bool(_PROGRAM.match(_base(found.program)))
        if known or (best is None and (found.program is None and found.argv)):
            best = found
            best.env = env + best.env
            if known:
                break
        elif best is None and found.program is None:
            env += found.env
    if best is None:
        best = _sort(commands[0])
    return best


def _sort(words: list[str]) -> Pasted:
    """Environment assignments, wrappers such as numactl, the program, its arguments."""
    out = Pasted()
    words = list(words)
    if words and re.match(r"^[A-Za-z]:\\[^>]*>", words[0]):
        words[0] = words[0].split(">", 1)[1]
        words = words if words[0] else words[1:]
    if words and words[0] in ("$", ">", "&", "%"):
        words = words[1:]
    if len(words) > 2 and words[0].startswith("$env:") and words[1] == "=":
        words[0:3] = ["".join(words[0:3])]
    while words and (_ASSIGN.match(words[0]) or words[0] in ("env", "export", "set")):
        if "=" in words[0]:
            name, value = words[0].removeprefix("$env:").split("=", 1)
            out.env.append((name, value))
        words = words[1:]
    if not words or words[0].startswith("-"):
        out.argv = words
        return out
    at = 0
    if _base(words[0]) in _WRAPPERS:
        at = next(
            (i for i, word in enumerate(words) if i and not word.startswith("-") and _PROGRAM.match(_base(word))), 0
        )
    for word in words[:at]:
        if _ASSIGN.match(word) and not word.startswith("-"):
            name, value = word.split("=", 1)
            out.env.append((name, value))
        else:
            out.prefix.append(word)
    out.program, out.argv = words[at], words[at + 1 :]
    return out


def is_program(word: str) -> bool:
    """Whether a word is the name of a program that runs models."""
    return bool(_PROGRAM.match(_base(word)))
