"""Every op that is no matrix product, against the plainest NumPy that says the same."""

import numpy as np
import pytest
from kernel_harness import at, close, run

from ikexplore_kernels import elementwise, norm, rows
from ikexplore_kernels.formats import get
from ikexplore_kernels.program import Instruction

RNG = np.random.default_rng(3)


@pytest.mark.parametrize("shape", [(1, 1, 64), (3, 5, 48), (7, 2, 17)])
def test_rms_norm(shape):
    x, y = RNG.standard_normal(shape, np.float32), np.zeros(shape, np.float32)
    weight = RNG.standard_normal(shape[2], np.float32)
    strides = [x.strides[1], x.strides[0]] * 2
    run([Instruction(norm.rms_norm, [at(x), at(y), at(weight), shape[2], shape[1], shape[0], *strides, 1e-5], 3)])
    wide = x.astype(np.float64)
    close(y, wide / np.sqrt((wide**2).mean(axis=2, keepdims=True) + 1e-5) * weight)


@pytest.mark.parametrize("past", [None, 0, 5])
@pytest.mark.parametrize("window", [0, 1, 4])
@pytest.mark.parametrize("sinks", [None, (-3.0, 5.0)])
def test_soft_max(past, window, sinks):
    x = (4 * RNG.standard_normal((2, 3, 9))).astype(np.float32)
    y, where, sink = np.full_like(x, np.nan), np.array([past or 0]), np.array(sinks or (0, 0), np.float32)
    args = [at(x), at(y), 9, 3, 2, 0.5, at(where) if past is not None else 0, window, at(sink) if sinks else 0]
    run([Instruction(norm.soft_max, args, 2)])
    scores = 0.5 * x.astype(np.float64)
    last = np.full(3, 8) if past is None else np.minimum(np.arange(3) + past, 8)
    column = np.arange(9)[None]
    hidden = column > last[:, None]
    if window:
        hidden |= column <= last[:, None] - window
    scores[:, hidden] = -np.inf
    if sinks:
        scores = np.concatenate([scores, np.broadcast_to(sink[:, None, None], (2, 3, 1))], axis=2)
    e = np.exp(scores - scores.max(axis=2, keepdims=True))
    close(y, (e / e.sum(axis=2, keepdims=True))[..., :9])


@pytest.mark.parametrize("n, block", [(64, 64), (96, 32), (128, 2)])
def test_hadamard_is_sylvesters_matrix(n, block):
    x = RNG.standard_normal((3, 5, n + 8), np.float32)[..., :n]
    y = np.zeros((3, 5, n), np.float32)
    run([Instruction(norm.hadamard, [at(x), at(y), n, 5, 3, *x.strides[1::-1], block], 4)])
    matrix = np.ones((1, 1))
    while len(matrix) < block:
        matrix = np.block([[matrix, matrix], [matrix, -matrix]])
    want = x.astype(np.float64).reshape(3, 5, n // block, block) @ matrix / np.sqrt(block)
    close(y, want.reshape(y.shape))


@pytest.mark.parametrize("mode", [0, 2])
def test_rope_turns_pairs(mode):
    heads, tokens, size, n_rot = 3, 4, 24, 16
    x, y = RNG.standard_normal((tokens, heads, size), np.float32), np.zeros((tokens, heads, size), np.float32)
    angle = RNG.uniform(0, 6, (10, n_rot // 2))
    table = np.stack([np.cos(angle), np.sin(angle)], axis=-1).astype(np.float32)
    positions = np.array([0, 9, 3, 3], np.int32)
    strides = [x.strides[1], x.strides[0]] * 2
    run([Instruction(norm.rope, [at(x), at(y), size, heads, tokens, *strides, n_rot, mode, at(positions), at(table)], 5)])
    want = x.copy()
    first = np.arange(0, n_rot, 2) if mode == 0 else np.arange(n_rot // 2)
    second = first + 1 if mode == 0 else first + n_rot // 2
    turn = np.exp(1j * angle[positions])[:, None]
    z = (x[..., first] + 1j * x[..., second]) * turn
    want[..., first], want[..., second] = z.real, z.imag
    close(y, want)


def swiglu_oai(x, z):
    x = np.minimum(x, 7)
    return x / (1 + np.exp(-1.702 * x)) * (np.clip(z, -7, 7) + 1)


@pytest.mark.parametrize("kind, fn", [
    (elementwise.ADD, np.add), (elementwise.MUL, np.multiply), (elementwise.DIV, np.divide),
    (elementwise.SILU_MUL, lambda x, z: x / (1 + np.exp(-x)) * z),
    (elementwise.SWIGLU_OAI, swiglu_oai)])
@pytest.mark.parametrize("z_shape", [(6, 21), (1, 21), (6, 1)])
def test_binary(kind, fn, z_shape):
    if kind >= elementwise.SILU_MUL and z_shape != (6, 21):
        z_shape = (6, 21)
    size = 6 if kind == elementwise.SWIGLU_OAI else 1
    x, z = size * RNG.standard_normal((6, 21), np.float32), RNG.uniform(0.5, 2, z_shape).astype(np.float32)
    y = np.zeros_like(x)
    run([Instruction(elementwise.binary, [at(x), at(z), at(y), 21, 6, z_shape[1], z_shape[0], kind], 4)])
    close(y, fn(x.astype(np.float64), z))


def test_binary_of_rows_with_gaps():
    x, z = RNG.standard_normal((6, 30), np.float32), RNG.standard_normal((6, 40), np.float32)
    y = np.zeros((6, 21), np.float32)
    args = [at(x), at(z), at(y), 21, 6, 21, 6, elementwise.ADD, 0, 0, 0, z.strides[0], x.strides[0]]
    run([Instruction(elementwise.binary, args, 2)])
    close(y, x[:, :21].astype(np.float64) + z[:, :21])


@pytest.mark.parametrize("gap", [0, 7])
def test_rows_added_by_number(gap):
    """Biases of experts; with a gap: rows of a merged bias."""
    x, z = RNG.standard_normal((4, 3, 21), np.float32), RNG.standard_normal((5, 21 + gap), np.float32)
    ids = RNG.integers(0, 5, (4, 8)).astype(np.int32)
    y = np.zeros_like(x)
    args = [at(x), at(z), at(y), 21, 12, 21, 12, elementwise.ADD, at(ids), ids.strides[0], 3, z.strides[0] if gap else 0]
    run([Instruction(elementwise.binary, args, 3)])
    close(y, x.astype(np.float64) + z[ids[:, :3], :21])


@pytest.mark.parametrize("kind, fn", [
    (elementwise.SCALE, lambda x: 2.5 * x - 1), (elementwise.SIGMOID, lambda x: 1 / (1 + np.exp(-x)))])
def test_unary(kind, fn):
    x = np.concatenate([RNG.standard_normal(50), [-200, -30, 0, 30, 200]]).astype(np.float32)
    y = np.zeros_like(x)
    run([Instruction(elementwise.unary, [at(x), at(y), len(x), kind, 2.5, -1.0], 4)])
    with np.errstate(over="ignore"):
        close(y, fn(x.astype(np.float64)))


@pytest.mark.parametrize("weighted", [False, True])
def test_multi_add(weighted):
    x, w = RNG.standard_normal((5, 3, 8), np.float32), RNG.standard_normal((5, 3), np.float32)
    y = np.zeros((5, 8), np.float32)
    run([Instruction(elementwise.multi_add, [at(x), x.strides[0], x.strides[1], 3, at(w) if weighted else 0, w.strides[0],
                                             at(y), 8, 5], 2)])
    close(y, (x * (w if weighted else np.ones_like(w))[..., None]).sum(axis=1))


def test_sum_rows_and_copies():
    x = RNG.standard_normal((4, 6, 5), np.float32)
    total, turned = np.zeros((4, 6), np.float32), np.zeros((6, 4, 5), np.float32)
    run([Instruction(elementwise.sum_rows, [at(x), at(total), 5, 24], 3),
         Instruction(elementwise.copy_rows, [at(x), at(turned), 5, 6, 4, *x.strides[::-1], 4, *turned.strides[:2], 4], 3)])
    close(total, x.sum(axis=2))
    assert np.array_equal(turned, x.transpose(1, 0, 2))


@pytest.mark.parametrize("kind", [np.float32, np.uint16])
@pytest.mark.parametrize("n", [1, 15, 16, 33, 70])
def test_copies_of_any_length(kind, n):
    """Together, apart and repeated (a step of 0); nothing is written beyond the rows."""
    x = RNG.integers(0, 60000, (2, 3, n)).astype(kind)
    size, kept = x.itemsize, 60001
    joined, apart = np.full((2, 3, n + 2), kept, kind), np.full((2, 4, n, 3), kept, kind)
    together = [at(x), at(joined), n, 3, 2, *x.strides[::-1], size, *joined.strides[1::-1], size]
    repeated = [at(x), at(apart), n, 4, 2, size, 0, x.strides[0], 3 * size, *apart.strides[1::-1], size]
    run([Instruction(elementwise.copy_rows, together, 2), Instruction(elementwise.copy_rows, repeated, 3)])
    assert np.array_equal(joined[..., :n], x) and (joined[..., n:] == kept).all()
    assert np.array_equal(apart[..., 0], np.repeat(x[:, :1], 4, axis=1)) and (apart[..., 1:] == kept).all()


@pytest.mark.parametrize("k", [1, 3, 11])
def test_top_k_falls_and_breaks_ties_by_column(k):
    x = RNG.integers(0, 5, (7, 11)).astype(np.float32)
    y = np.full((7, 11), -1, np.int32)
    run([Instruction(elementwise.top_k, [at(x), at(y), 11, 7, k, y.strides[0]], 2)])
    assert np.array_equal(y[:, :k], np.argsort(-x, axis=1, kind="stable")[:, :k])
    assert (y[:, k:] == -1).all()


@pytest.mark.parametrize("keep, part", [(1, 0.5), (2, 1.0), (3, 0.9)])
def test_top_k_drops_what_is_small(keep, part):
    x = RNG.uniform(0, 1, (9, 11)).astype(np.float32)
    y = np.zeros((9, 5), np.int32)
    run([Instruction(elementwise.top_k, [at(x), at(y), 11, 9, 5, y.strides[0], keep, part], 2)])
    order = np.argsort(-x, axis=1, kind="stable")[:, :5]
    small = np.take_along_axis(x, order, axis=1) < np.float32(part) * x.max(axis=1, keepdims=True)
    small[:, :keep] = False
    assert small.any() and np.array_equal(y, np.where(small, -1, order))


@pytest.mark.parametrize("name", ["q8_0", "q4_k", "q6_k", "iq4_ks", "iq4_xs_r8", "f16", "bf16", "f32"])
@pytest.mark.parametrize("m", [16, 40])
def test_get_rows(name, m):
    f, k = get(name), 256
    raw = f.encode(RNG.standard_normal((m, k), np.float32))
    numbers, y, scratch = np.array([0, m - 1, 17 % m, 3], np.int32), np.zeros((4, k), np.float32), np.zeros((2, 1024), np.uint8)
    op = rows.get_rows_dense if f.dense else rows.get_rows
    run([Instruction(op, [at(raw), raw.strides[0], k, m, at(numbers), 4, at(y), at(scratch), 1024], 2, f)])
    assert np.allclose(y, f.decode(raw, k)[numbers], rtol=1e-6, atol=1e-9)


def test_pick():
    x, y = RNG.standard_normal((6, 10), np.float32), np.zeros((3, 10), np.float32)
    numbers = np.array([5, 0, 5], np.int32)
    chosen, z = np.array([[1, 9], [0, 3], [4, 4], [2, 8], [-1, 7], [9, -1]], np.int32), np.zeros((6, 2), np.float32)
    run([Instruction(rows.pick_rows, [at(x), x.strides[0], 10, at(numbers), 3, at(y)], 2),
         Instruction(rows.pick_values, [at(x), 10, at(chosen), chosen.strides[0], 2, 6, at(z)], 2)])
    assert np.array_equal(y, x[numbers])
    assert np.array_equal(z, np.where(chosen < 0, 0, np.take_along_axis(x, chosen, axis=1)))


HALVES = np.array([0.0, -0.0, 1.0, 65504, 65519.9, 65520, 1e9, -1e9, np.inf, -np.inf, np.nan, 6e-8, 3e-8, 2.9e-8, 5.9e-5,
                   6.1035e-5, 6.1e-5, 1e-9, 1.0009765, 1.00048828125, 1.00146484375, -2.5e-7, 0.1, 1e-40], np.float32)


def test_stored_halves_are_numpys():
    x = np.concatenate([HALVES, (RNG.standard_normal(10000) * 10.0 ** RNG.integers(-9, 6, 10000)).astype(np.float32)])
    y, past = np.zeros(len(x), np.uint16), np.zeros(1, np.int64)
    run([Instruction(rows.store, [at(x), 0, len(x), 1, at(y), 0, 2, rows.F16, at(past), 0, 1])])
    with np.errstate(over="ignore"):
        want = x.astype(np.float16).view(np.uint16)
    nan = np.isnan(x)
    assert np.array_equal(y[~nan], want[~nan])
    assert np.isnan(y[nan].view(np.float16)).all()


@pytest.mark.parametrize("name, kind", [("f32", rows.F32), ("f16", rows.F16), ("bf16", rows.BF16)])
def test_store_writes_after_past(name, kind):
    f, n, count = get(name), 64, 5
    x = RNG.standard_normal((count, n), np.float32)
    cache, past = np.zeros((12, f.row_bytes(n)), np.uint8), np.array([4])
    step = cache.strides[0]
    run([Instruction(rows.store, [at(x), x.strides[0], n, count, at(cache), step, 2, kind, at(past), step, count], 2)])
    assert not cache[:4].any() and not cache[9:].any()
    assert np.array_equal(f.decode(cache[4:9], n), f.decode(f.encode(x), n))
