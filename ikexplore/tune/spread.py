"""Placements where memory alone counts: what needs least, however fast it is."""

from ..schedule import plan
from ..schedule.plan import Plan
from ..settings import Settings
from .patterns import CPU, roles_pattern
from .pieces import pieces
from .request import Request


def lack(made: Plan) -> float:
    return sum(d.over_mib for d in made.devices)


def least(asked: Request, settings: Settings) -> Plan:
    """The plan that lacks least with these settings: experts on GPUs that have room for them, or not."""
    base = settings.replace(overrides=None)
    mmap = asked.values("use_mmap", (True, False))
    tries = [base, base.replace(use_mmap=False)] if False in mmap and not base.rtr else [base]
    return min((spread(asked, s) for s in tries), key=lack)


def spread(asked: Request, base: Settings) -> Plan:
    """A plan of ``base`` with every movable piece in RAM but those that GPUs have room for; memory alone counts."""
    parts = pieces(asked.model)
    rest = roles_pattern([role for part in parts.roles for role in part]) if parts.layers else ""
    if not asked.machine.gpus or not rest:
        return plan(asked.model, base, asked.machine)
    made = plan(asked.model, base.replace(overrides=((rest, CPU),)), asked.machine)
    if not made.placement.rules:
        return made
    room = {d.name: (d.capacity_mib or 0) - d.total_mib for d in made.devices[:-1]}
    cols, rules = made.placement.tensors, []
    size = {il: sum(int(cols.nbytes[cols.row[n]]) for part in parts.rows[il] for n in part) / 2**20 for il in parts.layers}
    for il in parts.layers if made.devices[-1].over_mib else ():
        name = max(room, key=lambda n: room[n])
        if room[name] > size[il] + 1:
            room[name] -= size[il] + 1
            rules.append((rf"blk\.{il}\.{rest}", name))
    return plan(asked.model, base.replace(overrides=(*rules, (rest, CPU))), asked.machine) if rules else made
