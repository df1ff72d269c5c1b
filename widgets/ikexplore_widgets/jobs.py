"""Long work beside the kernel's main thread, one job at a time, that can be told to stop."""

from __future__ import annotations

import threading
from collections.abc import Callable

Work = Callable[[threading.Event], None]


class Jobs:
    """Runs one function at a time on a thread of its own.

    ``start(work, failed)`` calls ``work(stop)``; what it raises goes to ``failed(error)``. ``stop`` sets the event and
    forgets the job at once: the panel is free although a kernel may still be compiling; the next job waits for that.
    """

    def __init__(self, ended: Callable[[], None]) -> None:
        self._ended = ended
        self._lock = threading.Lock()
        self._current: tuple[threading.Thread, threading.Event] | None = None
        self._all: list[threading.Thread] = []
        self._events: list[threading.Event] = []
        self._closed = False

    @property
    def busy(self) -> bool:
        """Whether a job is on that was not told to stop."""
        with self._lock:
            return self._current is not None

    @property
    def draining(self) -> bool:
        """Whether a job that was told to stop has not ended yet."""
        with self._lock:
            current = self._current[0] if self._current else None
            return any(t.is_alive() and t is not current for t in self._all)

    def start(self, work: Work, failed: Callable[[Exception], None]) -> bool:
        """Start ``work``; False when a job is on, or after ``close``."""
        with self._lock:
            if self._closed or self._current is not None:
                return False
            self._all = [t for t in self._all if t.is_alive()]
            before, stop = list(self._all), threading.Event()
            thread = threading.Thread(target=self._run, args=(work, failed, stop, before), name="ikexplore-job", daemon=True)
            self._current = (thread, stop)
            self._all.append(thread)
            self._events.append(stop)
        thread.start()
        return True

    def stop(self) -> bool:
        """Tell the job to stop and forget it; False when there is none."""
        with self._lock:
            if self._current is None:
                return False
            self._current[1].set()
            self._current = None
            return True

    def close(self, timeout: float = 5.0) -> None:
        """Stop everything and wait for the threads."""
        with self._lock:
            self._closed = True
            threads = list(self._all)
            for event in self._events:
                event.set()
            self._current = None
        for thread in threads:
            if thread is not threading.current_thread():
                thread.join(timeout)

    def _run(self, work: Work, failed: Callable[[Exception], None], stop: threading.Event,
             before: list[threading.Thread]) -> None:
        for thread in before:
            while thread.is_alive() and not stop.is_set():
                thread.join(0.1)
        try:
            if not stop.is_set():
                work(stop)
        except Exception as error:  # shown in the panel as one line, whatever it is
            if not stop.is_set():
                failed(error)
        finally:
            with self._lock:
                if self._current is not None and self._current[1] is stop:
                    self._current = None
                self._events = [event for event in self._events if event is not stop]
            self._ended()
