"""The tuner against posted commands: for each hybrid record, does it find settings as good by forecast that fit?

    python tests/bench/tuner_corpus.py [sweeps.json] [--only ID] [--seconds 20] [--markdown FILE]

A posted command ran, so every device counts as having at least what its exact plan holds; nothing is left spare. The
tuner gets the record's context and the profile 2025-06, and nothing else of the command. Two judgements: "both", a
candidate with PP and TG within 1 % of the posted command's or above; "request", one that needs no more seconds for four
tokens of prompt to one generated.
"""

import argparse
import dataclasses
import json
import sys
import time
from collections import defaultdict
from pathlib import Path

import forecast_corpus

import ikexplore as ikx
from ikexplore.errors import IkexploreError
from ikexplore.tune import Candidate, Front, NoFit, tune
from ikexplore.tune.found import Rates, rates

SWEEPS = Path(__file__).resolve().parents[3] / "shared" / "corpus" / "sweeps.json"
SAME = 0.99


def roomy(plan: ikx.Plan) -> ikx.Machine:
    """The machine, with as much memory on each GPU as the posted command held."""
    machine, use = plan.machine, {d.name: d.total_mib for d in plan.devices}
    gpus = tuple(
        dataclasses.replace(g, free_mib=max(g.free_mib or 0, int(use[g.name]) + 1),
                            total_mib=max(g.total_mib or 0, int(use[g.name]) + 1)) for g in machine.gpus
    )  # fmt: skip
    return dataclasses.replace(machine, gpus=gpus)


def judged(run: forecast_corpus.Run, seconds: float) -> dict:
    """One record: posted and best rates, and what the tuner lacks."""
    settings = run.plan.settings
    machine = roomy(run.plan)
    ctx = run.plan.placement.context.n_ctx
    posted: Rates = rates(ikx.plan(run.plan.model, settings, machine), ctx)
    pp, tg = posted.pp[0], posted.tg[0]
    begin = time.process_time()
    disk = False
    try:
        found = tune(run.plan.model, machine, ctx=ctx, profile="2025-06", time_limit=seconds, spare_mib=0, progress=False)
    except NoFit as no:  # the way out that leaves weights on disk, as the posted command did
        way = next((w for w in no.ways if w.rates), None)
        if way is None:
            raise
        found, disk = Front([Candidate(way.settings, run.plan.model, machine, way.rates, "")]), True
    cpu = time.process_time() - begin
    least = min((4 / c.pp + 1 / c.tg) / (4 / pp + 1 / tg) for c in found)
    both = max(found, key=lambda c: min(c.pp / pp, c.tg / tg))
    return {
        "id": run.id, "model": run.plan.model.name, "gpus": ", ".join(g.label[:14] for g in machine.gpus), "pp": pp, "tg": tg,
        "best_pp": both.pp, "best_tg": both.tg, "both": min(both.pp / pp, both.tg / tg), "request": 1 / least, "cpu": cpu,
        "fits": disk or all(c.plan.fits for c in found), "disk": disk, "posted_fits": run.plan.fits, "command": both.command(),
        "posted": settings.command(),
    }  # fmt: skip


def table(rows: list[dict]) -> str:
    lines = ["| record | GPUs | posted PP / TG | tuned PP / TG | both | request | CPU s |", "|---|---|---|---|---|---|---|"]
    for r in rows:
        name = r["id"] + ("" if r["posted_fits"] else " *") + (" (disk)" if r["disk"] else "")
        lines.append(
            f"| {name} | {r['gpus']} | {r['pp']:.4g} / {r['tg']:.4g} | "
            f"{r['best_pp']:.4g} / {r['best_tg']:.4g} | {r['both']:.2f} | {r['request']:.2f} | {r['cpu']:.0f} |"
        )
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("sweeps", nargs="?", type=Path, default=SWEEPS)
    parser.add_argument("--only", action="append", default=[])
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--markdown", type=Path)
    parser.add_argument("--jsonl", type=Path)
    options = parser.parse_args()
    runs, left = forecast_corpus.load(options.sweeps)
    records = {r["id"]: r for r in json.loads(options.sweeps.read_bytes())}
    rows, failed = [], []
    for run in runs:
        if run.record["class"] != "hybrid" or (options.only and run.id not in options.only):
            continue
        try:
            rows.append(judged(run, options.seconds))
        except IkexploreError as error:
            failed.append((run.id, str(error)))
            continue
        r = rows[-1]
        print(f"{r['id']:14} both {r['both']:.3f} request {r['request']:.3f} cpu {r['cpu']:.0f}", file=sys.stderr, flush=True)
        if r["both"] < SAME:
            print(f"   posted {r['pp']:.1f} {r['tg']:.2f}  {r['posted']}\n   tuned  {r['best_pp']:.1f} {r['best_tg']:.2f}  "
                  f"{r['command']}", file=sys.stderr, flush=True)  # fmt: skip
        if options.jsonl:
            with options.jsonl.open("a") as file:
                file.write(json.dumps(r) + "\n")
    reasons = defaultdict(int)
    for name, why in left:
        if records[name]["class"] == "hybrid":
            reasons[why] += 1
    n = max(1, len(rows))
    said = [
        f"{len(rows)} hybrid records; as good in both rates: {sum(r['both'] >= SAME for r in rows)} "
        f"({sum(r['both'] >= SAME for r in rows) / n:.0%}); request as fast: {sum(r['request'] >= SAME for r in rows)} "
        f"({sum(r['request'] >= SAME for r in rows) / n:.0%}); every candidate fits: {all(r['fits'] for r in rows)}; "
        f"larger than RAM, by the way out: {sum(r['disk'] for r in rows)}; "
        f"posted commands that fit what the rig is assumed to have: {sum(r['posted_fits'] for r in rows)}",
        *(f"failed: {name}: {why}" for name, why in failed),
        *(f"not forecast: {count} x {why}" for why, count in reasons.items()),
    ]
    text = table(rows) + "\n\n" + "\n".join(said)
    print(text)
    if options.markdown:
        options.markdown.write_text(text + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
