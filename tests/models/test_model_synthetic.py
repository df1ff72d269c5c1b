"""``demo.synthetic``: true shapes and types, sane random weights, equal bytes for equal seeds."""

import json

import numpy as np
import pytest

import ikexplore as ikx
from ikexplore.errors import ModelError

formats = pytest.importorskip("ikexplore_kernels.formats")
WIDTH = 512


@pytest.fixture
def header(tmp_path):
    """A small header of the architecture qwen3moe with one tensor of each type that has an encoder."""
    kinds = [n for n in formats.names() if n != "f32"]
    tensors = [[f"blk.{i}.ffn_up_exps.weight", [WIDTH, 32, 4], kind] for i, kind in enumerate(kinds)]
    tensors += [["token_embd.weight", [WIDTH, 90], "q8_0"], ["output_norm.weight", [WIDTH], "f32"]]
    tensors += [["blk.0.ffn_gate_inp.weight", [WIDTH, 4], "f32"], ["rope_freqs.weight", [32], "f32"]]
    metadata = {
        "general.architecture": "qwen3moe",
        "general.name": "shapes",
        "qwen3moe.block_count": len(kinds),
        "qwen3moe.context_length": 64,
        "qwen3moe.embedding_length": WIDTH,
        "qwen3moe.attention.head_count": 8,
        "qwen3moe.vocab_size": 90,
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.tokens": ["a"] * 90,
    }
    path = tmp_path / "shapes.json"
    path.write_text(json.dumps({"metadata": metadata, "tensors": tensors}))
    return path


def values(model, name):
    t = model.tensors[name]
    return formats.get(t.type).decode(model.data(name).reshape(t.n_rows, t.row_bytes), t.shape[0])


def test_layers_shapes_and_vocabulary(header):
    source = ikx.open(header)
    m = ikx.demo.synthetic(source, layers=3)
    assert m.hparams.n_layer == 3 and m.hparams.n_vocab == 90 and m.metadata["tokenizer.ggml.model"] == "no_vocab"
    assert "tokenizer.ggml.tokens" not in m.metadata and m.has_weights
    assert {t.layer for t in m.tensors.values()} == {None, 0, 1, 2}
    for t in m.tensors.values():
        old = source.tensors[t.name]
        assert (t.shape, t.type, t.nbytes) == (old.shape, old.type, old.nbytes)
    assert source.hparams.n_layer == len(formats.names()) - 1


def test_weights_are_sane_and_repeatable(header):
    n = ikx.open(header).hparams.n_layer
    m, again, other = (ikx.demo.synthetic(header, n, seed=s) for s in (1, 1, 2))
    for name, t in m.tensors.items():
        v = values(m, name)
        assert np.isfinite(v).all(), name
        if t.part == "experts":
            # what a quantizer leaves out is missing from the spread: at an error of 60 % (one bit) a fifth of it
            assert 0.75 < v.std() * np.sqrt(WIDTH) < 1.2 and abs(v.mean()) < 0.01, (name, v.std())
            assert len(np.unique(v[:, 0])) > 8, name
        assert np.array_equal(m.data(name), again.data(name))
        assert name == "rope_freqs.weight" or not np.array_equal(m.data(name), other.data(name)), name
    assert abs(values(m, "output_norm.weight").mean() - 1) < 0.05
    assert (values(m, "rope_freqs.weight") == 1).all()


def test_another_type_for_all_matrices(header):
    m = ikx.demo.synthetic(header, 2, type="iq4_ks")
    kinds = {name: t.type for name, t in m.tensors.items()}
    assert kinds.pop("output_norm.weight") == kinds.pop("rope_freqs.weight") == "f32"
    assert kinds.pop("blk.0.ffn_gate_inp.weight") == "f32"
    assert set(kinds.values()) == {"iq4_ks"} and len(kinds) == 3
    assert 0.8 < values(m, "token_embd.weight").std() * np.sqrt(WIDTH) < 1.2


def test_what_cannot_be_made(header):
    for layers in (0, 99, "two"):
        with pytest.raises(ModelError, match="it must be 1 to"):
            ikx.demo.synthetic(header, layers)
    with pytest.raises(ModelError, match="unknown tensor type"):
        ikx.demo.synthetic(header, 1, type="q9")
    with pytest.raises(ModelError, match=r"'token_embd\.weight' cannot be q8_0_r8: ne1 is 90"):
        ikx.demo.synthetic(header, 1, type="q8_0_r8")
    odd = json.loads(header.read_text())
    odd["tensors"][0][2] = "q8_1"  # ggml's type of activations: never in a file
    header.write_text(json.dumps(odd))
    with pytest.raises(ModelError, match="no encoder for it yet"):
        ikx.demo.synthetic(header, 1).data("blk.0.ffn_up_exps.weight")
