"""The journal of a grid: one JSON object a line, appended and written to the disk when a point ends.

What was written is never changed. A line that a kill or a full disk tore off is told by its missing end; it is moved
out of the way (the point that it was about is measured again). One process writes at a time: the file is locked.
"""

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ..errors import IkexploreError
from ..logs.run import plain

#: (key, repetition) of a finished point
Done = tuple[str, int | None]


class Journal:
    """Opened for appending; ``records`` holds what was there and what was added. Use as a context manager.

    Raises IkexploreError when the file cannot be written or another process is writing it.
    """

    def __init__(self, path: str | os.PathLike[str] | None):
        self.path = Path(path).expanduser() if path is not None else None
        self.records: list[dict[str, Any]] = []
        self.warnings: list[str] = []
        self._number = -1
        if self.path is not None:
            self._open(self.path)
        self.done: dict[Done, dict[str, Any]] = {}
        kept, self.records = self.records, []
        for record in kept:
            self._keep(record)

    def _open(self, path: Path) -> None:
        try:
            self._number = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_CLOEXEC", 0), 0o644)
        except OSError as error:
            raise IkexploreError(f"journal {path}: {error.strerror}; name a file in a folder that is there") from None
        try:
            _lock(self._number, path)
            text = path.read_bytes()
            self.records, self.warnings = parse(text.splitlines(keepends=True), path)
            end = text.rfind(b"\n") + 1
            if end < len(text):  # torn off in the middle of a write
                os.ftruncate(self._number, end)
                os.fsync(self._number)
        except BaseException:
            self.close()
            raise

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> "Journal":
        """What a journal holds, without opening it for writing. Raises IkexploreError."""
        file, book = Path(path).expanduser(), cls(None)
        try:
            records, book.warnings = parse(file.read_bytes().splitlines(keepends=True), file)
        except OSError as error:
            raise IkexploreError(f"journal {file}: {error.strerror}; name a file that a grid has written") from None
        for record in records:
            book._keep(record)
        return book

    def _keep(self, record: dict[str, Any]) -> bool:
        """Takes a record in; a second one of the same point and repetition is no other measurement."""
        mark = (record["key"], record.get("repetition"))
        if mark in self.done and self.done[mark].get("status") == "done":
            return False
        if mark in self.done:
            self.records.remove(self.done[mark])
        self.done[mark] = record
        self.records.append(record)
        return True

    def add(self, record: dict[str, Any]) -> bool:
        """Appends a record and waits until the disk has it; False for a point that is there already."""
        if not self._keep(record):
            return False
        if self._number >= 0:
            line = (json.dumps(plain(record), separators=(",", ":")) + "\n").encode()
            try:
                _write(self._number, line)
            except OSError as error:
                raise IkexploreError(f"journal {self.path}: {error.strerror}; the point just measured is not in it") from None
        return True

    def has(self, key: str, repetition: int | None, statuses: Iterable[str] = ("done",)) -> bool:
        """Whether a point is there with one of the statuses."""
        found = self.done.get((key, repetition))
        return found is not None and str(found.get("status")) in statuses

    def close(self) -> None:
        """Gives the lock back."""
        if self._number >= 0:
            os.close(self._number)
            self._number = -1

    def __enter__(self) -> "Journal":
        return self

    def __exit__(self, *failure: object) -> None:
        self.close()


def parse(lines: Iterable[bytes], path: Any) -> tuple[list[dict[str, Any]], list[str]]:
    """(records, warnings) of the lines of a journal; a line that is none is left out and named."""
    found, warnings = [], []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line) if line.endswith(b"\n") else None
        except (ValueError, RecursionError):
            record = None
        if isinstance(record, dict) and isinstance(record.get("key"), str) and "status" in record:
            found.append(record)
        elif not line.endswith(b"\n"):
            warnings.append(f"{path}: the last line is torn off and left out; its point is measured again")
        else:
            warnings.append(f"{path}: line {number} is no record of a grid and is left out")
    return found, warnings


def _write(number: int, data: bytes) -> None:
    """All of it, at the end of the file and on the disk; a half-written line is taken back."""
    size = os.fstat(number).st_size
    view = memoryview(data)
    try:
        while view:
            view = view[os.write(number, view) :]
        os.fsync(number)
    except OSError:
        os.ftruncate(number, size)
        raise


def _lock(number: int, path: Path) -> None:
    try:
        import fcntl
    except ImportError:  # no such lock on this system
        return
    try:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise IkexploreError(f"journal {path}: another grid is writing it; wait for it or name another file") from None
    except OSError:
        return  # a file system without locks
