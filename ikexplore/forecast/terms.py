"""From work to seconds at datasheet speed, and the factors by which reality differs: a forecast is a sum of terms.

A term is seconds at datasheet speed times a product of factors (``Factor`` names with exponents). Terms of one group
overlap and are joined by a 3-norm; groups add up. See docs/forecast.md for what each factor stands for.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np

from ..graph.types import type_name
from ..machine import Machine
from ..machine.parts import Speeds, cpu_speeds, gpu_speeds
from ..schedule.plan import Plan
from . import kernels
from .work import Attention, Products, Work, evaluation, work

NORM = 3.0  #: of terms that overlap: a roofline with a round corner
COPY = 0.5  #: of the bytes that a core reads per second: what it copies, for pageable memory is staged by one core
UNPACK = 8  #: columns' worth of products that unpacking a weight is counted as
CPU_NODE, GPU_NODE = 6e-6, 4e-6  #: seconds to start a node on all threads, on a GPU
EXPERT = 12e-6  #: seconds per expert of a product on a GPU
DISK = 6e9  #: bytes/s that a good NVMe disk reads
F16_RATE = 5e11  #: operations per second in f16 per TOPS of int8: half of them
SYSTEM_MIB = 4096  #: of RAM that is not for weights
HOST_CHANGE, PEER_CHANGE = 25e-6, 80e-6  #: seconds to go on on another device

Factors = tuple[tuple[str, float], ...]
Add = Callable[..., None]  #: (group, seconds, *factors, half=)


@dataclass(frozen=True)
class Group:
    """What a group of terms is, for people: the device and the cause."""

    device: str
    cause: str
    part: str = ""


@dataclass
class Terms:
    """Terms of one evaluation: seconds ``base + slope * cells`` at datasheet speed.

    ``cells`` are the cached tokens plus the evaluation's own (half of its own for ``half``: the causal mask).
    """

    n_tokens: int
    groups: list[Group] = field(default_factory=list)
    group: list[int] = field(default_factory=list)
    base: list[float] = field(default_factory=list)
    slope: list[float] = field(default_factory=list)
    half: list[bool] = field(default_factory=list)
    factors: list[Factors] = field(default_factory=list)

    def seconds(self, n_kv: float) -> np.ndarray:
        """Datasheet seconds per term with ``n_kv`` tokens cached before."""
        own = np.where(self.half, 0.5, 1.0) * self.n_tokens
        return np.maximum(np.array(self.base) + np.array(self.slope) * (n_kv + own), 1e-12)


_Counted = dict[tuple[Group, Factors, bool], float]


def terms(plan: Plan, n_tokens: int) -> Terms:
    """Terms of an evaluation of ``n_tokens`` tokens; one token generates, more are prompt."""
    low, high = spans(plan, n_tokens)
    first = evaluation(plan, n_tokens, low)
    rig = Rates(plan, n_tokens > 1)
    a = count(rig, work(plan, n_tokens, low, first))
    b = count(rig, work(plan, n_tokens, high)) if high > low else {}
    found = Terms(n_tokens)
    numbers: dict[Group, int] = {}
    for key in a | b:
        group, factors, half = key
        x, y = a.get(key, 0.0), b.get(key, 0.0)
        slope = (y - x) / (high - low) if high > low else (x / low if half else 0.0)
        found.group.append(numbers.setdefault(group, len(numbers)))
        found.base.append(x - slope * low)
        found.slope.append(slope)
        found.half.append(half)
        found.factors.append(factors)
    found.groups = list(numbers)
    return found


def spans(plan: Plan, n_tokens: int) -> tuple[int, int]:
    """Two lengths of cache between which work is linear."""
    cx = plan.placement.context
    low = min(cx.n_ctx, -(-n_tokens // 256) * 256)
    return low, max(low, cx.n_ctx // 256 * 256)


class Rates:
    """Datasheet speeds of a plan's machine, and which factors stand between them and reality."""

    def __init__(self, plan: Plan, prompt: bool):
        s, machine = plan.settings, plan.machine
        self.prompt, self.date = prompt, plan.rules.date
        self.newer = plan.rules.newer
        self.gpus = [gpu_speeds(g) for g in plan.placement.gpus]
        self.clock: list[Factors] = [(("gpu.node.ada", 1.0),) if g.cc >= 890 else () for g in self.gpus]
        self.names = [g.name for g in plan.placement.gpus] + ["CPU"]
        self.cpu = _used_sockets(cpu_speeds(machine.cpu, host_mib(plan) / 1024), s.numa, s.prefix)
        asked = s.n_threads_batch if prompt and s.n_threads_batch else s.n_threads
        self.threads, want = used_threads(asked, self.cpu, machine)
        self.asked = want
        self.rate = self.threads * self.cpu.ops_per_core
        self.mmap = plan.placement.use_mmap
        self.missing = missing_share(plan)
        many: Factors = ()
        numa: Factors = ()
        if self.cpu.sockets > 1:
            mapped: Factors = (("cpu.numa.mmap", 1.0),) if self.mmap else ()
            many += (("cpu.numa", 1.0), *mapped)
            numa += (("cpu.numa.compute", 1.0), *mapped)
        smt: Factors = ()
        if want > self.cpu.cores:
            double = math.log(min(2.0, want / self.cpu.cores))
            smt, many = (("cpu.smt.compute", double),), (*many, ("cpu.smt", double))
        self.many = many
        self.barrier: Factors = (("cpu.node", 1.0), ("cpu.node.threads", math.log(self.threads / 16)))
        if self.cpu.sockets > 1:
            self.barrier += (("cpu.node.numa", 1.0),)
        self.windows: Factors = (("split.windows", 1.0),) if (s.program or "").endswith(".exe") else ()
        self.read: Factors = (
            ("cpu.read", 1.0), ("rig.cpu.read", 1.0), ("cpu.read.size", math.log(self.cpu.bandwidth / 1e11)), *many,
        )  # fmt: skip
        self.compute: Factors = (("rig.cpu.rate", 1.0), ("cpu.threads", math.log(self.threads / 16)), *smt, *numa)
        self.flash = plan.placement.context.flash_attn
        self.cache_f16 = type_name(plan.placement.context.type_k) == "f16"
        self.mla = plan.placement.context.mla_attn
        self.fused = plan.placement.context.fused_moe
        self.old_attention = not self.newer and self.date < kernels.LATENT_GPU


def host_mib(plan: Plan) -> float:
    """MiB of weights that are not on a GPU; mapped ranges, as they are printed, overlap with those that are."""
    sizes = plan.placement.model_bytes
    held = sum(size for name, size in sizes if name in ("CPU", "CUDA_Host"))
    on_gpus = sum(size for name, size in sizes if name not in ("CPU", "CUDA_Host"))
    return min(held, max(0, sum(t.nbytes for t in plan.model.tensors.values()) - on_gpus)) / 2**20


def missing_share(plan: Plan) -> float:
    """Share of mapped weights that RAM cannot hold, where the machine says how much it has."""
    ram = plan.machine.cpu.total_mib
    if not plan.placement.use_mmap or not ram:
        return 0.0
    held = host_mib(plan)
    return max(0.0, 1 - (ram - SYSTEM_MIB) / held) if held > 0 else 0.0


def used_threads(asked: int | None, cpu: Speeds, machine: Machine) -> tuple[int, int]:
    """(cores that compute, threads that were asked for)."""
    want = cpu.cores if asked is None else asked if asked > 0 else machine.threads or cpu.cores
    return max(1, min(cpu.cores, want)), want


def _used_sockets(cpu: Speeds, numa: str, prefix: Iterable[str]) -> Speeds:
    """One socket's worth where the command binds itself to one."""
    words = " ".join(prefix)
    one = numa == "isolate" or ("numactl" in words and "interleave" not in words and any(
        f"{flag}{sep}{node}" in words + " " for flag in ("-N", "--cpunodebind") for sep in (" ", "=", "") for node in "01"
    ))  # fmt: skip
    if not one or cpu.sockets < 2:
        return cpu
    return Speeds(cpu.cores // cpu.sockets, 1, cpu.ops_per_core, cpu.bandwidth / cpu.sockets, cpu.core_bandwidth, cpu.hz)


def count(r: Rates, w: Work) -> _Counted:
    """Datasheet seconds of each term of one evaluation."""
    out: _Counted = {}

    def add(group: Group, seconds: float, *factors: tuple[str, float], half: bool = False) -> None:
        if seconds > 0:
            key = (group, tuple(factors), half)
            out[key] = out.get(key, 0.0) + seconds

    for i in range(len(w.products)):
        product_seconds(r, int(w.products.backend[i]), w.products, i, type_name(int(w.products.type_id[i])), add)
    if r.missing:
        home = w.products.home == len(r.gpus)
        touched = float(w.products.nbytes[home].sum()) * r.missing
        add(Group("disk", "weights"), touched / DISK, ("disk.read" if r.prompt else "disk.token", 1.0))
    _attention(r, w, add)
    cpu = len(r.gpus)
    for i, name in enumerate(r.names):
        if i == cpu:
            if r.prompt:
                add(Group(name, "other ops"), w.other_bytes[i] / r.cpu.bandwidth, ("cpu.other", 1.0), ("rig.cpu.read", 1.0))
            add(Group(name, "start of ops"), w.other_nodes[i] * CPU_NODE, *r.barrier)
        else:
            speed = r.gpus[i].bandwidth_gbs * 1e9
            if r.prompt:
                add(Group(name, "other ops"), w.other_bytes[i] / speed, ("gpu.other", 1.0), ("rig.gpu.read", 1.0))
            add(Group(name, "start of ops"), w.other_nodes[i] * GPU_NODE, ("gpu.node", 1.0), ("rig.gpu.node", 1.0), *r.clock[i])
    _transfers(r, w, add)
    return out


def product_seconds(r: Rates, backend: int, p: Products, i: int, kind: str, add: Add) -> None:
    """Terms of row ``i`` of products, on a backend, with weights of type ``kind``."""
    what = "experts" if p.expert[i] else "weights"
    if backend < len(r.gpus):
        _gpu(r, backend, p, i, kind, what, add)
    elif r.prompt:
        _cpu_prompt(r, p, i, kind, what, add)
    else:
        _cpu_token(r, p, i, kind, what, add)


def _cpu_prompt(r: Rates, p: Products, i: int, kind: str, what: str, add: Add) -> None:
    c = kernels.cpu_prompt(kind, r.date)
    add(Group("CPU", what, "multiply"), p.flops[i] / r.rate, (f"cpu.gemm.{c}", 1.0), *r.compute)
    add(Group("CPU", what, "unpack"), 2 * p.weights[i] * UNPACK / r.rate, (f"cpu.unpack.{c}", 1.0), *r.compute)
    add(Group("CPU", what, "read"), p.nbytes[i] / r.cpu.bandwidth, *r.read)
    add(Group("CPU", "start of ops", "products"), p.nodes[i] * CPU_NODE, *r.barrier)


def _cpu_token(r: Rates, p: Products, i: int, kind: str, what: str, add: Add) -> None:
    c = kernels.cpu_token(kind, r.date)
    group = Group("CPU", what, kind)
    read = r.read + ((("cpu.read.packed", 1.0),) if c.endswith("packed") else ())
    add(group, p.nbytes[i] / r.cpu.bandwidth, *read, *((("cpu.read.mmap", 1.0),) if r.mmap else ()))
    add(group, p.nbytes[i] / r.threads / r.cpu.core_bandwidth, ("cpu.core", 1.0), *r.many)
    add(group, p.flops[i] / r.rate, (f"cpu.gemv.{c}", 1.0), *r.compute)
    add(Group("CPU", "start of ops", "products"), p.nodes[i] * CPU_NODE, *r.barrier)


def _gpu(r: Rates, b: int, p: Products, i: int, kind: str, what: str, add: Add) -> None:
    gpu, name = r.gpus[b], r.names[b]
    c, speed = kernels.gpu(kind), gpu.bandwidth_gbs * 1e9
    add(Group(name, what, "read"), p.nbytes[i] / speed, ("gpu.read", 1.0), ("rig.gpu.read", 1.0))
    moe = (("gpu.gemm.experts", 1.0),) if p.expert[i] else ()
    if r.prompt:
        rate = gpu.int8_tops * 1e12
        add(Group(name, what, "multiply"), p.flops[i] / rate, (f"gpu.gemm.{c}", 1.0), ("rig.gpu.rate", 1.0), *moe)
        add(Group(name, what, "expert by expert"), p.experts[i] * EXPERT, (f"gpu.expert.{c}", 1.0), ("rig.gpu.node", 1.0))
        if c != "int8":
            decode = (f"gpu.decode.{kernels.gpu_decode(kind)}", 1.0)
            add(Group(name, what, "decode"), p.weights[i] * 4 / speed, decode, ("rig.gpu.read", 1.0))
    elif c == "trellis":
        add(Group(name, what, "decode"), p.nbytes[i] / speed, ("gpu.gemv.trellis", 1.0), ("rig.gpu.read", 1.0))
    add(Group(name, "start of ops", "products"), p.nodes[i] * GPU_NODE, ("gpu.node", 1.0), ("rig.gpu.node", 1.0), *r.clock[b])


def _attention(r: Rates, w: Work, add: Add) -> None:
    a, cpu = w.attention, len(r.gpus)
    for i, kind in enumerate(a.kind):
        b = int(a.backend[i])
        group = Group(r.names[b], "attention")
        if kind == "expanded":
            kind = f"expanded{2 if r.mla == 2 else 3}"
        if r.prompt and b == cpu:
            add(group, a.flops[i] / r.rate, (f"cpu.attn.{kind}", 1.0), *r.compute, half=True)
        elif r.prompt:
            old = (("gpu.attn.old", 1.0),) if r.old_attention else ()
            rate = r.gpus[b].int8_tops * F16_RATE
            add(group, a.flops[i] / rate, (f"gpu.attn.{kind}", 1.0), ("rig.gpu.rate", 1.0), *old, half=True)
        elif b == cpu:
            _cpu_query(r, a, i, kind, group, add)
        else:
            _gpu_query(r, a, i, kind, group, add)


def _cpu_query(r: Rates, a: Attention, i: int, kind: str, group: Group, add: Add) -> None:
    """One token's attention on the CPU. Without heads that share a KV head, a head is one thread's work
    (iqk_flash_attn_noalibi), and the threads that the number of heads does not divide among are idle."""
    q8 = () if r.cache_f16 else (("cpu.attn1.q8", 1.0),)
    busy = r.threads
    if a.shared[i] == 1 and kind != "plain":
        busy = min(busy, math.gcd(int(a.heads[i]), r.asked))
    idle = r.threads / busy
    add(group, a.flops[i] / r.rate * idle, (f"cpu.attn1.{kind}", 1.0), *r.compute, *q8, half=True)
    add(group, a.nbytes[i] / r.cpu.bandwidth, *r.read, half=True)
    if kind != "plain":
        add(group, a.numbers[i] / busy / r.cpu.hz, ("cpu.attn1.cycles", 1.0), *r.compute, half=True)


def _gpu_query(r: Rates, a: Attention, i: int, kind: str, group: Group, add: Add) -> None:
    """One token's attention on a GPU.

    Kernels of matrix products read the cache once for all heads that share it, and need it as f16: another type is read,
    written as f16 and read again. Vector kernels (older builds, odd numbers of such heads) read it for every head.
    """
    b, shared = int(a.backend[i]), int(a.shared[i])
    gpu = r.gpus[b]
    rate, speed = gpu.int8_tops * F16_RATE, gpu.bandwidth_gbs * 1e9
    rig = ("rig.gpu.read", 1.0)
    if kind == "plain":
        old = (("gpu.attn1.old", 1.0),) if r.old_attention else ()
        add(group, a.nbytes[i] / speed, ("gpu.attn1.plain", 1.0), rig, *old, half=True)
    elif kind != "latent" and (r.old_attention or shared % 2):
        q8 = () if r.cache_f16 else (("gpu.attn1.vector.q8", 1.0),)
        add(group, a.numbers[i] * 2 * shared / speed, ("gpu.attn1.vector", 1.0), rig, *q8, half=True)
    else:
        size = a.nbytes[i] if r.cache_f16 else a.nbytes[i] + 4 * a.numbers[i]
        add(group, size / speed, (f"gpu.attn1.{kind}", 1.0), rig, half=True)
        group = Group(group.device, "attention", "multiply")
        add(group, a.flops[i] / rate, (f"gpu.attn1.compute.{kind}", 1.0), ("rig.gpu.rate", 1.0), half=True)


def fetch_seconds(r: Rates, gpu: int, size: float, pinned: bool, add: Add) -> None:
    """Terms of a copy of weights between RAM and a GPU; one core stages what is pageable."""
    group = Group("PCIe", "weights", "pinned" if pinned else "pageable")
    add(group, size / r.gpus[gpu].pcie_gbs / 1e9, ("link.pinned", 1.0), ("rig.link", 1.0))
    if not pinned:
        add(group, size / COPY / r.cpu.core_bandwidth, ("link.paged", 1.0), ("rig.stage", 1.0))


def _transfers(r: Rates, w: Work, add: Add) -> None:
    cpu = len(r.gpus)
    for (to, pinned), (size, n) in w.weight_copies.items():
        fetch_seconds(r, to if to < cpu else 0, size, pinned, add)
        add(Group("PCIe", "changes of device"), n * HOST_CHANGE, ("split", 1.0), ("rig.split", 1.0), *r.windows)
    for (a, b), (size, _) in w.copies.items():
        ends = [r.gpus[i].pcie_gbs for i in (a, b) if i < cpu]
        if ends and r.prompt:
            add(Group("PCIe", "activations"), size / min(ends) / 1e9, ("link.act", 1.0), ("rig.link", 1.0))
    for (a, b), n in w.changes.items():
        if a < cpu and b < cpu:
            add(Group("PCIe", "changes between GPUs"), n * PEER_CHANGE, ("peer", 1.0), ("rig.peer", 1.0), *r.windows)
        else:
            add(Group("PCIe", "changes of device"), n * HOST_CHANGE, ("split", 1.0), ("rig.split", 1.0), *r.windows)
