"""Toggling under a run: memory of kernel and page over minutes, in JupyterLab in a headless Chromium.

    python tests/bench/soak.py --minutes 20

Every half second something is switched while the embedded model is timed; a run that ends is started again. Every quarter of
a minute: resident memory of the kernel, heap of the page after a collection, elements, listeners, and whether the command
line says what the switches say. Exit code 1: memory grew by more than 5 % from the second quarter to the last, an event was
lost, or the console had an error.
"""

import argparse
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "widgets"))

import harness
from lab import Notebook, lab

FOREIGN = ("favicon", "Source map", "DevTools")
LIMIT = 0.05
COLUMNS = (("seconds", "s"), ("kernel", "kernel MiB"), ("heap", "page MiB"), ("nodes", "elements"), ("listeners", "listeners"),
           ("toggles", "toggles"), ("runs", "runs"))


def kernel() -> psutil.Process:
    """The notebook's kernel: the last of our children that is one."""
    found = [p for p in psutil.Process().children(recursive=True) if "ipykernel_launcher" in " ".join(p.cmdline())]
    return found[-1]


def sample(page: Any, tools: Any, process: psutil.Process) -> dict[str, float]:
    """Memory in MiB, and how many elements and listeners the page has."""
    tools.send("HeapProfiler.collectGarbage")
    counters = tools.send("Memory.getDOMCounters")
    return {"kernel": process.memory_info().rss / 2**20, "nodes": page.evaluate("document.querySelectorAll('*').length"),
            "heap": tools.send("Runtime.getHeapUsage")["usedSize"] / 2**20, "listeners": counters["jsEventListeners"]}


class Switches:
    """Presses one thing or another, and knows what the command line must then say."""

    def __init__(self, page: Any, seed: int) -> None:
        self.page, self.random, self.count, self.rtr = page, random.Random(seed), 0, False

    def press(self) -> None:
        """One change of a setting, a view or the rig."""
        self.count += 1
        what = self.random.choice(("rtr", "rtr", "fa", "ctk", "rig", "where", "rig view", "model view", "graph", "hover"))
        page = self.page
        if what == "rtr":
            page.click(".ikx .k-rtr .sw")
            self.rtr = not self.rtr
        elif what == "fa":
            page.click(".ikx .k-fmoe .sw")
        elif what == "ctk":
            page.locator(".ikx .k-ctk .seg button").nth(self.random.randrange(2)).click()
        elif what == "rig":
            page.select_option(".ikx select.rig", self.random.choice(("cpu", "sim1", "sim2")))
        elif what == "where" and page.is_visible(".ikx .thru .ask"):
            page.click(".ikx .thru .ask")
        elif what == "rig view":
            page.click(".ikx .head .edit")
        elif what == "model view":
            page.click(".ikx h2 .more")
        elif what == "graph":
            page.locator(".ikx .splits .seg button").nth(self.random.randrange(2)).click()
        else:
            page.hover(".ikx .place canvas", position={"x": self.random.randrange(20, 300), "y": 40})

    def lost(self) -> bool:
        """Whether the command line does not come to say what was pressed."""
        wanted = "true" if self.rtr else "false"
        try:
            told = f"/-rtr/.test(document.querySelector('.ikx .cmd').innerText) === {wanted}"
            self.page.wait_for_function(told, timeout=5000)
        except Exception:  # Playwright's own TimeoutError
            return True
        return False


def soak(minutes: float, seed: int) -> int:
    """Run it and print a line per sample; the exit code."""
    with tempfile.TemporaryDirectory() as folder, lab(Path(folder)) as address, harness.browser() as chrome:
        book = Notebook(chrome, address, width=1280, height=1000)
        book.run_all()
        book.panel(180)
        page, tools = book.page, book.page.context.new_cdp_session(book.page)
        page.fill(".ikx .k-ub .other", "64")
        page.keyboard.press("Enter")
        process, switches, rows, lost, runs = kernel(), Switches(page, seed), [], 0, 0
        print(" ".join(f"{name:>10}" for _, name in COLUMNS), flush=True)
        begin = last = time.monotonic()
        while time.monotonic() - begin < 60 * minutes:
            if page.get_attribute(".ikx", "data-running") == "0" and page.is_enabled(".ikx button.run"):
                page.click(".ikx button.run")
                runs += 1
            switches.press()
            page.wait_for_timeout(500)
            if time.monotonic() - last >= 15:
                last = time.monotonic()
                lost += switches.lost()
                rows.append({"seconds": last - begin, **sample(page, tools, process), "toggles": switches.count, "runs": runs})
                print(" ".join(f"{rows[-1][key]:>10.1f}" for key, _ in COLUMNS), flush=True)
        if page.get_attribute(".ikx", "data-running") == "1":
            page.click(".ikx button.run")
        errors = [e for e in book.errors if not any(word in e for word in FOREIGN)]
    return report(rows, lost, errors)


def report(rows: list[dict[str, float]], lost: int, errors: list[str]) -> int:
    """What changed from the second quarter of the samples to the last; 1 if that is too much."""
    quarter, bad = max(1, len(rows) // 4), bool(lost or errors)
    for key, name in (("kernel", "kernel"), ("heap", "page")):
        parts = rows[quarter : 2 * quarter], rows[-quarter:]
        before, after = (statistics.median(r[key] for r in part) for part in parts)
        bad |= after > before * (1 + LIMIT)
        print(f"{name}: {before:.1f} -> {after:.1f} MiB ({100 * (after / before - 1):+.1f} %)")
    print(f"{lost} lost events, {len(errors)} console errors {errors[:3]}")
    return int(bad)


if __name__ == "__main__":
    given = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    given.add_argument("--minutes", type=float, default=5)
    given.add_argument("--seed", type=int, default=1)
    args = given.parse_args()
    sys.exit(soak(args.minutes, args.seed))
