"""Kernels of ops against NumPy twins: broadcasting, strides, types, masks from positions, windows and sinks."""

import numpy as np
import pytest
from cuda_harness import down, up
from shim import ShimRuntime, needs_compiler

from ikexplore_kernels.formats import get

pytestmark = needs_compiler
MODULES = ("ops_elements", "ops_rows", "ops_attention")
RNG = np.random.default_rng


@pytest.fixture(scope="module")
def device():
    return ShimRuntime(MODULES)


def normal(*shape):
    return RNG(sum(shape)).standard_normal(shape).astype(np.float32)


def run(device, module, kernel, grid, block, args, shared=0):
    """Arrays go to the device; addresses and numbers as they are."""
    buffers = [up(device, a) if isinstance(a, np.ndarray) else a for a in args]
    given = [b.ptr if hasattr(b, "ptr") else np.float32(b) if isinstance(b, float) else b for b in buffers]
    device.launch(module, kernel, grid if isinstance(grid, tuple) else (grid,), (block,), given, shared=shared)
    device.check_guards()


def each(device, kernel, n, args, module="ops_elements"):
    run(device, module, kernel, -(-n // 64), 64, args)


# -- element by element ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind, op", [(0, np.add), (1, np.subtract), (2, np.multiply), (3, np.divide)])
def test_binary_repeats_and_skips(device, kind, op):
    x, z = normal(2, 3, 5, 8)[:, :, ::2], normal(3, 1, 8)  # rows of x with gaps; z over dimensions 1 and 3
    whole = np.ascontiguousarray(normal(2, 3, 5, 8))
    y = device.alloc(4 * x.size)
    ne, nb = x.shape[::-1], (32 * 2, 32 * 5, 32 * 15)
    each(device, "binary", x.size, [whole, z, y, kind, *ne, *nb, 8, 1, 3, 1, 32, 32, 96])
    np.testing.assert_array_equal(down(device, y, x.shape), op(x, z[None]))


@pytest.mark.parametrize("kind", ["f32", "f16", "bf16"])
def test_copies_change_strides_and_types(device, kind):
    x, y = normal(3, 4, 6), device.alloc(3 * 4 * 6 * 4 + 1024)
    size, number = (4, 0) if kind == "f32" else (2, ["", "f16", "bf16"].index(kind))
    past = np.array([5, 9], np.int64)
    turned = (size * 12, size * 3, size, 0)  # y[i0, i1, i2]
    each(device, "copy", x.size, [x, y, 0, number, 6, 4, 3, 1, 4, 24, 96, 0, *turned, past, 8])
    f = get(kind)
    want = f.decode(f.encode(x.reshape(12, 6)), 6).reshape(3, 4, 6).transpose(2, 1, 0)
    raw = down(device, y, (40 + 72 * size,), np.uint8)[40:]
    np.testing.assert_array_equal(f.decode(np.ascontiguousarray(raw).reshape(6, -1), 12).reshape(6, 4, 3), want)
    back = device.alloc(72 * 4)
    each(device, "copy", 72, [np.ascontiguousarray(raw), back, number, 0, 72, 1, 1, 1, size, 0, 0, 0, 4, 0, 0, 0, 0, 0])
    np.testing.assert_array_equal(down(device, back, (6, 4, 3)), want)


@pytest.mark.parametrize("kind", range(6))
def test_gates_with_biases_of_experts(device, kind):
    gate, up_, biases = 5 * normal(6, 8), 5 * normal(6, 8)[::-1].copy(), normal(2, 4, 8)
    ids = np.array([[3, 0, 9], [1, 1, 9], [2, 3, 9]], np.int32)  # two slots of each token are used
    y = device.alloc(4 * gate.size)
    each(device, "gated", gate.size, [gate, up_, y, 8, 6, 32, 32, kind, biases[0].copy(), biases[1].copy(), 32, ids, 12, 2])
    a, b = (x + bias[ids[:, :2].reshape(-1)] for x, bias in zip((gate, up_), biases))
    if kind == 1:
        a, b = np.minimum(a, 7), np.clip(b, -7, 7)
        want = a / (1 + np.exp(-1.702 * a)) * (b + 1)
    else:
        acts = {0: lambda v: v / (1 + np.exp(-v)), 2: lambda v: 1 / (1 + np.exp(-v)), 3: lambda v: np.maximum(v, 0), 5: np.tanh,
                4: lambda v: 0.5 * v * (1 + np.tanh(np.sqrt(2 / np.pi) * (v + 0.044715 * v**3)))}
        want = acts[kind](a) * b
    np.testing.assert_allclose(down(device, y, gate.shape), want, rtol=3e-6, atol=3e-6)


@pytest.mark.parametrize("n", [1, 33, 300])
def test_argsort_is_stable_and_cuts_at_a_threshold(device, n):
    x = np.round(normal(3, n), 1)
    y = device.alloc(4 * x.size)
    run(device, "ops_elements", "argsort", 3, 64, [x, y, n, 0, 0.0])
    want = np.argsort(-x, axis=1, kind="stable")
    np.testing.assert_array_equal(down(device, y, x.shape, np.int32), want)
    run(device, "ops_elements", "argsort", 3, 64, [np.abs(x), y, n, 1, 0.5])
    order = np.argsort(-np.abs(x), axis=1, kind="stable")
    sorted_ = np.take_along_axis(np.abs(x), order, 1)
    cut = (sorted_ < np.float32(0.5) * sorted_[:, :1]) & (np.arange(n) >= 1)
    np.testing.assert_array_equal(down(device, y, x.shape, np.int32), np.where(cut, -1, order))


def test_rows_by_number(device):
    x, ids = normal(7, 6), np.array([4, -1, 0, 6], np.int32)
    y, h = device.alloc(96), device.alloc(48)
    want = np.where(ids[:, None] < 0, np.float32(0), x[ids])
    for unit in (1, 2, 4):
        each(device, "pick_rows", 4 * 24 // unit, [x, ids, y, 4, 24, 24, unit])
        np.testing.assert_array_equal(down(device, y, (4, 6)), want)
    order = np.array([9, 0, 13, 5], np.int32)  # pairs of two
    each(device, "to_half", 24, [x, h, 6, 4, 24, order, 2])
    np.testing.assert_array_equal(down(device, h, (4, 6), np.float16), x[order // 2].astype(np.float16))
    each(device, "gather", 24, [x, y, 6, 4, 24, 0, 1])
    np.testing.assert_array_equal(down(device, y, (4, 6)), x[:4])
    values = device.alloc(32)
    each(device, "pick_values", 8, [x, np.array([[0, 5], [1, -1], [2, 2], [3, 4]], np.int32), values, 2, 4, 24, 8])
    picked = [[x[0, 0], x[0, 5]], [x[1, 1], 0], [x[2, 2]] * 2, [x[3, 3], x[3, 4]]]
    np.testing.assert_array_equal(down(device, values, (4, 2)), picked)


# -- rows ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n, block", [(7, 32), (200, 128)])
def test_norms(device, n, block):
    x, w = normal(4, n), normal(n)
    for kernel, mean in (("rms_norm", 0), ("layer_norm", x.mean(axis=1, keepdims=True, dtype=np.float64))):
        y = device.alloc(4 * x.size)
        run(device, "ops_rows", kernel, 4, block, [x, y, w, n, 2, 4 * n, 8 * n, 4 * n, 8 * n, 1e-5])
        off = x - mean
        want = off / np.sqrt(np.square(off).mean(axis=1, keepdims=True) + 1e-5) * w
        np.testing.assert_allclose(down(device, y, x.shape), want, rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("window", [0, 5])
@pytest.mark.parametrize("sink", [False, True])
def test_softmax_sees_what_came_before(device, window, sink):
    x, heads, tokens, n, past = normal(2, 3, 40), 2, 3, 40, 30
    sinks = normal(heads)
    y = device.alloc(4 * x.size)
    run(device, "ops_rows", "soft_max", 6, 32, [x, y, n, tokens, 0.5, np.array([past, past + 3], np.int64), window,
                                                sinks if sink else 0])
    back = past + np.arange(tokens)[:, None] - np.arange(n)
    seen = (back >= 0) & ((back < window) if window else True)
    e = np.where(seen, np.exp(x.astype(np.float64) * 0.5), 0)
    total = e.sum(axis=2, keepdims=True) + (np.exp(sinks.astype(np.float64))[:, None, None] if sink else 0)
    np.testing.assert_allclose(down(device, y, x.shape), e / total, rtol=2e-6, atol=1e-9)


@pytest.mark.parametrize("mode", [0, 2])
def test_rope_turns_pairs_and_leaves_the_rest(device, mode):
    x, turns = normal(3, 2, 10), normal(3, 4, 2)
    y = device.alloc(4 * x.size)
    each(device, "rope", 6 * 6, [x, y, 10, 2, 3, 40, 80, 40, 80, 8, mode, turns], "ops_rows")
    first = np.arange(0, 8, 2) if mode == 0 else np.arange(4)
    second = first + (1 if mode == 0 else 4)
    want, c, s = x.copy(), turns[:, None, :, 0], turns[:, None, :, 1]
    want[..., first] = x[..., first] * c - x[..., second] * s
    want[..., second] = x[..., first] * s + x[..., second] * c
    np.testing.assert_allclose(down(device, y, x.shape), want, rtol=1e-6, atol=1e-6)


def test_hadamard_is_its_own_inverse_and_sums_are_sums(device):
    x = normal(3, 128)
    y, z, total = device.alloc(4 * x.size), device.alloc(4 * x.size), device.alloc(12)
    run(device, "ops_rows", "hadamard", 6, 32, [x, y, 128, 3, 512, 1536, 64])
    one = down(device, y, x.shape)
    np.testing.assert_allclose(one[:, 0], x[:, :64].sum(axis=1) / 8, rtol=1e-5, atol=1e-5)
    run(device, "ops_rows", "hadamard", 6, 32, [one, z, 128, 3, 512, 1536, 64])
    np.testing.assert_allclose(down(device, z, x.shape), x, atol=1e-6)
    run(device, "ops_rows", "sum_rows", 3, 96, [x, total, 128])
    np.testing.assert_allclose(down(device, total, (3,)), x.sum(axis=1), rtol=1e-5, atol=1e-5)


def test_q8_0_rows_are_those_of_the_cpu(device):
    x, past = normal(6, 64), np.array([2, 8], np.int64)
    x[0, :32] = 0
    y, back = device.alloc(8 * 68), device.alloc(6 * 64 * 2)
    each(device, "store_q8_0", 12, [x, y, 64, 6, 1, 256, 0, 68, past, 68], "ops_rows")
    got = down(device, y, (8, 68), np.uint8)[2:]
    np.testing.assert_array_equal(got, get("q8_0").encode(x))
    each(device, "widen_q8_0", x.size, [got.copy(), back, 1, 64, 6, 1, 68, 0, 128, 0], "ops_rows")
    np.testing.assert_array_equal(down(device, back, x.shape, np.float16), get("q8_0").decode(got, 64).astype(np.float16))


# -- attention -----------------------------------------------------------------------------------------------------------


def _attention(q, k, v, past, window, sinks, scale):
    heads, tokens = q.shape[0], q.shape[1]
    k, v = (np.repeat(a, heads // len(a), axis=0).astype(np.float64) for a in (k, v))
    back = past + np.arange(tokens)[:, None] - np.arange(k.shape[1])
    seen = (back >= 0) & ((back < window) if window else True)
    e = np.where(seen, np.exp(q @ k.swapaxes(1, 2) * scale), 0)
    total = e.sum(axis=2, keepdims=True) + (np.exp(sinks.astype(np.float64))[:, None, None] if sinks is not None else 0)
    return (e / total @ v).swapaxes(0, 1)


@pytest.mark.parametrize("kinds, sizes, heads, tokens, past, window, parts, sink", [
    (("f16", "f16"), (64, 64), (4, 2), 9, 140, 0, 1, False),
    (("q8_0", "f16"), (96, 160), (6, 1), 1, 300, 0, 3, True),
    (("bf16", "q8_0"), (32, 64), (2, 2), 3, 270, 20, 4, False),
    (("f32", "f32"), (8, 8), (1, 1), 20, 0, 0, 2, True),
])  # fmt: skip
def test_flash_attention(device, kinds, sizes, heads, tokens, past, window, parts, sink):
    (dk, dv), (n_head, n_kv_head), cells = sizes, heads, past + tokens + 7
    q, sinks = normal(n_head, tokens, dk), normal(n_head) if sink else None
    rows, values = [], []
    for kind, d in zip(kinds, sizes):
        f, x = get(kind), normal(n_kv_head, cells, d)
        rows.append(f.encode(x.reshape(-1, d)))
        values.append(f.decode(rows[-1], d).reshape(x.shape)[:, : past + tokens])
        rows[-1].reshape(n_kv_head, cells, -1)[:, past + tokens :] = 0x7F  # empty cells must not be read
    group = n_head // n_kv_head
    k_step, v_step = (get(kind).row_bytes(d) for kind, d in zip(kinds, sizes))
    number = {"f32": 0, "f16": 1, "bf16": 2, "q8_0": 4}
    work, y = device.alloc(4 * tokens * n_head * parts * (dv + 2)), device.alloc(4 * tokens * n_head * dv)
    args = [q, rows[0], rows[1], work, number[kinds[0]], number[kinds[1]], dk, dv, tokens, group, 4 * dk, 4 * dk * tokens,
            k_step, k_step * cells, v_step, v_step * cells, 0.125, np.array([past, past + tokens], np.int64), window]
    grid, shared = (-(-tokens * group // 8), n_kv_head, parts), 4 * (8 * dk + 8 * 128 + 24)
    run(device, "ops_attention", "flash_attention", grid, 128, args, shared)
    run(device, "ops_attention", "merge_parts", tokens * n_head, 32, [work, y, parts, dv, n_head, sinks if sink else 0])
    want = _attention(q, values[0], values[1], past, window, sinks, 0.125)
    np.testing.assert_allclose(down(device, y, (tokens, n_head, dv)), want, rtol=1e-4, atol=2e-6)


def test_products_of_attention_stop_where_the_cache_ends(device):
    k, q = normal(2, 40, 16).astype(np.float16), normal(4, 3, 16)
    y, past = device.alloc(4 * 4 * 3 * 40), np.array([20, 23], np.int64)
    args = [k, q, y, 1, 16, 40, 3, 4, 2, 32, 32 * 40, 64, 64 * 3, 160, 160 * 3, past, 0]
    each(device, "strided_product", 4 * 3 * 40, args, "ops_attention")
    want = q @ np.repeat(k.astype(np.float32), 2, axis=0).swapaxes(1, 2)
    want[..., 23:] = 0
    np.testing.assert_allclose(down(device, y, want.shape), want, rtol=1e-5, atol=1e-5)
