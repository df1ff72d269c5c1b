"""Generation and perplexity against the reference's figures."""

import json

import pytest

import ikexplore as ikx


@pytest.fixture(scope="module")
def llama(data):
    return ikx.open(data / "run" / "llama-f16.gguf")


def test_logits_have_a_row_per_token(llama):
    out = ikx.logits(llama, [1, 288, 293])
    assert out.shape == (3, llama.hparams.n_vocab) and out.dtype.name == "float32"


def test_greedy_text_is_repeatable_and_ends(llama):
    pieces = list(ikx.generate(llama, "The old kettle", n=12))
    assert len(pieces) <= 12 and "".join(pieces)
    assert "".join(ikx.generate(llama, "The old kettle", n=12)) == "".join(pieces)


def test_a_seed_repeats_sampled_text(llama):
    def text(seed):
        return "".join(ikx.generate(llama, "The", n=16, temperature=1.0, seed=seed))

    assert text(1) == text(1)
    assert len({text(s) for s in range(4)}) > 1


@pytest.mark.parametrize("kw", [{"n": 0}, {"temperature": -1.0}])
def test_bad_sampling_is_an_error(llama, kw):
    with pytest.raises(ikx.SettingsError):
        next(ikx.generate(llama, "The", **kw))


def test_too_short_a_text_is_an_error(llama):
    with pytest.raises(ikx.SettingsError, match="no chunk"):
        ikx.perplexity(llama, "short", ctx=64)


@pytest.mark.parametrize("arch", ["llama", "qwen3", "qwen3moe"])
def test_perplexity_and_greedy_tokens_of_the_reference(shared, arch):
    folder = shared / "golden" / "models" / arch
    info, model = json.loads((folder / "info.json").read_text()), ikx.open(folder / "model-f16.gguf")
    found = ikx.perplexity(model, (folder.parent / "text.txt").read_text(), ctx=128)
    want = info["ppl_text"]["head"]
    assert found.value == pytest.approx(want["ppl"], rel=1e-3)
    assert found.error == pytest.approx(want["err"], rel=0.02)
    assert found.chunks[: len(want["running"])] == pytest.approx(want["running"], rel=2e-3)


def test_the_demo_model_means_something():
    """Below 2.4 bits per byte on text that training never saw; more bits in a quant type cost less."""
    text = ikx.demo.text()[:16000]
    plain = ikx.perplexity(ikx.demo.model(), text, ctx=256)
    coarse = ikx.perplexity(ikx.requantized(ikx.demo.model(), "q4_0"), text, ctx=256)
    assert plain.bits_per_byte < 2.4
    assert plain.value < coarse.value < 1.5 * plain.value
