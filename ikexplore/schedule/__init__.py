"""Plans: repack, graph, backends, splits, copies, arenas; what the reference would log, without weights or GPUs."""

from .plan import AfterPolicy, DeviceUse, Plan, plan
from .schedule import Schedule, Split, SplitInput

__all__ = ["AfterPolicy", "DeviceUse", "Plan", "Schedule", "Split", "SplitInput", "plan"]
