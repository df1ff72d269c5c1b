"""An Explorer in a real browser without Jupyter: its traits go to the page, the page's messages come back."""

import json
import os
import queue
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")

PAGE = """<!doctype html><html><head><meta charset="utf-8"><style>
body { margin: 0; --jp-layout-color1: #fff; --jp-ui-font-color1: rgba(0,0,0,.87); background: #fff; }
body[data-jp-theme-light="false"] { --jp-layout-color1: #1c1d20; background: #1c1d20;
  --jp-ui-font-color1: rgba(255,255,255,.87); }
</style><style>%(css)s</style></head><body data-jp-theme-light="%(light)s"><div id="cell"></div><script type="module">
const values = %(values)s, listeners = {};
window.push = changes => {
  for (const [k, v] of Object.entries(changes)) { values[k] = v; for (const f of listeners[`change:${k}`] || []) f(); }
};
const model = {
  get: k => values[k],
  on: (name, f) => (listeners[name] ||= new Set()).add(f),
  off: (name, f) => listeners[name]?.delete(f),
  send: content => window.toKernel(JSON.stringify(content)),
};
window.tell = content => { for (const f of listeners['msg:custom'] || []) f(content, []); };
window.model = model;
window.count = () => Object.values(listeners).reduce((n, s) => n + s.size, 0);
const url = URL.createObjectURL(new Blob([%(esm)s], {type: 'text/javascript'}));
const widget = (await import(url)).default;
window.dispose = await widget.render({model, el: document.getElementById('cell')});
</script></body></html>"""


def chromium() -> str | None:
    """A Chromium to drive: CHROMIUM, else one on the path."""
    named = os.environ.get("CHROMIUM")
    if named:
        return named if os.access(named, os.X_OK) else shutil.which(named)
    return next((found for found in map(shutil.which, NAMES) if found), None)


@contextmanager
def browser() -> Iterator[Any]:
    """A headless Chromium by Playwright."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        found = play.chromium.launch(executable_path=chromium(), args=["--no-sandbox", "--disable-dev-shm-usage"])
        try:
            yield found
        finally:
            found.close()


class Page:
    """One Explorer on one page. ``pump`` carries messages both ways; ``until`` pumps until something holds."""

    def __init__(self, chrome: Any, explorer: Any, width: int = 1280, height: int = 1100, dark: bool = False) -> None:
        self.explorer = explorer
        self.names = [
            n
            for n in explorer.keys
            if n in explorer.traits() and not n.startswith("_") and n not in ("layout", "tabbable", "tooltip", "comm")
        ]
        self.outgoing: queue.Queue[dict[str, Any]] = queue.Queue()
        self.messages = self.bytes = 0
        self.errors: list[str] = []
        self.page = chrome.new_page(viewport={"width": width, "height": height})
        self.page.on("console", lambda m: self.errors.append(m.text) if m.type in ("error", "warning") else None)
        self.page.on("pageerror", lambda e: self.errors.append(str(e)))
        self.page.expose_function("toKernel", lambda text: explorer._message(explorer, json.loads(text), []))
        explorer.observe(self._changed, names=self.names)
        self.told: queue.Queue[dict[str, Any]] = queue.Queue()
        explorer.send = lambda content, buffers=None: self.told.put(content)
        with explorer._whole:  # as get_state does
            values = {n: getattr(explorer, n) for n in [*self.names, "_parts"]}
        html = PAGE % {
            "css": explorer._css,
            "light": "false" if dark else "true",
            "values": _js(values),
            "esm": _js(explorer._esm),
        }
        self.page.set_content(html)
        self.page.wait_for_selector(".ikx[data-ready='1']", timeout=20_000)

    def _changed(self, change: Any) -> None:
        self.outgoing.put({change["name"]: change["new"]})

    def pump(self, seconds: float = 0.0) -> None:
        """Carry what there is, for at least ``seconds``."""
        end = time.monotonic() + seconds
        while True:
            changes: dict[str, Any] = {}
            with self.explorer._whole:  # a step is one message, as hold_sync makes it
                while not self.outgoing.empty():
                    changes.update(self.outgoing.get())
            if changes:
                self.messages += 1
                self.bytes += len(json.dumps(changes))
                self.page.evaluate("changes => window.push(changes)", changes)
            while not self.told.empty():
                self.page.evaluate("content => window.tell(content)", self.told.get())
            self.page.wait_for_timeout(20)
            if time.monotonic() >= end and self.outgoing.empty():
                return

    def until(self, holds: Callable[[], Any], timeout: float = 30.0) -> Any:
        """Pump until ``holds()`` is true and return what it gave."""
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            self.pump(0.02)
            found = holds()
            if found:
                return found
        raise AssertionError(f"did not come true within {timeout} s")

    def text(self, selector: str) -> str:
        return self.page.inner_text(selector)

    def close(self) -> None:
        self.explorer.unobserve(self._changed, names=self.names)
        self.page.close()


def _js(value: Any) -> str:
    return json.dumps(value).replace("</", "<\\/").replace("<!--", "<\\!--")
