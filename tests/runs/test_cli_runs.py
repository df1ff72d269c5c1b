"""`ikexplore sweep --binary` and `--cold`."""

import shutil

import pytest

from ikexplore.cli import main


@pytest.fixture
def gguf(data, tmp_path):
    return str(shutil.copy(data / "run" / "llama-iq4_ks.gguf", tmp_path / "model.gguf"))


def test_a_real_program_by_command_line(sweep_bench, gguf, capsys, monkeypatch):
    assert main(["sweep", gguf, "--binary", str(sweep_bench), "--cold", "--", "-c", "256", "-ub", "128"]) == 0
    said = capsys.readouterr()
    assert len(said.out.splitlines()) == 4 and said.out.splitlines()[3].split("|")[3].strip() == "128"
    assert "llama-sweep-bench 4100 (8337e4cd):" in said.err and "numa.nodes" in said.err and "mmap True" in said.err
    monkeypatch.setenv("STANDIN_FAULT", "oom")
    assert main(["sweep", gguf, "--binary", str(sweep_bench), "--", "-c", "1024", "-ub", "128"]) == 1
    said = capsys.readouterr()
    assert len(said.out.splitlines()) == 8 and "out of memory: 12,345.67 MiB" in said.err
    monkeypatch.delenv("STANDIN_FAULT")
    assert main(["sweep", gguf, "--binary", str(sweep_bench), "--", "--frob"]) == 2
    assert main(["sweep", gguf, "--binary", "nothing"]) == 2


def test_cold_says_what_is_left_in_memory(gguf, capsys):
    assert main(["sweep", gguf, "--cold", "--", "-c", "256", "-ub", "128", "-t", "2"]) == 0
    said = capsys.readouterr()
    assert "model in memory:" in said.err and "MiB after dropping" in said.err and len(said.out.splitlines()) == 4
