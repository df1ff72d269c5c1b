"""Command lines in a paste: where one begins, which lines it has, what its shell variables stand for."""

import re
from functools import lru_cache

from ..settings.line import is_program
from .clean import has

#: lines and characters of one command; more is no command line
MAX_LINES, MAX_CHARS = 400, 60_000
_PROMPT = re.compile(
    r"(?:\([\w.-]{1,60}\) ?)?(?:PS(?: ?[A-Za-z]:[^>\n]{0,200}| ?[^>\s]{0,200})?> *|[A-Za-z]:\\[^>\n]{0,200}> *|"
    r"[^\s$#%❯➜`]{0,120}[$%❯➜] +|[^\s$#%❯➜`]{1,120}# +|[$❯➜%](?=[\w./~])|"
    r"\[[^\]\n]{0,120}\][$#] *|`{1,3}|[-*•] +|\d{1,2}[.)] +|[Cc]ommand: *)"
)
_ASSIGN = re.compile(r"(?:\$env:)?[A-Za-z_]\w{0,60}=\S*")
_VARIABLE = re.compile(r"(?:export +|set +|local +)?\$?([A-Za-z_]\w{0,60})(?: = |=)(.{1,4000})")
_USE = re.compile(r"\$\{([A-Za-z_]\w{0,60})\}|\$([A-Za-z_]\w{0,60})")
_FLAG = re.compile(r"-{1,2}[A-Za-z]|[–—][A-Za-z]")
_CRASHED = re.compile(r"\(core dumped\)\s+(?=\S)")
_INLINE = re.compile(r"`{1,2}([^`]{12,8000})`{1,2}")
_CONTINUED = ("\\", "`", "^")
_WRAPPERS = frozenset((
    "numactl", "sudo", "nice", "taskset", "time", "env", "ionice", "nohup", "chrt", "stdbuf", "gdb", "perf", "exec",
    "start",
    "timeout", "export", "set", "cmd", "docker", "podman", "run", "nsys", "profile", "strace", "doas", "command",
    "watch",
    "catchsegv", "valgrind", "proxychains", "&", "--",
))  # fmt: skip
#: queries that run nothing
_QUERIES = frozenset(("--version", "--help", "-h", "--usage", "--list-devices"))


def starts(text: str) -> bool:
    """Whether a line may be the beginning of a command: cheap, for lines that no other rule knows."""
    return (
        "llama" in text
        or text[-1:] in _CONTINUED
        or text[:2] in ("./", ".\\")
        or has(text, ("/bin/", "sweep-bench", "perplexity", "_VISIBLE_DEVICES"))
    )


def begin(text: str) -> str | None:
    """The line without its prompt when it begins a command of ours, or may (an environment, a wrapper), else None."""
    if crashed := _CRASHED.search(text):
        text = text[crashed.end() :]
    if len(text) > MAX_CHARS:
        return None
    bare = text
    for _ in range(3):
        found = _PROMPT.match(bare)
        if not found or not found.end():
            break
        bare = bare[found.end() :]
    prompted = len(bare) < len(text)
    rank = _rank(bare, prompted)
    if rank is None and (inline := _INLINE.search(text)) and _rank(inline.group(1), False) == "whole":
        return inline.group(1) if len(inline.group(1).split(" -", 3)) > 2 else None
    return bare.rstrip("`") if rank == "whole" and prompted and text[:1] == "`" else bare if rank else None


def _rank(text: str, prompted: bool) -> str | None:
    """ "whole": a program of ours and how it goes on; "head": only what may stand before a program; None: neither."""
    words = [word.strip("\"'") for word in text.split(None, 24)[:24]]
    wrapped = False
    for i, word in enumerate(words):
        if is_program(word) and (i == 0 or not words[i - 1].startswith("-m")):
            return "whole" if _goes_on(words[i + 1 :], word, prompted) else None
        if _ASSIGN.match(word) or word in _WRAPPERS or word == "$env:":
            wrapped = True
        elif word in _CONTINUED and i == len(words) - 1:
            return "head" if wrapped or i == 0 else None
        elif not (wrapped and (word.startswith("-") or word.replace(",", "").replace(":", "").isalnum())):
            return None
    return "head" if wrapped and text.endswith(_CONTINUED) else None


def _goes_on(rest: list[str], program: str, prompted: bool) -> bool:
    """Whether what follows a program's name can be its arguments; a name alone needs a folder or a prompt."""
    if not rest:
        return prompted or "/" in program or "\\" in program or program.lower().endswith(".exe")
    return bool(_FLAG.match(rest[0])) or rest[0] in _CONTINUED or (prompted and rest[0][:1] in "\"'/.$")


@lru_cache(maxsize=256)
def program_of(text: str) -> str | None:
    """The first word of a command that names a program of ours."""
    for word in text.split(None, 400):
        word = word.strip("\"'`")
        if is_program(word):
            return re.split(r"[\\/]", word)[-1].removesuffix(".exe")
    return None


def is_query(text: str) -> bool:
    """Whether a command only asks for the version or the help."""
    return any(word in _QUERIES for word in text.split(None, 40)[:40])


class Collector:
    """The lines of one command, while it is being read."""

    def __init__(self, line: int, text: str, raw: str):
        self.first = self.last = line
        self.lines = [text]
        self.raw = [(line, raw)]
        self.size = len(text)
        self.quotes = _open_quotes(text)

    def takes(self, line: int, text: str, raw: str) -> bool:
        """Adds a line when it belongs to the command."""
        if not self._wants(text) or len(self.lines) >= MAX_LINES or self.size + len(text) > MAX_CHARS:
            return False
        self.lines.append(text)
        self.raw.append((line, raw))
        self.last, self.size = line, self.size + len(text)
        self.quotes = (self.quotes + _open_quotes(text)) % 2
        return True

    def _wants(self, text: str) -> bool:
        if text[:3] in ("```", "~~~") or text.startswith("</"):
            return False
        last, gap = self.lines[-1], False
        if not last and len(self.lines) > 1:  # pastes with a blank line after every line
            last, gap = self.lines[-2], True
        goes_on = last.endswith(_CONTINUED) or bool(self.quotes)
        if not text:
            return goes_on and not gap
        flag = bool(_FLAG.match(text)) and not text.startswith("---")
        return flag or (goes_on and (not gap or begin(text) is not None))

    @property
    def text(self) -> str:
        """The command as pasted."""
        return "\n".join(text for text in self.lines if text)


def _open_quotes(text: str) -> int:
    return (text.count('"') - text.count('\\"')) % 2


class Variables:
    """Assignments of a pasted script, as in ``model=/models/x.gguf``, for the ``$model`` of a command below."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}

    def learn(self, text: str) -> None:
        """Remembers an assignment that stands alone on a line."""
        found = _VARIABLE.fullmatch(text)
        if not found:
            return
        name, value = found.groups()
        value = value.strip()
        if value[:1] in "\"'" and value[-1:] == value[:1] and len(value) > 1:
            value = value[1:-1]
        elif " " in value:
            return
        if len(self.values) < 200:
            self.values[name] = value

    def fill(self, text: str) -> str:
        """The command with known variables replaced; unknown ones stay."""
        if "$" not in text or not self.values:
            return text
        return _USE.sub(lambda m: self.values.get(m.group(1) or m.group(2), m.group())[:1000], text)
