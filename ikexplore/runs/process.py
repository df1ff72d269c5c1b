"""One program as a subprocess: its lines while it prints, and an end for it and all that it started.

The program is the leader of a session of its own, so that Ctrl-C reaches this process alone and one signal ends the whole
group. Its output and its errors come through one pipe in the order in which they were written. On Linux it dies with the
process that started it, so that a killed notebook leaves nothing behind that disturbs the next measurement.
"""

import contextlib
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from ..errors import IkexploreError

#: seconds between looks at the stop flag and the clocks
TICK = 0.05
#: seconds that a program may take to end after SIGTERM
GRACE = 3.0
#: seconds that output is still read after the program has ended and only its children hold the pipe
LINGER = 0.3
#: a line is taken as complete from this length on, and output beyond that size ends the program
LONGEST_LINE, MOST_OUTPUT = 1 << 20, 256 << 20
#: seconds between looks at the work that a silent program does
IDLE_LOOK = 1.0
#: what runs in the new process before the program: ask for SIGKILL with the parent's end (PR_SET_PDEATHSIG, prctl(2))
_TIED = ("import ctypes,os,sys\nctypes.CDLL(None).prctl(1,9,0,0,0)\nif os.getppid()!=int(sys.argv[1]): os._exit(1)\n"
         "os.execvp(sys.argv[2],sys.argv[2:])")


@dataclass
class Ended:
    """How a program ended. ``code``: exit code, negative for a signal. ``why``: "" by itself, or "stop", "timeout",
    "idle" (neither output nor work), "flood" (too much output): what made us end it."""

    code: int
    why: str = ""
    seconds: float = 0.0
    lines: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        """All that it printed."""
        return "\n".join(self.lines)


def run(
    argv: Sequence[str],
    env: dict[str, str] | None = None,
    *,
    on_line: Callable[[str], object] | None = None,
    stop: threading.Event | None = None,
    timeout: float | None = None,
    idle: float | None = None,
    cwd: str | None = None,
) -> Ended:
    """Run a program to its end and hear of each line it prints (without line end, undecodable bytes replaced).

    ``on_line(line)``: a true answer ends the program ("stop"). ``timeout``: seconds in all; ``idle``: seconds without
    output in which the program and its children used no processor either. Ctrl-C ends it as ``stop`` does; what else an
    ``on_line`` raises is passed on after the program is ended. Raises IkexploreError when the program cannot be started.
    """
    with _Child(argv, env, cwd) as child:
        ended = Ended(0)
        try:
            for line in child.lines(stop, timeout, idle):
                ended.lines.append(line)
                if on_line is not None and on_line(line):
                    child.why = "stop"
                    break
        except KeyboardInterrupt:
            child.why = "stop"
        ended.code, ended.why = child.end(), child.why
        ended.seconds = time.monotonic() - child.began
    return ended


class _Child:
    """A program under way."""

    def __init__(self, argv: Sequence[str], env: dict[str, str] | None, cwd: str | None):
        words = [str(word) for word in argv]
        if sys.platform == "linux":
            words = [sys.executable, "-I", "-S", "-c", _TIED, str(os.getpid()), *words]
        try:
            self.process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                            start_new_session=True, env=env, cwd=cwd)  # fmt: skip
        except (OSError, ValueError) as error:
            raise IkexploreError(f"{argv[0]}: cannot be started ({error})") from None
        self.began = self.heard = time.monotonic()
        self.why, self.size, self.held = "", 0, bytearray()
        self.work, self.looked = -1.0, self.began
        assert self.process.stdout is not None
        self.pipe = self.process.stdout.fileno()

    def __enter__(self) -> "_Child":
        return self

    def __exit__(self, *failure: object) -> None:
        if any(failure):
            self.why = self.why or "stop"
        self.end()
        if self.process.stdout is not None:
            self.process.stdout.close()

    # ---- lines ----

    def lines(self, stop: threading.Event | None, timeout: float | None, idle: float | None) -> Iterator[str]:
        """Lines until the program ends or has to be ended; ``why`` then says why."""
        over: float | None = None
        while True:
            ready, _, _ = select.select([self.pipe], [], [], TICK)
            if ready:
                data = os.read(self.pipe, 1 << 16)
                if not data:
                    break
                self.heard = time.monotonic()
                yield from self._split(data)
            now = time.monotonic()
            self.why = self._reason(now, stop, timeout, idle)
            if self.why:
                break
            if not ready and self.has_ended():
                # a child of it may hold the pipe open for ever
                over = over or now
                if now - over >= LINGER:
                    break
        if self.held:
            yield self._text(bytes(self.held))
            self.held.clear()

    def _split(self, data: bytes) -> Iterator[str]:
        self.size += len(data)
        self.held += data
        *whole, rest = bytes(self.held).split(b"\n")
        if len(rest) > LONGEST_LINE:
            whole, rest = [*whole, rest], b""
        self.held = bytearray(rest)
        for line in whole:
            yield self._text(line)

    @staticmethod
    def _text(line: bytes) -> str:
        return line.decode("utf-8", "replace").rstrip("\r")

    def _reason(self, now: float, stop: threading.Event | None, timeout: float | None, idle: float | None) -> str:
        if stop is not None and stop.is_set():
            return "stop"
        if timeout is not None and now - self.began > timeout:
            return "timeout"
        if self.size > MOST_OUTPUT:
            return "flood"
        if idle is not None and now - self.looked > min(IDLE_LOOK, idle / 4):
            self.looked, work = now, self._worked()
            if work > self.work + 0.02:
                self.work, self.heard = work, now
            if now - self.heard > idle:
                return "idle"
        return ""

    def _worked(self) -> float:
        """Seconds of processor time that the program and its children have used, and MiB read, in one growing number."""
        import psutil

        total = 0.0
        for process in _family(self.process.pid):
            try:
                times = process.cpu_times()
                total += times.user + times.system
                total += process.io_counters().read_bytes / 2**20
            except (psutil.Error, AttributeError):
                continue
        return total

    # ---- the end ----

    def has_ended(self) -> bool:
        """Whether the program itself is over; it is not reaped, so that its number stays its own."""
        if self.process.returncode is not None:
            return True
        if not hasattr(os, "waitid"):
            return self.process.poll() is not None
        try:
            return os.waitid(os.P_PID, self.process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        except ChildProcessError:
            return True

    def end(self) -> int:
        """Ends the whole group if any of it is left, and gives the program's exit code."""
        if self.process.returncode is not None:
            return self.process.returncode
        family = _family(self.process.pid)
        if not self.why and not self.has_ended():
            # its pipe is closed: it has nothing more to say, and may take a moment to leave
            self._wait(GRACE)
        if not self.has_ended():
            self._signal(signal.SIGTERM)
            self._wait(GRACE)
        self._signal(signal.SIGKILL)
        for process in family:  # those that left the group
            _kill(process)
        return self.process.wait()

    def _wait(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while not self.has_ended() and time.monotonic() < until:
            time.sleep(0.01)

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, number)


def _family(pid: int) -> list:
    """The process and all that it started and is still there."""
    import psutil

    try:
        leader = psutil.Process(pid)
        return [leader, *leader.children(recursive=True)]
    except psutil.Error:
        return []


def _kill(process) -> None:
    import psutil

    try:
        if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
            process.kill()
    except psutil.Error:
        pass
