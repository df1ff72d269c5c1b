"""Posted sweeps as points: record -> machine, model, settings -> plan -> terms, with why a record was left out."""

import json
import re
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from forecast_headers import model_of

import ikexplore as ikx
from ikexplore.forecast.fit import Point
from ikexplore.forecast.rates import Forecast
from ikexplore.models.model import Tensor

#: days of the builds that posts name
COMMITS = {"24c010b3": "2025-05-23", "14292913": "2025-05-27", "93209939": "2025-06-20", "5b677c3c": "2025-06-20",
           "144ee1c4": "2025-06-18", "1843ed22": "2025-06-19", "fb6a0d01": "2025-06-04", "ab7f694b": "2025-05-03",
           "056f0818": "2025-05-04"}  # fmt: skip
#: a run posted in a pull request is of its build: when that became part of the engine
PULLS = {409: "2025-05-12", 492: "2025-06-04", 494: "2025-06-05"}


#: files whose tensors were packed for what another command leaves in RAM
PACKED_FOR = {"d491-L176": "d491-L164"}


@dataclass(eq=False)
class Run:
    """One posted sweep that can be forecast."""

    record: dict
    plan: ikx.Plan
    notes: list[str]
    points: list[Point] = field(default_factory=list)

    @property
    def id(self) -> str:
        return self.record["id"]

    @property
    def rig(self) -> str:
        return box(self.record["system"])


def box(system: str) -> str:
    """One machine may be posted with and without its GPUs."""
    return re.sub(r"-(4080-cpu|4080|cpu|a6000x\d)$", "", system)


def date_of(record: dict) -> str:
    said = (record.get("commit") or "") + (record.get("notes") or "")
    day = next((day for commit, day in COMMITS.items() if commit in said), record["date"][:10])
    return max(day, PULLS.get(record["source"]["number"], ""))


def machine_of(record: dict, logged: dict[str, str]) -> ikx.Machine:
    words, hardware = " ".join(record["command"] or []).lower(), record.get("hardware") or ""
    cards: list[str] | None = [name for key, name in sorted(logged.items(), key=lambda kv: (len(kv[0]), kv[0]))
                               if not key.startswith("vk")] or None  # fmt: skip
    if record["class"] == "cpu-only":
        cards = []
    one = 1 if "numactl -n 0" in words or "one socket" in hardware.lower() else None
    date, copies = date_of(record), (record.get("log") or {}).get("n_copies") or 1
    machine = ikx.Machine.from_text(hardware, cards, sockets=one, commit_date=date, sched_max_copies=copies)
    seen = (record.get("env") or {}).get("CUDA_VISIBLE_DEVICES")
    if seen is not None and cards is None:
        kept = [machine.gpus[int(i)] for i in seen.split(",") if i.strip().isdigit() and int(i) < len(machine.gpus)]
        machine = ikx.Machine.from_text(
            hardware, [g.label for g in kept], sockets=one, commit_date=date, sched_max_copies=copies
        )
    return machine


def reason(record: dict) -> str:
    """Why a record cannot be forecast at all."""
    if record["engine"] != "ik_llama.cpp":
        return "another engine"
    if not record.get("rows"):
        return "no table"
    if not record.get("command") or record["command_certainty"] == "none":
        return "command not known"
    if record["class"] == "unknown":
        return "which devices ran it is not known"
    if "vulkan" in ((record.get("hardware") or "") + (record.get("notes") or "")).lower():
        return "Vulkan"
    return ""


def run_of(record: dict, records: list[dict], logged: dict[str, str]) -> Run:
    """Raises LookupError or IkexploreError with the reason."""
    if reason(record):
        raise LookupError(reason(record))
    model, note = model_of(record, records)
    settings = settings_of(record)
    machine = machine_of(record, logged)
    if "repacked offline" in (record["model"].get("name") or ""):
        other = next((r for r in records if r["id"] == PACKED_FOR.get(record["id"])), record)
        model = _repacked(model, settings_of(other), machine)
    plan = ikx.plan(model, settings, machine)
    return Run(record, plan, [note] if note else [])


def settings_of(record: dict) -> ikx.Settings:
    words = [re.sub(r",\s+", ",", word) for word in record["command"]]  # posts break long -ot lists at their commas
    settings = ikx.Settings.parse(words, profile="2025-06")
    ctx = max((row["n_kv"] + row["pp"] for row in record.get("rows") or []), default=0)
    if ctx > (settings.n_ctx or 0):
        settings = settings.replace(n_ctx=ctx)
    return settings


def _repacked(model: ikx.Model, settings: ikx.Settings, machine: ikx.Machine) -> ikx.Model:
    """The model as if the tensors that stay in RAM had been repacked in the file."""
    changed = {name: to for name, _, to in ikx.plan(model, settings.replace(rtr=True), machine).repacked}
    tensors = [Tensor(t.name, t.shape, changed.get(t.name, t.type), t.nbytes, None, t.offset) for t in model.tensors.values()]
    return ikx.Model(tensors, dict(model.metadata))


def points_of(run: Run) -> list[Point]:
    """Points of the first, the middle and the last row."""
    rows = run.record["rows"]
    picked = [rows[i] for i in sorted({0, len(rows) // 2, len(rows) - 1})]
    if run.record["program"] == "server":  # a server generates after its prompt
        picked = [{**row, "tg": row["tg"] + 2 * row["pp"]} for row in picked]
    mix = re.sub(r"[ (-]*(000|\(repacked|custom).*|\.gguf", "", run.record["model"]["name"] or "")
    return Forecast(run.plan, (), [{}]).points(measured=picked, run=run.id, rig=run.rig, mix=mix)


def load(path: Path, progress: bool = False) -> tuple[list[Run], list[tuple[str, str]]]:
    """Runs of a sweeps.json with their points, and (id, why not) of the rest of those with tables."""
    from tqdm import tqdm

    records = json.loads(Path(path).read_bytes())
    logged: dict[str, dict] = defaultdict(dict)
    for r in records:
        seen = {k: v for k, v in (r.get("gpus_logged") or {}).items() if not k.startswith("vk")}
        if len(seen) > len(logged[r["system"]]):
            logged[r["system"]] = seen
    runs, left = [], []
    for r in tqdm(records, disable=not progress, leave=False):
        if not r.get("rows"):
            continue
        cards = r.get("gpus_logged") or {}
        need = max([int(n) for n in re.findall(r"=CUDA(\d+)", " ".join(r.get("command") or []))] + [0])
        if need >= len(cards) and logged[r["system"]] and (r.get("env") or {}).get("CUDA_VISIBLE_DEVICES") is None:
            cards = logged[r["system"]]
        try:
            run = run_of(r, records, cards)
            run.points = points_of(run)
            runs.append(run)
        except (LookupError, ValueError) as error:  # IkexploreError is a ValueError
            left.append((r["id"], str(error).strip("'\"")))
    return runs, left
