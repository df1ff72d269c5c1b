"""Matrix products of every format against decoded weights and against the activations as they were quantized."""

import numpy as np
import pytest
from kernel_harness import PRODUCTS, matmul, matmul_experts, some
from naive import formats as naive

from ikexplore_kernels import formats

FORMATS = some(formats.names(), PRODUCTS, "unpack of this type is compared bit by bit in test_formats_unpack.py")


def quantized(x):
    """x as the kernels see it: 8 bits per 32 values; the best of three steps, then the scale that fits the codes best."""
    blocks = x.reshape(len(x), -1, 32).astype(np.float64)
    top = np.abs(blocks).max(axis=2, keepdims=True)
    top[top == 0] = 1
    codes = np.stack([np.rint(blocks / top * steps) for steps in (127, 125, 123)])
    errors = ((blocks - codes * top / np.array([127, 125, 123]).reshape(3, 1, 1, 1)) ** 2).sum(3, keepdims=True)
    q = np.take_along_axis(codes, errors.argmin(0)[None], axis=0)[0]
    d = (blocks * q).sum(2, keepdims=True) / np.maximum((q * q).sum(2, keepdims=True), 1)
    return (q * d).reshape(x.shape)


def weights(f, m, k, seed=0):
    rng = np.random.default_rng(seed)
    dense = rng.standard_normal((m, k), np.float32) * 0.1
    raw = f.encode(dense)
    # products take the nearest integers for iq6_k's values, which are no integers
    own = f.name in ("iq6_k", "iq2_kt", "iq3_kt")  # the last two: times a factor, as the reference's
    values = naive.decode(f"{f.name} in products", raw, k) if own else f.decode(raw, k)
    return raw, values.astype(np.float64)


def expected(f, x, dense):
    return (x if f.dense else quantized(x)).astype(np.float64) @ dense.T


def check(f, got, want, tolerance=2e-5):
    error = np.linalg.norm(got - want) / np.linalg.norm(want)
    assert error < tolerance, f"{f.name}: relative error {error:.2e}"


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("n", [1, 2, 7, 60])
def test_product(name, n):
    f = formats.get(name)
    x = np.random.default_rng(n).standard_normal((n, 512), np.float32)
    raw, dense = weights(f, 48, 512)
    check(f, matmul(f, raw, x), expected(f, x, dense))


@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan])
def test_what_is_not_finite_shows(bad):
    f = formats.get("q8_0")
    x = np.random.default_rng(3).standard_normal((7, 512), np.float32)
    x[2, 100] = x[5, 511] = bad
    raw, _ = weights(f, 48, 512)
    got = matmul(f, raw, x)
    assert np.isnan(got[[2, 5]]).all() and np.isfinite(got[[0, 1, 3, 4, 6]]).all()
    assert np.isnan(matmul(f, raw, x[5:6])).all()


def test_values_next_to_nothing_are_zeros():
    f = formats.get("q8_0")
    x = np.random.default_rng(4).standard_normal((7, 512), np.float32)
    x[:, :64], x[3] = 1e-39, 1e-44
    check(f, matmul(f, weights(f, 48, 512)[0], x), expected(f, x, weights(f, 48, 512)[1]))


@pytest.mark.parametrize("name", ["q8_0", "q4_k", "f16", "iq4_ks_r4"])
@pytest.mark.parametrize("m", [16, 20, 36, 52])
def test_odd_numbers_of_rows(name, m):
    f = formats.get(name)
    for n in (1, 5, 70):
        x = np.random.default_rng(n).standard_normal((n, 256), np.float32)
        raw, dense = weights(f, m, 256)
        check(f, matmul(f, raw, x), expected(f, x, dense))


@pytest.mark.parametrize("m", [1, 3, 4])
def test_few_dense_rows(m):
    f = formats.get("f32")
    for n in (1, 9, 50):
        x = np.random.default_rng(n).standard_normal((n, 64), np.float32)
        raw, dense = weights(f, m, 64)
        check(f, matmul(f, raw, x), expected(f, x, dense))


@pytest.mark.parametrize("name", ["q8_0", "q4_k_r4", "f16"])
def test_gate_is_fused(name):
    f = formats.get(name)
    (up, dense_up), (gate, dense_gate) = weights(f, 32, 256, 1), weights(f, 32, 256, 2)
    for n in (1, 4, 80):
        x = np.random.default_rng(n).standard_normal((n, 256), np.float32)
        g = expected(f, x, dense_gate)
        check(f, matmul(f, up, x, gate), expected(f, x, dense_up) * g / (1 + np.exp(-g)), 1e-4)


@pytest.mark.parametrize("name", ["q8_0", "q6_k", "f32", "iq4_xs_r8"])
@pytest.mark.parametrize("n", [1, 3, 200])
def test_experts(name, n):
    f, rng = formats.get(name), np.random.default_rng(n)
    experts, slots, m, k = 5, 2, 32, 256
    pairs = [weights(f, m, k, e) for e in range(experts)]
    x = rng.standard_normal((n, k), np.float32)
    ids = np.stack([rng.permutation(experts)[:slots] for _ in range(n)]).astype(np.int32)
    got = matmul_experts(f, np.stack([raw for raw, _ in pairs]), x, ids)
    want = np.stack([[expected(f, x[t : t + 1], pairs[e][1])[0] for e in ids[t]] for t in range(n)])
    check(f, got, want)
