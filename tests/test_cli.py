"""The command line: what it prints, its exit codes, and the laboratory that it starts and stops."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from ikexplore import cli, lab
from ikexplore.cli import shared
from ikexplore.errors import IkexploreError

ROOT = Path(__file__).resolve().parent.parent
ENV = {**os.environ, "PYTHONPATH": os.pathsep.join(str(ROOT / part) for part in ("", "kernels", "widgets"))}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["frobnicate"], "invalid choice"),
        ([], "COMMAND"),
        (["plan"], "MODEL"),
        (["sweep", "no-such-file.gguf"], "no-such-file.gguf"),
        (["plan", "no-such-header"], "the headers that come along are deepseek-r1"),
        (["sweep", __file__], "GGUF"),
        (["sweep", "--", "-ub", "0"], "-ub 0"),
        (["sweep", "--", "-ot", "(=CPU"], "regex"),
        (["sweep", "--", "-ctk", "q9_9"], "-ctk"),
        (["sweep", "--profile", "1999"], "2026-08"),
        (["sweep", "-r", "0"], "-r 0"),
        (["sweep", "-r", "x"], "-r"),
        (["sweep", "--jsonl", "/no/such/folder/x"], "no such folder"),
        (["plan", "model.gguf", "--rig", "no-such-rig.toml"], "no-such-rig.toml"),
        (["perplexity", "model.gguf", "no-such-text.txt"], "no-such-text.txt"),
        (["detect", "--", "-ub", "1"], "detect takes no flags"),
        (["lab", "--port", "70000"], "--port 70000"),
        (["lab", "--folder", __file__ + "/x"], "cannot hold"),
    ],
)
def test_bad_input_is_one_line_and_code_2(words, said, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main(words) == 2
    told = capsys.readouterr()
    assert told.out == "" and said in told.err
    assert len(told.err.splitlines()) == 1 and told.err.startswith("ikexplore: ")
    assert list(tmp_path.iterdir()) == []


def test_help_and_version(capsys):
    for words in (["--help"], ["sweep", "--help"], ["--version"]):
        with pytest.raises(SystemExit) as caught:
            cli.main(words)
        assert caught.value.code == 0
    assert "lab" in capsys.readouterr().out


def test_detect_prints_and_saves(capsys, tmp_path):
    from ikexplore.machine import Machine

    assert cli.main(["detect", "--save", str(tmp_path / "rig.toml")]) == 0
    assert "cores" in capsys.readouterr().out
    assert Machine.load(tmp_path / "rig.toml").cores


@pytest.mark.parametrize("repetitions", [1, 2])
def test_sweep_of_the_embedded_model_prints_rows_as_they_come(repetitions, capsys, tmp_path):
    path = tmp_path / "rows.jsonl"
    words = ["sweep", "--jsonl", str(path), "-r", str(repetitions), "--", "-c", "512", "-ub", "128", "--no-such-flag"]
    assert cli.main(words) == 0
    told = capsys.readouterr()
    lines = told.out.splitlines()
    assert [cell.strip() for cell in lines[0].strip("|").split("|") if cell.strip() != "±"] == [
        "PP", "TG", "N_KV", "T_PP s", "S_PP t/s", "T_TG s", "S_TG t/s",
    ]  # fmt: skip
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert [row["n_kv"] for row in rows] == [0, 128, 256, 384] and len(lines) == 2 + len(rows)
    assert all(row["pp"] == 128 and row["tg"] == 32 and row["s_pp"] > 0 and row["s_tg"] > 0 for row in rows)
    assert "unknown flag --no-such-flag" in told.err


@pytest.mark.parametrize(("free_mib", "code"), [(24000, 0), (3, 1)])
def test_plan_prints_the_log_and_says_whether_it_fits(free_mib, code, capsys, tmp_path):
    rig = tmp_path / "rig.toml"
    rig.write_text(f"[[gpu]]\nfree_mib = {free_mib}\n")
    model = Path(lab.__file__).parent / "demo" / "demo.gguf"
    assert cli.main(["plan", str(model), "--rig", str(rig), "--", "-c", "512"]) == code
    assert "graph splits = 2" in capsys.readouterr().out


def test_a_fault_of_the_program_is_no_answer(monkeypatch, capsys):
    monkeypatch.setattr(cli, "parser", lambda: 1 / 0)
    assert cli.main(["detect"]) == 3
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_a_pasted_command_line_is_one_word_behind_the_dashes(capsys):
    options = cli.parser().parse_args(["sweep"])
    options.flags = ["$ CUDA_VISIBLE_DEVICES=0 ./bin/llama-sweep-bench -m model.gguf \\\n -ub 1024 --odd"]
    settings = shared.settings_of(options)
    assert settings.n_ubatch == 1024 and settings.model_path == "model.gguf"
    assert capsys.readouterr().err == "ikexplore: warning: unknown flag --odd is ignored\n"


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT to another process")
def test_ctrl_c_stops_a_sweep_at_once_and_keeps_its_rows(tmp_path):
    path = tmp_path / "rows.jsonl"
    words = [sys.executable, "-m", "ikexplore", "sweep", "--jsonl", str(path), "--", "-c", "16384", "-ub", "64"]
    with subprocess.Popen(words, env=ENV, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        lines = [child.stdout.readline() for _ in range(4)]
        child.send_signal(signal.SIGINT)
        begin = time.monotonic()
        rest, errors = child.communicate(timeout=60)
        assert time.monotonic() - begin < 3
    assert all(line.startswith("|") for line in lines)
    assert child.returncode == 130 and re.search(r"stopped after \d+ rows", errors)
    assert len(path.read_text().splitlines()) == 2 + len(rest.splitlines())


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / "explorer.ipynb").write_text('{"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}')
    (folder / "01_first_sweep.ipynb").write_text("{}")
    return folder


def test_notebooks_are_copied_and_edits_are_kept(source, tmp_path):
    folder = tmp_path / "mine"
    assert lab.copy_notebooks(folder, source) == ["01_first_sweep.ipynb", "explorer.ipynb"]
    assert lab.copy_notebooks(folder, source) == []
    (folder / "explorer.ipynb").write_text("edited")
    (source / "explorer.ipynb").write_text("newer")
    (source / "01_first_sweep.ipynb").write_text("newer too")
    assert lab.copy_notebooks(folder, source) == ["01_first_sweep.ipynb"]
    assert (folder / "explorer.ipynb").read_text() == "edited"
    assert (folder / "01_first_sweep.ipynb").read_text() == "newer too"
    (folder / "explorer.ipynb").unlink()
    assert lab.copy_notebooks(folder, source) == ["explorer.ipynb"]


def test_a_notebook_that_was_there_before_is_left_alone(source, tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "explorer.ipynb").write_text("mine")
    (folder / ".ikexplore.json").write_text("[broken")
    assert lab.copy_notebooks(folder, source) == ["01_first_sweep.ipynb"]
    assert (folder / "explorer.ipynb").read_text() == "mine"


def test_notebooks_are_found_and_their_absence_is_said(monkeypatch, tmp_path):
    assert (lab.notebooks_source() / lab.FIRST).is_file()
    monkeypatch.setattr(lab, "__file__", str(tmp_path / "ikexplore" / "lab.py"))
    with pytest.raises(IkexploreError, match="not installed"):
        lab.notebooks_source()


def test_the_server_is_bound_to_this_machine(tmp_path):
    words = lab.command(tmp_path, 0, browser=False)
    assert "--ServerApp.ip=127.0.0.1" in words and "--no-browser" in words
    assert not any("token" in word.lower() or "password" in word.lower() for word in words)
    assert "--no-browser" not in lab.command(tmp_path, None, browser=True)


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT to another process")
def test_lab_prints_an_address_with_a_token_and_stops(tmp_path):
    words = [sys.executable, "-m", "ikexplore", "lab", "--no-browser", "--port", "0"]
    with subprocess.Popen(words, env=ENV, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        try:
            url = next(found.group() for line in child.stdout if (found := re.search(r"http://\S+", line)))
            assert re.fullmatch(r"http://127\.0\.0\.1:\d+/lab/tree/00_index\.ipynb\?token=\w{32,}", url)
            with urllib.request.urlopen(url, timeout=30) as page:
                assert page.status == 200
            with pytest.raises(urllib.error.HTTPError, match="403"):
                urllib.request.urlopen(url.split("/lab")[0] + "/api/contents", timeout=30)
        finally:
            child.send_signal(signal.SIGINT)
            child.communicate(timeout=30)
    assert child.returncode == 0
    assert (tmp_path / "ikexplore-notebooks" / "explorer.ipynb").is_file()
    with pytest.raises(OSError):
        urllib.request.urlopen(url, timeout=5)


def test_sweep_says_which_tensor_became_what(capsys):
    assert cli.main(["sweep", "--", "-c", "256", "-ub", "64", "-b", "64", "-rtr", "-t", "1"]) == 0
    said = capsys.readouterr().err.splitlines()
    assert "repacked blk.0.attn_q.weight: q8_0 to q8_0_r8" in said
    assert not any("token_embd" in line for line in said)
