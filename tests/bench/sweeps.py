"""PP and TG of whole models, ours and a real llama-sweep-bench's in turn on the same GGUF.

python tests/bench/sweeps.py q8_0 q4_k --models dense moe --against PROGRAM [--threads 2] [--rounds 3] [--clock cpu]

For each model and type: best tokens/s over the rounds at each n_kv, per layout (plain, and repacked with -rtr), and ours over
the reference's, best layout against best layout. A round runs every contender once, so that a busy spell hits all. On a
machine that others use too, ``--clock cpu --threads 1`` counts CPU seconds instead: ours by the process clock, the
reference's by a preloaded clock (needs cc). Models are made once and kept in --cache (about 0.3 to 1.4 GB a file).
``--kv q8_0``: caches of that type. Layouts of ours alone: ``8bit``, plain with q . k in 8 bits; ``own16``, the engine's own.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from types import SimpleNamespace

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "kernels"), str(Path(__file__).resolve().parent)]

from bench_models import bench_model  # noqa: E402

import ikexplore.run.sweep  # noqa: E402, F401
from ikexplore.models import open as open_model  # noqa: E402
from ikexplore.settings import Settings  # noqa: E402

sweep_module = sys.modules["ikexplore.run.sweep"]  # the package has a function of this name

TYPES = ["q8_0", "q4_0", "q4_k", "q6_k", "iq4_xs", "iq4_nl", "iq4_ks", "iq4_k", "iq5_k",
         "q2_k", "q3_k", "iq2_k", "iq3_k", "iq3_s", "iq2_xxs", "iq2_kt", "iq3_kt", "iq4_kt"]

OURS_ALONE = ("8bit", "own16")

CPU_CLOCK = """
#define _GNU_SOURCE
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
int clock_gettime(clockid_t c, struct timespec *t) {
    return syscall(SYS_clock_gettime, c == CLOCK_MONOTONIC ? CLOCK_PROCESS_CPUTIME_ID : c, t);
}
"""


def cpu_clock() -> str:
    """A library to preload that makes the monotonic clock count CPU seconds of the process."""
    folder = Path(tempfile.mkdtemp())
    (folder / "clock.c").write_text(CPU_CLOCK)
    subprocess.run(["cc", "-shared", "-fPIC", "-O2", "-o", folder / "clock.so", folder / "clock.c"], check=True)
    return str(folder / "clock.so")


class Contender:
    """One engine and layout on one file; ``best`` holds {(what, n_kv): tokens/s}."""

    def __init__(self, name, path, options):
        self.name, self.path, self.o = name, path, options
        self.best = defaultdict(float)

    def rows(self):
        raise NotImplementedError

    def round(self):
        for row in self.rows():
            for what, key in (("PP", "pp"), ("TG", "tg")):
                self.best[what, row["n_kv"]] = max(self.best[what, row["n_kv"]], row[key] / row[f"t_{key}"])


class Ours(Contender):
    def rows(self):
        o = self.o
        settings = Settings(n_ctx=max(o.n_kv) + o.ubatch, n_ubatch=o.ubatch, n_batch=max(o.ubatch, 512), n_threads=o.threads,
                            n_threads_batch=o.threads, rtr="rtr" in self.name, cache_type_k=o.kv, cache_type_v=o.kv)
        k_bits, layout = 8 if "8bit" in self.name else 32, "own16" if "own16" in self.name else "file"
        found = sweep_module.sweep(open_model(self.path), settings, progress=False, k_bits=k_bits, layout=layout)
        return [r for r in found.rows if r["n_kv"] in o.n_kv]


class Theirs(Contender):
    def rows(self):
        o = self.o
        command = [o.against, "-m", self.path, "-c", max(o.n_kv) + o.ubatch, "-ub", o.ubatch, "-t", o.threads,
                   "-ctk", o.kv, "-ctv", o.kv, "--output-format", "jsonl", *(["-rtr"] if "rtr" in self.name else [])]
        env = os.environ | ({"LD_PRELOAD": o.preload} if o.preload else {})
        done = subprocess.run([str(c) for c in command], capture_output=True, text=True, env=env, cwd=tempfile.gettempdir())
        rows = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        rows = rows or [json.loads(line) for line in done.stderr.splitlines() if line.startswith("{")]
        if done.returncode or not rows:
            print(f"{self.name} on {self.path.name}: {done.stderr.strip().splitlines()[-1:]}", file=sys.stderr)
        return [r for r in rows if r["n_kv"] in o.n_kv]


def measure(model, kind, o):
    path = bench_model(model, kind, Path(o.cache))
    contenders = [Ours(f"ours {x}", path, o) for x in o.layouts]
    if o.against:
        contenders += [Theirs(f"theirs {x}", path, o) for x in o.layouts if x not in OURS_ALONE]
    for _ in range(o.rounds):
        for c in contenders:
            c.round()
    show(model, kind, contenders, o)
    if not o.keep:
        path.unlink()


def show(model, kind, contenders, o):
    cells = [f"{model:6}{kind:9}"]
    for n_kv in o.n_kv:
        for what in ("PP", "TG"):
            figures = {c.name: c.best[what, n_kv] for c in contenders}
            mine = max(v for k, v in figures.items() if k.startswith("ours"))
            other = max([v for k, v in figures.items() if k.startswith("theirs")], default=0)
            cells.append(" ".join(f"{v:7.1f}" for v in figures.values()) + (f" ={mine / other:5.2f}" if other else ""))
    print(" | ".join(cells), flush=True)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("types", nargs="*", default=TYPES)
    p.add_argument("--models", nargs="+", default=["dense", "moe"], choices=["demo", "dense", "moe"])
    p.add_argument("--against", help="a llama-sweep-bench")
    p.add_argument("--layouts", nargs="+", default=["plain", "rtr"], choices=["plain", "rtr", "own16", "8bit"])
    p.add_argument("--kv", default="f16", help="type of both caches")
    p.add_argument("--n-kv", nargs="+", type=int, default=[0, 1024], help="multiples of --ubatch")
    p.add_argument("--ubatch", type=int, default=512)
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--clock", default="wall", choices=["wall", "cpu"])
    p.add_argument("--cache", default=str(Path.home() / ".cache" / "ikexplore" / "bench"))
    p.add_argument("--keep", action="store_true", help="keep the models for the next time")
    o = p.parse_args()
    o.preload = cpu_clock() if o.clock == "cpu" and o.against else None
    if o.clock == "cpu":
        if o.threads != 1:
            sys.exit("--clock cpu: waiting threads use CPU time as well; give --threads 1")
        sweep_module.time = SimpleNamespace(perf_counter=time.process_time)
    names = [f"ours {x}" for x in o.layouts]
    if o.against:
        names += [f"theirs {x}" for x in o.layouts if x not in OURS_ALONE]
    names = [name for name in names if name != "theirs 8bit"]
    print(f"tokens/s, {o.threads} threads, {o.clock} clock, best of {o.rounds}; columns: {', '.join(names)}, = ratio")
    print(f"{'model':6}{'type':9} | " + " | ".join(f"{w} at n_kv {n}" for n in o.n_kv for w in ("PP", "TG")))
    for model in o.models:
        for kind in o.types or TYPES:
            measure(model, kind, o)


if __name__ == "__main__":
    main()
