"""Prompt and generation speed against context: the same work and the same columns as llama-sweep-bench.

For n_kv = 0, ubatch, 2 ubatch ... while ubatch more positions fit the context: generate ubatch / 4 tokens one by one
from n_kv on, forget them, then evaluate one ubatch of prompt. A warm-up comes first.
"""

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import Cancelled, SettingsError
from ..models import Model
from ..settings import Settings
from .session import Session

COLUMNS = (("PP", "pp"), ("TG", "tg"), ("N_KV", "n_kv"), ("T_PP s", "t_pp"), ("S_PP t/s", "s_pp"),
           ("T_TG s", "t_tg"), ("S_TG t/s", "s_tg"))
#: seconds between reports of progress within a row
TICK = 0.1


@dataclass
class Sweep:
    """Rows as they were measured. A row is a dict: pp tg n_kv (tokens), t_pp t_tg (seconds, mean over repetitions), s_pp
    s_tg (tokens/s, mean), their standard deviations ``*_sd`` (0 for one repetition) and ``repetitions``."""

    settings: Settings
    machine: Any = None
    model: str = ""
    rows: list[dict[str, Any]] = field(default_factory=list)
    stopped: bool = False
    source: Any = field(default=None, repr=False, compare=False)  #: the Model that ran
    repacked: dict[str, tuple[str, str]] = field(default_factory=dict)
    #: what else may differ between two sweeps: caches, memory layout, program; compare lists it
    facts: dict[str, Any] = field(default_factory=dict)

    def to_markdown(self) -> str:
        """The table that llama-sweep-bench prints, with +- columns when there were repetitions."""
        return "\n".join([*markdown_head(self.repetitions), *(markdown_row(r, self.repetitions) for r in self.rows)])

    @property
    def repetitions(self) -> int:
        """How often each row was timed."""
        return max((r["repetitions"] for r in self.rows), default=1)

    def to_jsonl(self, path: str | Path | None = None) -> str:
        """One JSON object a row; written to ``path`` when given."""
        text = "".join(json.dumps(r) + "\n" for r in self.rows)
        if path is not None:
            Path(path).write_text(text)
        return text

    def __str__(self) -> str:
        return self.to_markdown()

    def _repr_markdown_(self) -> str:
        return self.to_markdown()


def markdown_head(repetitions: int = 1) -> list[str]:
    """The two lines above the rows."""
    names = [name for name, key in COLUMNS for name in ([name, "±"] if repetitions > 1 and key[0] in "st" and key[1] == "_"
                                                        else [name])]
    return ["|" + "|".join(f"{n:>9}" for n in names) + "|", "|" + "|".join("-" * 9 for _ in names) + "|"]


def markdown_row(row: dict[str, Any], repetitions: int = 1) -> str:
    """One row of the table: seconds with 3 decimals, rates with 2."""
    cells = []
    for _, key in COLUMNS:
        if key in ("pp", "tg", "n_kv"):
            cells.append(f"{row[key]:>9}")
            continue
        digits = 3 if key[0] == "t" else 2
        cells.append(f"{row[key]:>9.{digits}f}")
        if repetitions > 1:
            cells.append(f"{row[key + '_sd']:>9.{digits}f}")
    return "|" + "|".join(cells) + "|"


def sweep(
    model_or_plan: Any,
    settings: Settings | None = None,
    repetitions: int = 1,
    progress: bool = True,
    on_row: Callable[[dict], None] | None = None,
    on_progress: Callable[[dict], None] | None = None,
    stop: threading.Event | None = None,
    k_bits: int = 32,
    layout: str = "file",
) -> Sweep:
    """Measure PP and TG on this machine with the engine's kernels.

    ``model_or_plan``: a Model, or a Plan (then its settings hold, and its machine does not: what is measured is this
    machine; GPUs that are present compute what -ngl and -ot put there, and ``facts["computed on"]`` names them).
    ``repetitions``: each row is timed so often; rates are means, with ``*_sd`` beside them. ``on_row(row)`` hears of each
    finished row; ``on_progress(event)`` of what goes on: ``phase`` (load, repack, compile, warmup, pp, tg), ``done``,
    ``total``, ``text``, and ``t_s`` (tokens/s so far) while measuring. ``stop`` (or Ctrl-C) ends the sweep within one
    instruction; finished rows are kept and ``stopped`` is set. ``progress`` draws a bar.
    ``k_bits`` and ``layout`` as for ``Session``. Raises SettingsError for repetitions below 1 or switches that do not
    fit, ModelError for a model without weights or of an architecture that does not run here.

    >>> import ikexplore as ikx
    >>> found = ikx.sweep(ikx.demo.model(), ikx.Settings.parse("-c 192 -ub 64"), progress=False)
    >>> [(row["pp"], row["tg"], row["n_kv"]) for row in found.rows]
    [(64, 16, 0), (64, 16, 64), (64, 16, 128), (64, 16, 192)]
    >>> all(row["s_pp"] > 0 and row["s_tg"] > 0 for row in found.rows)
    True
    """
    model, settings = _what(model_or_plan, settings)
    if repetitions < 1:
        raise SettingsError(f"{repetitions} repetitions measure nothing; give 1 or more")
    bar = _bar(progress)
    try:
        return _Run(model, settings, repetitions, on_row, _both(on_progress, bar), stop, k_bits=k_bits, layout=layout).run()
    finally:
        if bar:
            bar.close()


def _what(model_or_plan: Any, settings: Settings | None) -> tuple[Model, Settings]:
    if isinstance(model_or_plan, Model):
        return model_or_plan, settings or Settings()
    return model_or_plan.model, settings or model_or_plan.settings


class _Bar:
    """A tqdm bar that shows the rows and what goes on."""

    def __init__(self) -> None:
        from tqdm.auto import tqdm

        self.bar = tqdm(total=1.0, bar_format="{desc}: {percentage:3.0f}%|{bar:20}| {postfix}", leave=False)

    def __call__(self, event: dict) -> None:
        self.bar.set_description_str(event["phase"], refresh=False)
        self.bar.set_postfix_str(event["text"], refresh=False)
        self.bar.n = event["done"] / max(1, event["total"])
        self.bar.refresh()

    def close(self) -> None:
        self.bar.close()


def _bar(progress: bool) -> _Bar | None:
    return _Bar() if progress else None


def _both(*listeners: Callable[[dict], None] | None) -> Callable[[dict], None]:
    heard = [f for f in listeners if f]

    def tell(event: dict) -> None:
        for f in heard:
            f(event)

    return tell


class _Run:
    """One sweep under way."""

    def __init__(self, model: Model, settings: Settings, repetitions: int, on_row: Any, tell: Any, stop: Any,
                 **engine: Any):
        self.model, self.settings, self.repetitions, self.engine = model, settings, repetitions, engine
        self.on_row, self.tell, self.stop = on_row, tell, stop
        self.said = 0.0

    def run(self) -> Sweep:
        self.report("load", 0, 1, self.model.name)
        result = Sweep(self.settings, model=self.model.name, source=self.model)
        watcher = None
        try:
            with Session(self.model, self.settings, self._heard, **self.engine) as session:
                self.session, result.machine, result.repacked = session, session.machine, session.repacked
                if session.computed_on != "CPU":
                    result.facts["computed on"] = session.computed_on
                if session.k_bits != 32:
                    result.facts["q . k"] = f"{session.k_bits} bits"
                if session.layout != "file":
                    result.facts["layout"] = session.layout
                watcher = _Watcher(self.stop, session) if self.stop else None
                self._rows(result)
        except (Cancelled, KeyboardInterrupt):
            result.stopped = True
        finally:
            if watcher:
                watcher.close()
        return result

    def _heard(self, event: dict) -> None:
        self._check()
        self.tell(event)

    def _check(self) -> None:
        if self.stop is not None and self.stop.is_set():
            raise Cancelled("stopped")

    def report(self, phase: str, done: int, total: int, text: str, **more: Any) -> None:
        self.tell({"phase": phase, "done": done, "total": total, "text": text, **more})

    def _rows(self, result: Sweep) -> None:
        self.n_ubatch = self.session.context.n_ubatch
        self.n_tg = max(1, self.n_ubatch // 4)
        self.tokens = np.random.default_rng(0).integers(0, self.model.hparams.n_vocab, self.n_ubatch)
        starts = range(0, self.session.n_ctx - self.n_ubatch + 1, self.n_ubatch)
        self.report("warmup", 0, len(starts), "")
        self._warm_up()
        for i, n_kv in enumerate(starts):
            runs = [self._measure(n_kv, i, len(starts)) for _ in range(self.repetitions)]
            row = _row(self.n_ubatch, self.n_tg, n_kv, runs)
            result.rows.append(row)
            if self.on_row:
                self.on_row(row)

    def _warm_up(self) -> None:
        """One token and one ubatch, so that kernels are compiled and weights are in memory."""
        self._check()
        self.session.eval(self.tokens[:1])
        self.session.rewind()
        self.session.eval(self.tokens)
        self.session.rewind()

    def _measure(self, n_kv: int, i: int, total: int) -> tuple[float, float]:
        """(seconds of a ubatch of prompt, seconds of n_tg single tokens), both with n_kv positions before them.

        Leaves n_kv positions in the cache, or n_kv + ubatch after the last repetition's prompt.
        """
        self.session.rewind(min(self.session.n_past, n_kv))
        room = min(self.n_tg, self.session.n_ctx - n_kv)
        begin = last = time.perf_counter()
        for t in range(room):
            self.session.eval(self.tokens[t : t + 1])
            now = time.perf_counter()
            if now - last > TICK:
                last = now
                self._check()
                self.report("tg", i, total, f"N_KV {n_kv}: {(t + 1) / (now - begin):.1f} t/s", t_s=(t + 1) / (now - begin))
        t_tg = time.perf_counter() - begin
        self.session.rewind(n_kv)
        self.report("pp", i, total, f"N_KV {n_kv}: TG {room / t_tg:.1f} t/s, now prompt")
        begin = time.perf_counter()
        self.session.eval(self.tokens)
        return time.perf_counter() - begin, t_tg * self.n_tg / room


def _row(pp: int, tg: int, n_kv: int, runs: list[tuple[float, float]]) -> dict[str, Any]:
    row: dict[str, Any] = {"pp": pp, "tg": tg, "n_kv": n_kv}
    for name, tokens, times in (("pp", pp, [r[0] for r in runs]), ("tg", tg, [r[1] for r in runs])):
        for key, values in ((f"t_{name}", times), (f"s_{name}", [tokens / t for t in times])):
            row[key] = float(np.mean(values))
            row[f"{key}_sd"] = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
    row["repetitions"] = len(runs)
    return row


class _Watcher:
    """Passes an event on to the session, so that a stop takes effect inside an evaluation too."""

    def __init__(self, event: threading.Event, session: Session):
        self.event, self.session, self.over = event, session, False
        self.thread = threading.Thread(target=self._watch, daemon=True, name="ikexplore-stop")
        self.thread.start()

    def _watch(self) -> None:
        while not self.over:
            if self.event.wait(0.05):
                self.session.stop()
                return

    def close(self) -> None:
        self.over = True
        self.thread.join()
