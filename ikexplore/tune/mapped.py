"""The way out where RAM is short of weights: the file stays mapped, and what RAM cannot hold is read from disk each time."""

from dataclasses import replace

from ..forecast.terms import SYSTEM_MIB, host_mib
from ..schedule.plan import Plan
from .found import Found
from .request import Request
from .search import Search

SECONDS = 3.0  #: for the search; the choice hardly matters beside the disk


def mapped(asked: Request, short: dict[str, float]) -> tuple[Found, float] | None:
    """The best that runs with a mapped file, and the MiB of weights that RAM lacks; None where that does not help.

    Only RAM may be short, the cache and the compute buffers must fit it, and limits must allow mmap without -rtr. Rates are
    those of a machine with so much RAM as may be used.
    """
    free = asked.machine.cpu.free_mib
    if free is None or not short.get(asked.machine.cpu.name):
        return None
    if True not in asked.values("use_mmap", (True,)) or False not in asked.values("rtr", (False,)):
        return None
    cpu = asked.machine.cpu
    known = min(cpu.total_mib or free + SYSTEM_MIB, free + SYSTEM_MIB)
    machine = replace(asked.machine, cpu=replace(cpu, free_mib=None, total_mib=known))
    allowed = {**asked.allowed, "use_mmap": (True,), "rtr": (False,)}
    search = Search(replace(asked, machine=machine, allowed=allowed), SECONDS)
    search.run()
    for found in search.best():
        made = search.planned_with(found.settings)
        needed = _needed(made)
        lacking = host_mib(made) + needed - free
        if needed <= free and lacking > 0:
            return found, lacking
    return None


def _needed(made: Plan) -> float:
    """MiB of RAM that must not go away: all but weights."""
    host = made.devices[-1]
    return host.total_mib - host.model_mib
