"""-ot rules match exactly what was meant, for any set of layers and any placement."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ikexplore.placement.rules import Rule, first_match, matches
from ikexplore.tune.patterns import CPU, numbers, overrides

ROLES = ("ffn_down_exps", "ffn_gate_exps", "ffn_up_exps")


@given(st.sets(st.integers(0, 130), min_size=1))
def test_numbers_match_exactly_these_layers(wanted):
    names = tuple(f"blk.{n}.x" for n in range(140))
    found = matches(rf"blk\.{numbers(wanted)}\.", names)
    assert {n for n in range(140) if found[n]} == wanted


@pytest.mark.parametrize(
    "wanted, text",
    [([3], "3"), (range(3, 8), "[3-7]"), (range(11), "([0-9]|10)"), (range(10, 30), "[12][0-9]"),
     ([1, 2, 15], "([12]|15)"), (range(100, 110), "10[0-9]"), ([9, 10, 11], "(9|1[01])")],
)  # fmt: skip
def test_numbers_are_short(wanted, text):
    assert numbers(wanted) == text


@pytest.mark.parametrize("wanted", [[], [-1, 2]])
def test_numbers_refuse_what_is_no_layer(wanted):
    with pytest.raises(ValueError, match="no layers"):
        numbers(wanted)


@st.composite
def placements(draw):
    n = draw(st.integers(1, 24))
    devices = st.sampled_from(["CUDA0", "CUDA1", CPU])
    home = {layer: draw(devices) for layer in range(n)}
    first = draw(st.integers(0, 2))  # dense layers in front have no experts
    where = {(layer, role): draw(devices) for layer in range(min(first, n - 1), n) for role in ROLES}
    return home, where


@given(placements())
def test_rules_put_every_tensor_where_it_was_meant(drawn):
    home, where = drawn
    rules = [Rule(pattern, device) for pattern, device in overrides(where, home)]
    names = tuple(f"blk.{layer}.{role}.weight" for layer, role in where)
    found = first_match(rules, names) if rules else [-1] * len(names)
    for (layer, _), rule, meant in zip(where, found, where.values()):
        assert (home[layer] if rule < 0 else rules[rule].buffer) == meant
    rest = ("attn_q", "ffn_up", "ffn_up_shexp", "ffn_gate_inp")
    others = tuple(f"blk.{layer}.{role}.weight" for layer in home for role in rest)
    assert not rules or (first_match(rules, others) < 0).all()


def test_nothing_is_written_where_all_is_at_home():
    assert overrides({(0, "ffn_up_exps"): "CUDA0"}, {0: "CUDA0"}) == ()
