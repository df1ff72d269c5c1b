"""Two settings or programs measured in turn, and caches."""

import os
import threading

import numpy as np
import pytest
from conftest import program

import ikexplore as ikx
from ikexplore.runs import Binary, caches, in_turn


def test_two_builds_in_turn(tmp_path, model, marks):
    """A B B A: the slower build is named, and what differs is listed."""
    path = program(tmp_path)
    pair = tuple(Binary(path, env={**marks.env, "STANDIN_SPEED": speed, "GGML_X": speed}) for speed in ("1", "0.8"))
    found = in_turn(model, "-c 256 -ub 128", "-c 256 -ub 128", 5, runners=pair, names=("old", "new"), progress=False)
    assert found.regression and "with new instead of old" in found.verdict
    assert [mark["env"] for mark in marks.read()] == ["1", "0.8", "0.8", "1", "1", "0.8", "0.8", "1", "1", "0.8"]
    assert ("env.GGML_X", "1", "0.8") in found.differences


def test_two_settings_in_turn_on_the_engine_here(model):
    found = in_turn(model, "-c 256 -ub 128 -t 2", "-c 256 -ub 128 -t 2 -rtr", 2, progress=False)
    assert (found.a.name, found.b.name) == ("without", "-rtr") and found.a.n_runs == found.b.n_runs == 2
    assert [name for name, _, _ in found.differences][:1] == ["rtr"] and set(found.ratio["s_tg"]) == {0, 128}


def test_what_goes_wrong_in_turn_is_said(tmp_path, model):
    broken = Binary(program(tmp_path), env={"STANDIN_FAULT": "oom"})
    with pytest.raises(ikx.IkexploreError, match="out of memory"):
        in_turn(model, "-c 256", "-c 256 -rtr", 2, runners=broken, progress=False)
    with pytest.raises(ikx.IkexploreError, match="cold needs a Binary"):
        in_turn(model, "", "-rtr", cold=True, progress=False)
    with pytest.raises(ikx.IkexploreError, match="pairs"):
        in_turn(model, "", "-rtr", runners=(None,), progress=False)
    stop = threading.Event()
    stop.set()
    with pytest.raises(ikx.errors.Cancelled):
        in_turn(model, "-c 256", "-c 256 -rtr", 2, stop=stop, progress=False)


@pytest.fixture
def big(tmp_path):
    """8 MiB on the disk of the test, all in memory."""
    path = tmp_path / "weights.bin"
    path.write_bytes(np.random.default_rng(0).bytes(8 << 20))
    assert path.read_bytes()
    return path


@pytest.mark.skipif(not hasattr(os, "posix_fadvise"), reason="this system has no posix_fadvise")
def test_dropping_a_file_from_memory(big):
    assert caches.resident(big) == pytest.approx(8, abs=0.1)
    before, after = caches.drop(big)
    if after > 7.9:
        pytest.skip("this file system keeps its files in memory")
    assert before == pytest.approx(8, abs=0.1) and after < 1 and caches.resident(big) == after
    with big.open("rb") as file:
        file.read(4 << 20)
    assert caches.resident(big) > 3.9  # and what the kernel read ahead


def test_memory_facts(monkeypatch, tmp_path):
    for number, cpus in ((0, "0-3,8"), (1, "4-7"), (10, "")):
        (tmp_path / f"node{number}").mkdir()
        (tmp_path / f"node{number}" / "cpulist").write_text(f"{cpus}\n")
    (tmp_path / "numa_balancing").write_text("1\n")
    (tmp_path / "enabled").write_text("always [madvise] never\n")
    monkeypatch.setattr(caches, "_NODES", tmp_path)
    monkeypatch.setattr(caches, "_KERNEL", tmp_path)
    monkeypatch.setattr(caches, "_HUGE", tmp_path / "enabled")
    found = caches.numa()
    assert found["numa.nodes"] == 3 and found["numa.cpus"] == "0: 0-3,8; 1: 4-7; 10: "
    assert found["numa.balancing"] == "on" and found["transparent_huge_pages"] == "madvise"
    assert caches.ranges({0, 1, 2, 5}) == "0-2,5"


def test_files_without_pages_are_refused(model, tmp_path):
    with pytest.raises(ikx.IkexploreError, match="lies in no file"):
        caches.drop(ikx.Model([], {}))
    with pytest.raises(ikx.IkexploreError, match="cannot be read"):
        caches.drop(tmp_path / "nothing")
