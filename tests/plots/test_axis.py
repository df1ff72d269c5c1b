"""Where tensors and nodes lie on the layer axis."""

import gzip
import json

import pytest

from ikexplore.plots.axis import PHASES, edge, layer_and_role, positions, roles


def facts(data):
    return json.loads(gzip.decompress((data / "widgets" / "discussion-491.json.gz").read_bytes()))


def test_layer_and_role():
    assert layer_and_role("blk.12.ffn_gate_exps.weight") == (12, "ffn_gate_exps")
    assert layer_and_role("blk.0.attn_q.bias") == (0, "attn_q.bias")
    assert layer_and_role("token_embd.weight") == (None, "token_embd")
    assert layer_and_role("blk.x.attn_q.weight") == (None, "blk.x.attn_q")


def test_roles_follow_the_computation_and_unknown_ones_come_last():
    names = [f"blk.0.{r}.weight" for r in ("zzz", "ffn_down_exps", "attn_output", "ffn_gate_inp", "attn_norm", "attn_q")]
    assert roles(names) == ["attn_norm", "attn_q", "attn_output", "ffn_gate_inp", "ffn_down_exps", "zzz"]


def test_nodes_of_a_large_graph(data):
    names = facts(data)["nodes"]
    where = positions(names, 94)
    assert len(where) == len(names) + 1 == 3673
    assert where == sorted(where)
    assert where[0] == -1 and where[-1] == 95
    at = dict(zip(names, where))
    for layer in (0, 1, 47, 93):
        assert at[f"attn_norm-{layer}"] == layer
        assert at[f"ffn_moe_gate_par-{layer}"] == pytest.approx(layer + PHASES[1])
        assert at[f"ffn_moe_down-{layer}"] == pytest.approx(layer + PHASES[2])
        assert at[f"ffn_moe_weights-{layer}"] == pytest.approx(layer + PHASES[3])
        assert layer + PHASES[3] < at[f"l_out-{layer}"] < layer + 1
    assert at["result_norm"] == 94


def test_nodes_without_a_name_stay_where_the_last_one_was():
    names = ["inp_embd", "attn_norm-0", "node_2", "ffn_up-0", "node_4", "ffn_down-0", "l_out-0", "attn_norm-1", "result_norm"]
    where = positions(names, 2)
    assert where == sorted(where)
    assert 0 < where[2] < PHASES[1] <= where[3] < where[4] < PHASES[2] <= where[5] < 1 == where[7]
    assert where[8] == 2


def test_a_graph_without_layers_and_none_at_all():
    assert positions(["inp_embd", "result_output"], 1) == [-edge(1), 1.0, 1 + edge(1)]
    assert positions([], 4) == [4 + edge(4)]


def test_the_ends_are_narrow_where_there_are_few_layers():
    assert edge(94) == 1 and edge(24) == 1 and edge(12) == 0.5 and edge(1) == 0.2
