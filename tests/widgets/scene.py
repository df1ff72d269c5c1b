"""Discussion 491's plan as the reference printed it, and an engine for the panel that serves it without computing."""

import gzip
import json
import threading
import time
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from ikexplore import Machine
from ikexplore.errors import IkexploreError, ModelError
from ikexplore.plots.picture import MIB, Device, Grid, Lanes, Picture, Split
from ikexplore.settings import Settings, compile_pattern

DATA = Path(__file__).resolve().parent.parent / "data" / "widgets" / "discussion-491.json.gz"
BYTES = {"f32": (1, 4), "iq4_xs": (256, 136), "q5_k": (256, 176), "q6_k": (256, 210), "q8_0": (32, 34), "iq4_ks": (32, 17)}
GPUS = [{"name": f"CUDA{i}", "free_mib": 24000, "cc": 860} for i in range(4)]


@cache
def facts() -> dict[str, Any]:
    """The file: model header, node names, and both plans."""
    return json.loads(gzip.decompress(DATA.read_bytes()))


@dataclass(frozen=True)
class Tensor:
    name: str
    shape: tuple[int, ...]
    type: str
    nbytes: int


class Model:
    """Enough of a Model for the panel."""

    arch, path, has_weights = "qwen3moe", None, True

    def __init__(self, rows: list[Any], n_layer: int, title: str, has_weights: bool = True) -> None:
        self.tensors = {}
        for name, shape, kind in rows:
            block, size = BYTES[kind.lower()]
            n = 1
            for side in shape:
                n *= side
            self.tensors[name] = Tensor(name, tuple(shape), kind.lower(), n // block * size)
        self.metadata = {"general.name": title}
        self.has_weights = has_weights
        self.hparams = SimpleNamespace(n_layer=n_layer, n_ctx_train=40960, is_moe=True, is_mla=False)


def qwen235() -> Model:
    """The header of discussion 491's model."""
    f = facts()
    return Model(f["tensors"], f["n_layer"], f["title"])


def small(title: str = "small") -> Model:
    """Two layers, a few kilobytes."""
    rows: list[Any] = [["token_embd.weight", [256, 512], "q8_0"], ["output_norm.weight", [256], "f32"]]
    for layer in range(2):
        rows += [
            [f"blk.{layer}.{role}.weight", shape, "q8_0"]
            for role, shape in (("attn_q", [256, 256]), ("ffn_up_exps", [256, 64, 8]), ("ffn_down_exps", [64, 256, 8]))
        ]
    return Model(rows, 2, title)


def rig() -> Machine:
    """The four cards of discussion 491."""
    return Machine.described(GPUS, cpu={"cores": 48, "threads": 48})


def settings(rtr: bool = False) -> Settings:
    """The command line of discussion 491."""
    return Settings.parse(facts()["pub-491-rtr" if rtr else "pub-491-no-rtr"]["argv"], profile="2025-06")


def picture(grid: Grid, s: Settings, machine: Machine) -> Picture:
    """The plan as printed for ``settings()``; other settings get its splits with tensors placed by the rules."""
    f = facts()["pub-491-rtr" if s.rtr else "pub-491-no-rtr"]
    names = [d.name for d in machine.devices]
    at, why = [], []
    for i, name in enumerate(grid.names):
        hit = next((n for n, (p, _) in enumerate(s.overrides) if compile_pattern(p).search(name)), None)
        if hit is not None:
            at.append(names.index(s.overrides[hit][1]))
            why.append(f"-ot rule {hit + 1}")
        elif name.startswith("token_embd"):
            at.append(len(names) - 1)
            why.append("the embedding is always on the host")
        else:
            gpus = len(machine.gpus)
            at.append(min(gpus - 1, int(grid.layer[i] * gpus / (grid.n_layer + 1))) if gpus else 0)
            why.append(f"layer {grid.layer[i]} of {grid.n_layer} by -ngl")
    known = grid.n_layer == 94 and len(names) == 5
    lanes = (
        Lanes.of([Split(r[0], r[1], r[2], r[5], r[6], r[7], r[8]) for r in f["splits"]], facts()["nodes"], 94, names)
        if known
        else Lanes.of([Split("CPU", 0, 1)], ["inp_embd"], grid.n_layer, names)
    )
    return Picture(
        "a title of its own",
        grid,
        _devices(f["log"] if known else {}, machine, grid, at),
        tuple(at),
        tuple(why),
        lanes,
        lanes,
        {i: "iq4_xs_r8" for i, d in enumerate(at) if s.rtr and d == len(names) - 1 and grid.role[i] >= 0},
    )


def _devices(log: dict[str, Any], machine: Machine, grid: Grid, at: list[int]) -> tuple[Device, ...]:
    def of(kind: str, name: str) -> float:
        host = ("CPU", "CUDA_Host")
        return sum(mib for buffer, mib in log.get(kind, ()) if buffer == name or (name == "CPU" and buffer in host))

    out = []
    for number, d in enumerate(machine.devices):
        model = of("model_mib", d.name) or sum(grid.nbytes[i] for i, x in enumerate(at) if x == number) / MIB
        out.append(
            Device(d.name, d.kind == "cpu", d.simulated, d.free_mib, model, of("kv_mib", d.name), of("compute_mib", d.name))
        )
    return tuple(out)


class Forecast:
    """Rates that -rtr moves: prompts down, generation up."""

    def __init__(self, plan: Any) -> None:
        self.plan, rtr = plan, plan.settings.rtr
        self.rows = []
        for i in range(5):
            pp, tg = (170.0 if rtr else 287.0) - 12 * i, (17.1 if rtr else 15.7) - 0.7 * i
            row = {"pp": 4096, "tg": 1024, "n_kv": 4096 * i, "t_pp": 4096 / pp, "t_tg": 1024 / tg, "s_pp": pp, "s_tg": tg}
            ends = {f"s_{k}_{end}": row[f"s_{k}"] * f for k in ("pp", "tg") for end, f in (("low", 0.8), ("high", 1.25))}
            self.rows.append(row | ends)

    def where(self, n_kv: int = 0) -> dict[str, dict[str, float]]:
        copies = 0.0 if self.plan.settings.rtr else 6.0
        return {"pp": {"PCIe: weights": copies, "CPU: experts": 8.0, "CUDA0: attention": 2.0},
                "tg": {"CPU: experts": 0.05, "CUDA1: weights": 0.01}}

    def to_markdown(self) -> str:
        return "\n".join(f"| {row['n_kv']} | {row['s_pp']:.1f} | {row['s_tg']:.1f} |" for row in self.rows)


@dataclass
class FakeEngine:
    """Serves ``picture`` for every plan and makes up rows; ``pace`` seconds per row."""

    pace: float = 0.05
    rows: int = 6
    fail: str = ""  #: plan, forecast, sweep or requantized: raise there
    slow: float = 0.0  #: seconds that detection takes
    stopped_after: float | None = None
    calls: list[str] = field(default_factory=list)
    layouts: list[str] = field(default_factory=list)  #: of the sweeps

    def demo(self) -> Any:
        return small("embedded demo")

    def headers(self) -> list[str]:
        return ["large"]

    def header(self, name: str) -> Any:
        return small(f"{name}.gguf")

    def open(self, path: str) -> Any:
        if not path.endswith(".gguf"):
            raise ModelError(f"{path} is no GGUF file; give the path of one")
        return small(path)

    def present(self) -> Any:
        return Machine.described(cpu={"cores": 2, "threads": 2, "ram_mib": 16000})

    def plan(self, model: Any, s: Any, machine: Any) -> Any:
        self.calls.append("plan")
        if self.fail == "plan":
            raise IkexploreError("this cannot be planned; choose another type")
        return SimpleNamespace(model=model, settings=s, machine=machine, findings=())

    def detect(self) -> Any:
        self.calls.append("detect")
        end = time.monotonic() + self.slow
        while time.monotonic() < end:
            time.sleep(0.01)
        return Machine.described(GPUS[:1], cpu={"cores": 2, "threads": 2, "ram_mib": 16000})

    def forecast(self, plan: Any) -> Any:
        self.calls.append("forecast")
        if self.fail == "forecast":
            raise IkexploreError("this cannot be forecast")
        return Forecast(plan)

    def picture(self, plan: Any, grid: Grid) -> Picture:
        return picture(grid, plan.settings, plan.machine)

    def requantized(self, model: Any, kind: str) -> Any:
        if self.fail == "requantized":
            raise RuntimeError("boom\nsecond line")
        return Model(
            [[t.name, list(t.shape), kind if len(t.shape) > 1 else t.type] for t in model.tensors.values()],
            model.hparams.n_layer,
            "small",
        )

    def quants(self) -> dict[str, float]:
        return {"q8_0": 8.5, "iq4_ks": 4.25}

    def sweep(self, model: Any, s: Any, on_row: Any, on_progress: Any, stop: threading.Event, layout: str = "file") -> None:
        self.calls.append("sweep")
        self.layouts.append(layout)
        if self.fail == "sweep":
            raise RuntimeError("no kernel\nfor this")
        ub = s.resolved(model, None).n_ubatch
        for i in range(self.rows):
            for phase in ("tg", "pp"):
                end = time.monotonic() + self.pace / 2
                while time.monotonic() < end:
                    on_progress({"phase": phase, "done": i, "total": self.rows, "text": "", "t_s": 20.0})
                    if stop.wait(0.01):
                        return
            on_row(
                {
                    "pp": ub,
                    "tg": ub // 4,
                    "n_kv": i * ub,
                    "t_pp": 1.0,
                    "t_tg": 1.0,
                    "s_pp": 280.0 - 9 * i - (90 if s.rtr else 0),
                    "s_tg": 15.5 - i * 0.6 + (1.7 if s.rtr else 0),
                }
            )
