"""Rates of the codecs on one core: python tests/bench/formats.py [types ...] [--rows 256] [--columns 2048] [--seconds 0.3].

Million weights per second, each with its ratio to the reference's figure (`reference_rates.json`: ik_llama.cpp of August
2026, one core of a Zen 5 server CPU). kernel: the compiled decoder over and over into 16 kB, as a matrix product would use
it. decode: ``Format.decode`` as called from Python, into an array of its own, which writes to memory; how fast NumPy copies
floats of that size on this machine is printed beside it. encode: with an imatrix. Every type is measured in turn, round
after round; the best round counts.
"""

import argparse
import json
import os
import sys
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "kernels")]

from ikexplore_kernels import formats, jit  # noqa: E402

REFERENCE = json.loads((ROOT / "tests" / "data" / "formats" / "reference_rates.json").read_text())
ROUNDS = 3
ROUNDING = ("q8_0", "mxfp4")  # so quick that a few rows would time the call


class Best:
    """The least time of a call, over several rounds."""

    def __init__(self, call, weights):
        self.call, self.weights, self.least = call, weights, np.inf

    def round(self, seconds):
        end = time.perf_counter() + seconds
        while True:
            begin = time.perf_counter()
            self.call()
            now = time.perf_counter()
            self.least = min(self.least, now - begin)
            if now > end:
                return

    @property
    def rate(self):
        return self.weights / self.least / 1e6


def decoder(f, data, columns):
    """Decode two rows a hundred times, without Python in between (and without the pause before wide vectors start)."""
    decode, rows = f.code.decode, max(2, f.interleave)
    out = np.empty(rows * columns + 16, np.float32)
    first = -out.ctypes.data % 64

    @jit(cache=False)
    def often(src, dst):
        for _ in range(100):
            decode(src, dst, rows, columns)

    return Best(lambda: often(data.ctypes.data, out.ctypes.data + first), 100 * rows * columns)


def cases(names, rows, columns):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((rows, columns), np.float32)
    w = rng.random(columns, np.float32) + 0.1
    for name in names:
        f = formats.get(name)
        some = x if name in ROUNDING else x[:16]
        data = np.concatenate([f.encode(some, w)] * (rows // len(some)))
        whole = Best(lambda f=f, d=data: f.decode(d, columns), x.size)
        encode = Best(lambda f=f, some=some: f.encode(some, w), some.size)
        yield name, decoder(f, data, columns), whole, encode


def against(rate, name, what):
    theirs = REFERENCE[what].get(name)
    return f"{rate:9.1f} {rate / theirs:6.2f}" if theirs else f"{rate:9.1f} {'':6}"


def main():
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("types", nargs="*", default=list(REFERENCE["encode"]))
    words.add_argument("--rows", type=int, default=256)
    words.add_argument("--columns", type=int, default=2048)
    words.add_argument("--seconds", type=float, default=0.3)
    given = words.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # one core: the codecs would share rows out
    todo = list(cases(given.types, given.rows // 16 * 16, given.columns))
    source = np.ones((given.rows, given.columns), np.float32)
    copy = Best(lambda: np.copyto(np.empty_like(source), source), source.size)
    for _ in range(ROUNDS):
        copy.round(0.05)
        for _, *parts in todo:
            for part in parts:
                part.round(given.seconds / 3)
    print(f"copy of floats: {copy.rate:.0f} M/s")
    print(f"{'type':10} {'kernel':>9} {'ratio':>6}  {'decode':>9} {'ratio':>6}  {'encode':>9} {'ratio':>6}")
    for name, kernel, decode, encode in todo:
        shown = [against(part.rate, name, what) for part, what in ((kernel, "decode"), (decode, "decode"), (encode, "encode"))]
        print(f"{name:10} " + "  ".join(shown))


if __name__ == "__main__":
    main()
