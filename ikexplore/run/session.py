"""A session: one model, one set of switches, one KV cache. Evaluates ubatches on the CPU.

The graph is the planner's own (``models.build``); it is lowered once per shape and then run by a thread team. Calls
block; ``stop()`` from another thread, or Ctrl-C, ends one within an instruction's chunk and leaves a usable session.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ikexplore_kernels.program import Program

from ..errors import Cancelled, ModelError, SettingsError
from ..graph import Graph
from ..machine import Machine
from ..models import Model
from ..models.build import build
from ..models.context import Context, context
from ..models.mla import PROMPT
from ..placement import place
from ..settings import Settings
from .lower import Inputs, Lowering
from .rope_table import rope_table
from .trace import Observer, Trace, run_watched
from .weights import Weight, load

Progress = Callable[[dict], None]
#: lowered graphs that a session keeps, one per number of tokens and outputs
MOST_PROGRAMS = 16
#: bytes that their memory may take, however small the model is
LEAST_ROOM = 64 << 20
#: architectures whose results were compared with the reference's; others are planned only
#: what ``Session(layout=...)`` takes
LAYOUTS = ("file", "own16")
RUN = ("deepseek2", "gpt-oss", "llama", "qwen2", "qwen3", "qwen3moe")


class Session:
    """``Session(model, settings)``; then ``eval(tokens)`` as often as the context allows.

    Where the plan puts something on a GPU that is really there, the session is a ``HybridSession`` (``run.hybrid``), which
    also takes ``runtimes``, one per GPU of the machine, ``reference_kernels`` and ``cuda_graphs``. Otherwise everything is on
    the CPU.

    ``repacked``: tensor name -> (old type, new type), what -rtr changed. ``n_past``: positions in the cache.
    ``k_bits``: 32 for a quantized K widened to float32; 8 for q . k of prompts in 8 bits where K has 8 (q8_0, q8_KV), its rows
    repacked 64 positions at a time: faster, with the reference's noise of 8-bit queries. On a GPU it changes nothing.
    ``layout``: "file" for weights as the file has them or -rtr makes them; "own16" for the engine's own 16-row layout of those
    that -rtr leaves alone, where their type has one: the same logits, faster, a copy in memory. CPU only.
    Raises ModelError for models without weights or kernels, SettingsError for switches that do not fit.
    """

    def __new__(cls, model: Model, settings: Settings | None = None, on_progress: Progress | None = None,
                machine: Machine | None = None, runtimes: Any = None, **more: Any) -> "Session":
        if cls is Session and (runtimes is not None or uses_gpus(model, settings, machine)):
            from .hybrid.session import HybridSession

            return super().__new__(HybridSession)
        return super().__new__(cls)

    def __init__(self, model: Model, settings: Settings | None = None, on_progress: Progress | None = None,
                 machine: Machine | None = None, k_bits: int = 32, layout: str = "file"):
        if k_bits not in (8, 32):
            raise SettingsError(f"q . k in {k_bits} bits: choose 8 or 32")
        if layout not in LAYOUTS:
            raise SettingsError(f"layout {layout!r} is not known; choose {' or '.join(LAYOUTS)}")
        self.k_bits, self.layout = k_bits, layout
        self.model, self.settings = model, settings or Settings()
        self.on_progress = on_progress
        self.machine = machine or Machine.detect()
        if model.arch not in RUN:
            raise ModelError(f"architecture {model.arch!r} can be planned, not run yet; those run are {', '.join(RUN)}")
        if not model.has_weights:
            raise ModelError(f"{model.name}: a header without weights can be planned, not run; open the GGUF itself")
        self.resolved = self.settings.resolved(model, self.machine)
        self.context = context(model, self.settings)
        self.n_ctx, self.n_past = self.context.n_ctx, 0
        self.observer: Observer | None = None  #: sees the values of the nodes that it wants, while they are there
        self._stop = np.zeros(1, np.int64)
        self._lock = threading.Lock()
        self._programs: dict[tuple, Any] = {}
        self._ropes: dict[tuple, np.ndarray] = {}
        self._teams: dict[int, Any] = {}
        self._load()

    def _load(self) -> None:
        """Everything is on the CPU here, wherever the switches would put it on a rig with GPUs."""
        cpu = replace(self.machine, gpus=(), cuda_build=False)
        placed = place(self.model, self.settings.replace(overrides=(), split_mode="layer"), cpu)
        self._tensors = placed.tensors
        self.weights: dict[str, Weight] = load(self.model, placed.tensors, self.on_progress, self.layout == "own16")
        self.repacked = {name: (before, after) for name, before, after in placed.repacked}
        self.caches = self._caches()
        self.inputs = Inputs(self.context.n_ubatch)

    def _caches(self) -> dict[str, np.ndarray]:
        """Cells of K and V per layer, zeroed, as rows of the cache types."""
        graph = self._build(1, self.n_ctx, 1)
        caches = {}
        for row in range(graph.n_leafs):
            if graph.name[row].startswith("cache_"):
                ne, nb = graph.ne[row], graph.nb[row]
                caches[graph.name[row]] = np.zeros(int(nb[3] * ne[3]), np.uint8)
        return caches

    def _build(self, n_tokens: int, n_kv: int, n_outputs: int) -> Graph:
        """The graph of an evaluation, as on a machine without GPUs."""
        about = {"n_tokens": n_tokens, "n_kv": n_kv, "n_outputs": n_outputs}
        return build(self.model, self.settings, None, tensors=self._tensors, corrected=True, **about)

    @property
    def computed_on(self) -> str:
        """What computes, for those who show results: the CPU, and the cards of a hybrid session by their own names."""
        return "CPU"

    # -- evaluating ---------------------------------------------------------------------------------------------

    def eval(self, tokens: Sequence[int] | np.ndarray, n_outputs: int = 1) -> np.ndarray:
        """Logits, float32 [n_outputs, n_vocab], of the last ``n_outputs`` of ``tokens``, which are added to the cache.

        Takes any number of tokens that the context has room for; they are worked on in ubatches. Raises
        SettingsError when the context is full or a token is out of range, Cancelled when stopped.
        """
        tokens = np.asarray(tokens, np.int64).reshape(-1)
        n = len(tokens)
        self._check(tokens, n_outputs)
        out = []
        for at in range(0, n, self.context.n_ubatch):
            part = tokens[at : at + self.context.n_ubatch]
            wanted = max(0, min(len(part), at + len(part) - (n - n_outputs)))
            logits = self._eval_ubatch(part, max(1, wanted))
            if wanted:
                out.append(logits)
        return np.concatenate(out) if len(out) != 1 else out[0]

    def _check(self, tokens: np.ndarray, n_outputs: int) -> None:
        n, vocab = len(tokens), self.model.hparams.n_vocab
        if n == 0 or not 1 <= n_outputs <= n:
            raise SettingsError(f"{n} tokens with {n_outputs} outputs: give at least one token and 1 to {n} outputs")
        if tokens.min() < 0 or tokens.max() >= vocab:
            raise SettingsError(f"token {tokens[(tokens < 0) | (tokens >= vocab)][0]} is not in 0..{vocab - 1}")
        if self.n_past + n > self.n_ctx:
            raise SettingsError(f"{self.n_past} + {n} tokens do not fit the context of {self.n_ctx}; give a larger -c")

    def _eval_ubatch(self, tokens: np.ndarray, n_outputs: int) -> np.ndarray:
        n = len(tokens)
        with self._lock:
            program, logits, trace = self._program(n, n_outputs)
            self._fill(tokens, n_outputs)
            if self._stop[0]:
                raise Cancelled("stopped before the evaluation")
            if self.observer is None:
                self._team(n).run(program.records, self._stop)
            else:
                run_watched(program, trace, self._team(n), self._stop, self.observer)
            if self._stop[0]:
                raise Cancelled("stopped in the middle of an evaluation")
            self.n_past += n
            return logits.copy()

    def _fill(self, tokens: np.ndarray, n_outputs: int) -> None:
        """The inputs of an evaluation."""
        n = len(tokens)
        self.inputs.tokens[:n] = tokens
        self.inputs.positions[:n] = self.n_past + np.arange(n)
        self.inputs.out_ids[:n_outputs] = np.arange(n - n_outputs, n)
        self.inputs.past[:] = self.n_past, self.n_past + n

    def _team(self, n_tokens: int) -> Any:
        from ikexplore_kernels.team import Team

        threads = self._threads(n_tokens)
        if threads not in self._teams:
            self._teams[threads] = Team(threads)
        return self._teams[threads]

    def _threads(self, n_tokens: int) -> int:
        return self.resolved.n_threads if n_tokens == 1 else self.resolved.n_threads_batch

    def _program(self, n: int, n_outputs: int) -> tuple[Program, np.ndarray, Trace]:
        """The linked program for a shape, its logits, its nodes; with flash attention one serves every position."""
        n_kv = n_cells(self.context, n, self.n_past + n)
        key = (n, n_outputs, n_kv)
        if key not in self._programs:
            graph = self._build(n, n_kv, n_outputs)
            lowering = Lowering(graph, self.weights, self.caches, self.inputs, self._rope, self._threads(n), self.k_bits)
            program = lowering.program().link(self._compiling)
            self._forget(program)
            trace = Trace(graph, self, lowering.places, program.keep[0])
            self._programs[key] = program, _floats_at(program, n_outputs, self.model.hparams.n_vocab), trace
        return self._programs[key]

    def _forget(self, coming: Program) -> None:
        """Old programs go when they are many, or when their memory exceeds a tenth of what weights and cache take."""
        held = sum(w.data.nbytes for w in self.weights.values()) + sum(c.nbytes for c in self.caches.values())
        room = max(LEAST_ROOM, held // 10)
        sizes = {key: program.keep[0].nbytes for key, (program, *_) in self._programs.items()}
        while sizes and (len(sizes) >= MOST_PROGRAMS or sum(sizes.values()) + coming.keep[0].nbytes > room):
            oldest = next(iter(sizes))
            del sizes[oldest], self._programs[oldest]

    def _compiling(self, done: int, total: int, what: str) -> None:
        if self._stop[0]:
            raise Cancelled("stopped while kernels were compiled")
        if self.on_progress:
            self.on_progress({"phase": "compile", "done": done, "total": total, "text": what})

    def _rope(self, params: dict[str, Any], factors: Weight | None) -> np.ndarray:
        key = (*sorted(params.items()), factors and factors.name)
        if key not in self._ropes:
            values = factors.data.view(np.float32) if factors else None
            self._ropes[key] = rope_table(params, self.n_ctx, values)
        return self._ropes[key]

    # -- the cache and the end ----------------------------------------------------------------------------------

    def rewind(self, n_past: int = 0) -> None:
        """Forget all positions from ``n_past`` on. Raises SettingsError for a position that the cache does not hold."""
        if not 0 <= n_past <= self.n_past:
            raise SettingsError(f"cannot rewind to position {n_past}: the cache holds 0..{self.n_past}")
        self.n_past = n_past

    def stop(self) -> None:
        """End the evaluation that is under way in another thread; it and later ones raise Cancelled until ``resume``."""
        self._stop[0] = 1

    def resume(self) -> None:
        """Allow evaluations again after ``stop``."""
        self._stop[0] = 0

    def close(self) -> None:
        """End the session's threads and free its memory."""
        self.stop()
        with self._lock:
            for team in self._teams.values():
                team.close()
            self._teams, self._programs, self.caches, self.weights = {}, {}, {}, {}

    def __enter__(self) -> "Session":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()


class CpuSession(Session):
    """A session that is on the CPU, whatever GPUs there are."""


def uses_gpus(model: Model, settings: Settings | None, machine: Machine | None) -> bool:
    """Whether the plan puts weights or cache on GPUs that are present and that CuPy can use."""
    machine = machine or Machine.detect()
    if not machine.gpus or any(gpu.simulated for gpu in machine.gpus):
        return False
    from ikexplore_kernels.cuda.build import available

    if not available()[0]:
        return False
    placed = place(model, settings or Settings(), machine)
    on_gpu = (placed.place >= 0) & (placed.place < len(placed.gpus))
    return bool(on_gpu.any()) or any(slot >= 0 for slot in placed.kv_slots)


def n_cells(cx: Context, n: int, end: int) -> int:
    """Cells of the cache that the graph of n tokens reads when ``end`` are filled.

    With -mla 2 and 3 it may work on all cells that it reads, filled or not: it should read few more then.
    """
    expands = cx.mla_attn == 2 or (cx.mla_attn == 3 and n >= PROMPT)
    step = 32 if not cx.flash_attn else 256 if expands else cx.n_ctx
    return min(cx.n_ctx, -(-end // step) * step)


def _floats_at(program: Program, rows: int, columns: int) -> np.ndarray:
    """The program's result as float32 [rows, columns], a view of its memory."""
    memory = program.keep[0]
    at = program.result - memory.ctypes.data
    return memory[at : at + rows * columns * 4].view(np.float32).reshape(rows, columns)
