"""Two paths agree node by node; a planted fault is named with its node and type."""

import sys

import numpy as np
import pytest

import ikexplore as ikx
from ikexplore.run import lower, lower_ops, lower_products, paths, weights
from ikexplore.run.crosscheck import Difference
from ikexplore.run.crosscheck import crosscheck as _crosscheck

SETTINGS = ikx.Settings(n_threads=2)
MIXED = [("attn_output", "q4_0"), ("ffn_down", "q6_k"), ("", "iq4_ks")]


@pytest.fixture(scope="module")
def mixed(llama, tmp_path_factory):
    """Layers in three types; the middle matrices in another than the first."""
    path = tmp_path_factory.mktemp("mixed") / "mixed.gguf"
    ikx.quantize(llama, path, MIXED)
    return ikx.open(path)


def change(**more):
    return SETTINGS.replace(**more)


PAIRS = [
    (SETTINGS, "naive"), ("naive", SETTINGS), (SETTINGS, change(n_threads=1)), (SETTINGS, change(n_ubatch=16)),
    (change(n_ubatch=7), change(n_ubatch=1)), (SETTINGS, change(flash_attn=False)), (change(flash_attn=False), "naive"),
    (SETTINGS, change(cache_type_k="q8_0", cache_type_v="q8_0")), (change(cache_type_k="q8_0", cache_type_v="q8_0"), "naive"),
    (SETTINGS, change(fused_moe=False, fused_up_gate=False, fused_mmad=False)),
    (ikx.Settings.parse("-t 2", profile="2025-06"), "naive"),
]  # fmt: skip


@pytest.mark.parametrize("a, b", PAIRS)
def test_good_paths_agree(moe, a, b):
    assert ikx.crosscheck(moe, a, b) is None


@pytest.mark.parametrize("b", ["naive", "repacked", "-t 2 -ub 8 -no-fa"])
def test_types_mixed_and_repacked(mixed, llama, b):
    assert ikx.crosscheck(mixed, SETTINGS, b) is None
    assert ikx.crosscheck(llama, SETTINGS, b, tokens="The old kettle was in the river.") is None


def test_every_kind_of_node_is_compared(moe, monkeypatch):
    checks = []

    def keep(*args):
        checks.append(real(*args))
        return checks[-1]

    module = sys.modules["ikexplore.run.crosscheck"]  # the package's attribute of that name is the function
    real = module._Check
    monkeypatch.setattr(module, "_Check", keep)
    assert _crosscheck(moe, SETTINGS, "naive", single=1) is None
    kept = {key[0] for key in checks[0].kept.parts}
    assert {"MUL_MAT", "MUL_MAT_ID", "MOE_FUSED_UP_GATE", "FLASH_ATTN_EXT", "ROPE", "CPY", "ARGSORT", "GET_ROWS"} <= kept
    assert checks[0].compared == sum(len(parts) for parts in checks[0].kept.parts.values())
    checks.clear()
    assert _crosscheck(moe, SETTINGS, change(n_ubatch=16), single=1) is None
    parts = sum(len(p) for p in checks[0].kept.parts.values())
    assert checks[0].compared > 1.5 * parts  # three ubatches, each node of each


# --- faults -----------------------------------------------------------------------------------------------------------


def test_a_wrong_offset_in_one_format(mixed, monkeypatch):
    """As in pull request 529: one type's product is off on the CPU, and only there."""
    def wrong(f):
        bias, sub = lower_offset(f)
        return (bias - 1, sub) if f.name == "q4_0" else (bias, sub)

    lower_offset = lower.offset_kind
    for module in (lower, lower_products):
        monkeypatch.setattr(module, "offset_kind", wrong)
    found = ikx.crosscheck(mixed, SETTINGS, "naive")
    assert (found.node, found.op, found.type) == ("attn_out-0", "MUL_MAT", "q4_0")
    assert found.weight == "blk.0.attn_output.weight" and found.error > 10 * found.tolerance
    assert "attn_out-0" in str(found) and "q4_0" in str(found) and "\n" not in str(found)
    assert ikx.crosscheck(mixed, SETTINGS, change(n_threads=1)) is None  # both paths share the fault


@pytest.mark.parametrize("order", [1, -1])
def test_one_tensor_repacked_badly(mixed, monkeypatch, order):
    """One byte in each row of one tensor, in the repacked copy alone."""
    def load(model, name, kind, ne):
        weight = real(model, name, kind, ne)
        if name == "blk.1.ffn_down.weight" and kind != model.tensors[name].type:
            weight.data.reshape(weight.rows, -1)[::4, 20] ^= 0x55
        return weight

    real = weights._weight
    monkeypatch.setattr(weights, "_weight", load)
    sides = (SETTINGS, change(rtr=True))[::order]
    found = ikx.crosscheck(mixed, *sides)
    assert isinstance(found, Difference)
    assert (found.node, found.weight) == ("ffn_down-1", "blk.1.ffn_down.weight")
    assert "q6_k" in found.type


@pytest.mark.parametrize("op, node, kind", [("ROPE", "Qcur_roped-0", "f32"), ("FUSED_RMS_NORM", "attn_norm-0", "f32")])
def test_a_wrong_parameter_of_an_op(moe, monkeypatch, op, node, kind):
    def wrong(g, row):
        real(g, row)
        args = g.instructions[-1].args
        if op == "ROPE":
            args[10] = 2 - args[10]  # the other way of pairing columns
        else:
            args[-1] *= 1e6  # eps

    real = lower_ops.OPS[op]
    monkeypatch.setitem(lower_ops.OPS, op, wrong)
    found = ikx.crosscheck(moe, "naive", SETTINGS)
    assert (found.node, found.op, found.type) == (node, op, kind)


def test_a_fault_in_single_tokens_alone(moe, monkeypatch):
    def wrong(g, row):
        real(g, row)
        if g.graph.n_tokens == 1:
            [i.args for i in g.instructions if i.op.__name__ == "attention_part"][-1][17] *= 1.01

    real = lower_ops.OPS["FLASH_ATTN_EXT"]
    monkeypatch.setitem(lower_ops.OPS, "FLASH_ATTN_EXT", wrong)
    found = ikx.crosscheck(moe, SETTINGS, "naive")
    assert (found.op, found.tokens, found.type) == ("FLASH_ATTN_EXT", (38, 1), "f16")


def test_one_wrong_value_among_many_is_seen(moe, monkeypatch):
    class Off(paths.FastPath):
        def run(self, tokens, single, see):
            def tell(values, row, start, n):
                if values.graph.name[row] == "attn_norm-1" and n > 1:
                    values.array(row)[0, 0, 3, 17] += 1e-3
                see(values, row, start, n)

            super().run(tokens, single, tell)

    monkeypatch.setitem(paths.PATHS, "off", Off)
    found = ikx.crosscheck(moe, SETTINGS, "off")
    assert (found.node, found.op) == ("attn_norm-1", "FUSED_RMS_NORM") and found.worst > 2e-5


@pytest.mark.parametrize("kw, words", [
    ({"b": "quick"}, "no path"), ({"tokens": [1, 999]}, "0 to 319"), ({"tokens": [1, 2]}, "give more tokens"),
    ({"tokens": []}, "1 or more")])
def test_bad_input_is_one_clear_line(moe, kw, words):
    with pytest.raises(ikx.SettingsError, match=words) as error:
        ikx.crosscheck(moe, SETTINGS, **{"b": "naive", **kw})
    assert "\n" not in str(error.value)


def test_naive_logits_are_the_engines(llama):
    """The naive path alone, from tokens to logits: nothing is compared or replaced on the way."""
    rows = []

    def see(values, row, start, n):
        if values.graph.name[row] == "result_output":
            rows.append(values.array(row).reshape(n, -1).copy())

    tokens = np.arange(3, 23)
    paths.NaivePath(llama, SETTINGS.replace(n_ctx=256)).run(tokens, 2, see)
    want = ikx.logits(llama, tokens, SETTINGS)
    assert np.linalg.norm(np.concatenate(rows) - want) < 1e-4 * np.linalg.norm(want)
