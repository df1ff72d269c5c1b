"""Words and plain values for a plan: why a tensor or a node is where it is, and the whole plan for a page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import ModelError
from ..graph.ops import OPS
from ..graph.types import type_name
from ..placement.layers import HOST
from ..placement.rules import matches
from ..settings.ops import OP_NUMBERS
from .assign import REASONS

if TYPE_CHECKING:
    from .plan import Plan

MIB = 2**20


def explain(plan: Plan, name: str) -> str:
    """Why a tensor of the model, or the nodes of a name, are where they are."""
    tensors = plan.placement.tensors
    rows = [i for i, known in enumerate(tensors.names) if known == name]
    g = plan.graph
    nodes = [row for row in range(g.n_leafs, len(g)) if g.name[row] == name]
    lines = [_tensor(plan, row) for row in rows] + [_node(plan, row) for row in nodes]
    if not lines and name in g.name:
        lines = [_leaf(plan, g.name.index(name))]
    if not lines:
        raise ModelError(f"the plan has no tensor and no node called {name!r}")
    return "\n".join(dict.fromkeys(lines))


# --- tensors ----------------------------------------------------------------------------------------------------------


def _tensor(plan: Plan, row: int) -> str:
    p = plan.placement
    name, kind = p.tensors.names[row], type_name(int(p.tensors.type_id[row]))
    size = f"{p.tensors.nbytes[row] / MIB:,.2f} MiB"
    if p.place[row] < 0:
        return f"{name} ({kind}, {size}) lies inside a tensor that loading merges it into."
    if p.computed[row]:
        return (
            f"{name} ({kind}, {size}) is not in the file: loading computes it for latent attention and keeps it in "
            f"{p.computed_name(row)}, beside the tensor that it is made from; no printed size counts it."
        )
    text = f"{name} ({kind}, {size}) is in {p.name(int(p.place[row]))}: {_why_there(plan, row)}."
    if p.file_types[row] != p.tensors.type_id[row]:
        text += f" -rtr made it {kind} from {type_name(int(p.file_types[row]))}."
        if p.gpus and not plan.rules.matmul[p.tensors.type_id[row]]:
            text += f" No CUDA kernel multiplies {kind}: its ops run on the CPU."
    return text


def _why_there(plan: Plan, row: int) -> str:
    p = plan.placement
    name, il = p.tensors.names[row], int(p.tensors.layer[row])
    if p.rule[row] >= 0:
        number = int(p.rule[row])
        rule = p.rules[number]
        later = [i + 1 for i in range(number + 1, len(p.rules)) if matches(p.rules[i].pattern, (name,))[0]]
        which = f"rule {number + 1} of {len(p.rules)}"
        text = f"{rule.flag} {rule.pattern}={rule.buffer}, {which}, is the first that matches"
        return text + (f" (so would {', '.join(map(str, later))})" if later else "")
    if name == "token_embd.weight" and p.place[row] == p.host:
        return "the embedding always stays in host memory"
    if p.place[row] == p.divided:
        return f"-sm {plan.settings.split_mode} divides it among the GPUs"
    if p.part[row]:
        return f"it is what this GPU has of a tensor that -sm {plan.settings.split_mode} divides or copies"
    return _slot(plan, il)


def _slot(plan: Plan, il: int) -> str:
    """Where a layer (-1: the output) is by the rules without overrides, and why."""
    p, n = plan.placement, plan.model.hparams.n_layer
    slot = p.slots.output if il < 0 else p.slots.layers[il]
    what = "the output" if il < 0 else f"layer {il}"
    if slot == HOST:
        if not p.gpus:
            return "this machine has no GPU"
        if il < 0:
            return f"the output goes to a GPU only if -ngl ({p.deal.n_gpu_layers}) is more than the {n} layers"
        return f"with -ngl {p.deal.n_gpu_layers} the first {max(n - p.deal.n_gpu_layers, 0)} of {n} layers stay in host memory"
    if len(p.gpus) == 1:
        return f"{what} is on the only GPU that is used, {p.gpus[slot].name}"
    by = "by size" if plan.rules.newer else "by number"
    share = "-ts" if plan.settings.tensor_split else "free memory"
    return f"layers are dealt {by} in proportion to {share}, and {what} falls to {p.gpus[slot].name}"


def _leaf(plan: Plan, row: int) -> str:
    g, p = plan.graph, plan.placement
    name = g.name[row]
    if g.flags[row] & 1:
        return f"{name} is an input of the graph: the host fills it, and splits on a GPU copy it in."
    slot = p.kv_slots[int(g.layer[row])]
    where = p.host_name if slot == HOST else p.gpus[slot].name
    why = "-nkvo keeps the KV cache in host memory" if not p.context.offload_kqv else _slot(plan, int(g.layer[row]))
    return f"{name} is in {where}: {why}; -ot never moves the KV cache."


# --- nodes ------------------------------------------------------------------------------------------------------------


def _node(plan: Plan, row: int) -> str:
    s, g = plan.schedule, plan.graph
    node = row - g.n_leafs
    where = int(np.searchsorted(s.cut.start, node, side="right")) - 1
    backend = s.backends[int(s.at.backend[row])]
    text = f"{g.name[row]} ({g[row].op}, node {node}) runs on {backend} in split {where + 1} of {len(s.cut)}"
    return f"{text}: {_why_runs(plan, row)}."


def _why_runs(plan: Plan, row: int) -> str:
    s, g = plan.schedule, plan.graph
    reason = REASONS[int(s.at.reason[row])]
    backend = s.backends[int(s.at.backend[row])]
    if reason == "memory":
        return f"it writes memory that is on {backend}"
    if reason in ("weight", "offload"):
        weight = next(src for src in g[row].src if src >= 0 and s.weight[src])
        if reason == "offload":
            return f"its weight {g.name[weight]} is in host memory, {_offloaded(plan, row, weight)}"
        text = f"its weight {g.name[weight]} is there"
        return text + _kept(plan, row, weight) if backend == "CPU" and plan.placement.gpus else text
    words = {
        "neighbour": "it has no weight of its own and joins the nodes beside it",
        "sources": "the backends beside it cannot compute it, and most of its sources are there",
        "view": "it only looks at memory that is there",
        "consumer": "the op that reads it runs there",
        "reduced": "it is a GPU's part of a sum, or the sum, which the last of these GPUs keeps",
        "pinned": "-nkvo keeps attention with the KV cache",
        "input": "graph inputs are filled by the host",
    }
    return words.get(reason, reason)


def _numbers(plan: Plan, row: int, weight: int) -> str:
    """The numbers behind the offload rule for an op."""
    g, r = plan.graph, plan.rules
    op = g[row].op
    if op in ("MUL_MAT_ID", "MOE_FUSED_UP_GATE") and r.date >= "2025-06-12":
        tokens, experts = int(g.ne[row, 2]), int(g.ne[weight, 2])
        used = int(g.ne[g.srcs[row, 2 if op == "MUL_MAT_ID" else 3], 0])
        have, need = f"{tokens} tokens x {used} of {experts} experts = {tokens * used}", r.batch * experts
        return f"{have} against {r.batch} x {experts} = {need}"
    return f"{int(g.ne[row, 1])} rows against {r.batch}"


def _offloaded(plan: Plan, row: int, weight: int) -> str:
    first = plan.schedule.backends[int(plan.schedule.at.backend[row])]
    numbers = _numbers(plan, row, weight)
    return f"and a large enough op fetches it ({numbers}); {first} is the first GPU that can compute it"


def _kept(plan: Plan, row: int, weight: int) -> str:
    s, g, n_gpu = plan.schedule, plan.graph, len(plan.placement.gpus)
    if not s.able[row, :n_gpu].any():
        if plan.rules.matmul[g.type_id[weight]]:
            return ", and no GPU can compute it"
        return f", and no CUDA kernel multiplies {g.type[weight]}"
    if not s.wanted[row]:
        return f", and the op is too small to fetch it ({_numbers(plan, row, weight)})"
    return ""


# --- plain values -----------------------------------------------------------------------------------------------------


def _split_dict(split: Any) -> dict[str, Any]:
    inputs = [[i.name, i.bytes, i.is_weight] for i in split.inputs]
    return {"backend": split.backend, "start": split.start, "end": split.end, "first": split.first, "last": split.last,
            "layers": list(split.layers) if split.layers else None, "inputs": inputs}  # fmt: skip


def _schedule_dict(s: Any) -> dict[str, Any]:
    g = s.graph
    return {
        "n_tokens": s.n_tokens,
        "graph_nodes": s.graph_nodes,
        "graph_splits": s.graph_splits,
        "nodes": g.name[g.n_leafs :],
        "ops": [OPS[i] for i in g.op_id[g.n_leafs :].tolist()],
        "splits": [_split_dict(split) for split in s.splits],
        "compute_mib": [list(row) for row in s.compute_mib],
        "weight_bytes_copied": s.weight_bytes_copied,
        "other_bytes_copied": s.other_bytes_copied,
    }


def to_dict(plan: Plan) -> dict[str, Any]:
    """See ``Plan.to_dict``."""
    p, numbers = plan.placement, OP_NUMBERS[plan.settings.profile]
    names = [p.name(i) for i in range(len(p.gpus) + 3)]
    kinds = [type_name(i) for i in p.tensors.type_id.tolist()]
    return {
        "model": plan.model.name,
        "profile": plan.settings.profile,
        "command": plan.settings.command(),
        "devices": [{**vars(d), "total_mib": d.total_mib, "over_mib": d.over_mib} for d in plan.devices],
        "places": names,
        "tensors": {
            "name": list(p.tensors.names), "type": kinds, "bytes": p.tensors.nbytes.tolist(),
            "layer": p.tensors.layer.tolist(), "place": p.place.tolist(), "rule": p.rule.tolist(),
        },
        "rules": [[r.pattern, r.buffer, r.flag] for r in p.rules],
        "kv_slots": [p.host_name if s == HOST else p.gpus[s].name for s in p.kv_slots],
        "model_mib": [list(row) for row in plan.model_mib],
        "kv_mib": [list(row) for row in plan.kv_mib],
        "output_mib": [list(row) for row in plan.output_mib],
        "measured": _schedule_dict(plan.schedule),
        "pp": _schedule_dict(plan.after_policy["pp"]),
        "tg": _schedule_dict(plan.after_policy["tg"]),
        "offload_policy": [[op, numbers.get(op), on] for op, on in plan.settings.offload_policy],
        "repacked": [list(row) for row in plan.repacked],
        "findings": [vars(f) for f in plan.findings],
        "log": plan.log(),
    }  # fmt: skip
