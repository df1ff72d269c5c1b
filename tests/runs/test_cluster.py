"""A grid on a Dask cluster of processes: one point at a time per worker, a killed worker's point run again, a whole journal."""

import json
import os
import signal
import threading
import time
from itertools import pairwise

import pytest
import quick
from kills import lines_of, marks

import ikexplore as ikx

distributed = pytest.importorskip("distributed", reason="distributed is not installed (extra 'cluster')")
RIG = ikx.Machine.described(cuda_build=False)
AXES = {"rtr": [False, True], "ub": [32, 64]}


@pytest.fixture(scope="module")
def starts(tmp_path_factory):
    """A file that gets a line whenever a point is begun."""
    path = tmp_path_factory.mktemp("cluster") / "starts"
    path.touch()
    return path


@pytest.fixture(scope="module")
def cluster(starts):
    """Two workers that stand for two machines."""
    os.environ["QUICK_STARTS"] = str(starts)
    options = {"n_workers": 2, "threads_per_worker": 2, "processes": True, "dashboard_address": None, "silence_logs": 50}
    with distributed.LocalCluster(resources={"machine": 1}, **options) as made:
        yield made
    del os.environ["QUICK_STARTS"]


@pytest.fixture
def client(cluster):
    with distributed.Client(cluster) as made:
        made.wait_for_workers(2, timeout=60)
        yield made


def test_points_are_shared_out_one_at_a_time(client, model, tmp_path):
    found = ikx.grid(model, AXES, RIG, tmp_path / "j.jsonl", client, runner=quick.slow, repetitions=2, progress=False)
    assert len(found.done) == 8 and not found.stopped
    assert len({r["rig"] for r in found.done}) == 2 and any("machines" in text for text in found.warnings)
    for rig in {r["rig"] for r in found.done}:
        spans = sorted((r["started"], r["started"] + r["seconds"]) for r in found.done if r["rig"] == rig)
        assert all(end <= begin + 0.01 for (_, end), (begin, _) in pairwise(spans))
    assert len(set(marks(lines_of(tmp_path / "j.jsonl")))) == 8
    again = ikx.grid(model, AXES, RIG, tmp_path / "j.jsonl", client, runner=quick.slow, repetitions=2, progress=False)
    assert again.records == found.records  # nothing is left to do


def test_a_killed_workers_point_is_run_again(client, model, tmp_path, starts):
    """kill -9 of a worker in the middle of a point: the one that has not just finished."""
    path, killed = tmp_path / "j.jsonl", []
    workers = client.run(quick.who)
    before = len(starts.read_text().splitlines())

    def kill(record):
        if not killed:
            killed.extend(pid for name, pid in workers.values() if not record["rig"].endswith(f"/{name}"))
            time.sleep(0.1)
            os.kill(killed[0], signal.SIGKILL)

    found = ikx.grid(model, AXES, RIG, path, client, runner=quick.slow, repetitions=3, progress=False, on_point=kill)
    assert len(killed) == 1 and len(found.done) == 12 and not found.failed and not found.stopped
    assert len(starts.read_text().splitlines()) - before == 13
    lines = lines_of(path)
    assert len(lines) == 12 == len(set(marks(lines))) and all(json.loads(line)["rows"] for line in lines)
    client.wait_for_workers(2, timeout=60)


def test_a_stop_keeps_what_is_finished(client, model, tmp_path):
    stop = threading.Event()
    found = ikx.grid(model, AXES, RIG, tmp_path / "j.jsonl", client, runner=quick.slow, repetitions=5, progress=False,
                     stop=stop, on_point=lambda record: stop.set())  # fmt: skip
    assert found.stopped and 1 <= len(found.done) < 20 and len(lines_of(tmp_path / "j.jsonl")) == len(found.done)


def test_a_point_that_fails_is_a_record(client, model):
    found = ikx.grid(model, {"rtr": [False]}, RIG, None, client, runner=quick.failing, progress=False)
    assert [r["reason"] for r in found.failed] == ["no such kernel"] and found.failed[0]["rig"]
    found = ikx.grid(model, {"rtr": [False]}, RIG, None, client, runner=quick.bug, progress=False)
    assert "ZeroDivisionError" in found.failed[0]["reason"]


def test_models_in_memory_and_workers_without_the_resource_are_refused(client, model, monkeypatch):
    monkeypatch.setattr("ikexplore.runs.cluster.ARRIVAL", 0.3)
    with pytest.raises(ikx.IkexploreError, match="lies in no file"):
        ikx.grid(ikx.requantized(model, "q8_0"), AXES, RIG, None, client, runner=quick.slow, progress=False)
    with (
        distributed.LocalCluster(n_workers=1, processes=False, dashboard_address=":0") as plain,
        distributed.Client(plain) as other,
        pytest.raises(ikx.IkexploreError, match="--resources machine=1"),
    ):
        ikx.grid(model, AXES, RIG, None, other, runner=quick.slow, progress=False)


def test_types_are_made_on_the_workers(client, model):
    found = ikx.grid(model, {"type": [None, "q8_0"]}, RIG, None, client, runner=quick.types, progress=False)
    assert {r["values"]["type"]: r["rows"][0]["n_types"] for r in found.done} == {"-": 2, "q8_0": 16}
