"""The guide can be followed: its Python examples give what they say, its commands end well."""

import doctest
import os
import re
import shlex
from pathlib import Path

import pytest

import ikexplore as ikx
from ikexplore.cli import main

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "guide.md"
TEXT = GUIDE.read_text(encoding="utf-8")
PYTHON = re.findall(r"^```python\n(.*?)^```", TEXT, re.M | re.S)
COMMANDS = [line for block in re.findall(r"^```sh\n(.*?)^```", TEXT, re.M | re.S) for line in block.splitlines()]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with the files that the commands name, which is the current one."""
    here, folder = os.getcwd(), tmp_path_factory.mktemp("guide")
    (folder / "model.gguf").symlink_to(ikx.demo.path())
    (folder / "text.txt").write_text(ikx.demo.text(), encoding="utf-8")
    os.chdir(folder)
    yield folder
    os.chdir(here)


def test_the_python_examples_hold(folder, capsys):
    """In one namespace, from top to bottom."""
    test = doctest.DocTestParser().get_doctest("\n".join(PYTHON), {}, "guide", str(GUIDE), 0)
    found = doctest.DocTestRunner().run(test)
    assert found.attempted > 40 and found.failed == 0, capsys.readouterr().out


@pytest.mark.parametrize("line", COMMANDS)
def test_the_commands_end_well(line, folder, capsys):
    program, *words = shlex.split(line)
    assert program == "ikexplore"
    assert main(words) == 0, capsys.readouterr().err
    assert capsys.readouterr().out.strip()


def test_the_example_of_the_readme_runs(folder, capsys):
    """With a packaged header in place of the file, and less time for the tuner."""
    (code,) = re.findall(r"^```python\n(.*?)^```", (GUIDE.parents[1] / "README.md").read_text(encoding="utf-8"), re.M | re.S)
    here = code.replace('ikx.open("Qwen3-235B-A22B-IQ4_XS-00001-of-00003.gguf")', 'ikx.demo.header("qwen3-235b-a22b-iq4_xs")')
    here = here.replace("ikx.tune(model, rig)", "ikx.tune(model, rig, time_limit=2, progress=False)")
    assert here.count("demo.header") == here.count("time_limit") == 1
    exec(here, {})
    assert capsys.readouterr().out.endswith("-b 4096 -ub 4096 -ngl 99 -ot exps=CPU -fa on\n")


def test_the_guide_shows_every_command_that_runs_without_a_browser():
    shown = {shlex.split(line)[1] for line in COMMANDS}
    assert shown == {"detect", "plan", "forecast", "tune", "warm", "sweep", "perplexity", "imatrix", "quantize"}
