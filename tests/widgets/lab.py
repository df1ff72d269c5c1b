"""JupyterLab as `ikexplore lab` starts it, in a folder of its own, and a notebook open in it."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent


@contextmanager
def lab(folder: Path, seconds: float = 120) -> Iterator[str]:
    """Start it and give the address that it prints, token included."""
    env = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(str(ROOT / p) for p in (".", "kernels", "widgets")),
        "JUPYTER_CONFIG_DIR": str(folder / "config"),
        "JUPYTER_DATA_DIR": str(folder / "data"),
        "JUPYTERLAB_SETTINGS_DIR": str(folder / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(folder / "workspaces"),
        "PYTHONUNBUFFERED": "1",
    }
    child = subprocess.Popen(
        [sys.executable, "-m", "ikexplore", "lab", "--no-browser", "--port", "0", "--folder", str(folder / "notebooks")],
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=folder,
    )
    lines: list[str] = []
    reader = threading.Thread(target=lambda: lines.extend(iter(child.stdout.readline, "")), daemon=True)  # type: ignore[union-attr]
    reader.start()
    try:
        yield _address(child, lines, seconds)
    finally:
        child.send_signal(signal.SIGTERM)
        try:
            child.wait(20)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        reader.join(5)


def _address(child: "subprocess.Popen[str]", lines: list[str], seconds: float) -> str:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = re.search(r"http://127\.0\.0\.1:\d+\S*token=\S+", "".join(lines))
        if found:
            return found.group()
        if child.poll() is not None:
            break
        time.sleep(0.1)
    raise AssertionError(f"no address from `ikexplore lab`:\n{''.join(lines)}")


class Notebook:
    """A notebook open in JupyterLab, with what the page's console said."""

    def __init__(self, chrome: Any, address: str, name: str = "explorer.ipynb", width: int = 1280, height: int = 900) -> None:
        self.errors: list[str] = []
        self.page = chrome.new_page(viewport={"width": width, "height": height})
        self.page.set_default_timeout(200_000)  # machines are shared
        self.page.on("console", lambda m: self.errors.append(m.text) if m.type == "error" else None)
        self.page.on("pageerror", lambda e: self.errors.append(str(e)))
        self.page.goto(address.replace("00_index.ipynb", name), wait_until="domcontentloaded")
        self.page.wait_for_selector(".jp-Notebook .jp-Cell", timeout=60_000)

    def run_all(self) -> None:
        """All cells, by the menu; waits until the kernel is there."""
        self.page.wait_for_selector(
            '.jp-NotebookPanel-toolbar .jp-Toolbar-kernelName:not(:has-text("No Kernel"))', timeout=60_000
        )
        self.page.wait_for_selector('.jp-Notebook-ExecutionIndicator[data-status="idle"]', timeout=60_000)
        self.page.click('.lm-MenuBar-item:has-text("Run")')
        self.page.click('.lm-Menu-item[data-command="runmenu:run-all"]')

    def panel(self, timeout: float = 60.0) -> None:
        """Wait for the live panel."""
        self.page.wait_for_selector(".ikx[data-ready='1']", timeout=timeout * 1000)

    def theme(self, name: str) -> None:
        """Switch JupyterLab to "JupyterLab Dark" or "JupyterLab Light"."""
        self.page.click('.lm-MenuBar-item:has-text("Settings")')
        self.page.hover('.lm-Menu-item:has-text("Theme")')
        entry = self.page.locator('.lm-Menu-item[data-command="apputils:change-theme"]')
        entry.filter(has_text=re.compile(f"^{name}$")).click()
        self.page.wait_for_selector(f'body[data-jp-theme-name="{name}"]', state="attached", timeout=20_000)
        self.page.wait_for_timeout(600)

    def wide(self) -> None:
        """Close the file list, so that the cell has the whole width."""
        if self.page.is_visible("#filebrowser"):
            self.page.click('.jp-SideBar.jp-mod-left [data-id="filebrowser"]')
            self.page.wait_for_selector("#filebrowser", state="hidden")
            self.page.wait_for_timeout(300)

    def top(self) -> None:
        """Scroll so that the panel begins at the upper edge."""
        self.page.evaluate("document.querySelector('.ikx').scrollIntoView({block: 'start'})")
        self.page.wait_for_timeout(300)
