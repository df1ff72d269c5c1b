"""The lines of the -ot editor."""

import pytest
import scene

from ikexplore.plots.picture import Grid
from ikexplore_widgets.clean import clean, one_line
from ikexplore_widgets.rules import Matcher, assign, picks, read_rules, spans, told

DEVICES = ["CUDA0", "CUDA1", "CUDA2", "CUDA3", "CPU"]


def read(*texts: str):
    model = scene.qwen235()
    return read_rules(texts, Matcher(Grid.of(model.tensors.values(), 94)), DEVICES, "2025-06")


def test_the_first_match_wins_as_in_discussion_491():
    rules = read(*(f"{p}={b}" for p, b in scene.settings().overrides))
    assert [r.hits for r in rules] == [42, 48, 48, 42, 102]
    assert [r.note for r in rules] == ["layers 0–13, experts", "layers 14–29, experts", "layers 30–45, experts",
                                       "layers 46–59, experts", "layers 60–93, experts; 180 taken above"]
    assert not any(r.bad for r in rules)


def test_what_has_no_effect_says_why():
    shadowed, unmatched, broken, unknown, nothing, empty = read(
        "exps=CPU", r"blk\.99\.ffn=CUDA0", "blk(=CPU", "attn=CUDA9", "attn", "")[0:6]
    assert not shadowed.bad
    assert unmatched.bad and unmatched.note == "matches no tensor"
    assert broken.bad and "position" in broken.note and broken.pairs == ()
    assert unknown.bad and "CUDA9" in unknown.note and "CUDA0, CUDA1" in unknown.note
    assert nothing.bad and "=" in nothing.note
    assert not empty.bad and empty.pairs == ()
    again = read("exps=CPU", "ffn_up_exps=CUDA0")[1]
    assert again.bad and again.note == "shadowed: earlier rules take all 94"


def test_one_line_may_hold_several_rules():
    (rule,) = read("attn_q=CUDA0,attn_k=CUDA1")
    assert rule.pairs == (("attn_q", "CUDA0"), ("attn_k", "CUDA1")) and rule.hits == 4 * 94


def test_roles_and_other_tensors_are_named():
    assert read("attn_q\\.weight=CPU")[0].note == "layers 0–93, attn_q"
    assert read("output=CPU")[0].note == "layers 0–93, attn_output and 2 more"
    assert read("token_embd=CPU")[0].note == "token_embd.weight"


def test_assigning_layers_writes_a_rule_that_takes_just_them():
    grid = Grid.of(scene.qwen235().tensors.values(), 94)
    text = assign(grid, 60, 63, "CUDA1")
    (rule,) = read(text)
    assert rule.hits == 12 and rule.note == "layers 60–63, experts"
    assert read(assign(grid, 90, 300, "CPU"))[0].note == "layers 90–93, experts"


def test_spans():
    assert spans([]) == "" and spans([3]) == "3" and spans([0, 1, 2, 5, 7, 8]) == "0–2, 5, 7–8"


def test_text_of_unknown_origin_becomes_one_clean_line():
    assert clean("a\x1b[31mred\x1b[0m\nb\tc") == "ared b c"
    assert clean("x\u202egnp\u2066y\u200bz") == "xgnpyz"
    assert clean("A" * 10_000_000, 50) == "A" * 49 + "…"
    assert clean(None) == "None"
    assert one_line(RuntimeError("two\nlines")) == "RuntimeError: two lines"
    assert one_line(KeyError()) == "KeyError"


def test_all_that_a_rule_finds_is_told_by_role_and_by_who_took_it():
    model = scene.qwen235()
    grid = Grid.of(model.tensors.values(), 94)
    first, second = read(r"blk\.[0-3]\.ffn_up_exps=CUDA0", r"blk\.[0-9]\.ffn_(up|down)_exps|output_norm=CPU")
    assert told(first, grid) == [("ffn_up_exps", "0–3")]
    assert told(second, grid) == [("ffn_up_exps", "4–9"), ("ffn_down_exps", "0–9"), ("output_norm.weight", ""),
                                  ("by rule 1: ffn_up_exps", "0–3")]
    (third,) = read("nothing=CPU")
    assert told(third, grid) == []


@pytest.mark.parametrize("what, hits", [("experts", 12), ("up", 8), ("down", 4), ("attention", 28), ("all", 48)])
def test_quick_picks_take_what_they_say(what, hits):
    grid = Grid.of(scene.qwen235().tensors.values(), 94)
    assert what in dict(picks(grid)) and "shared" not in dict(picks(grid)) and "ffn" not in dict(picks(grid))
    text = assign(grid, 63, 60, "CUDA1", what)
    (rule,) = read(text)
    assert rule.hits == hits and rule.note.startswith("layers 60–63") and rule.device == "CUDA1"
