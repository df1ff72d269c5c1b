"""The same log in other clothes: line ends, quote marks, colours, prefixes, encodings, narrow terminals, glued lines."""

import pytest
from facts import text_of
from goldens import DATA

from ikexplore.logs import read

LOGS = ("01", "06", "07", "11", "12", "17", "18", "22")
TEXTS = {path.name[:2]: text_of(path) for path in sorted(DATA.glob("[0-9]*.gz")) if path.name[:2] in LOGS}


def each(mark):
    return lambda text: "\n".join(mark + line for line in text.split("\n"))


def narrow(width):
    """What a terminal of that width gives when its text is copied; commands are written anew by people."""

    def wrapped(text):
        lines = []
        for line in text.split("\n"):
            command = line.rstrip().endswith("\\") or " -m " in line or "--model " in line or len(line) > 600
            lines += [line] if command or not line else [line[i : i + width] for i in range(0, len(line), width)]
        return "\n".join(lines)

    return wrapped


FORMS = {
    "windows": lambda text: text.replace("\n", "\r\n"),
    "quoted": each("> "),
    "quoted twice": each("> > "),
    "coloured": lambda text: "\n".join(f"\x1b[32m{line}\x1b[0m" for line in text.split("\n")),
    "grep": lambda text: text.replace("=", "\x1b[01;31m\x1b[K=\x1b[m\x1b[K"),
    "docker": each("llama-server-1  | "),
    "journal": each("Jun 12 08:00:01 box llama-server[1234]: "),
    "stamped": each("2025-06-12 16:17:20.123 "),
    "main's log": each("0.00.123.456 I "),
    "indented": each("    "),
    "tabs": each("\t"),
    "trailing blanks": lambda text: text.replace("\n", "   \n"),
    "hard blanks": lambda text: text.replace("  ", "\u00a0 "),
    "utf-16": lambda text: text.encode("utf-16"),
    "bom": lambda text: "\ufeff" + text,
    "progress": lambda text: text.replace("\n", "\nloading  3%\rloading 90%\r"),
}
#: a progress bar inside a command is no paste of a command
CASES = [(n, form) for form in FORMS for n in TEXTS if form != "progress" or ("\\\n" not in TEXTS[n] and n != "07")]


def figures(runs):
    quiet = ("metadata", "print_meta", "system_info", "model_file")
    return [
        ({k: v for k, v in run.startup.items() if k not in quiet}, run.rows, run.timings, run.settings, run.program)
        for run in runs
    ]


@pytest.mark.parametrize(("number", "form"), CASES)
def test_same_figures(number, form):
    text = TEXTS[number]
    assert figures(read(FORMS[form](text))) == figures(read(text))


@pytest.mark.parametrize("width", [100, 110, 120])
@pytest.mark.parametrize("number", ["01", "17", "18"])
def test_narrow_terminal(number, width):
    assert figures(read(narrow(width)(TEXTS[number]))) == figures(read(TEXTS[number]))


def test_blank_line_after_every_line():
    for number in ("01", "11", "17", "18"):
        assert figures(read(TEXTS[number].replace("\n", "\n\n"))) == figures(read(TEXTS[number]))


def test_width_is_only_believed_when_lines_go_on():
    from ikexplore.logs.unwrap import width_of

    log = TEXTS["17"].split("\n")
    assert width_of(log) is None
    assert width_of(narrow(110)(TEXTS["11"]).split("\n")) == 110


def test_glued_lines():
    glued = (
        "Failed to enable peer access from 0 to 1: peer access is not supported between these two devices"
        "llama_kv_cache_init:      CUDA0 KV buffer size =   270.00 MiBllama_kv_cache_init:      CUDA1 KV buffer size =   1.50 MiB"
        "llama_new_context_with_model: graph nodes  = 1878llama_new_context_with_model: graph splits = 3"
    )
    (run,) = read(glued + "\n")
    assert run.startup["kv_mib"] == [("CUDA0", 270.0), ("CUDA1", 1.5)]
    assert (run.startup["graph_nodes"], run.startup["graph_splits"]) == (1878, 3)


def test_more_glued_lines_than_are_taken_apart_stay_visible():
    one = "llama_kv_cache_init:      CUDA0 KV buffer size =   270.00 MiB"
    (run,) = read(one * 1000 + "\n")
    read_off = len(run.startup["kv_mib"])
    assert read_off >= 399 and sum(len(text) for _, text in run.unread) >= (1000 - read_off - 1) * len(one)


def test_row_with_something_behind_and_in_front():
    row = "|  2048 |    512 |   6144 |   10.534 |   194.42 |   58.584 |     8.74 |"
    (run,) = read(f"llama_new_context_with_model: graph splits = 3\nnoise {row}Oops(x): found nan{row}\n{row}\n")
    assert len(run.rows) == 3 and run.startup["graph_splits"] == 3
    assert run.unread == [(2, "noise")] and run.notes == ["line 2: Oops(x): found nan"]


def test_remark_behind_a_figure_is_unread():
    (run,) = read("llama_kv_cache_init:      CUDA0 KV buffer size =  2048.00 MiB # where is CUDA1?\n")
    assert run.startup["kv_mib"] == [("CUDA0", 2048.0)] and run.unread == [(1, "# where is CUDA1?")]


def test_cut_at_the_end():
    table = "|    PP |     TG |   N_KV |   T_PP s | S_PP t/s |   T_TG s | S_TG t/s |\n|---|---|---|---|---|---|---|\n"
    whole = "|  2048 |    512 |      0 |    9.166 |   223.43 |   56.876 |     9.00 |\n"
    for cut in (
        "|  2048 |    512 |   2048 |    9.5",
        "|  2048 |    512 |   2048 |    9.549 |   214.48 |   57.088 |     8.",
    ):
        runs = read(table + whole + cut)
        assert len(runs[0].rows) == 1, "a number that was cut must not be believed"
        assert cut in [text for _, text in (*runs.prose, *runs[0].unread)]
    (run,) = read(table + whole + "|  2048 |    512 |   2048 |    9.549 |   214.48 |   57.088 |     8.97")
    assert len(run.rows) == 2, "a row without its last bar is whole when rate and time agree"


def test_size_cut_in_its_number_is_not_believed():
    runs = read("llama_new_context_with_model:      CUDA0 compute buffer size =  1264.\n\nand then it stopped\n")
    assert not runs or "compute_mib" not in runs[0].startup
    (run,) = read("llama_new_context_with_model:      CUDA0 compute buffer size =  1264.\n01 MiB\n")
    assert run.startup["compute_mib"] == [("CUDA0", 1264.01)]
