"""From one engine profile to another: what is translated, what is lost, and who says so."""

import pytest

from ikexplore.errors import SettingsError
from ikexplore.settings import NEW, OLD, Settings


def test_policies_are_held_by_name():
    s = Settings.parse("-op 26,0,27,0,29,1,-1,1", profile=OLD)
    assert s.offload_policy == (("MUL_MAT", False), ("MUL_MAT_ID", False), ("MOE_FUSED_UP_GATE", True), ("ALL", True))
    assert s.command() == "-op 26,0,27,0,29,1,-1,1"
    assert s.command(NEW) == "-op 27,0,28,0,31,1,-1,1"
    assert Settings.parse("-op mul_mat,0,GGML_OP_MUL_MAT_ID,1").command() == "-op 27,0,28,1"


def test_an_op_that_the_other_profile_lacks_is_named():
    s = Settings.parse("-op 27,0,30,0")
    assert s.offload_policy == (("MUL_MAT", False), ("FUSED_UP_GATE", False))
    assert s.command(OLD) == "-op 26,0" and any("FUSED_UP_GATE" in note for note in s.notes(OLD))


def test_june_line_in_august():
    s = Settings.parse("-c 8192 -fa -fmoe -rtr -sm row -ot exps=CPU", profile=OLD)
    assert s.command(NEW) == "-c 8192 -ot exps=CPU -fa on -rtr"
    notes = " / ".join(s.notes(NEW))
    assert "-fmoe" in notes and "-sm row" in notes
    assert "by default in profile 2026-08" in notes and "-ngl 0 keeps it as it was" in notes
    assert not any("-rtr" in note for note in s.notes(NEW))


def test_august_line_in_june():
    s = Settings.parse("-khad -ncmoe 10 --fit -fa off -no-fmoe -sm graph -ub 64 --cpu-moe --jinja")
    assert s.command(OLD) == "-ub 64 --jinja"
    notes = " / ".join(s.notes(OLD))
    for word in ("-khad", "--cpu-moe", "-ot exps=CPU", "--fit", "-no-fmoe", "-sm graph", "--jinja"):
        assert word in notes


def test_reading_june_flags_in_august_says_what_no_longer_holds():
    s = Settings.parse("-fmoe -ub 64")
    assert s.unknown == () and s.fused_moe and s.command() == "-ub 64"
    assert any("-fmoe" in note and "default" in note for note in s.notes())
    s = Settings.parse("-no-fmoe", profile=OLD)
    assert s.unknown == () and not s.fused_moe and any("-no-fmoe" in note for note in s.notes())
    with pytest.raises(SettingsError, match=r"profile 2025-06 has it"):
        Settings.parse("-sm row")


def test_translation_there_and_back():
    s = Settings.parse("-c 8192 -fa -ub 4096 -op 27,0 -ts 3,1 -ot 'a|b=CPU' --unknown 3 --host h", profile=OLD)
    assert s.to(NEW).to(OLD) == s and s.to(NEW).profile == NEW and s.to(OLD) is s
    assert s.replace(profile=NEW, n_ubatch=512) == s.to(NEW).replace(n_ubatch=512)
    assert s.to(NEW).unknown == ("--unknown",)


def test_values_that_a_profile_cannot_hold():
    for bad in ({"fused_up_gate": True}, {"k_cache_hadamard": True}, {"n_cpu_moe": 3}, {"split_mode": "graph"}):
        with pytest.raises(SettingsError):
            Settings(OLD).replace(**bad)
    assert Settings(OLD).replace(fused_up_gate=False, fused_moe=False, flash_attn=False).given == {}
    assert Settings(NEW).replace(fused_moe=True).given == {}
    assert Settings(NEW).replace(fused_moe=False).command() == "-no-fmoe"


def test_an_unknown_profile():
    for call in (
        lambda: Settings.parse("", profile="2024"),
        lambda: Settings("x"),
        lambda: Settings().command("x"),
        lambda: Settings().notes("y"),
    ):
        with pytest.raises(SettingsError, match="2025-06, 2026-08"):
            call()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("-ctv q8_0 -fa off", "flash attention"),
        ("--fit -ot exps=CPU", "--fit refuses"),
        ("-ngl 0 -ot exps=CPU", "ignores -ot"),
        ("-ot 'a=CPU, b=CPU'", "blank"),
        ("-ub 4096", "lowered to 2048"),
    ],
)
def test_what_the_engine_does_silently_is_said(line, words):
    assert any(words in note for note in Settings.parse(line).notes())
    assert not any(words in note for note in Settings.parse("-c 4096 -ub 512").notes())
