"""The embedded model: size, shapes, tokenizer, and a held-out text that training never saw."""

import lzma
from pathlib import Path

import numpy as np
import pytest

import ikexplore as ikx

DEMO = Path(ikx.demo.__file__).parent
BYTE_TOKENS = 256


@pytest.fixture(scope="module")
def model():
    return ikx.demo.model()


@pytest.fixture(scope="module")
def corpus() -> str:
    file = DEMO / "corpus.txt.xz"
    if not file.exists():
        pytest.skip("the training text does not travel in the wheel; run from a checkout")
    return lzma.decompress(file.read_bytes()).decode("utf-8")


def windows(text: str, width: int = 200, step: int = 97) -> list[str]:
    return [text[i : i + width] for i in range(0, len(text) - width, step)]


def test_file_is_small():
    assert 1_000_000 < ikx.demo.path().stat().st_size <= 8_000_000


def test_architecture(model):
    h = model.hparams
    assert model.arch == "qwen3moe"
    assert (h.n_layer, h.n_embd, h.n_vocab, h.n_head, h.n_head_kv) == (4, 256, 704, 4, 2)
    assert (h.n_expert, h.n_expert_used, h.n_ff_exp, h.n_ctx_train) == (8, 2, 256, 4096)
    assert model.tensors["blk.3.ffn_down_exps.weight"].shape == (256, 256, 8)


def test_rows_fit_every_quant_type(model):
    """Super-blocks of k-quants and i-quants are 256 elements; `_R16` forms interleave 16 rows."""
    matrices = {n: t for n, t in model.tensors.items() if len(t.shape) > 1}
    assert len(matrices) == 2 + 4 * 8
    assert {n: t.shape for n, t in matrices.items() if t.shape[0] % 256} == {}
    quantized = {n: t for n, t in matrices.items() if "ffn_gate_inp" not in n}
    assert {n: t.shape for n, t in quantized.items() if t.shape[1] % 16} == {}


def test_types(model):
    for name, t in model.tensors.items():
        expect = "f32" if len(t.shape) == 1 or "ffn_gate_inp" in name else "q8_0"
        assert t.type == expect, name
    licence = model.metadata["general.license"]
    assert licence == "mit"


def test_weights_are_trained_and_finite(model):
    for name in ("output_norm.weight", "blk.0.attn_q_norm.weight", "blk.2.ffn_gate_inp.weight"):
        x = np.frombuffer(model.data(name), np.float32)
        assert np.isfinite(x).all() and x.std() > 1e-3, name


def test_tokenizer_metadata(model):
    meta = model.metadata
    tokens, merges = meta["tokenizer.ggml.tokens"], meta["tokenizer.ggml.merges"]
    assert (meta["tokenizer.ggml.model"], meta["tokenizer.ggml.pre"]) == ("gpt2", "qwen2")
    assert len(set(tokens)) == len(tokens) == model.hparams.n_vocab
    assert sum(len(t) == 1 for t in tokens) == BYTE_TOKENS
    assert len(merges) == len(tokens) - BYTE_TOKENS - 1
    end = meta["tokenizer.ggml.eos_token_id"]
    assert tokens[end] == "<|endoftext|>" and meta["tokenizer.ggml.token_type"][end] == 3


def test_held_out_text_is_about_50_kb():
    assert 45_000 <= len(ikx.demo.text().encode("utf-8")) <= 55_000


def test_held_out_text_is_not_in_the_corpus(corpus):
    """Whitespace aside, so that another line width cannot hide a copy; shorter windows than a paragraph too."""
    corpus = " ".join(corpus.split())
    held = " ".join(ikx.demo.text().split())
    for width in (200, 60):
        assert [w for w in windows(held, width) if w in corpus] == []
    sample = corpus[1_000_000:1_010_000]
    assert all(w in corpus for w in windows(sample)), "the search itself must be able to find a copy"


def test_merges_come_from_the_corpus(model, corpus):
    """The packaged vocabulary is the one that the training script makes from the packaged text."""
    from ikexplore.demo import train_data

    novels, valid = train_data.corpus()
    assert len(novels) == 6 and valid.strip() in corpus and valid[:200] not in "".join(novels)
    tok = train_data.make_tokenizer(novels, model.hparams.n_vocab)
    assert [tok.id_to_token(i) for i in range(tok.get_vocab_size())] == list(model.metadata["tokenizer.ggml.tokens"])
    assert tok.decode(tok.encode("café — 200 €\n\n  'Tis!").ids) == "café — 200 €\n\n  'Tis!"


def relative_l2(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


def test_export_and_read_back(tmp_path):
    """What the training script writes is what it reads: exactly in F32, within 8-bit rounding in Q8_0."""
    torch = pytest.importorskip("torch", reason="extra 'train' is not installed")
    from ikexplore.demo import export, train_data
    from ikexplore.demo.train_model import Config, Qwen3Moe

    torch.manual_seed(0)
    model = Qwen3Moe(Config(n_vocab=260, n_layer=1, n_expert=4)).eval()
    tok = train_data.make_tokenizer(["the cat and the hat sat on the mat at the heath. " * 9] * 2, 260)
    tokens = torch.arange(60)[None]
    with torch.no_grad():
        want = model(tokens).numpy()
        for kind, limit in (("F32", 1e-6), ("F16", 2e-3), ("Q8_0", 2e-2)):
            export.write(tmp_path / kind, model, tok, {"name": "t"}, kind)
            assert relative_l2(export.read(tmp_path / kind)(tokens).numpy(), want) < limit, kind


@pytest.mark.shared
def test_module_is_qwen3moe(shared):
    """The torch module agrees with the reference's logits of a qwen3moe file."""
    torch = pytest.importorskip("torch", reason="extra 'train' is not installed")
    from ikexplore.demo import export

    folder = shared / "golden" / "models" / "qwen3moe"
    want = np.load(folder / "logits.npz")
    with torch.no_grad():
        got = export.read(folder / "model-f16.gguf")(torch.from_numpy(want["tokens"]).long()[None])[0].numpy()
    assert relative_l2(got, want["head/fa=1/one"]) < 1e-3


def test_synthetic_stays_a_function():
    """The function has its module's name; importing the module must not hide it."""
    import importlib

    importlib.import_module("ikexplore.demo.synthetic")
    assert callable(ikx.demo.synthetic)
