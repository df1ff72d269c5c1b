"""Errors of the forecast over posted sweeps, and the file of factors that the package ships.

forecast_tables.py SWEEPS.json            print the tables
forecast_tables.py SWEEPS.json --write    fit the factors to all of it and write ikexplore/forecast/factors.json
forecast_tables.py SWEEPS.json --docs     put the tables into docs/forecast.md
forecast_tables.py SWEEPS.json --test OTHER.json   errors on OTHER's systems with the factors of the package

Both files are lists of records as docs/forecast.md describes them. About two minutes on one core.
"""

import argparse
import json
import re
from pathlib import Path

import numpy as np
from forecast_corpus import Run, load
from forecast_eval import ODD, Evaluation, report, say, train, wrong_pairs

from ikexplore.forecast.known import FILE, fitted
from ikexplore.forecast.terms import Rates
from ikexplore.forecast.work import work

DOCS = Path(__file__).resolve().parents[2] / "docs" / "forecast.md"

#: why a record is far off
WHY = {
    **ODD,
    "d357-L4331": "same command as L3260, another build, in a virtual machine: 12.0 and 17.8 t/s",
    "d357-L3676": "virtual machine whose host was busy",
    "i474-M3": "first build with packed types on GPUs, on Turing: decoding them takes far longer there",
    "d357-L4723": "SMT off, other virtual machines stopped",
    "i629-L608": "Windows, two GPUs without peer access: copies between them take far longer",
    "i629-L233": "Windows, two GPUs without peer access: copies between them take far longer",
    "i521-L60": "seven GPUs on slots of several widths; part of a layer's experts apart from the rest",
    "p494-L135": "kernels of IQ1_S_R4 on the CPU were new that day",
}


def write_factors(runs: list[Run]) -> None:
    found = train(runs)
    about = "Made by tests/bench/forecast_tables.py --write: log of time over datasheet time, standard deviation"
    rows = ",\n  ".join(f"{json.dumps(n)}: [{m:.4f}, {s:.4f}]" for n, (m, s) in sorted(found.items()))
    FILE.write_text('{\n "about": ' + json.dumps(about) + f',\n "runs": {len(runs)},\n "factors": {{\n  {rows}\n }}\n}}\n')
    fitted.cache_clear()


def rule_of_thumb(runs: list[Run]) -> dict[tuple[str, str], float]:
    """(run, kind) -> rate by bandwidth (or operations) of the datasheet times the one constant that suits all best."""
    raw: dict[tuple[str, str], tuple[float, float]] = {}
    for run in runs:
        for p in run.points:
            if not p.first:
                continue
            prompt = p.kind == "pp"
            r = Rates(run.plan, prompt)
            n = min(p.tokens, run.plan.n_tokens)
            w = work(run.plan, n, min(run.plan.placement.context.n_ctx, -(-n // 256) * 256))
            speed = [g.int8_tops * 1e12 if prompt else g.bandwidth_gbs * 1e9 for g in r.gpus]
            speed.append(r.rate if prompt else r.cpu.bandwidth)
            amount = w.products.flops if prompt else w.products.nbytes
            seconds = (amount / np.array(speed)[w.products.backend]).sum()
            raw[run.id, p.kind] = (n / seconds, p.rate)
    best = {kind: np.median([seen / said for (_, k), (said, seen) in raw.items() if k == kind]) for kind in ("pp", "tg")}
    return {key: said * best[key[1]] for key, (said, _) in raw.items()}


def summary(ev: Evaluation, rule: dict) -> list[str]:
    classes = "all | CPU only | hybrid | full GPU"
    lines = [f"| median (90th percentile) of the error, % | PP {classes} | TG {classes} |", "|---" * 9 + "|"]
    words = {"none": "no run of the system", "one": "one run, chosen by the tool", "two": "two runs, chosen by the tool"}
    for method, name in words.items():
        cells = [say(ev.errors(method, k, c)) for k in ("pp", "tg") for c in ("all", "cpu-only", "hybrid", "full-gpu")]
        lines.append(f"| {name} | " + " | ".join(c.rsplit(" ", 1)[0].strip() for c in cells) + " |")
    cells = []
    for kind in ("pp", "tg"):
        for cls in ("all", "cpu-only", "hybrid", "full-gpu"):
            e = [rule[p.run, kind] / p.rate - 1 for p in ev.points if p.first and p.kind == kind
                 and cls in ("all", ev.run_of[id(p)].record["class"])]  # fmt: skip
            cells.append(say(np.array(e)).rsplit(" ", 1)[0].strip())
    lines.append("| datasheet × one constant | " + " | ".join(cells) + " |")
    lines += ["", "| | direction PP | direction TG | in the 80 % band PP | TG |", "|---|---|---|---|---|"]
    for method, name in words.items():
        cells = []
        for kind in ("pp", "tg"):
            right, total = ev.direction(method, kind)
            cells.append(f"{right} of {total} ({100 * right / max(1, total):.0f} %)")
        cells += [f"{100 * ev.coverage(method, k)[0]:.0f} %, x/÷ {np.exp(ev.coverage(method, k)[1]):.2f}" for k in ("pp", "tg")]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return lines


def every_record(ev: Evaluation, rule: dict, left: list[tuple[str, str]]) -> list[str]:
    lines = ["| record | system | class | model | | measured | no run | one run | two runs | rule | remark |",
             "|---|---|---|---|---|---|---|---|---|---|---|"]  # fmt: skip
    for i, p in sorted(enumerate(ev.points), key=lambda ip: (ip[1].rig, ip[1].run, ip[1].kind)):
        if not p.first:
            continue
        run = ev.run_of[id(p)]
        said = [ev.forecast[m].get(i) for m in ("none", "one", "two")] + [rule[p.run, p.kind]]
        cells = ["" if v is None else f"{100 * (v / p.rate - 1):+.0f} %" for v in said]
        why = WHY.get(p.run, "; ".join(run.notes))
        name = re.sub(r"-0000\d.*|\.gguf", "", run.record["model"]["name"] or "")[:32].replace("|", "/")
        lines.append(f"| {p.run} | {run.record['system']} | {run.record['class']} | {name} | {p.kind} | {p.rate:.4g} | "
                     + " | ".join(cells) + f" | {why} |")  # fmt: skip
    reasons: dict[str, list[str]] = {}
    for record, why in left:
        reasons.setdefault(why, []).append(record)
    return [*lines, "", "Left out:", "", *(f"- {why}: {', '.join(ids)}" for why, ids in sorted(reasons.items()))]


def put(name: str, lines: list[str]) -> None:
    """Replace what stands between the marks of one table in the docs."""
    text = DOCS.read_text(encoding="utf-8")
    begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    a, b = text.index(begin) + len(begin), text.index(end)
    DOCS.write_text(text[:a] + "\n" + "\n".join(lines) + "\n" + text[b:], encoding="utf-8")


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ask.add_argument("sweeps", type=Path)
    ask.add_argument("--write", action="store_true")
    ask.add_argument("--docs", action="store_true")
    ask.add_argument("--test", type=Path)
    ask.add_argument("--wrong", action="store_true", help="list the pairs whose direction was missed")
    options = ask.parse_args()
    runs, left = load(options.test or options.sweeps, progress=True)
    if options.write:
        write_factors(runs)
    known = fitted() if options.test else None
    ev = Evaluation(runs, (lambda rig, threads: known) if known is not None else None)
    rule = rule_of_thumb(runs)
    print(len(runs), "runs of", len({r.record["system"] for r in runs}), "systems")
    print(report(ev))
    print("\n".join(summary(ev, rule)))
    if options.wrong:
        for kind in ("pp", "tg"):
            for method in ("none", "one", "two"):
                print(f"\n{kind} {method}\n" + "\n".join(wrong_pairs(ev, method, kind)))
    if options.docs:
        put("summary", summary(ev, rule))
        put("records", every_record(ev, rule, left))


if __name__ == "__main__":
    main()
