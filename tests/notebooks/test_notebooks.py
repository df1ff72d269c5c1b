"""Every notebook runs from a clean kernel, says nothing on stderr, and holds calls, not logic."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
FOLDER = ROOT / "notebooks"
NOTEBOOKS = sorted(path.name for path in FOLDER.glob("*.ipynb"))
SECONDS = 600


def cells(name: str) -> list[dict]:
    return json.loads((FOLDER / name).read_text(encoding="utf-8"))["cells"]


def code(name: str) -> str:
    return "\n".join("".join(cell["source"]) for cell in cells(name) if cell["cell_type"] == "code")


@pytest.mark.timeout(SECONDS + 60)
@pytest.mark.parametrize("name", NOTEBOOKS)
def test_runs_by_nbval(name, tmp_path):
    """`pytest --nbval-lax` in a process of its own, with a time limit."""
    paths = [str(ROOT / part) for part in (".", "kernels", "widgets")]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([*paths, os.environ.get("PYTHONPATH", "")]),
           "JUPYTER_CONFIG_DIR": str(tmp_path), "IPYTHONDIR": str(tmp_path), "PYTEST_ADDOPTS": ""}
    copy = tmp_path / name
    copy.write_bytes((FOLDER / name).read_bytes())
    command = [sys.executable, "-m", "pytest", "--nbval-lax", "--nbval-cell-timeout", str(SECONDS // 2), "-q",
               "-p", "no:cacheprovider", "-c", os.devnull, "--rootdir", str(tmp_path), str(copy)]
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_holds_no_outputs_and_no_state(name):
    book = json.loads((FOLDER / name).read_text(encoding="utf-8"))
    assert all(cell.get("outputs", []) == [] and cell.get("execution_count") is None for cell in book["cells"]
               if cell["cell_type"] == "code")
    assert "widgets" not in book["metadata"]
    assert book["metadata"]["kernelspec"]["name"] == "python3"
    assert all(cell.get("id") for cell in book["cells"])


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_holds_calls_and_no_logic(name):
    lines = [line.strip() for line in code(name).splitlines()]
    assert not [line for line in lines if line.startswith(("def ", "class ", "async def ", "import ikexplore_kernels"))]


@pytest.mark.parametrize("name", [n for n in NOTEBOOKS if n[:2].isdigit()])
def test_a_tutorial_ends_with_a_line_to_paste(name):
    last = [cell for cell in cells(name) if cell["cell_type"] == "code"][-1]
    assert ".command()" in "".join(last["source"])


def test_the_panel_comes_first():
    assert "explorer.ipynb" in NOTEBOOKS
    assert "Explorer()" in code("explorer.ipynb")
