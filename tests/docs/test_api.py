"""The API reference: every public name is described, and the pages are built without a warning."""

import ast
import importlib
import importlib.util
import inspect
import re
import subprocess
import sys
import textwrap
from functools import cached_property
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROOMS = [
    "ikexplore", "ikexplore.demo", "ikexplore.errors", "ikexplore.forecast", "ikexplore.gguf", "ikexplore.graph",
    "ikexplore.logs", "ikexplore.machine", "ikexplore.models", "ikexplore.placement", "ikexplore.plots", "ikexplore.qtypes",
    "ikexplore.run", "ikexplore.runs", "ikexplore.schedule", "ikexplore.settings", "ikexplore.tune", "ikexplore_kernels",
    "ikexplore_kernels.formats", "ikexplore_widgets",
]  # fmt: skip


def names(room):
    """The public names of a module and what they stand for; constants and modules left out."""
    module = importlib.import_module(room)
    found = {name: getattr(module, name) for name in getattr(module, "__all__", None) or _own(module)}
    return {name: inspect.unwrap(value) for name, value in found.items() if callable(value) and not inspect.ismodule(value)}


def _own(module):
    return [n for n, v in vars(module).items() if not n.startswith("_") and getattr(v, "__module__", "") == module.__name__]


def members(value):
    """Public methods and properties that a class itself defines."""
    for name, found in vars(value).items() if inspect.isclass(value) else ():
        if isinstance(found, (staticmethod, classmethod)):
            found = found.__func__
        if isinstance(found, (property, cached_property)):
            found = found.fget if isinstance(found, property) else found.func
        if inspect.isfunction(found) and not name.startswith("_"):
            yield name, found


FUNCTIONS = {n: v for n, v in names("ikexplore").items() if inspect.isfunction(v)} | {
    "tune": importlib.import_module("ikexplore.tune").tune, "read": importlib.import_module("ikexplore.logs").read,
    "forecast": importlib.import_module("ikexplore.forecast").forecast,
}  # fmt: skip


@pytest.mark.parametrize("room", ROOMS)
def test_every_public_name_is_described(room):
    bare = []
    for name, value in names(room).items():
        bare += [name] * (not (value.__doc__ or "").strip())
        bare += [f"{name}.{member}" for member, found in members(value) if not (found.__doc__ or "").strip()]
    assert bare == []


@pytest.mark.parametrize("room", ROOMS)
def test_who_raises_says_so(room):
    """What stands in a public function's own lines; what it calls is for the author to tell."""
    silent = []
    for name, value in names(room).items():
        for where, found in [(name, value), *((f"{name}.{m}", f) for m, f in members(value))]:
            if inspect.isfunction(found) and "aises" not in inspect.getdoc(found):
                tree = ast.parse(textwrap.dedent(inspect.getsource(found)))
                silent += [where for node in ast.walk(tree) if isinstance(node, ast.Raise) and node.exc]
    assert silent == []


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_a_public_function_tells_its_arguments_its_errors_and_an_example(name):
    text = inspect.getdoc(FUNCTIONS[name])
    assert [p for p in inspect.signature(FUNCTIONS[name]).parameters if not re.search(rf"\b{p}\b", text)] == []
    assert re.search(r"\b([Rr]aises|NoFit|SettingsError)\b", text)
    assert ">>> " in text


def test_the_names_that_are_looked_at_are_those_of_the_package():
    assert len(FUNCTIONS) > 20 and {"open", "plan", "quant", "sweep", "tune"} <= set(FUNCTIONS)
    assert [n for n, _ in members(importlib.import_module("ikexplore").Quant)][:2] == ["name", "id"]


@pytest.mark.skipif(not importlib.util.find_spec("pdoc"), reason="pdoc is not installed (extra: docs)")
def test_the_reference_is_built_without_a_warning(tmp_path):
    paths = [str(ROOT / part) for part in (".", "kernels", "widgets")]
    code = f"import sys; sys.path[:0] = {paths!r}; sys.argv[1:] = ['api']; import runpy; runpy.run_path({str(ROOT / 'docs' / 'api.py')!r}, run_name='__main__')"  # noqa: E501
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and not done.stderr, done.stderr[-3000:]
    pages = {path.relative_to(tmp_path / "api").as_posix() for path in (tmp_path / "api").rglob("*.html")}
    assert {room.replace(".", "/") + ".html" for room in ROOMS} - pages == set()
    text = (tmp_path / "api" / "ikexplore.html").read_text(encoding="utf-8")
    assert all(f'id="{name}"' in text for name in ("open", "plan", "quant", "sweep", "Settings.parse"))
