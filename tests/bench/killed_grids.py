"""kill -9 of a grid at 20 random moments, and of a Dask worker at 20: no finished row lost or doubled.

`python tests/bench/killed_grids.py [moments] [workers]`; "workers": only these. The tests do the same with a few moments.
"""

import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / part) for part in ("", "kernels", "widgets", "tests/runs")]
MODEL = ROOT / "tests" / "data" / "run" / "llama-iq4_ks.gguf"


def grids(moments: int, folder: Path) -> None:
    """Each round kills one grid several times; the moments add up."""
    from kills import killed_grid

    left, seed = moments, 0
    while left > 0:
        some = min(5, left)
        counts = killed_grid(MODEL, folder / f"grid{seed}.jsonl", some, seed)
        print(f"grid killed {some} times, journal lines after each start: {counts}", flush=True)
        left, seed = left - some, seed + 1


def started(address: str, name: str) -> subprocess.Popen:
    """A worker without a nanny, as on a machine of its own."""
    words = [sys.executable, "-m", "distributed.cli.dask_worker", address, "--no-nanny", "--nthreads", "2", "--name", name,
             "--resources", "machine=1", "--no-dashboard"]  # fmt: skip
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen(words, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def workers(moments: int, folder: Path) -> None:
    """Workers are killed again and again, and others started, while one grid runs."""
    import distributed
    import quick
    from kills import lines_of, marks

    import ikexplore as ikx

    journal, over, kills = folder / "cluster.jsonl", threading.Event(), []
    options = {"n_workers": 0, "dashboard_address": ":0", "silence_logs": 50}
    with distributed.LocalCluster(**options) as cluster, distributed.Client(cluster) as client:
        running = [started(cluster.scheduler_address, f"rig{i}") for i in range(2)]
        client.wait_for_workers(2, timeout=60)

        def killer() -> None:
            dice = random.Random(1)
            while len(kills) < moments and not over.is_set():
                time.sleep(dice.uniform(1.0, 4.0))
                i = dice.randrange(2)
                running[i].kill()
                running[i].wait()
                kills.append(len(lines_of(journal)))
                running[i] = started(cluster.scheduler_address, f"rig{i}")

        thread = threading.Thread(target=killer)
        begin = iter([thread.start])  # with the first point that is over
        axes, rig = {"ub": [32, 64, 96, 128], "rtr": [False, True]}, ikx.Machine.described(cuda_build=False)
        found = ikx.grid(ikx.open(MODEL), axes, rig, journal, client, runner=quick.slow, repetitions=moments, progress=False,
                         on_point=lambda record: next(begin, lambda: None)())  # fmt: skip
        over.set()
        thread.join()
        for worker in running:
            worker.kill()
    lines = marks(lines_of(journal))
    said = len(found.done), [r["reason"] for r in found.failed], len(lines), len(set(lines)), found.warnings
    assert len(found.done) == 8 * moments == len(lines) == len(set(lines)), said
    print(f"worker killed {len(kills)} times at journal lines {kills}; {8 * moments} points, each once")


if __name__ == "__main__":
    times = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    with tempfile.TemporaryDirectory() as name:
        if "workers" not in sys.argv:
            grids(times, Path(name))
        workers(times, Path(name))
