"""How a program ended, in one sentence that says what to do next."""

import re
import signal
from collections.abc import Sequence

from ..logs import Run
from .process import Ended

_UNKNOWN = re.compile(r"unknown argument: (\S+)|invalid parameter for argument: (\S+)")
_ASSERT = re.compile(r"GGML_ASSERT\(.{0,300}|CUDA error.{0,300}|terminate called.{0,300}|what\(\): .{0,300}")
_NO_MEMORY = re.compile(
    r"out of memory|cudaMalloc failed|failed to allocate|unable to allocate|ErrorOutOfDeviceMemory|bad_alloc|"
    r"alloc_tensor_range: failed|cannot allocate memory", re.I)  # fmt: skip
_ERROR = re.compile(r"\berror\b|\bfailed\b|\bunable\b|\bcannot\b|No such file|invalid|not supported", re.I)
#: lines at the end that are looked at for a reason
TAIL = 60
#: code of a shell or wrapper for "ended by signal n" is this plus n
SHELL = 128
_SIGNALS = {
    signal.SIGKILL: "was killed from outside: mostly by the system, for lack of memory (dmesg says so); leave more memory "
                    "free, give -ub or -c less, or do not read the whole model (no --no-mmap, no -rtr)",
    signal.SIGSEGV: "crashed (segmentation fault); a fault of the program: try another build of it and report the command",
    signal.SIGABRT: "gave up (abort)",
    signal.SIGILL: "used an instruction that this CPU does not have: it was built for another one; build it on this machine",
    signal.SIGBUS: "crashed (bus error): a model file that became shorter, or a full disk, does this; check the files",
    signal.SIGFPE: "crashed (arithmetic error)",
    signal.SIGTERM: "was ended from outside (SIGTERM)",
    signal.SIGINT: "was interrupted (SIGINT)",
    signal.SIGHUP: "was ended from outside (SIGHUP)",
}  # fmt: skip


def sentence(
    name: str, ended: Ended, run: Run | None, timeout: float | None, idle: float | None, wanted: bool, missing: str = ""
) -> str:
    """What happened. ``run``: what the log told; ``wanted``: whether it printed what it was run for; ``missing``: how
    much of it it did not print."""
    if ended.why == "stop":
        return f"{name} was stopped"
    if ended.why == "timeout":
        return f"{name} was ended after {timeout:g} seconds; give more time, fewer contexts (-c) or a smaller model"
    if ended.why == "idle":
        return f"{name} hung: {idle:g} seconds without output and without work; its last line was {_last(ended.lines)}"
    if ended.why == "flood":
        return f"{name} was ended: it printed more than 256 MiB; its last line was {_last(ended.lines)}"
    tail = ended.lines[-TAIL:]
    if ended.code == 0 and wanted and missing:
        return f"{name} finished early, with {missing}; its last line was {_last(tail)}"
    if ended.code == 0:
        return f"{name} finished" if wanted else f"{name} finished without a result; its last line was {_last(tail)}"
    found = _flag(tail) or _memory(tail, run)
    how = _how(ended.code)
    if found:
        return f"{name}: {found}"
    said = _said(tail)
    return f"{name} {how}" + (f": {said}" if said else f"; its last line was {_last(tail)}")


def _how(code: int) -> str:
    number = -code if code < 0 else code - SHELL if code > SHELL else 0
    if number:
        try:
            return _SIGNALS.get(signal.Signals(number), f"was ended by {signal.Signals(number).name}")
        except ValueError:
            pass
    if code in (126, 127):
        return f"cannot be run (exit code {code}); check the path and that it is a program for this machine"
    return f"ended with exit code {code}"


def _flag(lines: Sequence[str]) -> str | None:
    for line in lines:
        if found := _UNKNOWN.search(line):
            if found.group(1):
                return f"it does not know the flag {found.group(1)}; leave it out or use a newer build"
            return f"the flag {found.group(2)} takes no such value; see its --help"
    return None


def _memory(lines: Sequence[str], run: Run | None) -> str | None:
    """Memory that could not be had: how much and where, as far as it said so."""
    failed = run.startup.get("alloc_failed") if run is not None else None
    said = next((line for line in reversed(lines) if _NO_MEMORY.search(line)), None)
    if not failed and said is None:
        return None
    what = "out of memory"
    if failed:
        where = failed[-1].get("device") or "a device"
        what += f": {failed[-1]['mib']:,.2f} MiB could not be had on {where}"
    elif said:
        what += f" ({said.strip()[:160]})"
    return f"{what}; keep more tensors on the CPU (-ot, -ncmoe, -ngl), or give -ub or -c less"


def _said(lines: Sequence[str]) -> str | None:
    """The line that names the reason, if one does."""
    for pattern in (_ASSERT, _ERROR):
        for line in reversed(lines):
            if found := pattern.search(line):
                return (found.group() if pattern is _ASSERT else line.strip())[:200]
    return None


def _last(lines: Sequence[str]) -> str:
    for line in reversed(lines):
        if line.strip():
            return repr(line.strip()[-120:])
    return "none at all"
