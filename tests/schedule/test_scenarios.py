"""Every figure of the reference's logs, split lists and policy runs, exact: all scenarios of the reference set."""

import json

import pytest
from plan_harness import inputs, profile_of, scenarios

import ikexplore as ikx


def lines(pairs):
    return sorted(map(tuple, pairs))


def computed_mla(plan, newer):
    """Tensors that loading computed, as the logs count them: in June 2025 a line for both of k_b and v_b."""
    p = plan.placement
    made = [name for name, new in zip(p.tensors.names, p.computed) if new]
    if p.division is not None:
        return {}
    pair = 2 if not newer and any("attn_k_b" in name for name in made) else 1
    return {buffer: n // pair for buffer, (n, _) in p.computed_mla.items()}


def log_facts(plan):
    """The figures of a plan under the names of the scenarios' logs."""
    cx, deal, newer = plan.placement.context, plan.placement.deal, plan.settings.profile == "2026-08"
    kv_self = next(line for line in plan.log().splitlines() if "KV self size" in line)
    facts = {
        "n_ctx": cx.n_ctx, "n_batch": cx.n_batch, "n_ubatch": cx.n_ubatch, "flash_attn": int(cx.flash_attn),
        "attn_max_b": cx.attn_max_batch, "fused_moe": int(cx.fused_moe), "pipeline_n_copies": plan.placement.n_copies,
        "model_mib": lines(plan.model_mib), "kv_mib": lines(plan.kv_mib), "output_mib": lines(plan.output_mib),
        "kv_self": " ".join(kv_self.split(": ", 1)[1].split()),
        "compute_mib": lines(plan.compute_mib), "compute_bytes": lines(plan.compute_bytes.items()),
        "graph_nodes": plan.graph_nodes, "graph_splits": plan.graph_splits, "repacked_tensors": len(plan.repacked),
        "mla_attn": cx.mla_attn if plan.model.hparams.is_mla else None if newer else 0,
        "computed_mla_tensors": computed_mla(plan, newer),
        "overridden_tensors": plan.overridden,
    }  # fmt: skip
    if newer:
        facts |= {"fused_up_gate": int(cx.fused_up_gate), "k_cache_hadam": int(cx.k_hadamard),
                  "v_cache_hadam": int(cx.v_hadamard), "grouped_er": int(plan.settings.grouped_expert_routing),
                  "graph_reuse": int(plan.settings.graph_reuse), "reduce_type": plan.settings.reduce_type,
                  "only_active_experts": plan.settings.only_active_experts}  # fmt: skip
    if deal.sizes is not None:
        mib = 2**20
        rows = zip(deal.sizes.tensors, deal.sizes.cache)
        facts |= {
            "layer_sizes_mib": [[round(a / mib, 2), round(b / mib, 2), round((a + b) / mib, 2)] for a, b in rows],
            "layer_compute_mib": round(deal.sizes.compute / mib, 2),
            "memory_required_mib": round(deal.sizes.required / mib), "memory_available_mib": round(deal.available / mib),
            "default_device": [[il, deal.default[il]] for il in deal.dealt] if deal.sizes.required <= deal.available else [],
        }  # fmt: skip
    if plan.placement.division is not None:
        parts = [name.rsplit(".", 1)[0] for name, new in zip(plan.placement.tensors.names, plan.placement.computed) if new]
        facts["computed_mla_tensors_split"] = len(set(parts))
        for key, sizes in (("model", plan.placement.divided_bytes), ("kv", plan.placement.cache_parts)):
            facts[f"{key}_mib_per_device"] = [round(size / 2**20, 2) for size in sizes.values()]
    if deal.fit is not None:
        use = [list(row) for row in deal.fit.device_use]
        facts["fit"] = {"cpu_expert_layers": list(deal.fit.cpu_expert_layers), "device_use": use}
    return facts


def wanted_facts(log):
    """The log of a scenario, with lines in an order that means nothing."""
    unordered = ("model_mib", "kv_mib", "output_mib", "compute_mib", "compute_bytes")
    return {key: lines(value) if key in unordered else value for key, value in log.items()}


def policy_facts(run):
    return {
        "n_tokens": run.n_tokens, "graph_nodes": run.graph_nodes, "graph_splits": run.graph_splits,
        "compute_mib": lines(run.compute_mib), "backend_seq": run.backend_seq,
        "weight_bytes_copied": run.weight_bytes_copied, "other_bytes_copied": run.other_bytes_copied,
    }  # fmt: skip


@pytest.mark.parametrize("name", scenarios())
def test_exact(name):
    scenario = scenarios()[name]
    plan = ikx.plan(*inputs(scenario))
    mine, theirs = log_facts(plan), wanted_facts(scenario["log"])
    assert {k: mine[k] for k in theirs if k in mine} == {k: v for k, v in theirs.items() if k in mine}
    unchecked = {"fit"} if theirs.get("fit") is None else set()
    assert set(theirs) - set(mine) <= unchecked
    assert [split.row() for split in plan.splits] == scenario["splits"]
    for kind, run in scenario["after_policy"].items():
        assert policy_facts(plan.after_policy[kind]) == {**run, "compute_mib": lines(run["compute_mib"])}, kind


def test_copies_are_the_reference(shared):
    """The scenarios that travel with the tests are those of the reference set."""
    there = {}
    for name in ("scenarios.json", "scenarios-2026-08.json"):
        there |= {s["id"]: s for s in json.loads((shared / "oracle" / name).read_text())}
    assert there.keys() == scenarios().keys()
    for name, mine in scenarios().items():
        assert all(there[name][key] == value for key, value in mine.items()), name
        assert profile_of(mine) == ("2026-08" if name.startswith("n-") else "2025-06")
