"""Logs as people posted them: every row and every startup figure, against what people read off the same logs."""

import json
from pathlib import Path

import pytest
from facts import COMMANDS, CUT, RECORDS, load, text_of, wrong, wrong_rows
from goldens import DATA, golden

from ikexplore.logs import read
from ikexplore.settings import Settings

LOGS = sorted(DATA.glob("*.gz"))
LOGS = [path for path in LOGS if path.name[0].isdigit()]


@pytest.fixture(scope="module")
def records():
    return load(DATA / "records.json.gz")


@pytest.mark.parametrize("path", LOGS, ids=lambda path: path.name[:14])
def test_every_figure_that_people_read_off(path, records):
    number, runs = path.name[:2], read(path)
    assert runs, "no run found"
    for index, name in RECORDS.get(number, {}).items():
        differing, figures = wrong(runs[index], records[name])
        assert not differing and (figures or records[name]["rows"])
        assert not wrong_rows(runs[index], records[name], CUT.get(number) == index)


@pytest.mark.parametrize("path", LOGS, ids=lambda path: path.name[:14])
def test_golden(path):
    kept = json.loads((DATA / f"{path.name.split('.')[0]}.json").read_text(encoding="utf-8"))
    found = json.loads(json.dumps(golden(read(path))))
    assert [run.keys() for run in found["runs"]] == [run.keys() for run in kept["runs"]]
    assert found == kept


@pytest.mark.parametrize("path", LOGS, ids=lambda path: path.name[:14])
def test_no_line_is_lost(path):
    """Each line is within a run or around one; what is not understood is there word by word."""
    text = text_of(path)
    lines = text.split("\n")
    runs = read(text)
    assert runs.n_lines == len(lines)
    outside = {number for number, _ in runs.prose}
    for number, line in enumerate(lines, 1):
        inside = any(run.lines[0] <= number <= run.lines[1] for run in runs)
        bare = line.strip("\r \t>")
        if bare and not inside and bare[0].isalnum():
            assert number in outside, f"line {number} is nowhere: {line!r}"
    for number, kept in runs.prose:
        assert kept == lines[number - 1].rstrip("\r")


@pytest.mark.parametrize("path", LOGS, ids=lambda path: path.name[:14])
def test_a_strange_line_is_returned_with_its_number(path):
    lines = text_of(path).split("\n")
    for at in range(0, len(lines), max(1, len(lines) // 12)):
        runs = read("\n".join([*lines[:at], "zyzzyva quux 123 frobnicates", *lines[at:]]))
        places = [*runs.prose, *(item for run in runs for item in run.unread)]
        # in the middle of a command or of a wrapped value it becomes a part of that, still to be seen
        within = any("zyzzyva" in str((run.command, run.startup.get("metadata"))) for run in runs)
        assert within or any(number == at + 1 and "zyzzyva" in text for number, text in places), at


def test_all_posted_logs(shared: Path):
    """The whole reference set: all rows, all figures, all goldens."""
    known = load(shared / "corpus" / "sweeps.json")
    rows = figures = 0
    paths = sorted((shared / "corpus" / "logs").glob("[0-9]*"))
    assert len(paths) >= 25
    for path in paths:
        number, runs = path.name[:2], read(path)
        assert json.loads(json.dumps(golden(runs))) == json.loads(
            (DATA / f"{path.stem}.json").read_text(encoding="utf-8")
        )
        for index, name in RECORDS.get(number, {}).items():
            differing, count = wrong(runs[index], known[name])
            assert not differing, path.name
            assert not wrong_rows(runs[index], known[name], CUT.get(number) == index), path.name
            if number in COMMANDS and runs[index].certainty == "stated":
                command = known[name]["command"]
                assert Settings.parse(command, runs[index].profile).given == runs[index].settings.given, path.name
                assert runs[index].settings.env == known[name]["env"], path.name
            rows, figures = rows + len(runs[index].rows), figures + count
    assert (rows, figures) == (323, 1065)


def test_whole_threads(shared: Path):
    """Five threads in full: each table that people took from them is one run."""
    known = load(shared / "corpus" / "sweeps.json")
    tables = 0
    for path in sorted((shared / "seeds").glob("*.md")):
        kind, number = path.stem.split("-")
        found = [[tuple(row[k] for k in ("pp", "tg", "n_kv", "t_pp", "s_pp", "t_tg", "s_tg")) for row in run.rates]
                 for run in read(path)]  # fmt: skip
        for record in known.values():
            if (
                record["source"]["number"] == int(number)
                and record["source"]["kind"].startswith(kind)
                and record["rows"]
            ):
                assert [tuple(row.values()) for row in record["rows"]] in found, record["id"]
                tables += 1
    assert tables >= 35
