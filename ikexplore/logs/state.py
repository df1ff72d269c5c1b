"""Which run a line belongs to.

A program prints in a fixed order: what it loads, where the tensors go, the context, its buffers, results. A line of an
earlier phase than the run has reached, or a figure that is printed once and comes again, begins the next run.
"""

from typing import Any

from .run import Run

#: phases of a run, in the order in which programs print
COMMAND, LOAD, TENSORS, CONTEXT, BUFFERS, MAIN, RESULT = range(7)
#: what a rule says about a piece of a line: no rule knows it, it was read, it may go on in the next line
UNKNOWN, KNOWN, HOLD = range(3)
#: notes kept per run and kind of failure; a log may repeat one a million times
MAX_NOTES = 200
#: lines between a heading and the run that it names
TITLE_REACH = 25


class State:
    """The runs so far, the one being filled, and the lines since its last understood one."""

    def __init__(self) -> None:
        self.no = 0
        #: the server's task whose timing lines follow, where their own line names it
        self.task: int | None = None
        self.runs: list[Run] = []
        self.prose: list[tuple[int, str]] = []
        self.pending: list[tuple[int, str]] = []
        self.cur: Run | None = None
        self.phase = COMMAND
        self.failed = False
        #: the line will not go on: read what there is
        self.forced = False
        #: what the last understood line was, for lines that continue it
        self.after = ""
        self.heading: tuple[int, str] | None = None
        #: line of a table's head that no row has followed yet
        self.head_line = 0
        #: facts that only choose the engine and its profile, see settle.py
        self.marks: set[str] = set()
        self.all_marks: list[set[str]] = []
        #: build printed by a ``--version`` in front of a run
        self.build: tuple[int, dict[str, Any]] | None = None
        #: the last command with its line, and for each run the one that it may inherit
        self.command: tuple[int, str] | None = None
        self.inherited: list[tuple[int, str] | None] = []
        self.overrides: dict[str, dict[str, set[int]]] = {}

    def fresh(self, phase: int, line: int | None = None) -> Run:
        """Closes the run and begins another one, whose first line is ``line`` (the present one by default)."""
        line = line or self.no
        within = [item for item in self.pending if item[0] >= line]
        self.pending = [item for item in self.pending if item[0] < line]
        self.close()
        self.cur = Run(lines=(line, self.no), unread=within)
        self.phase, self.failed = phase, False
        if self.heading and line - self.heading[0] <= TITLE_REACH:
            self.cur.title = self.heading[1]
        self.heading = None
        self.runs.append(self.cur)
        self.marks = set()
        self.all_marks.append(self.marks)
        self.inherited.append(self.command)
        if self.build:
            self.put("build", self.build[1], line=self.build[0])
            self.build = None
        return self.cur

    def close(self) -> None:
        """Ends the present run; lines that were not understood since then are prose."""
        if self.cur is not None and self.overrides:
            self.cur.startup["tensor_overrides"] = {
                device: {kind: ranges(layers) for kind, layers in kinds.items()}
                for device, kinds in self.overrides.items()
            }
            self.overrides = {}
        self.prose += self.pending
        self.pending = []
        self.cur = self.task = None
        self.after = ""

    def want(self, phase: int, key: str = "", restart: bool = False) -> Run:
        """The run that a line of ``phase`` belongs to; ``key``: a figure that is printed once per run."""
        cur = self.cur
        if cur is None:
            return self.fresh(phase)
        if phase == self.phase < MAIN and not (restart or key or self.failed or self.pending):
            cur.lines = (cur.lines[0], self.no)
            return cur
        if phase <= TENSORS:
            restart = restart or self.phase >= CONTEXT or self.failed
        elif phase == CONTEXT:
            restart = restart or self.phase >= BUFFERS or self.failed
        elif phase <= MAIN:
            restart = restart or self.phase >= MAIN
        if restart or (key and key in cur.startup):
            return self.fresh(phase)
        self.phase = max(self.phase, phase)
        return self.use()

    def use(self) -> Run:
        """The present run, which the present line extends."""
        cur = self.cur
        assert cur is not None
        if self.pending:
            cur.unread += self.pending
            self.pending = []
        cur.lines = (cur.lines[0], self.no)
        return cur

    def put(self, key: str, value: Any, line: int | None = None) -> int:
        """Keeps a figure of the present run and the line that it came from."""
        assert self.cur is not None
        self.cur.startup[key] = value
        self.cur.source[key] = line or self.no
        return KNOWN

    def add(self, key: str, value: Any) -> int:
        """Appends to a list of figures."""
        assert self.cur is not None
        self.cur.startup.setdefault(key, []).append(value)
        self.cur.source[key] = self.no
        return KNOWN

    def rest(self, text: str) -> None:
        """What stands behind a figure on its line, such as a remark of the author: it is unread."""
        text = text.strip(" \t.,;|*`'\")(:")
        if text and self.cur is not None:
            self.cur.unread.append((self.no, text))

    def noise(self, kind: str) -> int:
        """A line that is recognised and carries no figure; without a run it is text like any other."""
        if self.cur is None:
            return UNKNOWN
        cur = self.use()
        cur.skipped[kind] = cur.skipped.get(kind, 0) + 1
        return KNOWN

    def note(self, text: str, failure: bool = False) -> int:
        """A remark on the present line."""
        if self.cur is None:
            return UNKNOWN
        cur = self.use()
        if len(cur.notes) < MAX_NOTES:
            cur.notes.append(f"line {self.no}: {text[:300]}")
        elif len(cur.notes) == MAX_NOTES:
            cur.notes.append(f"line {self.no}: more remarks are left out")
        self.failed = self.failed or failure
        return KNOWN


def ranges(numbers: set[int]) -> str:
    """ "0-4,7" for {0, 1, 2, 3, 4, 7}; "" for a tensor without a layer."""
    parts: list[str] = []
    start = last = -2
    for number in sorted(numbers - {-1}):
        if number != last + 1:
            if last >= 0:
                parts.append(str(start) if start == last else f"{start}-{last}")
            start = number
        last = number
    if last >= 0:
        parts.append(str(start) if start == last else f"{start}-{last}")
    return ",".join(parts)
