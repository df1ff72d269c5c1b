"""The present machine, looked at but not timed: micro-benchmarks have a module of their own when they come."""

import csv
import io
import math
import os
import platform
import re
import shutil
import subprocess
from pathlib import Path

from .device import Device
from .machine import Machine

_MIB = 1 << 20
_CPUINFO = Path("/proc/cpuinfo")
_CGROUP = Path("/sys/fs/cgroup")
_QUERY = ["--query-gpu=index,uuid,name,memory.total,memory.free,compute_cap", "--format=csv,noheader,nounits"]


def detect() -> Machine:
    """CPU, memory as far as this process may use it, CPU features, and the GPUs that nvidia-smi (else CuPy) reports."""
    gpus = _smi_gpus()
    if gpus is None:
        gpus = _cupy_gpus()
    return Machine(_cpu(), tuple(gpus), cuda_build=bool(gpus), name=platform.node())


def _cpu() -> Device:
    import psutil

    memory = psutil.virtual_memory()
    limit = _number(_CGROUP / "memory.max")
    total = min(memory.total, limit) if limit else memory.total
    used = _number(_CGROUP / "memory.current") if limit else 0
    free = min(memory.available, max(0, total - (used or 0)))
    label, features = _cpu_facts()
    threads = _usable_threads()
    cores = min(psutil.cpu_count(logical=False) or threads, threads)
    return Device(
        "CPU", "cpu", total // _MIB, free // _MIB, label=label, cores=cores, threads=threads, features=features
    )


def _usable_threads() -> int:
    """Hardware threads that this process may run on: its affinity, and the quota of its control group."""
    try:
        threads = len(os.sched_getaffinity(0))
    except AttributeError:
        threads = os.cpu_count() or 1
    try:
        quota, period = (_CGROUP / "cpu.max").read_text().split()
        if quota != "max":
            threads = min(threads, max(1, math.ceil(int(quota) / int(period))))
    except (OSError, ValueError):
        pass
    return max(1, threads)


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None


def _cpu_facts() -> tuple[str, frozenset[str]]:
    """(name, features in Linux' spelling)."""
    try:
        text = _CPUINFO.read_text(errors="replace")
    except OSError:
        return _facts_elsewhere()
    name = re.search(r"^(?:model name|Model|Hardware)\s*:\s*(.+)$", text, re.M)
    flags = re.search(r"^(?:flags|Features)\s*:\s*(.+)$", text, re.M)
    return name.group(1).strip() if name else platform.machine(), frozenset(flags.group(1).split() if flags else ())


def _facts_elsewhere() -> tuple[str, frozenset[str]]:
    """macOS and Windows: LLVM knows the features; it spells a few of them in another way."""
    name = platform.processor() or platform.machine()
    try:
        from llvmlite import binding

        found = {key for key, on in binding.get_host_cpu_features().items() if on}
    except (ImportError, RuntimeError):
        return name, frozenset()
    spelled = {"avx512bf16": "avx512_bf16", "avx512vnni": "avx512_vnni", "avxvnni": "avx_vnni"}
    return name, frozenset(spelled.get(key, key.replace(".", "_")) for key in found)


def _smi_gpus() -> list[Device] | None:
    """GPUs by nvidia-smi; None where it is missing or fails."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    try:
        done = subprocess.run([program, *_QUERY], capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return parse_smi(done.stdout, os.environ.get("CUDA_VISIBLE_DEVICES"))


def parse_smi(text: str, visible: str | None = None) -> list[Device]:
    """Devices from nvidia-smi's CSV (index, uuid, name, total MiB, free MiB, compute capability), in CUDA's order.

    ``visible`` is CUDA_VISIBLE_DEVICES: numbers or uuids; what is not listed, or follows an unknown one, is hidden.
    """
    rows = [[cell.strip() for cell in row] for row in csv.reader(io.StringIO(text)) if len(row) == 6]
    if visible is not None:
        chosen = []
        for word in (part.strip() for part in visible.split(",")):
            row = next((r for r in rows if word and (r[0] == word or r[1].startswith(word))), None)
            if row is None:
                break
            chosen.append(row)
        rows = chosen
    devices = []
    for number, (_, _, name, total, free, cc) in enumerate(rows):
        try:
            devices.append(
                Device(
                    f"CUDA{number}", "cuda", int(float(total)), int(float(free)), round(float(cc) * 100), False, name
                )
            )
        except ValueError:
            continue
    return devices


def _cupy_gpus() -> list[Device]:
    """GPUs by CuPy, where it is installed and finds a driver."""
    try:
        import cupy

        devices = []
        for number in range(cupy.cuda.runtime.getDeviceCount()):
            facts = cupy.cuda.runtime.getDeviceProperties(number)
            with cupy.cuda.Device(number):
                free, total = cupy.cuda.runtime.memGetInfo()
            devices.append(
                Device(
                    f"CUDA{number}",
                    "cuda",
                    total // _MIB,
                    free // _MIB,
                    facts["major"] * 100 + facts["minor"] * 10,
                    False,
                    facts["name"].decode(),
                )
            )
        return devices
    except Exception:  # CuPy raises its own errors where a driver is missing; none of them concerns the reader
        return []
