"""What a busy neighbour costs: python tests/bench/neighbour.py [--threads 2] [--rounds 5] [MODEL.gguf].

PP and TG with nobody else, then with one process that spins, in turn; the median of each, their ratio, and the share of the
processor that is left to us if the system hands it out evenly: threads x cores / (threads + 1), as far as cores are short.
"""

import argparse
import os
import statistics
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "kernels")]

import ikexplore as ikx  # noqa: E402


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("model", nargs="?", help="a GGUF; the embedded model without one")
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--rounds", type=int, default=5)
    o = p.parse_args()
    model = ikx.open(o.model) if o.model else ikx.demo.model()
    settings = ikx.Settings.parse(f"-c 512 -ub 512 -b 512 -t {o.threads}")
    found = defaultdict(list)
    ikx.sweep(model, settings, progress=False)  # compiles
    for _ in range(o.rounds):
        for who in ("alone", "with one"):
            other = subprocess.Popen([sys.executable, "-c", "while True: pass"]) if who == "with one" else None
            try:
                row = ikx.sweep(model, settings, progress=False).rows[0]
            finally:
                if other:
                    other.kill()
                    other.wait()
            for what in ("pp", "tg"):
                found[who, what].append(row[what] / row[f"t_{what}"])
    cores = len(os.sched_getaffinity(0))
    fair = min(1.0, cores / (o.threads + 1))
    for what in ("pp", "tg"):
        alone, shared = (statistics.median(found[who, what]) for who in ("alone", "with one"))
        share = shared / alone
        print(f"{what.upper()}: {alone:.1f} t/s alone, {shared:.1f} with a neighbour: {share:.2f}; an even share is {fair:.2f}")


if __name__ == "__main__":
    main()
