"""The examples in docstrings give what they say."""

import doctest
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HOMES = [(ROOT, "ikexplore"), (ROOT / "kernels", "ikexplore_kernels"), (ROOT / "widgets", "ikexplore_widgets")]
MODULES = sorted(
    ".".join(path.relative_to(home).with_suffix("").parts).removesuffix(".__init__")
    for home, package in HOMES
    for path in (home / package).rglob("*.py")
    if "\n    >>> " in path.read_text(encoding="utf-8")
)


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_hold(name, capsys):
    found = doctest.testmod(importlib.import_module(name))
    assert found.attempted > 0 and found.failed == 0, capsys.readouterr().out


def test_the_examples_are_found():
    assert len(MODULES) > 15 and {"ikexplore.schedule.plan", "ikexplore.qtypes", "ikexplore.run.text"} <= set(MODULES)
