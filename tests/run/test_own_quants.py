"""Quant types entered while the program runs: in products, models, files and plans; and what is refused."""

import numpy as np
import pytest

import ikexplore as ikx
from ikexplore.gguf.types import OWN_IDS
from ikexplore_kernels.formats import _flawed
from ikexplore_kernels.formats._eights import nibbles
from ikexplore_kernels.formats.gather import gather_f16, quads16
from ikexplore_kernels.simd import splat_f32x16

NAME, OTHER = "q4_test", "q4_other"


def decode(rows, n_cols):
    """q4_0's layout: half d, 16 bytes of codes; weight = d * (code - 8)."""
    blocks = rows.reshape(-1, 18)
    d = np.ascontiguousarray(blocks[:, :2]).view(np.float16).astype(np.float32)
    codes = np.concatenate([blocks[:, 2:] & 15, blocks[:, 2:] >> 4], axis=1).astype(np.float32)
    return (d * (codes - 8)).reshape(len(rows), n_cols)


def encode(x, w):
    blocks = x.reshape(-1, 32)
    d = (np.abs(blocks).max(axis=1, keepdims=True) / 7).astype(np.float16)
    codes = np.rint(np.divide(blocks, d, out=np.zeros_like(blocks), where=d > 0)).astype(np.int8) + 8
    return np.concatenate([d.view(np.uint8), (codes[:, :16] | codes[:, 16:] << 4).astype(np.uint8)], axis=1).reshape(len(x), -1)


def unpack(q, w, base, stride, b):
    at = base + 18 * b
    d, zero = gather_f16(w, at, stride), splat_f32x16(0)
    return d, d, zero, zero, nibbles(quads16(w, at + 2, stride))


USUAL = {"block_bytes": 18, "decode": decode, "encode": encode, "unpack": unpack, "bias": 8}


def register(name=NAME, **more):
    return ikx.register_quant(name, **{**USUAL, **more})


@pytest.fixture(scope="module")
def own():
    """Registered once for all, as its kernels are compiled anew each time; taken away with the others at the end."""
    yield register()
    for name in (NAME, OTHER, _flawed.NAME):
        if name in ikx.quants():
            ikx.forget_quant(name)


def weights(rows=48, columns=128):
    return np.random.default_rng(3).standard_normal((rows, columns)).astype(np.float32)


def test_it_is_a_type_like_any_other(own, tmp_path):
    q = own
    assert ikx.quant("Q4_TEST") == q and q.bpw == 4.5 and q.id in OWN_IDS and q.repacked is None and NAME in ikx.quants()
    x = weights()
    data = q.encode(x)
    assert np.array_equal(q.decode(data, 128), ikx.quant("q4_0").decode(data, 128))  # the same layout
    model = ikx.demo.model()
    done = ikx.quantize(model, tmp_path / "own.gguf", [("ffn_down", NAME), ("", "q8_0")])
    again = ikx.open(done.path)
    assert again.tensors["blk.0.ffn_down_exps.weight"].type == NAME
    gpu = ikx.Machine.described(gpus=[{"name": "CUDA0", "free_mib": 24000, "cc": 860}])
    splits = {m: ikx.plan(m, ikx.Settings(n_gpu_layers=99, n_ctx=512), gpu).graph_splits for m in (model, again)}
    assert splits[again] > splits[model]  # no GPU multiplies it
    assert ikx.crosscheck(again, None, "naive", tokens=range(12)) is None  # its product sees what its decoder says
    assert ikx.perplexity(again, ikx.demo.text()[:4000], ctx=128, chunks=2).value < 40


def test_products_by_both_drivers(own):
    data, q = own.encode(weights(40)), own
    for n in (1, 9):
        x = np.random.default_rng(n).integers(-127, 128, (n, 128)).astype(np.float32)
        x[:, ::32] = 127  # so that rounding to 8 bits changes nothing
        np.testing.assert_allclose(q.product(data, x), x @ q.decode(data, 128).T, rtol=2e-5, atol=2e-3)
    assert np.array_equal(q.product(data, np.eye(128)).T, q.decode(data, 128))


@pytest.mark.parametrize("name", ["q8_0", "f16", "iq4_xs_r8"])
def test_products_of_ggml_s_types(name):
    q = ikx.quant(name)
    data = q.encode(weights(24, 256))
    got = q.product(data, np.eye(256, dtype=np.float32), threads=2).T
    np.testing.assert_allclose(got, q.decode(data, 256), rtol=1e-6)


def test_registered_again_the_new_kernel_counts(own):
    def shifted(q, w, base, stride, b):
        at = base + 18 * b
        d, zero = gather_f16(w, at, stride), splat_f32x16(0)
        return d + d, d + d, zero, zero, nibbles(quads16(w, at + 2, stride))

    data, x = own.encode(weights(16)), np.eye(128)
    once = own.product(data, x)
    second = register(unpack=shifted)
    assert second.id != own.id and ikx.quant(NAME) == second
    assert np.array_equal(second.product(data, x), 2 * once) and np.array_equal(own.product(data, x), once)


def test_bytes_of_an_earlier_layout_are_refused(own):
    register(OTHER)
    model = ikx.requantized(ikx.demo.model(), OTHER)
    register(OTHER, block_bytes=34, decode=lambda rows, n: ikx.quant("q8_0").decode(rows, n),
             encode=lambda x, w: ikx.quant("q8_0").encode(x))
    with pytest.raises(ikx.ModelError, match="registered anew since"):
        ikx.logits(model, [1, 2, 3])


BAD = [
    ({"block": 48}, "block 48 must be a multiple of 32"),
    ({"block_bytes": 0}, "block_bytes 0 must be at least 1"),
    ({"bias": 200}, "bias 200 must be from 0 to 128"),
    ({"bias": 8, "has_min": True}, "and 0 with has_min"),
    ({"sub": 8}, "sub 8 must be 16 or 32"),
    ({"unpack": lambda w, b: None}, r"unpack must be a plain function of \(q, w, base, stride, b\)"),
    ({"decode": lambda rows, n: rows}, r"its decode function must return float32 \[2, 64\], and returned uint8 \[2, 36\]"),
    ({"encode": lambda x, w: x}, r"its encode function must return uint8 \[2, 36\], and returned float32"),
]


@pytest.mark.parametrize("wrong, message", BAD)
def test_what_cannot_be_is_said(wrong, message):
    with pytest.raises(ikx.QuantError, match=message) as caught:
        register("q4_bad", **wrong)
    assert "\n" not in str(caught.value) and "q4_bad" not in ikx.quants()


def test_names_and_sizes_that_cannot_be():
    with pytest.raises(ikx.QuantError, match="q4_0 is a type of ggml"):
        ikx.register_quant("q4_0", block_bytes=18, decode=decode, encode=encode, unpack=unpack)
    with pytest.raises(ikx.QuantError, match="cannot name a type"):
        ikx.register_quant("My Type", block_bytes=18, decode=decode, encode=encode, unpack=unpack)
    with pytest.raises(ikx.QuantError, match="q4_0 is a type of ggml; only registered"):
        ikx.forget_quant("q4_0")
    q = ikx.quant("q8_0")
    for x, message in ((np.ones(32), "x must be"), (np.ones((2, 40)), "x must be"), (np.ones((2, 64)), "takes 68 bytes")):
        with pytest.raises(ikx.QuantError, match=message):
            q.product(q.encode(np.ones((4, 32))), x)
    with pytest.raises(ikx.QuantError, match="x nan at row 0, column 3"):
        q.product(q.encode(np.ones((4, 32))), np.where(np.arange(32) == 3, np.nan, 1)[None])


def test_the_flawed_type_is_right_in_all_but_its_products(own):
    bad, good = ikx.demo.flawed_quant(), ikx.quant("iq4_kt")
    assert ikx.demo.flawed_quant() == bad
    x = weights(16, 256)
    data = good.encode(x)
    assert np.array_equal(bad.encode(x), data)
    true = good.decode(data, 256)
    assert np.array_equal(bad.decode(data, 256), true)
    seen = bad.product(data, np.eye(256)).T
    parts = (seen * true > 0).reshape(16, 8, 32)[(true != 0).reshape(16, 8, 32).all(axis=2)]
    assert np.allclose(np.abs(seen), np.abs(true)) and (parts.all(axis=1) | ~parts.any(axis=1)).all()
    assert 0.2 < parts.mean() < 0.8
