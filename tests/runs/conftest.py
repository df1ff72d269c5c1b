"""The stand-in program as an executable file, and the model that it is given."""

import json
import sys
import time
from pathlib import Path

import pytest

import ikexplore as ikx

STAND_IN = Path(__file__).with_name("stand_in.py")


def program(folder: Path, name: str = "llama-sweep-bench") -> Path:
    """The stand-in as a program of that name."""
    path = folder / name
    path.write_text(f"#!{sys.executable} -S\n{STAND_IN.read_text()}")
    path.chmod(0o755)
    return path


@pytest.fixture
def sweep_bench(tmp_path) -> Path:
    return program(tmp_path)


@pytest.fixture
def model(data):
    return ikx.open(data / "run" / "llama-iq4_ks.gguf")


class Marks:
    def __init__(self, path: Path):
        self.path, self.env = path, {"STANDIN_MARK": str(path)}

    def read(self) -> list[dict]:
        return [json.loads(line) for line in self.path.read_text().splitlines()] if self.path.exists() else []


@pytest.fixture
def marks(tmp_path):
    """Tells of the runs of the stand-in: environment for it, and what it wrote."""

    return Marks(tmp_path / "marks.jsonl")


def alive(pid: int) -> bool:
    """Whether a process is there and no zombie, after the moment that the end of one may take."""
    until = time.monotonic() + 10
    while time.monotonic() < until:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return False
        except OSError:
            return False
        time.sleep(0.02)
    return True
