"""Whether a run fits its devices, said before it starts and with the plan's numbers."""

from typing import TYPE_CHECKING, Any

from ...errors import SettingsError
from ...schedule import DeviceUse, Plan
from .device import Device

if TYPE_CHECKING:
    from .program import Hybrid

MIB = 1 << 20


def check_plan(plan: Plan, devices: list[Device]) -> None:
    """Raises SettingsError, with the plan's numbers, where a device is too small for what is planned for it."""
    for use, device in _uses(plan, devices):
        _check(use, device, use.total_mib, 0.0)


def check_program(plan: Plan, devices: list[Device], hybrid: "Hybrid") -> None:
    """The same for a lowered graph, whose kernels need scratch besides what is planned."""
    for number, (use, device) in enumerate(_uses(plan, devices)):
        need = hybrid.needs(number)
        planned = use.total_mib - use.compute_mib + max(use.compute_mib, need["compute"] / MIB)
        _check(use, device, planned, need["pool"] / MIB)


def _uses(plan: Plan, devices: list[Device]) -> list[tuple[DeviceUse, Device]]:
    by_name = {use.name: use for use in plan.devices}
    return [(by_name[device.name], device) for device in devices]


def _check(use: DeviceUse, device: Device, planned: float, scratch: float) -> None:
    free = device.runtime.memory()[0] / MIB + sum(device.held.values()) / MIB
    if use.capacity_mib is not None:
        free = min(free, use.capacity_mib)
    if planned + scratch <= free:
        return
    parts: list[tuple[str, Any]] = [("weights", use.model_mib), ("KV cache", use.kv_mib), ("output", use.output_mib),
                                    ("compute buffer", planned - use.model_mib - use.kv_mib - use.output_mib),
                                    ("scratch of kernels", scratch)]
    words = ", ".join(f"{what} {size:.2f}" for what, size in parts if size)
    raise SettingsError(f"{device.name} has {free:.2f} MiB free and this run needs {planned + scratch:.2f} there ({words}); "
                        "place less on it (-ngl, -ot) or give a smaller -c or -ub")
