"""``ikexplore lab``: the notebooks in a folder of the user's own, and JupyterLab on it, on this machine only.

JupyterLab keeps its own token and is bound to 127.0.0.1. A notebook that the user changed is never overwritten: a small
index in the folder holds what was copied there, and only a file that still equals its copy follows a newer version.
"""

import contextlib
import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from .errors import IkexploreError

FIRST = "00_index.ipynb"
_INDEX = ".ikexplore.json"
_START_SECONDS = 120
_QUIET = {"disabledExtensions": {"@jupyterlab/apputils-extension:announcements": True}}


def notebooks_source() -> Path:
    """The folder with the packaged notebooks: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parent
    for folder in (package / "notebooks", package.parent / "notebooks"):
        if any(folder.glob("*.ipynb")):
            return folder
    raise IkexploreError(
        "the notebooks are not installed with this package; install ikexplore from its wheel or a clone"
    )


def copy_notebooks(folder: str | Path, source: Path | None = None) -> list[str]:
    """Copy the notebooks into ``folder`` (made if missing); returns the names that were written.

    Raises IkexploreError where the folder cannot be written.
    """
    folder, source = Path(folder), source or notebooks_source()
    written = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        index = _read_index(folder / _INDEX)
        for notebook in sorted(source.glob("*.ipynb")):
            data = notebook.read_bytes()
            target, digest = folder / notebook.name, hashlib.sha256(data).hexdigest()
            if target.exists():
                here = hashlib.sha256(target.read_bytes()).hexdigest()
                if here == digest or here != index.get(notebook.name):
                    continue
            target.write_bytes(data)
            index[notebook.name] = digest
            written.append(notebook.name)
        (folder / _INDEX).write_text(json.dumps(index, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise IkexploreError(f"{folder}: cannot hold the notebooks ({error.strerror}); name another --folder") from None
    return written


def _read_index(path: Path) -> dict[str, str]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {str(k): str(v) for k, v in found.items()} if isinstance(found, dict) else {}


def command(folder: Path, port: int | None, browser: bool) -> list[str]:
    """The words that start JupyterLab on ``folder``."""
    words = [
        sys.executable,
        "-m",
        "jupyterlab",
        "--ServerApp.ip=127.0.0.1",
        f"--ServerApp.root_dir={folder}",
        f"--LabApp.default_url=/lab/tree/{FIRST}",
        "--Application.log_level=WARN",
        "-y",
    ]
    if port is not None:
        words += [f"--ServerApp.port={port or _free_port()}", "--ServerApp.port_retries=0"]
    if not browser:
        words.append("--no-browser")
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        words.append("--allow-root")
    return words


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def lab(
    folder: str | Path = "ikexplore-notebooks", port: int | None = None, browser: bool = True, out: TextIO | None = None
) -> int:
    """Copy the notebooks, start JupyterLab, print its address (with the token) on ``out``, stay until it ends.

    Ctrl-C, a hang-up or SIGTERM stop JupyterLab and its kernels. Returns 0 after that, else 2.
    """
    out = out or sys.stdout
    folder = Path(folder).resolve()
    if port is not None and not 0 <= port <= 65535:
        raise IkexploreError(f"--port {port}: a port is a number from 0 (any free one) to 65535")
    copied = copy_notebooks(folder)
    print(f"notebooks: {folder}" + (f" (new: {', '.join(copied)})" if copied else ""), file=out, flush=True)
    with _quiet_environment() as environment, _signals_as_interrupts():
        child = subprocess.Popen(
            command(folder, port, browser),
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            print(
                f"JupyterLab is at:\n\n    {address(_server_info(child))}\n\nStop it with Ctrl-C.", file=out, flush=True
            )
            code = child.wait()
        except KeyboardInterrupt:
            _stop(child)
            print("\nstopped", file=out, flush=True)
            return 0
        except BaseException:
            _stop(child)
            raise
    return 0 if code == 0 else 2


def address(info: dict[str, Any]) -> str:
    """The page to open, with the token."""
    token = f"?token={info['token']}" if info.get("token") else ""
    return f"{info['url'].rstrip('/')}/lab/tree/{FIRST}{token}"


def _server_info(child: "subprocess.Popen[bytes]") -> dict[str, Any]:
    """What the server wrote about itself (url, token) once it listens."""
    from jupyter_core.paths import jupyter_runtime_dir

    path = Path(jupyter_runtime_dir()) / f"jpserver-{child.pid}.json"
    path.unlink(missing_ok=True)
    limit = time.monotonic() + _START_SECONDS
    while time.monotonic() < limit:
        if child.poll() is not None:
            raise IkexploreError(
                f"JupyterLab ended at once (code {child.returncode}); its own words are above. "
                "If the port is taken, give another --port"
            )
        # the file comes a moment before the port is open, so an address counts only once something answers there
        with contextlib.suppress(OSError, ValueError):
            info: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            socket.create_connection(("127.0.0.1", int(info["port"])), timeout=1).close()
            return info
        time.sleep(0.05)
    raise IkexploreError(f"JupyterLab did not come up within {_START_SECONDS} s; its own words are above")


def _stop(child: "subprocess.Popen[bytes]") -> None:
    """Ask the server to end (it ends its kernels), insist after ten seconds."""
    if child.poll() is not None:
        return
    child.terminate()
    try:
        child.wait(10)
    except (subprocess.TimeoutExpired, KeyboardInterrupt):
        child.kill()
        child.wait()


@contextlib.contextmanager
def _quiet_environment() -> Iterator[dict[str, str]]:
    """An environment in which JupyterLab does not ask about news over the panel."""
    with tempfile.TemporaryDirectory(prefix="ikexplore-") as folder:
        config = Path(folder) / "labconfig"
        config.mkdir()
        (config / "page_config.json").write_text(json.dumps(_QUIET), encoding="utf-8")
        paths = [folder, *filter(None, [os.environ.get("JUPYTER_CONFIG_PATH")])]
        yield {**os.environ, "JUPYTER_CONFIG_PATH": os.pathsep.join(paths)}


@contextlib.contextmanager
def _signals_as_interrupts() -> Iterator[None]:
    """SIGTERM and SIGHUP end the server as Ctrl-C does."""

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    names = [name for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = {}
    for name in names:
        with contextlib.suppress(ValueError):  # not the main thread
            before[name] = signal.signal(getattr(signal, name), interrupt)
    try:
        yield
    finally:
        for name, handler in before.items():
            signal.signal(getattr(signal, name), handler)
