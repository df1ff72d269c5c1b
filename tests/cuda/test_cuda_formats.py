"""Decode and products of every quant type, run by the stand-in for CUDA, against the naive twins."""

import numpy as np
import pytest
from cuda_harness import down, up
from naive import formats as naive
from shim import ShimRuntime, needs_compiler

from ikexplore_kernels import formats
from ikexplore_kernels.cuda import products
from ikexplore_kernels.cuda.source import format_modules

pytestmark = needs_compiler

NAMES = format_modules()
QUANTIZED = [n for n in NAMES if not formats.get(n).dense]
_OWN = ("iq6_k", "iq2_kt", "iq3_kt")  # products take other weights than decode gives: see their .py
_GROUPS = [tuple(NAMES[k : k + 19]) for k in range(0, len(NAMES), 19)]


@pytest.fixture(scope="module")
def shared_device():
    return ShimRuntime(*_GROUPS)


@pytest.fixture
def device(shared_device):
    shared_device.buffers.clear()
    yield shared_device
    shared_device.check_guards()


def random_rows(name: str, rows: int, cols: int, seed: int) -> np.ndarray:
    f, rng = formats.get(name), np.random.default_rng(seed)
    return rng.integers(0, 256, (rows, f.row_bytes(cols)), dtype=np.uint8)


def finite_rows(name: str, rows: int, cols: int, seed: int) -> np.ndarray:
    """Random bytes whose weights are neither huge nor subnormal: float scales of a row are drawn as such, and where
    halves or exponents are still too large, no byte of the group has the bit that makes them so."""
    f = formats.get(name)
    w, k = random_rows(name, rows, cols, seed), f.interleave
    groups = w.reshape(rows // k, -1)
    if f.row_meta >= 4:
        scales = np.random.default_rng(seed).uniform(0.01, 1, (len(groups), k)).astype(np.float32)
        groups[:, : 4 * k] = scales.view(np.uint8)
    with np.errstate(invalid="ignore"):
        large = ~(np.abs(naive.decode(name, w, cols)).reshape(len(groups), -1).max(axis=1) < 1e12)
    groups[large] &= 0xBF
    return w


def in_products(name: str, w: np.ndarray, cols: int) -> np.ndarray:
    return naive.decode(f"{name} in products" if name in _OWN else name, w, cols)


@pytest.mark.parametrize("name", NAMES)
def test_decode_of_random_bytes_is_that_of_the_twin(name, device):
    """Every weight equal, NaN and infinite scales included; in half, weights as products take them; rows picked by number."""
    rows, cols = max(formats.get(name).interleave, 4) * 2, 512
    w = random_rows(name, rows, cols, len(name))
    want, taken = naive.decode(name, w, cols), in_products(name, w, cols)
    source, to = up(device, w), device.alloc(rows * cols * 4)
    products.decode(device, name, source.ptr, to.ptr, rows, cols)
    got = down(device, to, (rows, cols))
    np.testing.assert_array_equal(got, want)

    wide = device.alloc(rows * (cols + 8) * 2)
    device.fill(wide.ptr, 0x5A, wide.nbytes)
    products.decode(device, name, source.ptr, wide.ptr, rows, cols, half=True, stride=cols + 8)
    halves = down(device, wide, (rows, cols + 8), np.float16)
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(halves[:, :cols], taken.astype(np.float16))
    assert (halves[:, cols:].view(np.uint16) == 0x5A5A).all()

    ids = np.int32([rows - 1, 0, 3, 3, 1])
    picked, numbers = device.alloc(len(ids) * cols * 4), up(device, ids)
    products.decode(device, name, source.ptr, picked.ptr, len(ids), cols, ids=numbers.ptr)
    np.testing.assert_array_equal(down(device, picked, (len(ids), cols)), want[ids])


def activations(device, name: str, x: np.ndarray):
    """What a GEMV of that type reads, and the numbers that it stands for, in float64."""
    n, cols = x.shape
    source = up(device, x)
    if formats.get(name).dense:
        return source.ptr, x.astype(np.float64)
    codes, scales = (device.alloc(size) for size in products.activation_bytes(n, cols))
    products.quantize(device, source.ptr, codes.ptr, scales.ptr, n, cols)
    q = down(device, codes, x.shape, np.int8).astype(np.float64)
    d = down(device, scales, (n, cols // 32, 2))[..., 0].astype(np.float64)
    return (codes.ptr, scales.ptr), q * np.repeat(d, 32, axis=1)


def assert_rounding_only(got: np.ndarray, weights: np.ndarray, x: np.ndarray, minima: bool) -> None:
    """Sums of float32 terms differ from the exact one by a few roundings of the sum of magnitudes."""
    w = weights.astype(np.float64)
    magnitude = np.abs(x) @ np.abs(w).T
    if minima:  # code and minimum are summed apart, so what cancels in a weight counts too
        magnitude = magnitude + 20 * np.abs(x).sum(axis=1)[:, None] * np.abs(w).max(axis=1)[None]
    worst = np.abs(got - x @ w.T) / np.maximum(magnitude, 1e-30)
    assert worst.max() < 2e-6, worst.max()


@pytest.mark.parametrize("name", NAMES)
def test_gemv_is_the_product_of_the_same_8_bit_numbers(name, device):
    f, rng = formats.get(name), np.random.default_rng(7)
    rows, cols = max(f.interleave, 4) * 3, 1280 if f.block == 256 else 1152
    w = finite_rows(name, rows, cols, 3)
    x = rng.standard_normal((3, cols)).astype(np.float32)
    a, exact = activations(device, name, x)
    source, y = up(device, w), device.alloc(3 * rows * 4)
    weights = in_products(name, w, cols)
    for n in (1, 3):
        products.gemv(device, name, source.ptr, a, y.ptr, rows, cols, n)
        got = down(device, y, (n, rows))
        assert_rounding_only(got, weights, exact[:n], f.code.has_min)
    own = x.astype(np.float64) @ weights.astype(np.float64).T
    assert np.linalg.norm(got - own) < 0.02 * np.linalg.norm(own)


@pytest.mark.parametrize("name", ["q4_0", "q2_k", "iq4_k_r4", "q8_k_r16", "bf16", "bf16_r16"])
@pytest.mark.parametrize(("share", "groups"), [(1, 1), (2, 2), (4, 1), (8, 1), (1, 8)])
def test_warps_may_share_rows(name, share, groups, device, monkeypatch):
    f, rng = formats.get(name), np.random.default_rng(8)
    rows, cols = f.interleave * 5, 768
    w, x = finite_rows(name, rows, cols, 5), rng.standard_normal((8, cols)).astype(np.float32)
    a, exact = activations(device, name, x)
    source, y = up(device, w), device.alloc(8 * (rows + 3) * 4)
    monkeypatch.setattr(products, "row_warps", lambda *_: (share, groups))
    for n in (1, 8):
        device.fill(y.ptr, 0x5A, y.nbytes)
        products.gemv(device, name, source.ptr, a, y.ptr, rows, cols, n, stride=rows + 3)
        got = down(device, y, (8, rows + 3))
        assert_rounding_only(got[:n, :rows], in_products(name, w, cols), exact[:n], f.code.has_min)
        assert (got[n:].view(np.uint32) == 0x5A5A5A5A).all() and (got[:, rows:].view(np.uint32) == 0x5A5A5A5A).all()


@pytest.mark.parametrize("name", ["q4_k", "iq3_xxs_r4", "mxfp4", "f16"])
@pytest.mark.parametrize("x_rows", [1, 3])
def test_experts_are_chosen_by_number(name, x_rows, device):
    f, rng = formats.get(name), np.random.default_rng(9)
    experts, rows, cols, tokens, used = 4, 8, 512, 3, 3
    w = finite_rows(name, experts * rows, cols, 6)
    x = rng.standard_normal((tokens * x_rows, cols)).astype(np.float32)
    ids = np.int32([[0, 3, 1], [2, -1, 0], [3, 2, 1]])
    a, exact = activations(device, name, x)
    source, chosen, y = up(device, w), up(device, ids), device.alloc(tokens * used * rows * 4)
    products.gemv_experts(device, name, source.ptr, a, y.ptr, rows, cols, chosen.ptr, tokens, used, x_rows)
    got = down(device, y, (tokens, used, rows))
    weights = in_products(name, w, cols).reshape(experts, rows, cols)
    for t in range(tokens):
        for s in range(used):
            if ids[t, s] < 0:
                assert not got[t, s].any()
            else:
                row = exact[t * x_rows + s % x_rows][None]
                assert_rounding_only(got[t, s][None], weights[ids[t, s]], row, f.code.has_min)


@pytest.mark.parametrize("cols", [37, 38])
def test_a_dense_row_of_odd_length(cols, device):
    w = np.random.default_rng(1).standard_normal((5, cols)).astype(np.float16)
    x = np.random.default_rng(2).standard_normal((2, cols)).astype(np.float32)
    source, a, y, to = up(device, w), up(device, x), device.alloc(2 * 5 * 4), device.alloc(5 * 40 * 4)
    products.gemv(device, "f16", source.ptr, a.ptr, y.ptr, 5, cols, 2)
    assert_rounding_only(down(device, y, (2, 5)), w, x.astype(np.float64), False)
    products.decode(device, "f16", source.ptr, to.ptr, 5, cols, stride=40)
    np.testing.assert_array_equal(down(device, to, (5, 40))[:, :cols], w.astype(np.float32))


def test_pairs_are_grouped_by_expert_in_their_order():
    device, rng = ShimRuntime(), np.random.default_rng(4)
    n_expert, pairs, cols = 6, 700, 8
    ids = rng.integers(-1, n_expert - 1, pairs).astype(np.int32)  # the last expert gets nothing
    a = up(device, ids)
    counts, starts, order = device.alloc(4 * n_expert), device.alloc(4 * (n_expert + 1)), device.alloc(4 * pairs)
    products.group_experts(device, a.ptr, pairs, n_expert, counts.ptr, starts.ptr, order.ptr)
    chosen = [np.flatnonzero(ids == e) for e in range(n_expert)]
    np.testing.assert_array_equal(down(device, counts, (n_expert,), np.int32), [len(c) for c in chosen])
    ends = down(device, starts, (n_expert + 1,), np.int32)
    np.testing.assert_array_equal(ends, np.cumsum([0, *[len(c) for c in chosen]]))
    sorted_pairs = down(device, order, (pairs,), np.int32)[: ends[-1]]
    np.testing.assert_array_equal(sorted_pairs, np.concatenate(chosen))

    x = rng.standard_normal((pairs // 2, cols)).astype(np.float32)
    rows, out, n = up(device, x), device.alloc(int(ends[-1]) * cols * 2), int(ends[-1])
    args = [rows.ptr, order.ptr, out.ptr, np.int64(n), np.int64(cols), np.int32(2)]
    device.launch("experts", "gather_half", [-(-n * cols // 256)], [256], args)
    np.testing.assert_array_equal(down(device, out, (n, cols), np.float16), x[sorted_pairs // 2].astype(np.float16))
    results, y = up(device, np.arange(n * cols, dtype=np.float32)), up(device, np.zeros((pairs, cols), np.float32))
    device.launch(
        "experts", "scatter_rows", [-(-n * cols // 256)], [256], [results.ptr, order.ptr, y.ptr, np.int64(n), np.int64(cols)]
    )
    want = np.zeros((pairs, cols), np.float32)
    want[sorted_pairs] = np.arange(n * cols).reshape(n, cols)
    np.testing.assert_array_equal(down(device, y, (pairs, cols)), want)
    device.check_guards()
