"""Formats on random bytes, shapes and weights: the naive twins, PyPI's gguf, and what must hold for any input."""

import gguf
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from naive import formats as naive

from ikexplore_kernels import formats
from ikexplore_kernels.formats import _threads

QUANTIZED = [n for n in formats.names() if not formats.get(n).dense]
ENCODERS = [n for n in QUANTIZED if not formats.get(n).base]
WITH_PAIR = [n for n in formats.names() if formats.get(n).base]
#: repacking leaves out what follows from the rest (the sum of all codes), so it must be right to come back
LOSSY = ("q8_kv_r8",)
#: bits a weight that do little for normal weights: an offset, and a scale that is a power of two
UNUSED = {"q4_1": 0.5, "q5_1": 0.5, "mxfp4": 0.3}


def random_bytes(f, rows, n_cols, seed):
    return np.random.default_rng(seed).integers(0, 256, (rows, f.row_bytes(n_cols)), dtype=np.uint8)


@pytest.mark.parametrize("name", formats.names())
def test_decode_equals_the_naive_twin(name):
    f = formats.get(name)
    for n_cols in (256, 768):
        rows = random_bytes(f, 2 * f.interleave, n_cols, n_cols)
        np.testing.assert_array_equal(f.decode(rows, n_cols), naive.decode(name, rows, n_cols))


@pytest.mark.parametrize("name", [n for n in formats.names() if n.upper() in gguf.GGMLQuantizationType.__members__])
def test_decode_equals_gguf_and_so_do_ids_and_sizes(name):
    f, kind = formats.get(name), gguf.GGMLQuantizationType[name.upper()]
    assert (f.id, f.block, f.block_bytes) == (int(kind), *gguf.GGML_QUANT_SIZES[kind])
    rows = random_bytes(f, 64, 1024, 3)
    with np.errstate(all="ignore"):
        expected = gguf.quants.dequantize(rows, kind).reshape(64, 1024)
    np.testing.assert_array_equal(f.decode(rows, 1024), expected.astype(np.float32))


@pytest.mark.parametrize("name", WITH_PAIR)
@settings(max_examples=15, deadline=None)
@given(groups=st.integers(0, 3), blocks=st.integers(1, 3), seed=st.integers(0, 99))
def test_repack_and_unrepack_are_inverse_and_keep_the_weights(name, groups, blocks, seed):
    f = formats.get(name)
    n_cols = blocks * max(f.block, f.cols_multiple)
    rows = random_bytes(f, groups * f.interleave, n_cols, seed)
    plain = f.unrepack(rows, n_cols)
    np.testing.assert_array_equal(f.base.repack(plain, n_cols, into=f), rows)
    np.testing.assert_array_equal(f.base.decode(plain, n_cols), f.decode(rows, n_cols))
    if name not in LOSSY:
        plain = random_bytes(f.base, groups * f.interleave, n_cols, seed + 1)
    np.testing.assert_array_equal(f.unrepack(f.repack(plain, n_cols), n_cols), plain)


def test_f16_goes_to_bf16_r16_rounded_to_nearest_even():
    f, x = formats.get("f16"), np.linspace(-3, 3, 16 * 64, dtype=np.float32).reshape(16, 64)
    rows = f.encode(x)
    values = f.decode(rows, 64)
    mixed = f.repack(rows, 64)
    found = formats.get("bf16_r16").decode(mixed, 64)
    u = values.view(np.uint32).astype(np.uint64)
    down = (u >> 16 << 16).astype(np.uint32).view(np.float32)
    up = ((u >> 16) + 1 << 16).astype(np.uint32).view(np.float32)
    nearest = np.where(np.abs(up - values) < np.abs(down - values), up, down)
    tie = np.abs(up - values) == np.abs(down - values)
    assert tie.any()
    np.testing.assert_array_equal(found[~tie], nearest[~tie])
    assert not (found[tie].view(np.uint32) >> 16 & 1).any()
    np.testing.assert_array_equal(f.decode(f.unrepack(mixed, 64), 64), found)


def test_dense_encoders_keep_specials_and_round():
    x = np.array([[0, -0.0, 1, 1e-8, 6e-8, 65504, 65520, 1e30, -1e30, 1.0009765625, 1.00146484375, 3.3e38]], np.float32)
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(formats.get("f16").encode(x).view(np.float16), x.astype(np.float16))
    special = np.array([[np.nan, np.inf, -np.inf, np.float32(3.4028235e38)]], np.float32)
    got = formats.get("bf16").decode(formats.get("bf16").encode(special), 4)
    np.testing.assert_array_equal(got, np.array([[np.nan, np.inf, -np.inf, np.inf]], np.float32))
    np.testing.assert_array_equal(formats.get("f32").encode(x).view(np.float32), x)


def awkward(rng, n):
    """Weights [16, n] that have broken quantizers before."""
    yield "zeros", np.zeros((16, n))
    yield "minus zeros", np.full((16, n), -0.0)
    yield "constant", np.full((16, n), 0.37)
    yield "negative constant", np.full((16, n), -0.37)
    single = np.zeros((16, n))
    single[3, 5], single[4, 70], single[5, n - 1], single[6, 0], single[7, 3] = 1, -1e30, 3.4e38, 1e-42, -1e-7
    yield "single outliers", single
    yield "huge", np.clip(rng.standard_normal((16, n)) * 1e38, -3.4e38, 3.4e38)
    yield "largest", np.sign(rng.standard_normal((16, n))) * 3.4028234e38
    yield "denormal", rng.standard_normal((16, n)) * 1e-41
    yield "subnormal halves", rng.standard_normal((16, n)) * 1e-7
    yield "any exponent", rng.standard_normal((16, n)) * 10.0 ** rng.integers(-38, 38, (16, n))
    yield "any exponent a row", rng.standard_normal((16, n)) * 10.0 ** rng.integers(-38, 38, (16, 1))
    yield "positive", rng.random((16, n))
    yield "far from zero", -5 + rng.random((16, n)) * 1e-3
    yield "heavy tails", rng.standard_cauchy((16, n))


@pytest.mark.parametrize("name", ENCODERS)
def test_encode_never_writes_a_scale_that_is_not_finite(name):
    f, rng = formats.get(name), np.random.default_rng(11)
    weights = [None, rng.random(512) ** 8, np.zeros(512), np.eye(1, 512, 3)[0], np.full(512, 1e-30)]
    for what, x in awkward(rng, 512):
        x = x.astype(np.float32)
        for w in weights:
            values = f.decode(f.encode(x, w), 512)
            assert np.isfinite(values).all(), what
            if w is None and not x.any():
                assert not values.any(), what


@pytest.mark.parametrize("name", ENCODERS)
@settings(max_examples=12, deadline=None)
@given(rows=st.integers(0, 5), blocks=st.integers(1, 5), power=st.integers(-4, 4), seed=st.integers(0, 999))
def test_encode_is_close_for_any_shape_and_scale(name, rows, blocks, power, seed):
    """The error of normal weights, for the bits that the type has, whatever their scale is."""
    f, rng = formats.get(name), np.random.default_rng(seed)
    n_cols = blocks * f.block
    x = (rng.standard_normal((rows * f.interleave, n_cols)) * 4.0**power).astype(np.float32)
    data = f.encode(x, rng.random(n_cols) if seed % 2 else None)
    assert data.shape == (len(x), f.row_bytes(n_cols)) and data.dtype == np.uint8
    e = f.decode(data, n_cols) - x
    worst = 1.6 * 2.0 ** -(f.block_bytes / f.block * 8 - 1 - UNUSED.get(name, 0))
    assert np.square(e).sum() <= worst**2 * np.square(x).sum()


@pytest.mark.parametrize("name", ENCODERS)
def test_threads_and_neighbours_change_nothing(name, monkeypatch):
    """Rows are encoded on their own: in one thread or in several, alone or among others, the bytes are the same."""
    f, k = formats.get(name), formats.get(name).interleave
    x = np.random.default_rng(2).standard_normal((37 * k, 512)).astype(np.float32)
    monkeypatch.setattr(_threads, "_cores", lambda: 1)
    one = f.encode(x)
    monkeypatch.setattr(_threads, "_cores", lambda: 3)
    monkeypatch.setattr(_threads, "_pool", None)
    np.testing.assert_array_equal(f.encode(x), one)
    np.testing.assert_array_equal(f.encode(x[5 * k : 6 * k]), one[5 * k : 6 * k])
    big = np.tile(one, (64 // k, 1))
    np.testing.assert_array_equal(f.decode(big, 512), np.tile(f.decode(one, 512), (64 // k, 1)))


@pytest.mark.parametrize("name", WITH_PAIR)
def test_threads_get_whole_groups_of_rows(name, monkeypatch):
    f = formats.get(name)
    one = random_bytes(f, f.interleave, 512, 1)
    groups = 1 + 3 * (1 << 18) // 512 // f.interleave  # enough for three threads, and not divisible by three
    many = np.tile(one, (groups, 1))
    monkeypatch.setattr(_threads, "_cores", lambda: 3)
    monkeypatch.setattr(_threads, "_pool", None)
    np.testing.assert_array_equal(f.unrepack(many, 512), np.tile(f.unrepack(one, 512), (groups, 1)))
    plain = random_bytes(f.base, f.interleave, 512, 2)
    np.testing.assert_array_equal(f.repack(np.tile(plain, (groups, 1)), 512), np.tile(f.repack(plain, 512), (groups, 1)))
    np.testing.assert_array_equal(f.decode(many, 512), np.tile(f.decode(one, 512), (groups, 1)))


def test_idle_lanes_change_nothing():
    """A row of 256 columns fills half of the lanes of iq4_ks: the same blocks twice in a row must come out the same."""
    f, x = formats.get("iq4_ks"), np.random.default_rng(6).standard_normal((12, 256)).astype(np.float32)
    once, twice = f.encode(x), f.encode(np.hstack([x, x]))
    np.testing.assert_array_equal(twice, np.hstack([once, once[:, 4:]]))


@pytest.mark.parametrize("name", ENCODERS)
def test_encode_of_decoded_weights_comes_back(name):
    """Weights that a type can hold exactly are found again, to a fraction of its usual error."""
    f = formats.get(name)
    x = np.random.default_rng(4).standard_normal((16, 512)).astype(np.float32)
    once = f.decode(f.encode(x), 512)
    twice = f.decode(f.encode(once), 512)
    assert np.square(twice - once).sum() <= 0.1 * np.square(once - x).sum()


def test_q4_0_finds_the_best_scale_there_is():
    """Against 20,000 scales a block, with the nearest codes for each."""
    x = np.random.default_rng(8).standard_normal((24, 32)).astype(np.float32)
    f, best = formats.get("q4_0"), np.full(24, np.inf)
    for d in np.linspace(-0.6, 0.6, 20000):
        codes = np.clip(np.rint(x / d), -8, 7)
        best = np.minimum(best, np.square(codes * d - x).sum(1))
    found = np.square(f.decode(f.encode(x), 32) - x).sum(1)
    assert (found <= best * 1.03).all() and found.sum() <= best.sum() * 1.003
