"""Kills a grid in the middle and looks at its journal; used by the test and, with more moments, by tests/bench."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

QUICK = Path(__file__).with_name("quick.py")


def lines_of(journal: Path) -> list[bytes]:
    """Complete lines."""
    return journal.read_bytes().split(b"\n")[:-1] if journal.exists() else []


def marks(lines: list[bytes]) -> list[tuple]:
    records = [json.loads(line) for line in lines]
    return [(record["key"], record["repetition"]) for record in records]


def killed_grid(model: Path, journal: Path, moments: int, seed: int = 0) -> list[int]:
    """Starts the grid again and again and kills it -9 at random moments, then lets it finish. After each step no line that was
    there may be gone or changed, and no point may be there twice. Gives the number of lines at each kill."""
    dice, before, counts = random.Random(seed), [], []
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    for moment in range(moments + 1):
        child = subprocess.Popen([sys.executable, str(QUICK), str(model), str(journal)], env=env)
        if moment < moments:
            _kill_after(child, journal, len(before) + dice.randint(1, 3), dice.uniform(0, 0.04))
        else:
            assert child.wait(timeout=120) == 0
        after = lines_of(journal)
        assert after[: len(before)] == before
        found = marks(after)
        assert len(found) == len(set(found))
        counts.append(len(after))
        before = after
    return counts


def _kill_after(child: subprocess.Popen, journal: Path, lines: int, pause: float) -> None:
    """-9 a moment after the journal has so many lines."""
    until = time.monotonic() + 60
    while child.poll() is None and len(lines_of(journal)) < lines and time.monotonic() < until:
        time.sleep(0.002)
    time.sleep(pause)
    if child.poll() is None:
        os.kill(child.pid, signal.SIGKILL)
    child.wait()
