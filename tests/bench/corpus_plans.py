"""Plans what people's logs tell: every run of the corpus that prints graph splits, against what it printed.

Run as a script, with the corpus' sweeps.json or without (then those runs that travel with the tests): prints the table of
docs/planning.md. Figures: graph nodes, graph splits, bytes of the KV cache; and, of those that a log has, lines of compute
buffers. A run is not comparable when its engine, its command or its model's tensors are not known.
"""

import gzip
import json
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path

from corpus_headers import by_name, counts, derived, like, shared_headers

import ikexplore as ikx
from ikexplore.errors import IkexploreError

STARTUPS = Path(__file__).resolve().parent.parent / "data" / "schedule" / "startups.json.gz"
PLANNED = ("deepseek2", "gemma3", "glm4", "llama", "llama4", "qwen2", "qwen3", "qwen3moe")
#: MiB that such a card has free, where a log does not tell; only shares between cards depend on it
FREE = {"3090": 23700, "4090": 23700, "5090": 32000, "A6000": 48000, "T4": 14700, "4080": 15600, "3080": 19700}
#: layers and width of models that logs only name
SIZES = {"deepseek.*(V3|R1)": (61, 7168), "deepseek-lite": (27, 2048), "30B-A3B": (48, 2048), "235B-A22B": (94, 4096),
         "llama-3.1-instruct": (32, 4096)}  # fmt: skip
#: published numbers of models whose logs show none
NUMBERS = {"GLM-Z1-Rumination-32B": {
    "block_count": 61, "context_length": 32768, "embedding_length": 6144, "feed_forward_length": 23040, "vocab_size": 151552,
    "attention.head_count": 48, "attention.head_count_kv": 8, "attention.key_length": 128, "attention.value_length": 128,
    "rope.dimension_count": 64, "attention.layer_norm_rms_epsilon": 1e-5}}  # fmt: skip
PULLS = {409: "2025-05-12"}  #: a run posted in a pull request is of its build; when it became part of the engine
OLDEST = "2025-04-01"  #: the rules of the older profile were checked from April 2025 on


@dataclass
class Result:
    """One run: why it cannot be compared, or what was planned and what was printed."""

    id: str
    model: str
    why_not: str = ""
    splits: tuple[int, int] | None = None  #: planned, printed
    nodes: tuple[int, int] | None = None
    kv: tuple[float, float] | None = None
    compute: tuple[int, int] = (0, 0)  #: lines that agree, lines that were printed
    assumed: list[str] = field(default_factory=list)

    @property
    def exact(self) -> bool:
        pairs = [p for p in (self.splits, self.nodes) if p is not None]
        return not self.why_not and all(a == b for a, b in pairs) and (self.kv is None or abs(self.kv[0] - self.kv[1]) < 0.02)


def header(record: dict, records: list[dict]) -> tuple[ikx.Model | None, list[str]]:
    """The model of a run, and what had to be assumed about it."""
    about, assumed = dict(record["model"]), []
    same = [r["model"] for r in records if _file(r["model"]["name"]) == _file(about["name"])]
    for key in ("type_counts", "hparams", "print_meta"):
        if not about.get(key):
            about[key] = next((m[key] for m in same if m.get(key)), {})
    kinds = {kind.lower(): n for kind, n in about["type_counts"].items()}
    for model in shared_headers().values():
        if kinds and counts(model) == kinds and model.arch == about["arch"]:
            return model, assumed
    found = by_name(about["name"])
    if not kinds and found is not None and found.arch == about["arch"]:
        return found, ["types as in a file of this name"]
    meta = {key: _number(value) for key, value in about["hparams"].items()}
    arch, numbers = about["arch"], about["print_meta"] or {}
    base = like(arch, int(meta.get(f"{arch}.block_count", numbers.get("n_layer", 0))),
                int(meta.get(f"{arch}.embedding_length", numbers.get("n_embd", 0))))  # fmt: skip
    for part, size in SIZES.items():
        if base is None and re.search(part, about["name"], re.IGNORECASE):
            base = like(arch, *size)
    if base is not None:
        meta = {**base.metadata, **meta}
    for part, given in NUMBERS.items():
        if part.lower() in about["name"].lower():
            meta = {**{f"{arch}.{key}": value for key, value in given.items()}, **meta}
    if f"{arch}.block_count" not in meta:
        return None, assumed
    meta = {"general.architecture": arch, **meta}
    meta.setdefault(f"{arch}.vocab_size", int(numbers.get("n_vocab", 32000)))
    if not kinds:
        assumed.append("types not printed")
    return derived(meta, kinds), assumed


def _number(value):
    """A value as it was printed: true and false as words, some systems with decimal commas."""
    if value in ("true", "false"):
        return value == "true"
    return float(value.replace(",", ".")) if isinstance(value, str) and re.fullmatch(r"-?\d+,\d+", value) else value


def _file(name: str) -> str:
    return re.sub(r"-\d{5}-of-\d{5}|-merged|\.gguf", "", name).lower()


def rig(record: dict, spare: tuple[int, ...] = ()) -> ikx.Machine:
    """The GPUs of a run: those that it printed, else those that its buffers and overrides name.

    spare: MiB that something else holds of each.
    """
    log, text = record["log"], json.dumps([record["command"], record["log"]])
    logged = record.get("gpus_logged") or {}
    gpus = []
    for number, name in sorted(logged.items()):
        free = next((mib for card, mib in FREE.items() if card in name), 24000)
        cc = re.search(r"cc (\d+)\.(\d)", name)
        gpus.append({"name": f"CUDA{number}", "free_mib": free, "cc": int(cc[1]) * 100 + int(cc[2]) * 10 if cc else 860})
    if not logged:
        named = {int(n) for n in re.findall(r"CUDA(\d+)", text)}
        n = max(named, default=0) + 1 if named or "-ngl" in text else 0
        gpus = [{"name": f"CUDA{i}", "free_mib": 24000, "cc": 860} for i in range(n)]
    seen = (record["env"] or {}).get("CUDA_VISIBLE_DEVICES")
    if seen and len(seen.split(",")) < len(gpus):
        gpus = [{**gpu, "name": f"CUDA{i}"} for i, gpu in enumerate(gpus[: len(seen.split(","))])]
    for i, less in enumerate(spare):
        gpus[i]["free_mib"] -= less
    date = max(record["date"][:10], PULLS.get(record["source"]["number"], ""))
    return ikx.Machine.described(
        gpus=gpus, cuda_build=bool(gpus), sched_max_copies=log.get("n_copies") or 1, commit_date=date
    )


def reason(record: dict) -> str:
    """Why a run cannot be compared; empty if it can."""
    notes = (record.get("notes") or "").lower()
    if record["engine"] != "ik_llama.cpp":
        return "another engine"
    if record["date"][:10] < OLDEST:
        return "an engine older than the profile (before April 2025)"
    if record["model"]["arch"] not in PLANNED:
        return f"no header of architecture {record['model']['arch']} is made here"
    if not record["command"]:
        return "command not shown"
    if "vulkan" in record["hardware"].lower():
        return "Vulkan backend"
    if "openblas" in notes or re.search(r"(?<!out )(?<!no )\bblas build", notes):
        return "BLAS backend beside the CPU"
    return ""


def run(record: dict, records: list[dict]) -> Result:
    log, result = record["log"], Result(record["id"], record["model"]["name"])
    result.why_not = reason(record)
    if result.why_not:
        return result
    model, result.assumed = header(record, records)
    if model is None:
        result.why_not = "tensors not known"
        return result
    argv = record["command"]
    start = next((i for i, word in enumerate(argv) if "llama-" in word or word.endswith(("main", "server"))), 0)
    settings = ikx.Settings.parse(argv[start + 1 :], profile="2025-06")
    if log.get("n_batch") and log.get("n_ubatch"):  # some posts show another command than the one that ran
        settings = settings.replace(n_batch=log["n_batch"], n_ubatch=log["n_ubatch"])
    if log.get("n_ctx"):
        settings = settings.replace(n_ctx=log["n_ctx"])
    try:
        plan = planned(model, settings, record)
    except IkexploreError as error:
        result.why_not = f"refused: {error}"
        return result
    result.splits = (plan.graph_splits, log["graph_splits"])
    if log.get("graph_nodes"):
        result.nodes = (plan.graph_nodes, log["graph_nodes"])
    if log.get("kv_self_mib"):
        result.kv = (sum(plan.placement.kv_self_bytes) / 2**20, log["kv_self_mib"])
    mine = dict(plan.compute_mib)
    printed = {k: v for k, v in (log.get("compute_mib") or {}).items() if isinstance(v, (int, float))}
    result.compute = sum(abs(mine.get(name, -1) - size) < 0.02 for name, size in printed.items()), len(printed)
    return result


def planned(model: ikx.Model, settings: ikx.Settings, record: dict) -> ikx.Plan:
    """The plan; where GPUs share layers by free memory, with that free memory whose model buffers are the printed ones."""
    first = ikx.plan(model, settings, rig(record))
    n = len(first.placement.gpus)
    if settings.tensor_split or n < 2:
        return first
    printed = record["log"].get("model_mib") or {}
    for spare in ((), *((0,) * i + (less,) for less in (200, 800) for i in range(n))):
        plan = ikx.plan(model, settings, rig(record, spare)) if spare else first
        sizes = {name: size for name, size in plan.model_mib if name.startswith("CUDA") and name != "CUDA_Host"}
        if all(abs(sizes.get(name, 0) - sum(printed.get(name, [0]))) < 0.02 for name in sizes):
            return plan
    return first


def records(path: Path = STARTUPS) -> list[dict]:
    """Runs of a sweeps.json, plain or packed."""
    data = path.read_bytes()
    return json.loads(gzip.decompress(data) if path.suffix == ".gz" else data)


def results(known: list[dict]) -> list[Result]:
    """One result per run with graph splits."""
    return [run(r, known) for r in known if r["log"].get("graph_splits") is not None]


def table(found: list[Result]) -> str:
    lines = ["| run | model | nodes | splits | KV MiB | compute lines | |", "|---|---|---|---|---|---|---|"]
    for r in found:
        if r.why_not:
            continue
        pairs = [f"{a}" if a == b else f"{a} ({b})" for a, b in (p for p in (r.nodes, r.splits) if p)]
        nodes, splits = (pairs if r.nodes else ["", *pairs])
        kv = "" if r.kv is None else f"{r.kv[0]:.2f}"
        say = "exact" if r.exact else f"off by {r.splits[0] - r.splits[1]:+d}"
        lines.append(f"| {r.id} | {r.model[:48]} | {nodes} | {splits} | {kv} | {r.compute[0]}/{r.compute[1]} | {say} |")
    return "\n".join(lines)


if __name__ == "__main__":
    found = results(records(*map(Path, sys.argv[1:])))
    print(table(found))
    comparable = [r for r in found if not r.why_not]
    print(f"\n{sum(r.exact for r in comparable)} of {len(comparable)} comparable runs exact")
    for why in sorted({r.why_not for r in found} - {""}):
        print(f"- {why}: {', '.join(r.id for r in found if r.why_not == why)}")
