"""Rates of flash attention: python tests/bench/attention.py [--kinds f16 q8_0] [--past 0 1024 8192] [--head 64] [--clock cpu].

One thread, 16 heads over 8 KV heads, as many layers as make the cache larger than a processor's: microseconds per layer for a
prompt of 512 tokens with its GFLOP/s (both ways where K has 8 bits), and for a single token with its GB/s of cache.
"""

import argparse
import sys
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "kernels")]

from ikexplore_kernels import attention, attention_8bit, attention_one, cache_rows  # noqa: E402
from ikexplore_kernels.formats import get  # noqa: E402
from ikexplore_kernels.program import Instruction, Program  # noqa: E402
from ikexplore_kernels.team import Team  # noqa: E402

HEADS, KV_HEADS = 16, 8


def at(a):
    return a.ctypes.data


class Case:
    """Attention of ``tokens`` after ``past`` positions, a layer after the other."""

    def __init__(self, kind, past, tokens, size, layers, columns, op=attention.flash_attention):
        f, rng = get(kind), np.random.default_rng(0)
        row = f.row_bytes(size)
        some = f.encode(rng.standard_normal((KV_HEADS * 16, size), np.float32)).reshape(16, KV_HEADS * row)
        self.caches = [np.tile(some, (-(-(past + tokens) // 16), 1)) for _ in range(2 * layers)]
        self.q = rng.standard_normal((tokens, HEADS, size), np.float32)
        self.y, self.past = np.zeros((tokens, HEADS, size), np.float32), np.array([past])
        group, many, per = HEADS // KV_HEADS, columns * KV_HEADS // HEADS, KV_HEADS * row
        need = max(attention.attention_scratch_bytes(size, size, columns), attention_one.part_scratch_bytes(size, size))
        self.scratch = np.zeros(need + 64, np.uint8)
        self.scratch = self.scratch[-at(self.scratch) % 64 :][:need]
        self.partial = np.zeros((HEADS, 16 + size), np.float32)
        self.programs = []
        for k, v in zip(self.caches[::2], self.caches[1::2]):
            sources = [at(self.q), *self.q.strides[:2], at(k), per, row, at(v), per, row]
            count = tokens if tokens > 1 else KV_HEADS
            tail = [size, size, count, group, many, size**-0.5, at(self.past), at(self.scratch), need, 0, 0]
            if tokens > 1:
                ops = [Instruction(op, [*sources, at(self.y), *self.y.strides[:2], *tail],
                                   KV_HEADS * -(-tokens // many), f, f)]
            else:
                ops = [Instruction(attention_one.attention_part, [*sources, at(self.partial), 1, KV_HEADS, *tail], 1, f, f)]
            self.programs.append(Program(ops).link())
        seen = sum(past + t + 1 for t in range(tokens))
        self.flops, self.bytes = 4.0 * HEADS * size * seen, 2 * per * (past + 1)
        self.best = np.inf

    def round(self, team, stop, clock):
        begin = clock()
        for p in self.programs:
            team.run(p.records, stop)
        self.best = min(self.best, (clock() - begin) / len(self.programs))


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--kinds", nargs="+", default=["f16", "q8_0"])
    p.add_argument("--past", nargs="+", type=int, default=[0, 1024, 8192])
    p.add_argument("--head", type=int, default=64)
    p.add_argument("--columns", type=int, default=96, help="tokens x query heads of a KV head that are worked on at once")
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--clock", default="wall", choices=["wall", "cpu"])
    o = p.parse_args()
    clock = time.process_time if o.clock == "cpu" else time.perf_counter
    team, stop = Team(1), np.zeros(1, np.int64)
    for kind in o.kinds:
        for past in o.past:
            layers = max(1, min(16, 32768 // (past + 1)))
            one = Case(kind, past, 1, o.head, layers, o.columns)
            ops = [attention.flash_attention, *([attention_8bit.flash_attention_8bit] if kind in cache_rows.CODES else [])]
            many = [Case(kind, past, 512, o.head, 1, o.columns, op) for op in ops]
            for _ in range(o.rounds):
                for case in (*many, one):
                    case.round(team, stop, clock)
            cells = [f"{bits} bits {c.best * 1e6:9.0f} us {c.flops / c.best / 1e9:6.1f} GFLOP/s"
                     for bits, c in zip((32, 8), many)]
            print(f"{kind:6} head {o.head} past {past:5}: 512 tokens, q . k in {', in '.join(cells)}; "
                  f"one {one.best * 1e6:8.1f} us {one.bytes / one.best / 1e9:6.2f} GB/s", flush=True)


if __name__ == "__main__":
    main()
