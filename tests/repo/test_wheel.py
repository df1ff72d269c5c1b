"""The wheel: three importable names and everything that they need, nothing else."""

import configparser
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PARTS = ("pyproject.toml", "README.md", "LICENSE", "ikexplore", "kernels", "widgets", "notebooks", "tests")
DATA = {".cu", ".cuh", ".js", ".css", ".gguf", ".txt", ".toml", ".ipynb", ".typed", ".gz", ".json"}
HOMES = {"ikexplore": ROOT / "ikexplore", "ikexplore_kernels": ROOT / "kernels" / "ikexplore_kernels",
         "ikexplore_widgets": ROOT / "widgets" / "ikexplore_widgets"}  # fmt: skip


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """A wheel built from a copy of the sources, so that the checkout stays as it is."""
    folder = tmp_path_factory.mktemp("wheel")
    ignore = shutil.ignore_patterns("__pycache__", "*.egg-info", "build", "dist", ".ipynb_checkpoints", "data")
    for part in PARTS:
        if (ROOT / part).is_dir():
            shutil.copytree(ROOT / part, folder / part, ignore=ignore)
        else:
            shutil.copy(ROOT / part, folder / part)
    words = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder / "out"), str(folder)]
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=folder)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    (path,) = (folder / "out").glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        archive.extractall(folder / "installed")
    return folder / "installed"


def test_three_names_and_no_others(wheel):
    names = {path.name for path in wheel.iterdir()}
    (info,) = (name for name in names if name.endswith(".dist-info"))
    assert names == {*HOMES, info}
    assert set((wheel / info / "top_level.txt").read_text().split()) == set(HOMES)


def test_every_module_and_every_data_file_travels(wheel):
    for name, home in HOMES.items():
        wanted = {
            path.relative_to(home).as_posix()
            for path in home.rglob("*")
            if path.is_file() and (path.suffix == ".py" or path.suffix in DATA) and "__pycache__" not in path.parts
        }
        found = {path.relative_to(wheel / name).as_posix() for path in (wheel / name).rglob("*") if path.is_file()}
        assert wanted - found == set()
    assert (wheel / "ikexplore" / "demo" / "demo.gguf").stat().st_size > 100_000


def test_the_notebooks_travel_inside_the_package(wheel):
    inside = {path.name for path in (wheel / "ikexplore" / "notebooks").iterdir()}
    assert inside == {path.name for path in (ROOT / "notebooks").glob("*.ipynb")} and "explorer.ipynb" in inside


def test_the_lab_finds_them_where_they_are_installed(wheel, tmp_path):
    code = "from ikexplore.lab import notebooks_source, copy_notebooks; print(notebooks_source()); copy_notebooks('mine')"
    env = {**os.environ, "PYTHONPATH": str(wheel)}
    told = subprocess.run([sys.executable, "-c", code], env=env, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert Path(told.stdout.strip()) == (wheel / "ikexplore" / "notebooks").resolve()
    assert (tmp_path / "mine" / "explorer.ipynb").is_file()


def test_the_command_and_the_extras(wheel):
    (info,) = wheel.glob("*.dist-info")
    points = configparser.ConfigParser()
    points.read(info / "entry_points.txt")
    assert points["console_scripts"]["ikexplore"] == "ikexplore.cli:main"
    lines = (info / "METADATA").read_text(encoding="utf-8").splitlines()
    extras = {line.split(": ")[1] for line in lines if line.startswith("Provides-Extra")}
    assert extras == {"test", "docs", "cuda", "train", "cluster"}
    assert "Requires-Python: >=3.10" in lines and "License-Expression: MIT" in lines
