"""Logits against the reference's, and what must not change them."""

import threading
import time

import numpy as np
import pytest

import ikexplore as ikx
from ikexplore.run import Session


def settings(flags=""):
    return ikx.Settings.parse(f"-c 512 -t 2 {flags}")


def relative(got, want):
    return float(np.linalg.norm(got - want) / np.linalg.norm(want))


def run(model, tokens, flags="", n_outputs=None):
    with Session(model, settings(flags)) as session:
        return session.eval(tokens, n_outputs or len(tokens))


@pytest.fixture(scope="module")
def golden(data):
    return dict(np.load(data / "run" / "logits.npz"))


@pytest.fixture(scope="module")
def quantized(data):
    return ikx.open(data / "run" / "llama-iq4_ks.gguf")


@pytest.mark.parametrize("flags, key", [("", "f16"), ("-no-fa", "f16_nofa")])
def test_f16_logits_are_the_references(llama, golden, flags, key):
    got = run(llama, golden["tokens"], flags)[golden["pos"]]
    assert relative(got, golden[key]) < 5e-4


def test_quantized_logits_are_closer_to_ideal_arithmetic_than_the_references(quantized, golden):
    got = run(quantized, golden["tokens"])[golden["pos"]]
    ideal = golden["iq4_ks_ideal"]
    assert relative(got, ideal) <= relative(golden["iq4_ks"], ideal)
    assert relative(got, golden["iq4_ks"]) < 0.065


def test_expert_logits_are_the_references(moe, golden):
    got = run(moe, golden["moe_tokens"])[golden["moe_pos"]]
    want = golden["moe"]
    rows = np.linalg.norm(got - want, axis=1) / np.linalg.norm(want, axis=1)
    assert np.median(rows) < 0.06


@pytest.mark.parametrize("flags", ["-rtr", "-ub 32 -b 32", "-t 1", "-no-fmoe -no-fug", "-no-mmad"])
@pytest.mark.parametrize("name", ["quantized", "moe"])
def test_switches_that_must_not_change_results(request, name, flags, golden):
    model = request.getfixturevalue(name)
    tokens = golden["tokens"]
    assert relative(run(model, tokens, flags), run(model, tokens)) < 1e-4


def test_flash_attention_changes_rounding_only(llama, quantized, golden):
    """With 8-bit activations a last bit can move a code by one: then differences of a percent are rounding too."""
    tokens = golden["tokens"]
    assert relative(run(llama, tokens, "-no-fa"), run(llama, tokens)) < 1e-5
    assert relative(run(quantized, tokens, "-no-fa"), run(quantized, tokens)) < 0.015


def test_older_profile_gives_the_same(quantized, golden):
    old = ikx.Settings.parse("-c 512 -t 2 -fa -fmoe", profile="2025-06")
    with Session(quantized, old) as session:
        got = session.eval(golden["tokens"], 96)
    assert relative(got, run(quantized, golden["tokens"])) < 1e-5


@pytest.mark.parametrize("kind, bound", [("q8_0", 0.02), ("bf16", 0.006)])
def test_cache_types(llama, golden, kind, bound):
    got = run(llama, golden["tokens"], f"-ctk {kind} -ctv {kind}")[golden["pos"]]
    assert 0 < relative(got, golden["f16"]) < bound


def test_bits_of_q_times_k(llama, golden):
    """8 is another way where K has 8 bits; other types know one way."""
    def logits(kind, **bits):
        with Session(llama, settings(f"-ctk {kind} -ctv f16"), **bits) as session:
            return session.eval(golden["tokens"], len(golden["tokens"]))

    wide, eight = logits("q8_0", k_bits=32), logits("q8_0", k_bits=8)
    assert np.array_equal(logits("q8_0"), wide) and 1e-4 < relative(eight, wide) < 0.02
    assert np.array_equal(logits("q6_0", k_bits=8), logits("q6_0", k_bits=32))
    with pytest.raises(ikx.SettingsError, match="16 bits: choose 8 or 32"):
        Session(llama, k_bits=16)


@pytest.mark.parametrize("name, bound", [("llama", 1e-5), ("quantized", 0.015)])
def test_one_by_one_equals_one_ubatch(request, name, bound, golden):
    model, tokens = request.getfixturevalue(name), golden["tokens"]
    with Session(model, settings()) as session:
        parts = [session.eval(tokens[:32], 32), session.eval(tokens[32:33]), session.eval(tokens[33:80], 47)]
        parts += [session.eval([t]) for t in tokens[80:]]
    assert relative(np.concatenate(parts), run(model, tokens)) < bound


def test_rewind_forgets(quantized, golden):
    tokens = golden["tokens"]
    with Session(quantized, settings()) as session:
        first = session.eval(tokens, 1)
        session.rewind(10)
        again = session.eval(tokens[10:], 1)
        assert relative(again, first) < 1e-4
        with pytest.raises(ikx.SettingsError, match="rewind"):
            session.rewind(97)


def test_repacked_tensors_are_named(quantized):
    with Session(quantized, settings("-rtr")) as session:
        assert session.repacked["blk.0.attn_q.weight"] == ("iq4_ks", "iq4_ks_r4")
        assert "token_embd.weight" not in session.repacked
        assert session.weights["blk.0.attn_q.weight"].format.name == "iq4_ks_r4"


@pytest.mark.parametrize("tokens, n_outputs, words", [
    ([], 1, "at least one token"), ([1, 2], 3, "outputs"), ([320], 1, "not in 0..319"), ([-1], 1, "not in"),
    ([1] * 513, 1, "larger -c")])
def test_bad_input_is_one_clear_line(quantized, tokens, n_outputs, words):
    with Session(quantized, settings()) as session, pytest.raises(ikx.SettingsError, match=words) as error:
        session.eval(tokens, n_outputs)
    assert "\n" not in str(error.value)


def test_a_header_cannot_be_run(llama, tmp_path):
    import json

    header = {"metadata": {k: v for k, v in llama.metadata.items() if isinstance(v, (str, int, float))},
              "tensors": [[t.name, list(t.shape), t.type] for t in llama.tensors.values()]}
    (tmp_path / "h.json").write_text(json.dumps(header))
    with pytest.raises(ikx.ModelError, match="without weights"):
        Session(ikx.Model.from_header(tmp_path / "h.json"), settings())


def test_stop_from_another_thread_and_go_on(quantized, golden):
    """Many stops at random moments: each ends the evaluation soon, and the next result is right."""
    tokens, rng = np.tile(golden["tokens"], 5), np.random.default_rng(0)
    with Session(quantized, settings("-ub 512 -b 512")) as session:
        want = session.eval(tokens, 1)
        for _ in range(40):
            session.rewind()
            timer = threading.Timer(rng.uniform(0, 0.03), session.stop)
            timer.start()
            begin = time.perf_counter()
            try:
                while time.perf_counter() - begin < 5:
                    session.rewind()
                    session.eval(tokens, 1)
                pytest.fail("not stopped within five seconds")
            except ikx.Cancelled:
                pass
            timer.join()
            session.resume()
        session.rewind()
        assert np.array_equal(session.eval(tokens, 1), want)


def test_no_thread_is_left(quantized, golden):
    before = {t.ident for t in threading.enumerate()}
    run(quantized, golden["tokens"])
    deadline = time.perf_counter() + 2
    while time.perf_counter() < deadline:
        left = [t.name for t in threading.enumerate() if t.ident not in before and t.name.startswith("ikexplore-")
                and "codec" not in t.name]
        if not left:
            return
        time.sleep(0.01)
    pytest.fail(f"threads left: {left}")


def test_whole_reference_set(shared):
    """F16 runs of both architectures within 0.05 %, for every setting that this engine has."""
    for arch in ("llama", "qwen3", "qwen3moe"):
        folder = shared / "golden" / "models" / arch
        found, model = np.load(folder / "logits.npz"), ikx.open(folder / "model-f16.gguf")
        for key in ("head/fa=1/one", "head/fa=0/one", "head/fa=1,rope_freq_base=100000/one"):
            if key in found.files:
                base = "--rope-freq-base 100000 " if "rope" in key else ""
                got = run(model, found["tokens"], base + ("-no-fa" if "fa=0" in key else ""))
                assert relative(got, found[key]) < 5e-4, (arch, key)


def test_f16_repacked_to_bf16_computes_the_same_function(llama, golden):
    """As on a CPU with AVX512-BF16: -rtr makes bf16_r16 of f16 there, at bf16's precision."""
    from dataclasses import replace

    here = ikx.Machine.detect()
    machine = replace(here, cpu=replace(here.cpu, features=frozenset({*here.features, "avx512_bf16"})))
    with Session(llama, settings("-rtr"), machine=machine) as session:
        assert session.repacked["blk.0.attn_q.weight"] == ("f16", "bf16_r16")
        got = session.eval(golden["tokens"], 96)[golden["pos"]]
    assert relative(got, golden["f16"]) < 0.02


def test_the_own_layout_gives_the_same_bits(quantized, moe, golden):
    """Of tensors that -rtr leaves alone; the table of tokens keeps the file's rows."""
    for model, tokens in ((quantized, golden["tokens"]), (ikx.requantized(moe, "iq4_ks"), golden["moe_tokens"])):
        with Session(model, settings()) as plain, Session(model, settings(), layout="own16") as own:
            kinds = {w.format.name for w in own.weights.values()}
            assert any(kind.endswith("_own16") for kind in kinds), kinds
            assert own.weights["token_embd.weight"].format is plain.weights["token_embd.weight"].format
            assert np.array_equal(own.eval(tokens, len(tokens)), plain.eval(tokens, len(tokens)))
            assert np.array_equal(own.eval([3]), plain.eval([3]))
    with Session(quantized, settings("-rtr"), layout="own16") as both:
        assert "iq4_ks_r4" in {w.format.name for w in both.weights.values()}
    with pytest.raises(ikx.SettingsError, match="layout 'mine' is not known; choose file or own16"):
        Session(quantized, layout="mine")
