"""Which GPUs are used and which layers they get, before any override: -ngl, -sm, -mg, -ts, --device, --fit."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import SettingsError
from ..machine import Device, Machine
from ..models.build import DIVIDED
from ..models.columns import Columns
from ..models.context import Context
from ..models.model import Model
from ..settings import Settings
from ..settings.declare import NEW
from .layers import HOST, Slots, deal_by_number, deal_by_size, shares
from .moe import Fit, fit, fit_graph
from .sizes import LayerSizes, layer_sizes

MIB = 2**20
#: architectures whose matrices -sm row is known to divide
ROW_SPLIT = ("deepseek2", "llama", "qwen2", "qwen3", "qwen3moe")


@dataclass(frozen=True)
class Deal:
    """``gpus`` are the GPUs that compute, by number; ``split`` the running shares of -sm row over all GPUs, or None.

    ``default``: the device of each layer and of the output as the newer loader counts them, host layers included;
    ``dealt``: the layers that it dealt by size.
    ``points``: running shares of -sm graph, None without.
    ``sizes``, ``available`` (bytes) and ``fit`` exist in the newer profile only.
    """

    gpus: tuple[Device, ...]
    n_gpu_layers: int
    slots: Slots
    default: tuple[int, ...] = ()
    dealt: range = range(0)
    sizes: LayerSizes | None = None
    available: int = 0
    fit: Fit | None = None
    split: tuple[float, ...] | None = None
    points: np.ndarray | None = None


def deal(model: Model, settings: Settings, machine: Machine, cx: Context, cols: Columns) -> Deal:
    """Deals the layers. Raises SettingsError for switches that contradict the machine or each other."""
    if settings.split_mode == "attn" and machine.gpus:
        raise SettingsError("-sm attn is not planned yet; use -sm graph, -sm layer or -sm none")
    if not machine.gpus:
        newer = settings.profile == NEW and not machine.cuda_build  # only such a build counts the CPU as a device
        sizes = _sizes(model, settings, cols, cx) if newer else None
        return Deal((), 0, Slots((HOST,) * cols.n_layer, HOST), sizes=sizes)
    if settings.profile == NEW:
        return _deal_2026(model, settings, machine, cx, cols)
    return _deal_2025(model, settings, machine, cols)


def _deal_2025(model: Model, settings: Settings, machine: Machine, cols: Columns) -> Deal:
    gpus, split = machine.gpus, None
    if settings.split_mode != "layer":
        gpus = (_main(settings, machine),)
    if settings.split_mode == "row" and len(machine.gpus) > 1:
        if model.arch not in ROW_SPLIT:
            raise SettingsError(f"-sm row is not planned for {model.arch}; use -sm layer")
        if model.hparams.is_moe:
            raise SettingsError("-sm row does not run models with experts; use -sm layer")
        split = tuple(shares(settings.tensor_split, [gpu.total_mib or 0 for gpu in machine.gpus]).tolist())
    ngl, n = settings.n_gpu_layers, cols.n_layer
    if ngl <= 0:
        return Deal(gpus, 0, Slots((HOST,) * n, HOST), split=split)
    free = [(gpu.free_mib or 0) * MIB for gpu in gpus]
    points = shares(settings.tensor_split if len(gpus) > 1 else (), free)
    return Deal(gpus, ngl, deal_by_number(n, ngl, points), split=split)


def _main(settings: Settings, machine: Machine) -> Device:
    if settings.main_gpu >= len(machine.gpus):
        raise SettingsError(f"-mg {settings.main_gpu}: this machine has {len(machine.gpus)} GPUs, numbered from 0")
    return machine.gpus[settings.main_gpu]


def _deal_2026(model: Model, settings: Settings, machine: Machine, cx: Context, cols: Columns) -> Deal:
    devices = _devices(settings, machine)
    gpus = tuple(gpu for gpu in machine.gpus if gpu in devices)
    ngl = 999 if settings.fit else settings.n_gpu_layers
    free = _free(settings, devices)
    sizes = _sizes(model, settings, cols, cx)
    points = shares(settings.tensor_split, free) if len(devices) > 1 else np.ones(1, np.float32)
    divided = cx.split_mode == "graph"
    if divided:
        _check_graph(model.arch, settings, cx, len(devices))
    slots, default, dealt = deal_by_size(cols.n_layer, ngl, points, sizes.total, sizes.compute)
    usable, found = sum(int(f - sizes.compute) for f in free if f > sizes.compute), None
    if settings.fit:
        _check_fit(settings)
        if sizes.required > usable:
            run = model.hparams.n_layer_run
            if divided:
                found = fit_graph(cols, sizes, slots, usable, run)
            else:
                found = fit(cols, sizes, slots, default, free, run)
            slots = found.slots
            if divided:
                free[default[-1]] -= int(sizes.total[-1])
    if divided and 0 < ngl <= cols.n_layer:  # the output goes where the last layer is
        slots = Slots(slots.layers, default[cols.n_layer - 1])
    if devices != gpus:  # layers are dealt in the order of --device, GPUs compute in the machine's
        number = [gpus.index(device) for device in devices]
        place = [s if s == HOST else number[s] for s in (*slots.layers, slots.output)]
        slots, default = Slots(tuple(place[:-1]), place[-1]), tuple(number[d] for d in default)
    return Deal(gpus, ngl, slots, default, dealt, sizes, usable, found, points=points if divided and ngl else None)


def _check_graph(arch: str, settings: Settings, cx: Context, n_gpu: int) -> None:
    """What the reference refuses with -sm graph, and what is not planned with it."""
    if arch not in DIVIDED:
        raise SettingsError(f"-sm graph is not planned for {arch}; use -sm layer, or one of {', '.join(DIVIDED)}")
    if n_gpu < 2:
        raise SettingsError("-sm graph needs two GPUs at least; leave it out, or name more with --device")
    refused = {
        "-fa off": not cx.flash_attn, "-nkvo": not cx.offload_kqv, "-mqkv": settings.merge_qkv,
        "-muge": settings.merge_up_gate_experts, "--device": bool(settings.devices),
        "-mla 0": settings.mla_attn == 0, "-khad with MLA": bool(cx.mla_attn) and cx.k_hadamard,
    }  # fmt: skip
    for flag, given in refused.items():
        if given:
            raise SettingsError(f"-sm graph with {flag} is not planned; use -sm layer, or leave {flag} out")


def _devices(settings: Settings, machine: Machine) -> tuple[Device, ...]:
    """GPUs in the order in which layers are dealt to them."""
    if settings.devices:
        known: dict[str, Any] = {gpu.name: gpu for gpu in machine.gpus}
        names = list(dict.fromkeys(name for name in settings.devices.split(",") if name))
        for name in names:
            if name not in known:
                raise SettingsError(f"--device {name}: this machine has {', '.join(known)}")
        return tuple(known[name] for name in names)
    if settings.split_mode == "none":
        if len(machine.gpus) > 1:
            raise SettingsError("-sm none with several GPUs fails in this version; use --device to name the one to use")
        return (_main(settings, machine),)
    return machine.gpus


def _free(settings: Settings, devices: tuple[Device, ...]) -> list[int]:
    """Bytes that the loader counts as free per device: what is free less the margin."""
    margins = dict(zip(settings.gpu_fit_margin[::2], settings.gpu_fit_margin[1::2]))
    usual = settings.fit_margin or 1024
    return [max(0, (d.free_mib or 0) - int(margins.get(i, usual))) * MIB for i, d in enumerate(devices)]


def _sizes(model: Model, settings: Settings, cols: Columns, cx: Context) -> LayerSizes:
    """The loader's estimate, with -c as given and -ub clipped to -b and -c."""
    n_ctx = settings.n_ctx or model.hparams.n_ctx_train
    n_batch = min(settings.n_batch, settings.n_ctx) if settings.n_ctx else settings.n_batch
    return layer_sizes(model.hparams, cols, cx, n_ctx, min(n_batch, settings.n_ubatch))


def _check_fit(settings: Settings) -> None:
    for given, flag in ((settings.overrides, "-ot"), (settings.n_cpu_moe, "--n-cpu-moe")):
        if given:
            raise SettingsError(f"--fit refuses {flag}: the engine chooses itself; leave one of the two out")
