"""Pasted text: shells, prompts, fences, continuations, quotes, Windows paths."""

import shlex

import pytest

from ikexplore.errors import SettingsError
from ikexplore.settings import OLD, Settings
from ikexplore.settings.line import quote, take_apart

BASH = r"""CUDA_VISIBLE_DEVICES=0,1,2,3 numactl --interleave=all ./bin/llama-sweep-bench \
    -m Smoothie-Qwen3-235B-A22B.IQ4_XS.gguf \
    -t 48 \
    -fa \
    -ot "blk\.(0|1|2|)\.ffn_.*_exps.=CUDA0" \
    -ot '\.ffn_.*_exps.=CPU' \
    -ub 4096 \
"""
ARGV = [
    "-m",
    "Smoothie-Qwen3-235B-A22B.IQ4_XS.gguf",
    "-t",
    "48",
    "-fa",
    "-ot",
    r"blk\.(0|1|2|)\.ffn_.*_exps.=CUDA0",
    "-ot",
    r"\.ffn_.*_exps.=CPU",
    "-ub",
    "4096",
]


def test_bash_with_continuations():
    found = take_apart(BASH)
    assert found.argv == ARGV and found.program == "./bin/llama-sweep-bench"
    assert found.env == [("CUDA_VISIBLE_DEVICES", "0,1,2,3")] and found.prefix == ["numactl", "--interleave=all"]


@pytest.mark.parametrize(
    "text",
    [
        "```bash\n" + BASH + "```\n",
        "Here is what I ran:\n\n```\n$ " + BASH + "```\nand the log follows\n",
        "user@host:~/ik_llama.cpp$ " + BASH,
        "(venv) user@host:~$ " + BASH,
        "> " + BASH.replace("\n", "\n> ").rstrip("> "),
        BASH.replace("\n", "\r\n"),
        BASH.replace(" \\\n", "  \\   \n"),
        "\ufeff" + BASH,
        "  $ " + BASH,
        "#!/bin/bash\n# run it\n" + BASH,
        "export CUDA_VISIBLE_DEVICES=0,1,2,3\n" + BASH.split(" ", 1)[1],
        "export CUDA_VISIBLE_DEVICES=0,1,2,3; " + BASH.split(" ", 1)[1],
        "cd ik_llama.cpp && " + BASH,
        BASH.rstrip(" \\\n") + " 2>&1 | tee log.txt",
        BASH.rstrip(" \\\n") + " > log.txt",
        BASH.replace("-fa \\\n", "\\\n    # -rtr \\\n    -fa \\\n"),
        BASH.replace('"', "\u201c", 1).replace('"', "\u201d", 1),
        BASH.replace("    -t", "    \u2013t"),
        BASH.replace(" -t", "\u00a0-t"),
        BASH.replace(" \\\n    -", "\n    -"),
        "git pull\ncmake --build build\n" + BASH,
    ],
)
def test_the_same_command_in_other_clothes(text):
    found = take_apart(text)
    assert found.argv == ARGV and found.program == "./bin/llama-sweep-bench"
    assert found.env == [("CUDA_VISIBLE_DEVICES", "0,1,2,3")]


POWERSHELL = r"""PS C:\ik_llama.cpp> $env:CUDA_VISIBLE_DEVICES = "0,1"
PS C:\ik_llama.cpp> .\bin\llama-sweep-bench.exe --alias a/b `
    --model C:\Users\me\models\Qwen3 235B\q.gguf `
    -ot "blk\.([0-9]|1[0-5])\.ffn_.*=CUDA0" `
    -ub 2048 `
"""


def test_powershell():
    found = take_apart(
        POWERSHELL.replace(r"C:\Users\me\models\Qwen3 235B\q.gguf", r'"C:\Users\me\models\Qwen3 235B\q.gguf"')
    )
    assert found.program == r".\bin\llama-sweep-bench.exe" and found.env == [("CUDA_VISIBLE_DEVICES", "0,1")]
    assert found.argv == [
        "--alias",
        "a/b",
        "--model",
        r"C:\Users\me\models\Qwen3 235B\q.gguf",
        "-ot",
        r"blk\.([0-9]|1[0-5])\.ffn_.*=CUDA0",
        "-ub",
        "2048",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "Q:\\LLAMA_IK>llama-perplexity -m D:\\models\\a.gguf ^\n  -ot blk\\.(3|4)\\.ffn=CPU ^\n  -c 512",
        "llama-perplexity.exe -m D:\\models\\a.gguf -ot blk\\.(3|4)\\.ffn=CPU -c 512",
        '$env:A="0"; .\\llama-perplexity.exe -m D:\\models\\a.gguf -ot "blk\\.(3|4)\\.ffn=CPU" -c 512',
        'set CUDA_VISIBLE_DEVICES=0 && llama-perplexity -m "D:\\models\\a.gguf" -ot "blk\\.(3|4)\\.ffn=CPU" -c 512',
        "& \"C:\\Program Files\\llama\\llama-perplexity.exe\" -m D:\\models\\a.gguf -ot 'blk\\.(3|4)\\.ffn=CPU' -c 512",
    ],
)
def test_cmd_and_windows_paths_keep_their_backslashes(text):
    found = take_apart(text)
    assert "llama-perplexity" in found.program
    assert found.argv == ["-m", "D:\\models\\a.gguf", "-ot", r"blk\.(3|4)\.ffn=CPU", "-c", "512"]


def test_a_shell_would_eat_bare_backslashes_and_a_field_would_not():
    assert take_apart(r"./llama-cli -ot blk\.3\.ffn=CPU").argv == ["-ot", "blk.3.ffn=CPU"]
    assert take_apart(r"-ot blk\.(3|4)\.ffn=CPU").argv == ["-ot", r"blk\.(3|4)\.ffn=CPU"]
    assert take_apart(r"""-ot "blk\.3=CPU" -p 'a\nb' -a a\ b""").argv == [
        "-ot",
        r"blk\.3=CPU",
        "-p",
        r"a\nb",
        "-a",
        "a b",
    ]


@pytest.mark.parametrize(
    ("argv", "program", "prefix"),
    [
        (
            ["numactl", "-N", "0", "-m", "0", "./build/bin/llama-server", "-c", "1"],
            "./build/bin/llama-server",
            ["numactl", "-N", "0", "-m", "0"],
        ),
        (["sudo", "nice", "-n", "-5", "llama-cli", "-c", "1"], "llama-cli", ["sudo", "nice", "-n", "-5"]),
        (["env", "A=1", "B=2", "./main", "-c", "1"], "./main", []),
        (["./run.sh", "-c", "1"], "./run.sh", []),
        (
            ["taskset", "-c", "0-15", "ik_llama.cpp/build/bin/llama-bench", "-c", "1"],
            "ik_llama.cpp/build/bin/llama-bench",
            ["taskset", "-c", "0-15"],
        ),
        (["-c", "1"], None, []),
    ],
)
def test_argument_lists(argv, program, prefix):
    found = take_apart(argv)
    assert (found.program, found.prefix, found.argv) == (program, prefix, ["-c", "1"])


@pytest.mark.parametrize("text", ["", "   \n", "\\", "```\n```", "$", "#", "&&", "; ;"])
def test_nothing_pasted_is_no_settings(text):
    assert Settings.parse(text).given == {}


@pytest.mark.parametrize("bad", [None, 3, b"-c 1", [1, 2], {"a": 1}])
def test_only_texts_are_command_lines(bad):
    with pytest.raises(SettingsError, match="a command line is a text"):
        Settings.parse(bad)


def test_quote_survives_a_shell():
    import subprocess

    words = ["a b", "it's", 'a"b', "$HOME", "a\\b", "x\ny", "\t", "ü", "*", "", "`id`", "\x01'"]
    line = " ".join(map(quote, words))
    assert "\n" not in line
    assert take_apart("-p " + line).argv[1:] == words
    if subprocess.run(["bash", "-c", "true"], check=False).returncode == 0:
        told = subprocess.run(
            ["bash", "-c", f"printf '%s\\0' {line}"], capture_output=True, text=True, check=True
        ).stdout
        assert told.split("\0")[:-1] == words
    assert quote("abc") == shlex.quote("abc")


def test_posts_of_the_seed_threads(shared):
    text = (shared / "seeds" / "discussion-491.md").read_text(encoding="utf-8")
    start = text.index("CUDA_VISIBLE_DEVICES=0,1,2,3 numactl")
    s = Settings.parse(text[start : text.index("\n\n", start)], profile=OLD)
    assert s.program == "./bin/llama-sweep-bench" and s.unknown == () and len(s.overrides) == 5
    assert (s.n_ubatch, s.n_gpu_layers, s.numa) == (4096, 95, "distribute")
