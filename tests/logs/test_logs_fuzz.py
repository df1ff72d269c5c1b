"""Damaged logs: never an exception, nothing that JSON or Markdown chokes on, and time that grows with the length alone.

IKEXPLORE_FUZZ sets the number of mutations (the full run has 100000), IKEXPLORE_BIG the megabytes of the long log (50).
"""

import json
import os
import random
import time

import pytest
from facts import text_of
from goldens import DATA
from mutate import mutated

from ikexplore.logs import read

MUTATIONS = int(os.environ.get("IKEXPLORE_FUZZ", "600"))
TEXTS = [text_of(path) for path in sorted(DATA.glob("[0-9]*.gz"))]


def test_mutated_logs():
    for seed in range(MUTATIONS):
        text = mutated(TEXTS, random.Random(seed)) + "\n"
        try:
            runs = read(text)
            json.dumps([run.to_dict() for run in runs], allow_nan=False)
            runs.to_markdown()
            for run in runs:
                assert run.to_markdown() and isinstance(run.rates, list)
                assert 1 <= run.lines[0] <= run.lines[1] <= runs.n_lines == text.count("\n") + 1
                assert all(1 <= number <= runs.n_lines for number, _ in run.unread)
        except Exception as error:
            raise AssertionError(f"mutation {seed}: {error!r}\n{text[:2000]!r}") from error


ROW = "|  4096 |   1024 |   4096 |   14.803 |   276.70 |   68.941 |    14.85 |"
#: texts of one kind without end, as one line or as many
ENDLESS = {
    "letters": "a", "colons": ":", "bars": "|", "escapes": "\x1b[", "quote marks": ">", "braces": "{", "dots": ".", "stars": "* ",
    "row": ROW, "rows": ROW + "\n", "glue": "llama_kv_cache_init:  CUDA0 KV buffer size =   2.00 MiB", "overrides": "Tensor blk.1.a ",
    "peers": "Failed to enable peer access from 0 to 1: ", "ticks": "`", "equals": "=", "redraw": "x\r", "tags": "<b>", "devices": "Device 0: ",
    "times": "eval time = 1 ms ", "perplexity": "[1]4.9,", "flags": "-a ", "strings": 'a="', "numbers": "1,", "program": "llama-server ",
    "command": "./llama-server -m x \\\n", "json": "{\n", "list": "[\n", "metadata": "llama_model_loader: - kv 4: a.b\n", "cut rows": "| 1 | 2 | 3 |\n",
    "variables": "a=b\n", "main": "main: n_kv_max = 1\n", "wrapped": "llama_model_loader: " + "x" * 80 + "\nyy\n", "heads": "|PP|TG|N_KV|S_PP t/s|\n",
    "events": 'INFO [ main] x | tid="1" a="\n', "assignments": "A=1 ", "prompts": "$ ", "brackets": "(" * 8, "quotes": '"',
}  # fmt: skip


def seconds(text):
    begin = time.process_time()
    read(text)
    return time.process_time() - begin


@pytest.mark.parametrize("kind", ENDLESS)
def test_time_grows_no_faster_than_length(kind):
    """Four times the text takes about four times as long; twice that, and some for noise, is allowed, a square is not."""
    piece = ENDLESS[kind]
    short, long = (piece * (size // len(piece)) for size in (40_000, 640_000))
    once = max(seconds(short + "\n"), 0.002)
    assert min(seconds(long + "\n") for _ in range(2)) < 16 * once * 4 + 0.05
