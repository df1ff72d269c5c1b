"""Reads a log line by line: which rule a piece of a line belongs to, and which lines no rule knows."""

import json
import re
from collections.abc import Callable
from typing import Any

from . import loader, results, startup, tables
from .clean import bare, clean, lines_of
from .commands import Collector, Variables, begin, is_query, starts
from .rules import GLUED, RULES, keyed, starts_log
from .run import Run, Runs
from .settle import settle
from .state import COMMAND, HOLD, KNOWN, TENSORS, UNKNOWN, State
from .unwrap import begins, unwrapped

_POST = re.compile(r"\*\*[\w-]{1,60}\*\* (?:commented|replied|submitted|closed|reviewed) ")
_TAG = re.compile(r"(?:</?(?:details|summary|code|pre|br|b|p|div|sub|sup)\b[^<>]{0,200}>\s{0,9})+", re.I)
_SUMMARY = re.compile(r"<summary>(.{1,400}?)(?:</summary>|$)", re.I)
_HEADING = re.compile(r"(?:#{1,6} |\*\*)(.{1,400})")
_DECORATION = re.compile(r"(?:`{3,}|~{3,}) ?[\w+-]{0,20}|[-*_=.#~ |+:]{3,}|[-=._*#]{1,2}")
_PEER = re.compile(
    r"(?:\.{0,200} *Failed to enable peer access from \d{1,3} to \d{1,3}: peer access is not supported between these "
    r"two devices)+\.{0,200}"
)
_TASK = re.compile(r"\btask +(\d{1,9})")
#: how lines begin that say what a program is doing and hold no figure
_STARTUP = (
    "Computed blk", "Setting default device", "------------------- Layer sizes", "Total   :", "Adding experts CPU",
    "======================================= HAVE_FANCY", "Setting layer ", "Adjusted split",
)  # fmt: skip
#: lines that one line of a program may be wrapped into, where the terminal's width is not known
MAX_HELD = 3
#: rows glued into one line that are taken apart
MAX_GLUED = 64
#: lines of one JSON value printed over several lines
MAX_JSON = 4000
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
_JSON_LINE = re.compile(r'[\[\]{}],?|"[\w.]{1,60}":.{0,100000}|[-\d.,\s]{1,100000}\]?,?')


class Reader:
    """Takes lines one by one (``feed``) and gives the runs at the end (``close``); usable while a program still prints.

    ``on_row(run, row)`` hears of each row of a table as soon as its line is read.
    """

    def __init__(self, on_row: Callable[[Run, dict[str, Any]], None] | None = None) -> None:
        self.state = State()
        self.line = ""
        self.fenced = False
        self.on_row = on_row
        self.table: tables.Table | None = None
        #: lines that may go on in the next one: number, line, text so far
        self.held: list[tuple[int, str, str]] = []
        self.command: Collector | None = None
        self.filled: dict[int, str] = {}
        self.variables = Variables()
        self.json: list[tuple[int, str]] = []
        self.depth = 0

    def feed(self, line: str, physical: int = 1) -> None:
        """The next line, without its line end; ``physical``: how many lines of the paste it was before it was
        unwrapped."""
        self.state.no += physical
        line = line.rstrip("\r\n")
        if line.isprintable() and self.command is None and not self.held and not self.json:
            text = bare(line)
            if not self._plain(text):
                self._read(line, [text])
            return
        pieces = clean(line)
        if self.command is not None:
            if len(pieces) == 1 and not starts_log(pieces[0]) and self.command.takes(self.state.no, pieces[0], line):
                return
            self._end_command()
        if self.json:
            if len(pieces) == 1 and self._json_goes_on(pieces[0]):
                return
            self._end_json()
        if self.held and self._joined(line, pieces):
            return
        if len(pieces) > 1 or not self._plain(pieces[0]):
            self._read(line, pieces)

    def _read(self, line: str, pieces: list[str]) -> None:
        """One line, in its pieces; what no rule knows goes to the unread lines of the run or to those around it."""
        state, self.line = self.state, line
        known, unknown = False, []
        last = len(pieces) - 1
        for i, piece in enumerate(pieces):
            for part in GLUED.split(piece) if ":" in piece else (piece,):
                found = self._piece(part)
                if found == HOLD and i == last and not known and not state.forced:
                    self.held = [(state.no, line, part)]
                    return
                if found == KNOWN:
                    known = True
                elif part and not _is_decoration(part):
                    unknown.append(part)
        if known and unknown and state.cur is not None:
            state.cur.unread.extend((state.no, part) for part in unknown)
        elif unknown and not known:
            state.pending.append((state.no, line))

    def _plain(self, text: str) -> bool:
        """The short way for most lines: a row, a known function with one colon, an overridden tensor."""
        if text[:1] == "|":
            return self._table_line(text) == KNOWN
        head, colon, rest = text.partition(":")
        if not colon:
            return text[:7] == "Tensor " and startup.override(self.state, text) == KNOWN
        rule = RULES.get(head)
        if rule is None or (":" in rest and not GLUED.alone(text, len(head) + 1)):
            return False
        return rule(self.state, head, rest) == KNOWN

    def _account(self, line: str, known: bool, unknown: list[str]) -> None:
        state = self.state
        if known and unknown and state.cur is not None:
            state.cur.unread.extend((state.no, part) for part in unknown)
        elif unknown and not known:
            state.pending.append((state.no, line))

    def close(self) -> Runs:
        """No more lines: all runs, with the lines around them as ``prose``."""
        state = self.state
        if self.command is not None:
            self._end_command()
        if self.json:
            self._end_json()
        if self.held:
            self._release()
        state.close()
        for run, marks, inherited in zip(state.runs, state.all_marks, state.inherited):
            settle(run, marks, self.filled.get(id(run)), inherited if run.command is None else None)
        return Runs(state.runs, sorted(state.prose, key=lambda item: item[0]), state.no)

    # ---- one piece ----

    def _piece(self, text: str) -> int:
        if not text:
            return UNKNOWN
        first = text[0]
        if first in "`~" and text[:3] in ("```", "~~~"):
            self.fenced = not self.fenced
        if first == "|" and (found := self._table_line(text)):
            return found
        head, colon, rest = text.partition(":")
        if colon and (rule := RULES.get(head)):
            return rule(self.state, head, rest)
        if first == "{" and len(text) > 2:
            return self._row_heard(tables.json_row(self.state, text))
        if first in "[{" and text in ("[", "{"):
            self.json, self.depth = [(self.state.no, text)], 1
            return KNOWN
        if first == "[" and text[1:2].isdigit() and (found := results.running(self.state, text)):
            return found
        return self._other(text)

    def _other(self, text: str) -> int:
        """A line without a function's name in front."""
        state = self.state
        if found := keyed(state, text):
            return found
        if text[:4] == "XXXX" and (found := startup.sizes(state, text)):
            return found
        if "overrid" in text and (found := startup.override(state, text)):
            return found
        if self.table is not None and self.table.mark != "|" and (found := self._plain_row(text)):
            return found
        if ("N_KV" in text or "avg_ts" in text) and (found := self._table_head(text)):
            return found
        if "|" in text and (found := self._table_line(text) or loader.event(state, text)):
            return found
        if found := results.statistic(state, text) or self._known_text(text):
            return found
        self._remember(text)
        return self._begin_command(text) if starts(text) else UNKNOWN

    def _known_text(self, text: str) -> int:
        state = self.state
        if state.cur is None:
            return UNKNOWN
        if text.startswith(_STARTUP):
            return state.noise("startup")
        if text[0].isdigit() and state.cur.perplexity is not None and (found := results.strided(state, text)):
            return found
        if text[:4] == "....":
            if text.strip(".") == "":
                return state.noise("progress") if state.phase == TENSORS else UNKNOWN
            if _PEER.fullmatch(text):
                return state.noise("peer access")
        if text[:6] == "Failed" and _PEER.fullmatch(text):
            return state.noise("peer access")
        if text[:4] in ("srv ", "slot", "que ") and ":" in text[:60]:
            if task := _TASK.search(text):
                state.task = int(task.group(1))
            return results.trouble(state, text) or state.noise("server event")
        return loader.continued(state, text) or results.trouble(state, text)

    # ---- tables ----

    def _table_line(self, text: str) -> int:
        """A head, a rule or a row; rows glued behind one another are taken apart."""
        if "--" in text and tables.is_rule(text):
            return UNKNOWN
        if ("N_KV" in text or "t/s" in text) and (found := self._table_head(text)):
            return found
        table = self.table if self.table is not None and self.table.mark == "|" else tables.STANDARD
        known = UNKNOWN
        for _ in range(MAX_GLUED):
            before, cells, behind = tables.split_row(text, table)
            row = tables.read_row(table, cells, bool(behind) or text.endswith("|"))
            if row is None or (table is tables.STANDARD and tables.misfit(row)):
                # seven numbers are no sweep without a head that says so, unless they fit together
                return self._left(text) if known else self._short_row(table, cells)
            known = self._row_heard(tables.keep(self.state, row, "sweep" if table.kind == "sweep" else "bench"))
            if before:
                self._left(before)
            text = behind
            if not text or _is_decoration(text):
                return KNOWN
        return self._left(text)

    def _left(self, text: str) -> int:
        """What stands in front of or behind a row: a line of its own, or unread."""
        if not _is_decoration(text) and (text[0] == "|" or self._piece(text) != KNOWN) and self.state.cur is not None:
            self.state.cur.unread.append((self.state.no, text))
        return KNOWN

    def _short_row(self, table: tables.Table, cells: list[str]) -> int:
        """A row that a narrow terminal may have wrapped."""
        short = 2 < len(cells) < len(table.columns) and all(c.strip().replace(".", "").isdigit() for c in cells[:3])
        return HOLD if short and not self.state.forced else UNKNOWN

    def _table_head(self, text: str) -> int:
        found = tables.head(text)
        if found is None:
            return UNKNOWN
        self.table = found
        self.state.head_line = self.state.no
        return KNOWN

    def _plain_row(self, text: str) -> int:
        assert self.table is not None
        _, cells, _ = tables.split_row(text, self.table)
        if self.table.kind == "csv":
            return self._row_heard(tables.csv_row(self.state, self.table, cells))
        row = tables.read_row(self.table, cells, True)
        if row is None:
            return UNKNOWN
        return self._row_heard(tables.keep(self.state, row, "sweep" if self.table.kind == "sweep" else "bench"))

    def _row_heard(self, known: int) -> int:
        cur = self.state.cur
        if known == KNOWN and self.on_row is not None and cur is not None and (cur.rows or cur.bench):
            self.on_row(cur, (cur.rows or cur.bench)[-1])
        return known

    # ---- lines that go on in the next one ----

    def _joined(self, line: str, pieces: list[str]) -> bool:
        """Tries the held line together with the next one; False when the next line has to be read by itself."""
        no, _, text = self.held[-1]
        if not pieces[0] and self.state.no <= no + 1:
            return True  # a blank line after every line
        joined = text + pieces[0]
        if len(pieces) == 1 and len(self.held) < MAX_HELD and not begins(line) and len(GLUED.split(joined)) == 1:
            found = self._piece(joined)
            if found == KNOWN:
                self.held = []
                return True
            if found == HOLD:
                self.held.append((self.state.no, line, joined))
                return True
        self._release()
        return False

    def _release(self) -> None:
        """Reads held lines that do not go on, for what there is in them."""
        held, self.held = self.held, []
        state, now = self.state, self.state.no
        state.forced = True
        for i, (no, line, text) in enumerate(held):
            state.no = no
            if i:
                self._read(line, clean(line))
            elif self._piece(text) == KNOWN and state.cur is not None:
                state.note(f"the line is cut short: {text[-60:]}")
            else:
                state.pending.append((no, line))
        state.no, state.forced = now, False

    # ---- JSON over several lines ----

    def _json_goes_on(self, text: str) -> bool:
        if len(self.json) >= MAX_JSON or not _JSON_LINE.fullmatch(text):
            return False
        self.json.append((self.state.no, text))
        bare = _STRING.sub("", text)
        self.depth += bare.count("[") + bare.count("{") - bare.count("]") - bare.count("}")
        if self.depth <= 0:
            self._end_json()
        return True

    def _end_json(self) -> None:
        lines, self.json = self.json, []
        known = UNKNOWN
        try:
            found = json.loads("\n".join(text for _, text in lines))
        except (ValueError, RecursionError):
            found = None
        self.state.head_line = lines[0][0]
        for item in found if isinstance(found, list) else [found]:
            known = self._row_heard(tables.json_object(self.state, item)) or known
        self.state.head_line = 0
        if known != KNOWN:
            self.state.pending += lines

    # ---- commands ----

    def _remember(self, text: str) -> None:
        if "=" in text:
            self.variables.learn(text)
        if ("**" in text and _POST.search(text)) or "👤" in text:
            self.state.close()
            self.state.command = self.state.heading = None
        elif text[0] in "#*<" and (found := _SUMMARY.search(text) or _HEADING.match(text)):
            if self.fenced and text[0] == "#" and text[1] != "#":
                return  # a comment of a script
            self.state.heading = (self.state.no, _TAG.sub("", found.group(1)).strip(" *#"))

    def _begin_command(self, text: str) -> int:
        command = begin(text)
        if command is None:
            return UNKNOWN
        self.command = Collector(self.state.no, command, self.line)
        return KNOWN

    def _end_command(self) -> None:
        """The command is complete: it opens a run, unless it only asks for the version or turns out to be none."""
        assert self.command is not None
        found, self.command = self.command, None
        state, now = self.state, self.state.no
        text = found.text
        if begin(text.replace("\\\n", " ").replace("\n", " ")) is None or is_query(text):
            state.pending += found.raw
            return
        state.no = found.last
        run = state.fresh(COMMAND, found.first)
        run.command, run.source["command"] = text, found.first
        filled = self.variables.fill(text)
        self.filled[id(run)] = filled
        state.command = (found.first, filled)
        state.no = now
        self.table = None


def _is_decoration(text: str) -> bool:
    """Fences, rules and lone tags: nothing is lost with them."""
    first = text[0]
    if first == "<":
        return bool(_TAG.fullmatch(text))
    return not first.isalnum() and bool(_DECORATION.fullmatch(text))


def read(text_or_path: Any) -> Runs:
    """The runs that a paste of ik_llama.cpp or llama.cpp output shows, in order.

    ``text_or_path``: a text, a path (plain or gzip, UTF-8 or UTF-16), bytes or an iterable of lines. Never raises on what
    the log holds; IkexploreError for a file that cannot be read. Lines that no rule knows are in ``run.unread``
    and in ``.prose`` of the list, with their numbers from 1.

    >>> import ikexplore as ikx
    >>> runs = ikx.logs.read('''
    ... ./llama-sweep-bench -m model.gguf -ub 512
    ... |    PP |     TG |   N_KV |   T_PP s | S_PP t/s |   T_TG s | S_TG t/s |
    ... |-------|--------|--------|----------|----------|----------|----------|
    ... |   512 |    128 |      0 |    2.000 |   256.00 |   12.800 |    10.00 |
    ... ''')
    >>> runs[0].settings.n_ubatch, runs[0].rows[0]["s_tg"]
    (512, 10.0)
    """
    reader = Reader()
    for physical, line in unwrapped(lines_of(text_or_path)):
        reader.feed(line, physical)
    return reader.close()
