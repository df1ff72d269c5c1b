"""Settings: what the reference prints, what people pasted, what is refused, and that writing and reading agree."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ikexplore.errors import IkexploreError, SettingsError
from ikexplore.settings import FIELDS, GROUPS, NEW, OLD, OP_NUMBERS, PROFILES, SWITCHES, Settings
from ikexplore.settings.other import OTHER
from ikexplore.settings.switches import BY_FLAG

DATA = Path(__file__).parent / "data" / "settings"
POSTED = json.loads((DATA / "posted.json").read_text(encoding="utf-8"))["argv"]
REFERENCE = json.loads((DATA / "reference.json").read_text(encoding="utf-8"))["runs"]


@pytest.mark.parametrize("run", REFERENCE, ids=lambda run: run["id"])
def test_effective_values_are_what_the_reference_prints(run):
    parsed = Settings.parse(run["argv"], profile=run["profile"])
    assert parsed.unknown == () and parsed.remarks == ()
    resolved = parsed.resolved()
    assert [resolved.n_ctx, resolved.n_batch, resolved.n_ubatch] == [run["n_ctx"], run["n_batch"], run["n_ubatch"]]
    assert [resolved.flash_attn, resolved.fused_moe] == [bool(run["flash_attn"]), bool(run["fused_moe"])]
    assert resolved.attn_max_batch == run["attn_max_b"]
    if run["mla_attn"] is not None:
        assert resolved.mla_attn == run["mla_attn"]


@pytest.mark.parametrize("profile", PROFILES)
def test_every_posted_command_parses_and_survives_being_written(profile):
    for argv in POSTED:
        parsed = Settings.parse(argv, profile=profile)
        assert Settings.parse(parsed.command(), profile=profile) == parsed, argv
        for other in PROFILES:
            there = Settings.parse(parsed.command(other), profile=other)
            assert there == parsed.to(other), argv
            assert hash(there) == hash(parsed.to(other))


def test_posted_commands_hold_nothing_unknown_but_one_slip():
    unknown = {flag for argv in POSTED for flag in Settings.parse(argv, profile=OLD).unknown}
    assert unknown == {"---"}


def test_all_records_of_the_whole_corpus_parse(shared):
    records = json.loads((shared / "corpus" / "sweeps.json").read_text(encoding="utf-8"))
    lines = [record["command"] for record in records if record["command"]]
    assert len(lines) > 200
    for argv in lines:
        parsed = Settings.parse(argv)
        assert Settings.parse(parsed.command()) == parsed


def test_posted_values_arrive_in_their_fields():
    line = (
        "CUDA_VISIBLE_DEVICES=0,1 numactl --interleave=all ./bin/llama-sweep-bench -m big.gguf -t 48 "
        "-c 32768 --numa distribute -ngl 95 -ctk q8_0 -ctv q8_0 -fa -fmoe -amb 64 -b 4096 -ub 4096 "
        "-ot 'blk\\.(0|1)\\.ffn=CUDA0,exps=CPU' -ot x=CUDA1 -op 26,0,29,1 -ts 3/1 -ser 6,1 -rtr --no-mmap -mla 2 -np 2"
    )
    s = Settings.parse(line, profile=OLD)
    assert s.env == {"CUDA_VISIBLE_DEVICES": "0,1"} and s.prefix == ("numactl", "--interleave=all")
    assert s.program == "./bin/llama-sweep-bench" and s.model_path == "big.gguf"
    assert (s.n_threads, s.n_ctx, s.numa, s.n_gpu_layers, s.n_batch, s.n_ubatch) == (
        48,
        32768,
        "distribute",
        95,
        4096,
        4096,
    )
    assert (s.cache_type_k, s.cache_type_v, s.flash_attn, s.fused_moe, s.attn_max_batch) == (
        "q8_0",
        "q8_0",
        True,
        True,
        64,
    )
    assert s.overrides == ((r"blk\.(0|1)\.ffn", "CUDA0"), ("exps", "CPU"), ("x", "CUDA1"))
    assert s.offload_policy == (("MUL_MAT", False), ("MOE_FUSED_UP_GATE", True))
    assert s.tensor_split == (3.0, 1.0) and s.smart_expert_reduction == (6, 1.0)
    assert s.rtr and not s.use_mmap and s.mla_attn == 2 and s.n_parallel == 2
    assert s.unknown == ()


@pytest.mark.parametrize(
    ("line", "flag", "words"),
    [
        ("-ub 0", "-ub", "1 or more"),
        ("-ub -512", "-ub", "1 or more"),
        ("-ub abc", "-ub", "whole number"),
        ("-ub 1.5", "-ub", "whole number"),
        ("-ub", "-ub", "missing"),
        ("-ub -rtr", "-ub", "missing"),
        ("-b 0", "-b", "1 or more"),
        ("-c -1", "-c", "0 or more"),
        ("-ub 99999999999", "-ub", "at most"),
        ("-ub 512abc", "-ub", "whole number"),
        ("-ctk q9_9", "-ctk", "q8_0"),
        ("-ctv nonsense", "-ctv", "iq4_nl"),
        ("-ctk iq4_ks", "-ctk", "q8_KV"),
        ("-ctk q8_0l", "-ctk", "q8_0"),
        ("-ts one,two", "-ts", "3,1"),
        ("-ts 3,-1", "-ts", "0 or more"),
        ("-ts nan", "-ts", "0 or more"),
        ("-ts ''", "-ts", "3,1"),
        ("-ot exps", "-ot", "=BUFFER"),
        ("-ot exps=", "-ot", "buffer"),
        ("-ot 'a{1,2}=CPU'", "-ot", "comma"),
        ("-ot '(=CPU'", "-ot", "position"),
        ("-op 26", "-op", "pairs"),
        ("-op 26,2", "-op", "0 or 1"),
        ("-op 999,1", "-op", "no such op"),
        ("-op x,y", "-op", "no such op"),
        ("-sm row", "-sm", "layer"),
        ("-sm 3", "-sm", "graph"),
        ("-mla 4", "-mla", "from 0 to 3"),
        ("-ser 6", "-ser", "6,1"),
        ("-fa=maybe", "-fa", "on, off or auto"),
        ("-rtr=1", "-rtr", "no value"),
        ("--numa all", "--numa", "isolate"),
        ("-np 0", "-np", "1 or more"),
        ("-cuda what", "-cuda", "key=value"),
        ("--override-kv x", "--override-kv", "KEY=TYPE:VALUE"),
        ("--rope-freq-base -1", "--rope-freq-base", "0 or more"),
        ("-gfm 0,a", "-gfm", "pairs"),
        ("-ot 'x=CPU", "quote", "not closed"),
        ("-c $CTX", "-c", "whole number"),
        ("--temp", "--temp", "missing"),
    ],
)
def test_a_bad_value_gives_one_line_that_names_flag_and_rule(line, flag, words):
    with pytest.raises(SettingsError) as caught:
        Settings.parse(line)
    message = str(caught.value)
    assert flag in message and words in message and "\n" not in message
    assert issubclass(SettingsError, IkexploreError)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"n_ubatch": 0}, "-ub 0"),
        ({"n_ubatch": True}, "whole number"),
        ({"n_ubatch": "512"}, "whole number"),
        ({"nonsense": 1}, "no switch"),
        ({"rtr": 3}, "True, False or None"),
        ({"overrides": [("a,b", "CPU")]}, "comma"),
        ({"overrides": [("a", "")]}, "buffer"),
        ({"overrides": "exps"}, "=BUFFER"),
        ({"overrides": [("a", "CPU", "x")]}, "-ot"),
        ({"overrides": 3}, "-ot"),
        ({"offload_policy": [("NO_SUCH_OP", 1)]}, "NO_SUCH_OP"),
        ({"tensor_split": ["a"]}, "-ts"),
        ({"cache_type_k": 8}, "-ctk"),
        ({"profile": "2020-01"}, "2025-06"),
        ({"rope_freq_base": float("inf")}, "--rope-freq-base"),
        ({"gpu_fit_margin": [("a", "b")]}, "-gfm"),
        ({"smart_expert_reduction": (1.5, 2)}, "-ser"),
        ({"override_kv": 5}, "--override-kv"),
    ],
)
def test_replace_validates(values, words):
    with pytest.raises(SettingsError, match=words.replace("(", r"\(")):
        Settings().replace(**values)


def test_replace_changes_and_takes_back():
    s = Settings.parse("./llama-server -m a.gguf -ub 1024 --host 0.0.0.0 --nonsense 7")
    t = s.replace(n_ubatch=2048, rtr=True, overrides=[["exps", "CPU"]])
    assert (t.n_ubatch, t.rtr, t.overrides) == (2048, True, (("exps", "CPU"),))
    assert (s.n_ubatch, s.rtr) == (1024, False)
    assert t.other == s.other and t.unknown == ("--nonsense",) and t.model_path == "a.gguf"
    assert t.replace(n_ubatch=None, rtr=None, overrides=()).given == {}
    assert t.replace(n_ubatch=None).n_ubatch == 512
    with pytest.raises(AttributeError):
        s.n_ubatch = 3
    with pytest.raises(AttributeError):
        s.no_such_switch  # noqa: B018


def test_defaults_follow_the_profile():
    old, new = Settings(OLD), Settings()
    assert new.profile == NEW
    assert (old.flash_attn, old.fused_moe, old.fused_up_gate, old.mla_attn, old.attn_max_batch) == (
        False,
        False,
        False,
        0,
        0,
    )
    assert (new.flash_attn, new.fused_moe, new.fused_up_gate, new.mla_attn, new.attn_max_batch) == (
        True,
        True,
        True,
        3,
        256,
    )
    assert old.command() == new.command() == "" and not new.given
    assert new.n_ctx is None and new.n_threads is None and new.use_mmap and new.tensor_split == ()


def test_small_amb_becomes_128_in_2026():
    assert Settings.parse("-amb 64", profile=OLD).attn_max_batch == 64
    s = Settings.parse("-amb 64")
    assert s.attn_max_batch == 128 and any("128" in note for note in s.notes())
    assert Settings.parse("-amb 0").attn_max_batch == 0


def test_flash_attention_in_all_its_spellings():
    assert not Settings.parse("-fa off").flash_attn and not Settings.parse("-no-fa").flash_attn
    assert not Settings.parse("--flash-attn=0").flash_attn and Settings.parse("-fa auto").flash_attn
    assert Settings.parse("-fa -rtr").flash_attn and Settings.parse("-fa -rtr").rtr
    assert Settings.parse("-fa", profile=OLD).command() == "-fa"
    assert Settings.parse("-fa on -ub 64", profile=OLD).command() == "-ub 64 -fa"
    assert Settings.parse("-fa off", profile=OLD).given == {}
    assert Settings.parse("-fa").command() == "-fa on"


def test_the_last_of_a_repeated_flag_wins_and_lists_grow():
    s = Settings.parse("-ub 512 -ot a=CPU -ub 1024 -ot b=CUDA0,c=CPU -op 27,0 -op 28,1 -ub=2048")
    assert s.n_ubatch == 2048 and [p for p, _ in s.overrides] == ["a", "b", "c"]
    assert s.offload_policy == (("MUL_MAT", False), ("MUL_MAT_ID", True))


def test_flags_without_a_meaning_for_the_engine_are_kept_and_known():
    s = Settings.parse("--host 0.0.0.0 --port 8080 --top_p 0.95 --min-p 0 -p '-5 degrees' --color -a name")
    assert s.unknown == () and ("--top-p", "0.95") in s.other and ("--prompt", "-5 degrees") in s.other
    assert Settings.parse(s.command()) == s and s.given == {}


def test_unknown_flags_are_named_kept_and_written_back():
    s = Settings.parse("-ub 64 --frobnicate 3 4 -zz --new-flag=on -rtr")
    assert s.unknown == ("--frobnicate", "-zz", "--new-flag") and s.n_ubatch == 64 and s.rtr
    assert s.command() == "-ub 64 -rtr --frobnicate 3 4 -zz --new-flag=on"
    assert Settings.parse(s.command()) == s
    assert Settings.parse("-khad", profile=OLD).unknown == ("-khad",) and Settings.parse("-khad").unknown == ()
    assert Settings.parse("nonsense").unknown == ("nonsense",)


def test_a_record_of_a_run_is_read_as_the_engine_read_it():
    s = Settings.parse("./llama-server -m $model -c $CTX -t 16x -ctv q5_0l -sm row -ub")
    assert s.given == {"cache_type_v": "q5_0", "n_threads": 16} and s.model_path == "$model" and s.unknown == ()
    assert len(s.remarks) == 5 and all("\n" not in note for note in s.notes())
    for line in (
        "./llama-server -ub 0",
        "./llama-server -ctk q9_9",
        "./llama-server -ot '(=CPU'",
        "./llama-server -ub x",
    ):
        with pytest.raises(SettingsError):
            Settings.parse(line)


def test_ubatch_above_batch_is_lowered_and_said():
    s = Settings.parse("-c 8192 -b 1024 -ub 4096")
    assert s.n_ubatch == 4096 and s.resolved().n_ubatch == 1024
    assert any("-ub 4096 is lowered to 1024" in note for note in s.notes())


def test_resolved_asks_model_and_machine():
    class Model:
        class hparams:
            n_ctx_train = 40000

    class Machine:
        gpus, cores, threads = (), 6, 12

    r = Settings.parse("-t 0 -tb 4 -cuda offload-batch-size=16").resolved(Model, Machine)
    assert (r.n_ctx, r.n_gpu_layers, r.n_threads, r.n_threads_batch, r.offload_batch_size) == (40192, 0, 12, 4, 16)
    r = Settings(OLD).resolved(Model, Machine)
    assert (r.n_ctx, r.n_threads, r.n_threads_batch, r.offload_batch_size) == (40000, 6, 6, 32)
    assert Settings.parse("-rtr").resolved().use_mmap is False


def test_settings_pickle_and_repr():
    import copy
    import pickle

    s = Settings.parse("-ub 64 -ot 'a b=CPU' --foo")
    assert pickle.loads(pickle.dumps(s)) == s == copy.deepcopy(s)
    assert eval(repr(s)) == s
    assert {s: 1}[Settings.parse(s.command())] == 1


def test_declarations_are_complete():
    assert len(SWITCHES) == len(FIELDS) and len({f for s in SWITCHES for f in s.spellings}) == len(BY_FLAG)
    assert not set(BY_FLAG) & set(OTHER)
    for s in SWITCHES:
        assert s.group in GROUPS and s.meaning and s.effect and set(s.defaults) == set(PROFILES) and s.spellings
        assert all(flag.startswith("-") for flag in s.spellings)
    assert OP_NUMBERS[OLD]["MUL_MAT"] == 26 and OP_NUMBERS[NEW]["MUL_MAT"] == 27
    assert OP_NUMBERS[OLD]["MUL_MAT_ID"] == 27 and OP_NUMBERS[NEW]["MUL_MAT_ID"] == 28
    assert OP_NUMBERS[OLD]["MOE_FUSED_UP_GATE"] == 29
    assert OP_NUMBERS[NEW]["FUSED_UP_GATE"] == 30 and OP_NUMBERS[NEW]["MOE_FUSED_UP_GATE"] == 31


_TEXT = st.text(st.characters(blacklist_categories=("Cs", "Cc"), blacklist_characters=",="), min_size=1, max_size=8)


def _values(switch, profile):
    if switch.kind == "int":
        low = int(switch.minimum if switch.minimum is not None else -5)
        return st.integers(low, int(switch.maximum) if switch.maximum is not None else 2**31 - 1)
    if switch.kind == "float":
        return st.floats(0, 1e30, allow_nan=False)
    if switch.kind in ("bool", "onoff"):
        return st.just(not switch.default_in(profile))
    if switch.kind in ("choice", "type"):
        return st.sampled_from(switch.choices_in(profile))
    if switch.kind == "split":
        return st.lists(st.floats(0, 1e9), max_size=6).map(tuple)
    if switch.kind == "overrides":
        pattern = st.sampled_from(
            [r"blk\.(1|2)\.ffn", "exps", " x", r"\d+\.attn_.*", "'", '"', "$HOME", "a b", "`", "^blk", "#", "~"]
        )
        return st.lists(st.tuples(pattern, st.sampled_from(["CPU", "CUDA0", "CUDA_Host"])), max_size=3).map(tuple)
    if switch.kind == "policy":
        return st.lists(st.tuples(st.sampled_from(sorted(OP_NUMBERS[profile])), st.booleans()), max_size=3).map(tuple)
    if switch.kind == "pairs":
        return st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9999)), max_size=2).map(tuple)
    if switch.kind == "ser":
        return st.tuples(st.integers(-1, 9), st.floats(0, 2))
    if switch.kind == "list":
        return st.lists(_TEXT.map(lambda t: f"{t}=int:{t}"), max_size=2).map(tuple)
    if switch.field == "cuda_params":
        return st.just("offload-batch-size=16,fusion=0")
    return st.text(st.characters(blacklist_categories=("Cs", "Cc")), max_size=12)


@st.composite
def _settings(draw):
    profile = draw(st.sampled_from(PROFILES))
    chosen = [s for s in draw(st.sets(st.sampled_from(SWITCHES), max_size=8)) if s.exists_in(profile)]
    values = {}
    for switch in chosen:
        value = draw(_values(switch, profile))
        spelled = (
            switch.flags and profile in switch.flags_in if value is True else switch.negatives or switch.kind == "onoff"
        )
        if switch.kind not in ("bool", "onoff") or spelled:
            values[switch.field] = value
    return Settings(profile, **values)


@given(_settings())
@settings(max_examples=300, deadline=None)
def test_random_settings_survive_being_written(s):
    assert Settings.parse(s.command(), profile=s.profile) == s
    assert Settings.parse(s.argv(), profile=s.profile) == s
    for profile in PROFILES:
        there = s.to(profile)
        assert Settings.parse(s.command(profile), profile=profile) == there
        assert all("\n" not in note for note in s.notes(profile))


@given(st.text(max_size=60) | st.lists(st.text(max_size=10) | st.sampled_from([*BY_FLAG, *OTHER]), max_size=6))
@settings(max_examples=300, deadline=None)
def test_any_text_parses_or_gives_one_line(line):
    try:
        s = Settings.parse(line)
    except SettingsError as error:
        assert len(str(error).splitlines()) == 1
    else:
        assert Settings.parse(s.argv()) == s
        assert Settings.parse(s.command()) == s
