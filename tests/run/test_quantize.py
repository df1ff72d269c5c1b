"""Files in other types: recipes, fallbacks, repacked tensors, interruptions, an imatrix."""

import struct

import numpy as np
import pytest

import ikexplore as ikx
from ikexplore.run import Imatrix, quantize
from ikexplore.run.recipe import Recipe, parse_rules


@pytest.fixture(scope="module")
def llama(data):
    return ikx.open(data / "run" / "llama-f16.gguf")


def types(model):
    return {name: t.type for name, t in model.tensors.items()}


def test_a_type_for_all_but_what_keeps_its_own(llama, tmp_path):
    done = quantize(llama, tmp_path / "q.gguf", "q4_0")
    found = ikx.open(tmp_path / "q.gguf")
    assert types(found)["blk.0.attn_q.weight"] == types(found)["token_embd.weight"] == "q4_0"
    assert types(found)["output.weight"] == "q6_k"
    assert types(found)["blk.0.attn_norm.weight"] == "f32"
    assert done.nbytes == sum(t.nbytes for t in found.tensors.values()) and 4.5 < done.bpw < 5.5
    raw = llama.data("blk.1.ffn_up.weight").view(np.float16).reshape(256, 256)
    want = ikx.quant("q4_0").encode(raw.astype(np.float32))
    assert np.array_equal(found.data("blk.1.ffn_up.weight"), want.reshape(-1))
    assert "general.file_type" not in found.metadata
    assert ikx.logits(found, [1, 288, 293]).shape == (3, 320)


def test_pure_and_named_types(llama):
    def new(recipe):
        return {s.name: s.new for s in quantize(llama, None, recipe, dry_run=True).steps}

    assert new(Recipe("q4_0", pure=True))["output.weight"] == "q4_0"
    assert new(Recipe("q4_0", output="q8_0", embedding="q5_0"))["output.weight"] == "q8_0"
    assert new(Recipe("q4_0", output="q8_0", embedding="q5_0"))["token_embd.weight"] == "q5_0"
    assert new("q8_0")["output.weight"] == "q8_0"  # never less than the default


def test_the_first_rule_wins(llama):
    rules = parse_rules(r"blk\.0\.attn=q8_0,attn_v=q6_k,attn=q5_0")
    new = {s.name: s.new for s in quantize(llama, None, [*rules, ("", "q4_0")], dry_run=True).steps}
    assert new["blk.0.attn_v.weight"] == "q8_0"
    assert new["blk.1.attn_v.weight"] == "q6_k"
    assert new["blk.1.attn_k.weight"] == "q5_0"
    assert new["blk.1.ffn_up.weight"] == "q4_0"


@pytest.mark.parametrize("pattern, repacked", [(None, {"attn_q", "ffn_up"}), (r"attn_", {"attn_q"})])
def test_repacked_tensors(llama, tmp_path, pattern, repacked):
    quantize(llama, tmp_path / "r.gguf", "iq4_ks", repack=True, repack_pattern=pattern)
    found = ikx.open(tmp_path / "r.gguf")
    for role in ("attn_q", "ffn_up"):
        assert types(found)[f"blk.0.{role}.weight"] == ("iq4_ks_r4" if role in repacked else "iq4_ks")
    assert types(found)["token_embd.weight"] == "q4_k"
    plain = ikx.requantized(llama, "iq4_ks")
    a, b = ikx.logits(found, [1, 288, 293]), ikx.logits(plain, [1, 288, 293])
    assert np.corrcoef(a.ravel(), b.ravel())[0, 1] > 0.98  # the output and the embedding differ by type


def test_columns_that_do_not_divide_get_a_type_that_fits():
    from ikexplore.models.model import Tensor

    tensor = Tensor("blk.0.ffn_up.weight", (96, 63), "f16", 96 * 63 * 2, None, 0)
    f, why = Recipe("q4_k").type_of(tensor)
    assert f.cols_multiple == 32 and f.bpw >= 4.5 and "96 columns" in why
    f, why = Recipe("q4_0_r8").type_of(tensor)
    assert f.name == "q4_0" and "63 rows" in why


def test_an_imatrix_is_used(llama, tmp_path):
    weight = np.random.default_rng(0).uniform(0, 1, 256).astype(np.float32) ** 4
    name = b"blk.0.ffn_up.weight"
    body = struct.pack("<i", 1) + struct.pack("<i", len(name)) + name + struct.pack("<ii", 4, 256) + (4 * weight).tobytes()
    (tmp_path / "imatrix.dat").write_bytes(body)
    found = Imatrix.load(tmp_path / "imatrix.dat")
    assert np.allclose(found[name.decode()], weight)
    errors = {}
    for use in (None, found):
        quantize(llama, tmp_path / "q.gguf", Recipe("q4_0", pure=True), use)
        raw = ikx.open(tmp_path / "q.gguf").data(name.decode()).reshape(256, -1)
        back = ikx.quant("q4_0").decode(raw, 256)
        x = llama.data(name.decode()).view(np.float16).reshape(256, 256).astype(np.float32)
        errors[use is None] = float((weight * (back - x) ** 2).sum())
    assert errors[False] < 0.95 * errors[True]
    (tmp_path / "cut.dat").write_bytes(body[:50])
    with pytest.raises(ikx.QuantError, match="at byte"):
        Imatrix.load(tmp_path / "cut.dat")


def test_interrupted_leaves_nothing(llama, tmp_path):
    def stop(event):
        if event["done"]:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        quantize(llama, tmp_path / "q.gguf", "q4_0", on_progress=stop)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("recipe, words", [
    ("q4_x", "unknown quant type"), ([("attn", "q8_0")], "default"), ([("(", "q8_0"), ("", "q4_0")], "bad regex")])
def test_bad_recipes_are_one_line(llama, recipe, words):
    with pytest.raises(ikx.QuantError, match=words) as error:
        quantize(llama, None, recipe, dry_run=True)
    assert "\n" not in str(error.value)


def test_weights_that_are_not_finite_are_named(llama, tmp_path):
    raw = llama.data("blk.0.attn_k.weight").copy().view(np.float16)
    raw[3 * 256 + 5] = np.nan
    broken = llama.replaced({"blk.0.attn_k.weight": ("f16", raw.view(np.uint8))})
    with pytest.raises(ikx.QuantError, match=r"attn_k.*row 3, column 5"):
        quantize(broken, tmp_path / "q.gguf", "q4_0")
