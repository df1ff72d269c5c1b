"""One thread for all updates of a panel: it exists only while there is something to tell."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

PERIOD = 0.1  # seconds between two updates: at most ten a second


class Ticker:
    """Calls ``step`` soon after ``poke`` and at most every ``PERIOD`` seconds, on a thread of its own.

    The thread ends when nobody pokes any more, so an idle panel has none. ``close`` ends and joins it; pokes after that do
    nothing.
    """

    def __init__(self, step: Callable[[], None], name: str = "ikexplore-panel") -> None:
        self._step, self._name = step, name
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._last = 0.0  # when the last step began; outlives the thread
        self._poked = self._closed = False

    def poke(self) -> None:
        """Ask for a step; starts the thread if there is none."""
        with self._lock:
            if self._closed:
                return
            self._poked = True
            if self._thread is None:
                self._thread = threading.Thread(target=self._loop, name=self._name, daemon=True)
                self._thread.start()

    def close(self, timeout: float = 5.0) -> None:
        """End the thread and wait for it."""
        with self._lock:
            self._closed = True
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout)

    def _loop(self) -> None:
        while True:
            pause = self._last + PERIOD - time.monotonic()
            if pause > 0:
                time.sleep(pause)
            with self._lock:
                if self._closed:
                    self._thread = None
                    return
                self._poked = False
            self._last = time.monotonic()
            self._step()
            with self._lock:
                if self._closed or not self._poked:
                    self._thread = None
                    return
