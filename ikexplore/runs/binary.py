"""A real llama-sweep-bench, llama-perplexity or llama-bench, run and read while it prints."""

import os
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import IkexploreError, SettingsError
from ..logs import Reader, Run
from ..machine import Machine
from ..models import Model
from ..run.sweep import _Bar, _both
from ..settings import Settings
from . import caches, figures, process
from .ending import sentence
from .program import KINDS, Program, arguments, environment, merged, probe
from .record import Record, row_of

#: seconds without output and without work after which a program counts as hung
IDLE = 120.0
#: seconds between reports of progress while a program loads
TICK = 0.1
#: figures that a dry run gets wrong
_DRY = ("compute_mib CPU", "compute_mib CUDA_Host")
Heard = Callable[[dict[str, Any]], None]


class Binary:
    """``Binary("build/bin/llama-sweep-bench")``: the program as a runner with the doors of the engine here.

    ``sweep(model, settings)`` has the arguments and the rows of ``ikx.sweep``; ``perplexity`` and ``bench`` are for the
    other two kinds; ``check(plan)`` compares a plan with what the program prints while loading. ``env``: variables over those
    of this process; ``prefix``: words in front, as in ``("numactl", "--interleave=all")``; ``profile``: in place of what its
    help tells; ``timeout``: seconds that one run may take; ``idle``: seconds without output and without work after which it
    counts as hung (None: never). Nothing is run but ``--help`` and ``--version`` until asked.
    Raises IkexploreError for what is no program of the kind.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        env: Mapping[str, str] | None = None,
        prefix: Sequence[str] = (),
        profile: str | None = None,
        kind: str | None = None,
        timeout: float | None = None,
        idle: float | None = IDLE,
    ):
        for name, seconds in (("timeout", timeout), ("idle", idle)):
            if seconds is not None and not seconds > 0:
                raise IkexploreError(f"{name} {seconds}: give seconds above 0, or None for no limit")
        self.env, self.prefix = dict(env or {}), tuple(prefix)
        self.timeout, self.idle = timeout, idle
        self.program: Program = probe(path, merged(self.env), profile, kind)

    def __repr__(self) -> str:
        p = self.program
        return f"<Binary {p.path} {p.version}, {p.engine}, profile {p.profile}>"

    # ---- what may be asked of it ----

    def sweep(
        self,
        model_or_plan: Any,
        settings: Settings | None = None,
        repetitions: int = 1,
        progress: bool = True,
        on_row: Heard | None = None,
        on_progress: Heard | None = None,
        stop: threading.Event | None = None,
        *,
        cold: bool = False,
    ) -> Record:
        """llama-sweep-bench, once per repetition. Arguments and rows as in ``ikx.sweep``; never raises for what the program
        does: see ``Record.ok`` and ``Record.sentence``. With a Plan its figures are compared with those printed.

        ``cold``: the kernel is asked to forget the model's files before each run. Finished rows are heard of as they are
        printed; with repetitions during the last of them, with their spread. Raises IkexploreError for bad input.
        """
        self._needs("sweep")
        return self._measured(model_or_plan, settings, [], repetitions, progress, on_row, on_progress, stop, cold)

    def bench(self, model_or_plan: Any, settings: Settings | None = None, *extra: str, **more: Any) -> Record:
        """llama-bench, with ``settings`` (or those of ``model_or_plan``); ``extra``: further arguments, as in ``"-p", "512"``.

        Rows are in ``Record.bench``. ``more``: ``repetitions``, ``on_progress``, ``stop`` and ``cold`` as for ``sweep``. Raises
        IkexploreError for bad input.
        """
        self._needs("bench")
        return self._measured(model_or_plan, settings, list(extra), **more)

    def perplexity(self, model_or_plan: Any, text: Any, settings: Settings | None = None, *extra: str, **more: Any) -> Record:
        """llama-perplexity on a text or a text file; see ``Record.perplexity``."""
        self._needs("perplexity")
        if isinstance(text, os.PathLike):
            return self._measured(model_or_plan, settings, ["-f", os.path.abspath(text), *extra], **more)
        with tempfile.TemporaryDirectory(prefix="ikexplore-") as folder:
            file = Path(folder) / "text.txt"
            file.write_text(text, encoding="utf-8")
            return self._measured(model_or_plan, settings, ["-f", str(file), *extra], **more)

    def check(self, plan: Any, stop: threading.Event | None = None) -> Record:
        """Starts the program with the plan's settings, reads what it prints while loading, ends it, and compares.

        Uses ``--dry-run`` (no tensor is read) where the program has it. ``Record.differences`` is empty where all figures
        agree; it is None where the program printed none, and ``Record.sentence`` says why.
        """
        dry = "--dry-run" in self.program.flags
        record = self._measured(plan, None, ["--dry-run"] if dry else [], stop=stop, until="graph_splits")
        if dry and not record.ok and not record.stopped:
            failed = record.sentence  # builds of August 2026 crash in a dry run of models with latent attention
            record = self._measured(plan, None, [], stop=stop, until="graph_splits")
            record.remarks.append(f"--dry-run failed ({failed}); the model was loaded instead")
            dry = False
        if dry and plan.settings.use_mmap and record.differences:
            # weights that a dry run does not map have no buffer, and the allocator puts them into the compute buffer
            kept = [found for found in record.differences if found[0] not in _DRY]
            if len(kept) < len(record.differences):
                record.remarks.append("the CPU compute buffer is not compared: --dry-run counts unmapped weights into it")
            record.differences = kept
        return record

    def command(self, model: Model, settings: Settings | None = None, *extra: str) -> tuple[list[str], list[str]]:
        """(words, remarks): the command that would be run. Raises IkexploreError for flags that the program lacks."""
        settings = settings or Settings(self.program.profile)
        words, remarks = arguments(self.program, settings)
        words = [_absolute(word) for word in (*words, *extra)]
        return [*self.prefix, *settings.prefix, str(self.program.path), "-m", str(_file(model)), *words], remarks

    # ---- how it is done ----

    def _needs(self, kind: str) -> None:
        if self.program.kind != kind:
            raise IkexploreError(f"{self.program.name} is a {KINDS[self.program.kind]}; this needs {KINDS[kind]}")

    def _measured(
        self,
        model_or_plan: Any,
        settings: Settings | None,
        extra: list[str],
        repetitions: int = 1,
        progress: bool = False,
        on_row: Heard | None = None,
        on_progress: Heard | None = None,
        stop: threading.Event | None = None,
        cold: bool = False,
        until: str | None = None,
    ) -> Record:
        plan = None if isinstance(model_or_plan, Model) else model_or_plan
        model: Model = model_or_plan if plan is None else plan.model
        settings = settings or (plan.settings if plan is not None else Settings(self.program.profile))
        if repetitions < 1:
            raise SettingsError(f"{repetitions} repetitions measure nothing; give 1 or more")
        words, remarks = self.command(model, settings, *extra)
        env = merged(settings.env, self.env)
        p = self.program
        record = Record(settings, Machine.detect(), model.name, program=p.name, version=p.version, engine=p.engine,
                        command=words, environment=environment(env), remarks=remarks)  # fmt: skip
        bar = _Bar() if progress else None
        listen = _Listener(record, on_row, _both(on_progress, bar), until)
        try:
            for number in range(repetitions):
                record.facts = facts(self, model, settings, cold)
                last = number == repetitions - 1
                ended = listen.run(words, env, stop, self.timeout, self.idle, last)
                self._close(record, ended, listen, until)
                if ended.why or ended.code:
                    break
        finally:
            if bar:
                bar.close()
        if plan is not None and record.run is not None and record.run.startup:
            record.differences = figures.differences(plan, record.run)
            record.compared = figures.compared(plan, record.run)
        return record

    def _close(self, record: Record, ended: process.Ended, listen: "_Listener", until: str | None) -> None:
        """Puts the end of one run into the record."""
        run = listen.printed
        enough = until is not None and run is not None and until in run.startup
        wanted = run is not None and bool(run.rows or run.bench or run.perplexity or enough)
        if enough and ended.why == "stop" and not listen.asked():
            ended.why, ended.code = "", 0
        if run is not None:
            record.runs.append(run)
        record.logs.append(ended.text)
        record.codes.append(ended.code)
        record.seconds += ended.seconds
        record.stopped = ended.why == "stop"
        missing = _missing(run) if until is None and "--sweep-stride" not in record.command else ""
        record.ok = not ended.why and ended.code == 0 and wanted and not missing
        record.sentence = sentence(self.program.name, ended, run, self.timeout, self.idle, wanted, missing)


class _Listener:
    """Reads the lines of a run as they come and tells of rows and phases."""

    def __init__(self, record: Record, on_row: Heard | None, tell: Heard, until: str | None):
        self.record, self.on_row, self.tell, self.until = record, on_row, tell, until
        self.stop: threading.Event | None = None
        self.said = 0.0
        self.printed: Run | None = None

    def asked(self) -> bool:
        """Whether somebody else wanted the end."""
        return self.stop is not None and self.stop.is_set()

    def run(self, words: list[str], env: dict[str, str], stop: threading.Event | None, timeout: float | None,
            idle: float | None, last: bool) -> process.Ended:  # fmt: skip
        """One run of the program."""
        self.stop, self.last, self.rows = stop, last, 0
        self.reader = Reader(self._row)
        self.seen: set[int] = set()
        self._report("load", self.record.program, force=True)
        with tempfile.TemporaryDirectory(prefix="ikexplore-") as folder:  # they leave a llama.log where they are run
            ended = process.run(words, env, on_line=self._line, stop=stop, timeout=timeout, idle=idle, cwd=folder)
        runs = self.reader.close()
        # one program prints one run; what it repeats (a warning first, a second context) is part of it
        self.printed = max(runs, key=lambda run: (len(run.rows) + len(run.bench), len(run.startup)), default=None)
        if self.printed is not None:
            self.printed.settings, self.printed.certainty = self.record.settings, "stated"
            self.printed.command, self.printed.program = " ".join(words), self.record.program
        return ended

    def _line(self, line: str) -> bool:
        self.reader.feed(line)
        run = self.reader.state.cur
        if not self.rows:
            warm = run is not None and "main" in run.startup
            self._report("warmup" if warm else "load", line.strip()[:100])
        return self.until is not None and run is not None and self.until in run.startup

    def _row(self, run: Run, printed: dict[str, Any]) -> None:
        row = row_of(printed) if run.rows else None
        self.rows += 1
        if row is None or row["n_kv"] in self.seen:
            return  # a table that starts over is not another repetition
        self.seen.add(row["n_kv"])
        self.record.add([row])
        kept = next(r for r in self.record.rows if r["n_kv"] == row["n_kv"])
        if self.last and self.on_row is not None:
            self.on_row(kept)
        text = f"N_KV {row['n_kv']}: PP {row['s_pp']:.1f}, TG {row['s_tg']:.1f} t/s"
        self._report("tg", text, force=True, total=_total(run), t_s=row["s_tg"])

    def _report(self, phase: str, text: str, force: bool = False, total: int = 1, **more: Any) -> None:
        now = time.monotonic()
        if force or now - self.said > TICK:
            self.said = now
            self.tell({"phase": phase, "done": min(self.rows, total), "total": total, "text": text, **more})


def facts(binary: Binary | None, model: Model, settings: Settings, cold: bool) -> dict[str, Any]:
    """What may differ between two records beyond settings: program, memory layout, and whether the model was in memory.

    Drops the model's pages first when ``cold`` is asked for.
    """
    found: dict[str, Any] = {}
    if binary is not None:
        p = binary.program
        found.update({"program": p.name, "version": p.version, "engine": p.engine})
        found.update({f"env.{name}": value for name, value in environment(merged(settings.env, binary.env)).items()})
        if binary.prefix:
            found["prefix"] = " ".join(binary.prefix)
    found.update(caches.numa())
    if cold:
        caches.drop(model)
    if model.files and model.file_bytes:
        found["model in memory before"] = _share(caches.resident(model) * caches.MIB / model.file_bytes)
    found["mmap"] = bool(settings.use_mmap)
    return found


def _share(share: float) -> str:
    """In words that two like runs share: the last few per cent vary by themselves."""
    return "not known" if share != share else "cold" if share < 0.1 else "warm" if share > 0.9 else f"{share:.0%}"


def _absolute(word: str) -> str:
    """A word that names a file here, so that it does so from another folder too."""
    here = not word.startswith(("-", "/")) and ("/" in word or "." in word) and len(word) < 1000 and os.path.isfile(word)
    return os.path.abspath(word) if here else word


def _file(model: Model) -> Path:
    """The file that a program opens. Raises IkexploreError for a model that is in no file."""
    if not model.files or any(tensor.file is None for tensor in model.tensors.values()):
        raise IkexploreError(f"{model.name}: a program needs the model in a file; write it with ikx.quantize or open a GGUF")
    return Path(model.files[0]).absolute()


def _missing(run: Run | None) -> str:
    """"6 of 8 rows", where a sweep announced more than it printed."""
    if run is None or not run.rows or "main" not in run.startup:
        return ""
    total = _total(run)
    return f"{len(run.rows)} of {total} rows" if len(run.rows) < total else ""


def _total(run: Run) -> int:
    """Rows that the run is going to print."""
    main = run.startup.get("main", {})
    size, step = main.get("n_kv_max"), main.get("n_ubatch")
    if not isinstance(size, int) or not isinstance(step, int) or step < 1:
        return max(1, len(run.rows))
    return max(len(run.rows), -(-size // step))
