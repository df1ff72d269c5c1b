"""KL divergence: the reference's figures, its file of base logits, interruptions."""

import json
import re
import subprocess
import sys

import numpy as np
import pytest

import ikexplore as ikx
from ikexplore.run.base_logits import MAGIC, BaseFile, base_logits, decode, encode
from ikexplore.run.kld import Kld

SETTINGS = ikx.Settings(n_threads=2)
NUMBERS = re.compile(r"-?\d+\.\d+")


@pytest.fixture(scope="module")
def quantized(data):
    return ikx.open(data / "run" / "llama-iq4_ks.gguf")


@pytest.fixture(scope="module")
def text(data):
    return (data / "run" / "quality" / "text.txt").read_text()


@pytest.fixture(scope="module")
def base(llama, text, tmp_path_factory):
    return base_logits(llama, text, tmp_path_factory.mktemp("kld") / "base", 128, SETTINGS)


def figures(lines):
    """label -> first number of each line that llama-perplexity prints."""
    return {line.split(":")[0].strip(): float(NUMBERS.findall(line.split(":", 1)[1])[0]) for line in lines if ":" in line}


def compare(found: Kld, lines: list[str], tails: bool = True):
    """Same labels in order; means and median within 3 %, PPL within 1 %; percentiles, which hang on few tokens, within 5 %.

    The reference's coarser activations (a scale per 256 values here) are part of its figures: ours are 1 to 3.5 % below.
    """
    got, want = figures(found.to_text().splitlines()), figures(lines)
    assert list(got) == list(want)
    for name in ("Mean PPL(Q)", "Mean PPL(base)", "Mean PPL(Q)/PPL(base)"):
        assert got[name] == pytest.approx(want[name], rel=0.01), name
    for name in ("Mean    KLD", "Median  KLD", "RMS Δp", "Same top p", "Cor(ln(PPL(Q)), ln(PPL(base)))"):
        assert got[name] == pytest.approx(want[name], rel=0.03), name
    outer = ("10.0%   KLD", "90.0%   KLD", "95.0%   KLD", "99.0%   KLD", "10.0%   Δp", "90.0%   Δp", "99.0%   Δp", "1.0%   Δp")
    for name in outer if tails else ():
        assert got[name] == pytest.approx(want[name], rel=0.05), name


def test_the_references_figures(quantized, base, data):
    said = []
    found = ikx.kld(quantized, base.path, settings=SETTINGS, on_chunk=lambda *event: said.append(event))
    lines = json.loads((data / "run" / "quality" / "kld.json").read_text())["llama IQ4_KS"]
    compare(found, lines)
    assert found.chunks == len(said) == said[-1][1] == 209 and "KLD 0.1" in said[-1][2]
    assert found.percentiles[50] == pytest.approx(np.median(found.kld)) and not found.stopped
    assert "Mean    KLD" in found._repr_markdown_()


def test_every_type_of_the_reference(shared, tmp_path):
    """The figures of the files that are there, for both architectures."""
    for arch, kind, name in (("llama", "IQ3_K", "IQ3_K"), ("qwen3moe", "IQ4_KS", "IQ4_KS_R4")):
        folder = shared / "golden" / "models" / arch
        lines = json.loads((folder / "quant.json").read_text())["types"][kind]["kld"]
        model = ikx.open(folder / "model-f16.gguf")
        file = base_logits(model, (folder.parent / "text.txt").read_text(), tmp_path / arch, 128, SETTINGS)
        compare(ikx.kld(ikx.open(folder / "quant" / f"{name}.gguf"), file.path, settings=SETTINGS), lines, tails=False)


def test_a_model_against_itself_does_not_part(llama, text):
    found = ikx.kld(llama, llama, text, 128, SETTINGS, chunks=3)
    assert found.chunks == 3 and abs(found.mean) < 1e-5 and found.p_rms < 1e-3 and found.top1 > 0.99
    assert found.correlation == pytest.approx(1, abs=1e-4) and found.ln_ratio == pytest.approx(0, abs=1e-4)


def test_sixteen_bits_keep_what_is_within_24_nats():
    x = np.random.default_rng(0).normal(0, 4, (5, 321)).astype(np.float32)
    x[1, 7] = -1000
    x[2] = 0.5
    rows = encode(x)
    assert rows.dtype == np.uint16 and rows.shape == (5, 326)
    want = x - np.log(np.exp(x.astype(np.float64)).sum(axis=1, keepdims=True))
    got = decode(rows, 321)
    near = want > want.max(axis=1, keepdims=True) - 24
    assert np.abs(got - want)[near].max() < 24 / 65535
    assert got[1, 7] == pytest.approx(want[1].max() - 24, abs=1e-3)


def test_the_file_is_the_references(base, llama, text):
    raw = base.path.read_bytes()
    assert raw[:8] == MAGIC and np.frombuffer(raw[8:20], "<i4").tolist() == [128, 320, 209]
    ids = ikx.tokenize(llama, text)
    assert np.frombuffer(raw[20 : 20 + 4 * 128 * 209], "<i4").tolist() == ids[: 128 * 209]
    assert len(raw) == 20 + 4 * 128 * 209 + 209 * 63 * 2 * (4 + 320)
    assert BaseFile(base.path).rows(208).shape == (63, 320)


def test_interrupted_keeps_results_and_no_partial_file(llama, quantized, base, text, tmp_path):
    def stop(done, total, text):
        if done == 2:
            raise KeyboardInterrupt

    found = ikx.kld(quantized, base.path, settings=SETTINGS, on_chunk=stop)
    assert found.stopped and found.chunks == 2 and len(found.kld) == 126 and "interrupted after 2" in str(found)
    found = ikx.kld(quantized, llama, text, 128, SETTINGS, save=tmp_path / "base", on_chunk=stop)
    assert found.stopped and found.chunks == 0 and list(tmp_path.iterdir()) == [] and "nothing" in str(found)


@pytest.mark.parametrize("what, words", [("text", "begins with"), ("cut", "too few"), ("none", "cannot be read")])
def test_bad_files_are_one_line(quantized, base, tmp_path, what, words):
    path = tmp_path / "base"
    if what != "none":
        path.write_bytes(b"some text that is long enough" if what == "text" else base.path.read_bytes()[:-1])
    with pytest.raises(ikx.ModelError, match=words) as error:
        ikx.kld(quantized, path)
    assert "\n" not in str(error.value)


def test_another_vocabulary_is_refused(llama):
    with pytest.raises(ikx.ModelError, match="vocabulary of 704"):
        ikx.kld(llama, ikx.demo.model(), "text")
    with pytest.raises(ikx.SettingsError, match="no text"):
        ikx.kld(llama, llama)


def test_perplexity_stops_with_what_it_has(llama, text):
    def stop(done, total, value):
        if done == 2:
            raise KeyboardInterrupt

    found = ikx.perplexity(llama, text, 128, SETTINGS, stop)
    whole = ikx.perplexity(llama, text, 128, SETTINGS, chunks=2)
    assert found.stopped and found.chunks == whole.chunks and found.value == whole.value and not whole.stopped


def test_command_line(data, tmp_path):
    run = data / "run"
    command = [sys.executable, "-m", "ikexplore", "perplexity", run / "llama-iq4_ks.gguf", run / "quality" / "text.txt",
               "--ctx", "128",
               "--chunks", "3", "--kld", run / "llama-f16.gguf", "--save-base", tmp_path / "base", "--", "-t", "2"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0 and "Mean    KLD" in done.stdout, done.stderr
    assert BaseFile(tmp_path / "base").count == 3
