"""How soon the tuner has a front for DeepSeek-R1 on four GPUs: by processor time, so that a busy machine does not count.

    python tests/bench/tuner_front.py [HEADER] [RIG] [--ctx 32768] [--seconds 60]

Prints processor seconds until the first candidate that fits, and how good the best by the goal was after 5, 10, 20 ... seconds,
as a share of what it was in the end.
"""

import argparse
import time

import ikexplore as ikx
from ikexplore.tune import search as room
from ikexplore.tune.request import request
from ikexplore.tune.search import Search


class Clock:
    """``time`` as the search sees it."""

    monotonic = staticmethod(time.process_time)


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ask.add_argument("header", nargs="?", default="deepseek-r1-0528-iq4_k")
    ask.add_argument("rig", nargs="?", default="xeon-5120x2-4x3090")
    ask.add_argument("--ctx", type=int, default=32768)
    ask.add_argument("--seconds", type=float, default=60)
    options = ask.parse_args()
    room.time = Clock
    model, rig = ikx.demo.header(options.header), ikx.Machine.load(options.rig)
    asked = request(model, rig, options.ctx, None, None, "2026-08", 256)
    search = Search(asked, options.seconds)
    begin, seen = time.process_time(), []

    def tell(text: str) -> None:
        if search.found:
            seen.append((time.process_time() - begin, min(asked.rank.seconds(f.pp, f.tg) for f in search.found)))

    search.tell = tell
    search.run()
    took = time.process_time() - begin
    tell("")
    last = seen[-1][1]
    print(f"{options.header} on {options.rig}, {options.ctx} tokens: {search.planned} plans of {len(search.tried)} settings in "
          f"{took:.0f} s of processor time, {'all neighbours tried' if search.complete else 'stopped'}")  # fmt: skip
    print(f"first that fits after {seen[0][0]:.1f} s")
    for at in (2, 5, 10, 20, 40):
        before = [s for t, s in seen if t <= at]
        if before and at < took:
            print(f"after {at} s: {last / before[-1]:.1%} of the best request speed")


if __name__ == "__main__":
    main()
