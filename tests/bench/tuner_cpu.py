"""The tuner's first choice against an exhaustive grid of real runs of the engine here, on this machine's CPU.

    python tests/bench/tuner_cpu.py HEADER [--layers 2] [--ctx 1024] [--rounds 3] [--jsonl FILE]

Settings: micro-batch x -rtr x fused experts x threads, of the first layers of a model with random weights. Every round
times all of them, every second one backwards. What counts is the request of four tokens of prompt to one generated, by the
medians over rounds of all rows.
"""

import argparse
import itertools
import json
import statistics
from pathlib import Path

import ikexplore as ikx
from ikexplore.settings import Settings


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("header")
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--ctx", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batches", type=int, nargs="+", default=[128, 256, 512])
    parser.add_argument("--jsonl", type=Path)
    options = parser.parse_args()
    model = ikx.demo.synthetic(options.header, layers=options.layers)
    rig = ikx.Machine.detect()
    cores = rig.cores or 1
    threads = sorted({1, cores})
    found = ikx.tune(model, rig, ctx=options.ctx, limits={"n_ubatch": options.batches, "n_threads": threads}, progress=False,
                     profile="2025-06")  # fmt: skip
    chosen = found[0].settings
    print(f"first choice: {chosen.command()}; forecast PP {found[0].pp:.1f} TG {found[0].tg:.1f}")
    grid = [
        Settings(chosen.profile, n_ctx=options.ctx, n_ubatch=ub, rtr=rtr, fused_moe=fmoe, n_threads=n, flash_attn=True)
        for ub, rtr, fmoe, n in itertools.product(options.batches, (False, True), (False, True), threads)
    ]
    if chosen not in grid:
        grid.append(chosen)
    times: dict[Settings, list[tuple[float, float]]] = {s: [] for s in grid}
    for round_ in range(options.rounds):
        for s in grid if round_ % 2 == 0 else grid[::-1]:
            rows = ikx.sweep(model, s, progress=False).rows
            times[s].append((sum(r["pp"] for r in rows) / sum(r["t_pp"] for r in rows),
                             sum(r["tg"] for r in rows) / sum(r["t_tg"] for r in rows)))  # fmt: skip
            if options.jsonl:
                with options.jsonl.open("a") as file:
                    file.write(json.dumps({"settings": s.command(), "round": round_, "rows": rows}) + "\n")
    report(times, chosen)


def report(times: dict[Settings, list[tuple[float, float]]], chosen: Settings) -> None:
    """A table, fastest request first."""
    medians = {s: tuple(statistics.median(v[i] for v in seen) for i in (0, 1)) for s, seen in times.items()}
    seconds = {s: 4 / pp + 1 / tg for s, (pp, tg) in medians.items()}
    best = min(seconds.values())
    print("| settings | PP t/s | TG t/s | request, x best |\n|---|---|---|---|")
    for s in sorted(seconds, key=lambda s: seconds[s]):
        mark = " **first choice**" if s == chosen else ""
        print(f"| `{s.command()}`{mark} | {medians[s][0]:.1f} | {medians[s][1]:.2f} | {seconds[s] / best:.3f} |")
    spread = statistics.median(max(v[1] for v in seen) / min(v[1] for v in seen) for seen in times.values())
    print(f"\nfirst choice: {seconds[chosen] / best:.3f} x the best; median spread of TG between rounds x {spread:.2f}")


if __name__ == "__main__":
    main()
