"""kill -9 of a grid at 20 random moments, and of a Dask worker at 20: no finished row lost or doubled.

`python tests/bench/killed_grids.py [moments]`. The tests do the same with a few moments.
"""

import os
import random
import signal
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


def workers(moments: int, folder: Path) -> None:
    """A worker is killed again and again while one grid runs."""
    import distributed
    import quick
    from kills import lines_of, marks

    import ikexplore as ikx

    journal, over, kills = folder / "cluster.jsonl", threading.Event(), []
    options = {"n_workers": 2, "threads_per_worker": 2, "dashboard_address": None, "silence_logs": 50}
    with distributed.LocalCluster(resources={"machine": 1}, **options) as cluster, distributed.Client(cluster) as client:

        def killer() -> None:
            dice = random.Random(1)
            while len(kills) < moments and not over.is_set():
                time.sleep(dice.uniform(0.3, 1.5))
                client.wait_for_workers(2, timeout=60)
                pid = dice.choice([pid for _, pid in client.run(quick.who).values()])
                os.kill(pid, signal.SIGKILL)
                kills.append(len(lines_of(journal)))

        thread = threading.Thread(target=killer)
        thread.start()
        axes, rig = {"ub": [32, 64, 96, 128], "rtr": [False, True]}, ikx.Machine.described(cuda_build=False)
        found = ikx.grid(ikx.open(MODEL), axes, rig, journal, client, runner=quick.slow, repetitions=3 * moments // 2,
                         progress=False)  # fmt: skip
        over.set()
        thread.join()
    total = 8 * (3 * moments // 2)
    lines = marks(lines_of(journal))
    assert len(found.done) == total == len(lines) == len(set(lines)), (len(found.done), total, len(lines), found.warnings)
    print(f"worker killed {len(kills)} times at journal lines {kills}; {total} points, each once")


if __name__ == "__main__":
    times = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    with tempfile.TemporaryDirectory() as name:
        grids(times, Path(name))
        workers(times, Path(name))
