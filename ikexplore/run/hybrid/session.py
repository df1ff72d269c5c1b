"""A session whose graph runs on the CPU and on GPUs, as the plan divides it."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...errors import Cancelled, SettingsError
from ...graph import Graph
from ...models.build import build
from ...placement import place
from ...placement.buffers import gpu_sizes
from ...schedule import Schedule, plan
from ...schedule.abilities import rules
from ...schedule.schedule import schedule
from ..lower import Inputs
from ..rope_table import rope_table
from ..session import LEAST_ROOM, MOST_PROGRAMS, Session, n_cells
from ..weights import load
from .check import check_plan, check_program
from .device import Device
from .launches import NUMBERS, Memory
from .program import Hybrid
from .trace import HybridTrace


class HybridSession(Session):
    """What ``Session(...)`` gives when the plan puts anything on a GPU. ``devices``: the GPUs with their runtimes; their
    ``label`` says what computes, and every result that is shown carries it.

    reference_kernels: False lets a GPU compute with types that the reference has no CUDA kernel for.
    cuda_graphs: launches of evaluations of up to 8 tokens are captured and replayed as CUDA graphs, from the second of a
    shape on; False launches them one by one. Results are the same.
    """

    def __init__(self, *args: Any, runtimes: Sequence[Any] | None = None, reference_kernels: bool = True,
                 cuda_graphs: bool = True, **more: Any):
        self._runtimes, self._reference_kernels, self._cuda_graphs = runtimes, reference_kernels, cuda_graphs
        super().__init__(*args, **more)

    @property
    def computed_on(self) -> str:
        return ", ".join(["CPU", *(f"{device.name}: {device.label}" for device in self.devices)])

    # -- loading -------------------------------------------------------------------------------------------------------

    def _load(self) -> None:
        """Weights and caches where the placement says. Raises SettingsError where a device is too small."""
        if self.layout != "file":
            raise SettingsError(f"layout {self.layout} is for the CPU: leave it out, or keep everything there with -ngl 0")
        self.placed = placed = place(self.model, self.settings, self.machine)
        if placed.context.split_mode not in ("layer", "none"):
            raise SettingsError(f"-sm {placed.context.split_mode} can be planned, not run; use -sm layer")
        runtimes = self._runtimes if self._runtimes is not None else [_runtime(gpu.name) for gpu in placed.gpus]
        if len(runtimes) < len(placed.gpus):
            raise SettingsError(f"{len(placed.gpus)} GPUs are planned and {len(runtimes)} are there; plan for these")
        self.context, self._tensors = placed.context, placed.tensors
        self.rules = rules(placed.context, self.machine, self._reference_kernels)
        self.devices = [Device(gpu.name, runtime) for gpu, runtime in zip(placed.gpus, runtimes)]
        self.plan = plan(self.model, self.settings, self.machine)
        check_plan(self.plan, self.devices)
        self.weights = load(self.model, placed.tensors, self.on_progress)
        self.repacked = {name: (before, after) for name, before, after in placed.repacked}
        self.inputs = Inputs(self.context.n_ubatch)
        self._memories = [_memory(device) for device in self.devices]
        self._turns: list[dict[tuple, tuple[np.ndarray, int]]] = [{} for _ in self.devices]
        for number in range(len(self.devices)):
            self._place_weights(number)
        self.caches = self._caches()
        self._reserve()

    def _place_weights(self, number: int) -> None:
        """The tensors of one GPU in one block, laid out as the plan counts them."""
        cols, device = self._tensors, self.devices[number]
        rows = np.flatnonzero(self.placed.place == number)
        sizes = gpu_sizes(cols.type_id[rows], cols.ne[rows], cols.nbytes[rows])
        base = device.reserve("weights", int(sizes.sum()))
        starts = np.concatenate([[0], np.cumsum(sizes)])
        for i, row in enumerate(rows.tolist()):
            if self.on_progress:
                text = f"{cols.names[row]} to {device.name}"
                self.on_progress({"phase": "upload", "done": i, "total": len(rows), "text": text})
            if self._stop[0]:
                raise Cancelled("stopped while weights were copied to a GPU")
            self._memories[number].weights[row] = base + int(starts[i])
            device.upload(base + int(starts[i]), self.weights[cols.names[row]].data[: int(cols.nbytes[row])])

    def _caches(self) -> dict[str, np.ndarray]:
        """Cells of K and V per layer: arrays for those that the CPU holds, blocks of the others' devices."""
        graph = self._build(1, self.n_ctx, 1)
        held = self._schedule(graph).held
        caches, wanted = {}, [0] * len(self.devices)
        for row in [r for r in range(graph.n_leafs) if graph.name[r].startswith("cache_")]:
            size, name = int(graph.nb[row][3] * graph.ne[row][3]), graph.name[row]
            if held[row] == len(self.devices):
                caches[name] = np.zeros(size, np.uint8)
            else:
                self._memories[held[row]].caches[name] = wanted[held[row]]
                wanted[held[row]] += -(-size // 128) * 128
        for device, memory, size in zip(self.devices, self._memories, wanted):
            base = device.reserve("cache", size)
            device.runtime.fill(base, 0, size)
            memory.caches = {name: base + at for name, at in memory.caches.items()}
        return caches

    def _reserve(self) -> None:
        """Compute buffers for the graph that is planned for, before anything runs."""
        n = min(self.context.n_ctx, self.context.n_ubatch)
        self._fit(self._made(n, 1, n_cells(self.context, n, n)))
        self._fit(self._made(1, 1, n_cells(self.context, 1, self.n_ctx)))

    def _fit(self, hybrid: Hybrid) -> None:
        check_program(self.plan, self.devices, hybrid)
        for number, device in enumerate(self.devices):
            for purpose, size in hybrid.needs(number).items():
                device.reserve(purpose, max(size, self.plan.compute_bytes.get(device.name, 0) if purpose == "compute" else 0))

    # -- graphs --------------------------------------------------------------------------------------------------------

    def _build(self, n_tokens: int, n_kv: int, n_outputs: int) -> Graph:
        about = {"n_tokens": n_tokens, "n_kv": n_kv, "n_outputs": n_outputs}
        return build(self.model, self.settings, self.machine, tensors=self._tensors, corrected=True, **about)

    def _schedule(self, graph: Graph) -> Schedule:
        return schedule(graph, self.placed, self.rules, self.settings.offload_policy)

    def _made(self, n: int, n_outputs: int, n_kv: int) -> Hybrid:
        """The graph of a shape, lowered but not compiled."""
        planned = self._schedule(self._build(n, n_kv, n_outputs))
        return Hybrid(planned, self.devices, self._memories, self.weights, self.caches, self.inputs, self._rope,
                      self._threads(n), self._turned, self.k_bits, self._cuda_graphs)

    def _program(self, n: int, n_outputs: int) -> Any:
        n_kv = n_cells(self.context, n, self.n_past + n)
        key = (n, n_outputs, n_kv)
        if key not in self._programs:
            hybrid = self._made(n, n_outputs, n_kv)
            self._fit(hybrid)
            hybrid.program.link(self._compiling)
            while len(self._programs) >= MOST_PROGRAMS or (self._programs and self._kept_bytes() > LEAST_ROOM):
                del self._programs[next(iter(self._programs))]
            self._programs[key] = hybrid
        return self._programs[key]

    def _kept_bytes(self) -> int:
        return sum(hybrid.program.keep[0].nbytes for hybrid in self._programs.values())

    def _turned(self, number: int, params: dict[str, Any], factors: int) -> int:
        """Address on a GPU of the cosines and sines of the tokens of an evaluation, filled at its beginning."""
        name = self._factors(factors)
        key = (*sorted((k, v) for k, v in params.items() if not isinstance(v, (dict, list))), name)
        if key not in self._turns[number]:
            weight = self.weights[name] if name else None
            values = weight.data.view(np.float32) if weight else None
            table = rope_table(params, self.n_ctx, values)
            size = self.context.n_ubatch * table[0].nbytes
            self._turns[number][key] = table, self.devices[number].reserve(f"turns {len(self._turns[number])}", size)
        return self._turns[number][key][1]

    def _factors(self, tensor: int) -> str:
        return "" if tensor < 0 else self._tensors.names[tensor]

    # -- evaluating ----------------------------------------------------------------------------------------------------

    def _eval_ubatch(self, tokens: np.ndarray, n_outputs: int) -> np.ndarray:
        n = len(tokens)
        with self._lock:
            hybrid = self._program(n, n_outputs)
            self._fill(tokens, n_outputs)
            for number, device in enumerate(self.devices):
                device.upload(self._memories[number].past, self.inputs.past)
                for table, at in self._turns[number].values():
                    device.upload(at, table[self.inputs.positions[:n]])
            if self._stop[0]:
                raise Cancelled("stopped before the evaluation")
            trace = HybridTrace(hybrid, self) if self.observer is not None else None
            hybrid.run(self._team(n), self._stop, self.observer, trace)
            logits = hybrid.logits(n_outputs, self.model.hparams.n_vocab)
            if self._stop[0]:
                raise Cancelled("stopped in the middle of an evaluation")
            self.n_past += n
            return logits

    def close(self) -> None:
        super().close()
        for device in self.devices:
            device.close()


def _memory(device: Device) -> Memory:
    """A device's memory with what every graph may read."""
    memory = Memory(past=device.reserve("past", 16), numbers=device.reserve("numbers", 4 * NUMBERS))
    device.upload(memory.numbers, np.arange(NUMBERS, dtype=np.int32))
    return memory


def _runtime(name: str) -> Any:
    """The card that the engine calls CUDA0, CUDA1 ... Raises RuntimeError where it cannot be used."""
    from ikexplore_kernels.cuda.runtime import CupyRuntime

    return CupyRuntime(int(name.removeprefix("CUDA")))


