"""Style, types, layers, and how light the import is."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PATHS = os.pathsep.join(str(ROOT / part) for part in ("", "kernels", "widgets"))
ENV = {**os.environ, "PYTHONPATH": PATHS}
HEAVY = ["numba", "llvmlite", "matplotlib", "ipywidgets", "IPython", "tokenizers", "torch", "anywidget", "gguf", "jupyterlab"]


def _run(*words, cwd=ROOT):
    done = subprocess.run([sys.executable, *words], cwd=cwd, env=ENV, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def test_ruff_is_content():
    code, said = _run("-m", "ruff", "check", "--no-cache", "--output-format", "concise", ".")
    assert code == 0, said


@pytest.mark.slow
def test_mypy_is_content(tmp_path):
    code, said = _run("-m", "mypy", "--cache-dir", str(tmp_path), "--no-error-summary")
    assert code == 0, said


def test_imports_point_one_way():
    code, said = _run("-c", "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))")
    assert code == 0 and "3 kept, 0 broken" in said, said


def test_the_layer_rule_would_see_an_import_upwards(tmp_path):
    """The contract itself, on a tree in which a low room imports a high one."""
    import shutil

    for part in ("ikexplore", "kernels", "widgets"):
        shutil.copytree(ROOT / part, tmp_path / part, ignore=shutil.ignore_patterns("__pycache__", "*.gguf", "*.xz"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    with (tmp_path / "ikexplore" / "settings" / "declare.py").open("a") as file:
        file.write("\nimport ikexplore.machine\n")
    with (tmp_path / "ikexplore" / "errors.py").open("a") as file:
        file.write("\nimport traitlets\n")
    with (tmp_path / "widgets" / "ikexplore_widgets" / "__init__.py").open("a") as file:
        file.write("\nimport ikexplore_kernels\n")
    env = {**ENV, "PYTHONPATH": os.pathsep.join(str(tmp_path / part) for part in ("", "kernels", "widgets"))}
    code = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "0 kept, 3 broken" in done.stdout, done.stdout


def test_every_room_has_its_place_in_the_layers():
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    layers = re.search(r"^layers = \[(.*?)^\]", text, re.M | re.S).group(1)
    rooms = {path.stem for path in (ROOT / "ikexplore").iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert {room for room in rooms - {"__init__"} if not re.search(rf"ikexplore\.{room}\b", layers)} == set()


@pytest.mark.parametrize("module", ["ikexplore", "ikexplore.cli", "ikexplore.settings", "ikexplore.machine", "ikexplore.lab"])
def test_the_import_is_light(module):
    code = (
        "import sys, time; begin = time.perf_counter(); "
        f"import {module}; "
        f"print(time.perf_counter() - begin, [m for m in {HEAVY} if m in sys.modules])"
    )
    told = [_run("-c", code) for _ in range(3)]
    assert all(status == 0 for status, _ in told), told
    seconds = min(float(said.split()[0]) for _, said in told)
    assert seconds < 0.3 and {said.split(" ", 1)[1].strip() for _, said in told} == {"[]"}
