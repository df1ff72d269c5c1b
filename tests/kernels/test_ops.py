"""Every op that is no matrix product, against the plainest NumPy that says the same."""

import numpy as np
import pytest
from kernel_harness import run

from ikexplore_kernels import attention, attention_one, elementwise, norm, rows
from ikexplore_kernels.formats import get
from ikexplore_kernels.program import Instruction

RNG = np.random.default_rng(3)


def at(a):
    return a.ctypes.data


def close(got, want, tolerance=1e-6):
    assert np.linalg.norm(got - want) <= tolerance * max(np.linalg.norm(want), 1e-30)


@pytest.mark.parametrize("shape", [(1, 1, 64), (3, 5, 48), (7, 2, 17)])
def test_rms_norm(shape):
    x, y = RNG.standard_normal(shape, np.float32), np.zeros(shape, np.float32)
    weight = RNG.standard_normal(shape[2], np.float32)
    strides = [x.strides[1], x.strides[0]] * 2
    run([Instruction(norm.rms_norm, [at(x), at(y), at(weight), shape[2], shape[1], shape[0], *strides, 1e-5], 3)])
    wide = x.astype(np.float64)
    close(y, wide / np.sqrt((wide**2).mean(axis=2, keepdims=True) + 1e-5) * weight)


@pytest.mark.parametrize("past", [None, 0, 5])
def test_soft_max(past):
    x = (4 * RNG.standard_normal((2, 3, 9))).astype(np.float32)
    y, where = np.zeros_like(x), np.array([past or 0])
    run([Instruction(norm.soft_max, [at(x), at(y), 9, 3, 2, 0.5, at(where) if past is not None else 0], 2)])
    scores = 0.5 * x.astype(np.float64)
    if past is not None:
        scores[:, np.arange(9)[None] > np.arange(3)[:, None] + past] = -np.inf
    e = np.exp(scores - scores.max(axis=2, keepdims=True))
    close(y, e / e.sum(axis=2, keepdims=True))


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


@pytest.mark.parametrize("kind, fn", [
    (elementwise.ADD, np.add), (elementwise.MUL, np.multiply), (elementwise.DIV, np.divide),
    (elementwise.SILU_MUL, lambda x, z: x / (1 + np.exp(-x)) * z)])
@pytest.mark.parametrize("z_shape", [(6, 21), (1, 21), (6, 1)])
def test_binary(kind, fn, z_shape):
    if kind == elementwise.SILU_MUL and z_shape != (6, 21):
        z_shape = (6, 21)
    x, z = RNG.standard_normal((6, 21), np.float32), RNG.uniform(0.5, 2, z_shape).astype(np.float32)
    y = np.zeros_like(x)
    run([Instruction(elementwise.binary, [at(x), at(z), at(y), 21, 6, z_shape[1], z_shape[0], kind], 4)])
    close(y, fn(x.astype(np.float64), z))


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
         Instruction(elementwise.copy_rows, [at(x), at(turned), 5, 6, 4, *x.strides[::-1], 4, *turned.strides[:2]], 3)])
    close(total, x.sum(axis=2))
    assert np.array_equal(turned, x.transpose(1, 0, 2))


@pytest.mark.parametrize("k", [1, 3, 11])
def test_top_k_falls_and_breaks_ties_by_column(k):
    x = RNG.integers(0, 5, (7, 11)).astype(np.float32)
    y = np.full((7, 11), -1, np.int32)
    run([Instruction(elementwise.top_k, [at(x), at(y), 11, 7, k, y.strides[0]], 2)])
    assert np.array_equal(y[:, :k], np.argsort(-x, axis=1, kind="stable")[:, :k])
    assert (y[:, k:] == -1).all()


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
    chosen, z = np.array([[1, 9], [0, 3], [4, 4], [2, 8], [7, 7], [9, 1]], np.int32), np.zeros((6, 2), np.float32)
    run([Instruction(rows.pick_rows, [at(x), x.strides[0], 10, at(numbers), 3, at(y)], 2),
         Instruction(rows.pick_values, [at(x), 10, at(chosen), chosen.strides[0], 2, 6, at(z)], 2)])
    assert np.array_equal(y, x[numbers])
    assert np.array_equal(z, np.take_along_axis(x, chosen, axis=1))


HALVES = np.array([0.0, -0.0, 1.0, 65504, 65519.9, 65520, 1e9, -1e9, np.inf, -np.inf, np.nan, 6e-8, 3e-8, 2.9e-8, 5.9e-5,
                   6.1035e-5, 6.1e-5, 1e-9, 1.0009765, 1.00048828125, 1.00146484375, -2.5e-7, 0.1, 1e-40], np.float32)


def test_stored_halves_are_numpys():
    x = np.concatenate([HALVES, (RNG.standard_normal(10000) * 10.0 ** RNG.integers(-9, 6, 10000)).astype(np.float32)])
    y, past = np.zeros(len(x), np.uint16), np.zeros(1, np.int64)
    run([Instruction(rows.store, [at(x), 0, len(x), 1, at(y), 0, 2, rows.F16, at(past), 0])])
    with np.errstate(over="ignore"):
        want = x.astype(np.float16).view(np.uint16)
    nan = np.isnan(x)
    assert np.array_equal(y[~nan], want[~nan])
    assert np.isnan(y[nan].view(np.float16)).all()


@pytest.mark.parametrize("name, kind", [("f32", rows.F32), ("f16", rows.F16), ("bf16", rows.BF16), ("q8_0", rows.Q8_0)])
def test_store_writes_after_past(name, kind):
    f, n, count = get(name), 64, 5
    x = RNG.standard_normal((count, n), np.float32)
    cache, past = np.zeros((12, f.row_bytes(n)), np.uint8), np.array([4])
    step = cache.strides[0]
    run([Instruction(rows.store, [at(x), x.strides[0], n, count, at(cache), step, 2, kind, at(past), step], 2)])
    assert not cache[:4].any() and not cache[9:].any()
    assert np.array_equal(f.decode(cache[4:9], n), f.decode(f.encode(x), n))


def sources(q, k, v, fk, fv):
    """Arguments 0 to 8 of attention: q, k, v with their strides."""
    heads = k.shape[1] // fk.row_bytes(q.shape[2])
    return [at(q), *q.strides[:2], at(k), k.strides[0], k.shape[1] // heads, at(v), v.strides[0], v.shape[1] // heads]


def naive_attention(q, k, v, past, scale):
    """float64: q [tokens, heads, size], k and v [positions, kv heads, size]; token t sees positions up to past + t."""
    tokens, heads, _ = q.shape
    group = heads // k.shape[1]
    out = np.zeros((tokens, heads, v.shape[2]))
    for t in range(tokens):
        for h in range(heads):
            scores = scale * (k[: past + t + 1, h // group].astype(np.float64) @ q[t, h])
            p = np.exp(scores - scores.max())
            out[t, h] = p / p.sum() @ v[: past + t + 1, h // group]
    return out


@pytest.mark.parametrize("kinds", [("f16", "f16"), ("q8_0", "q8_0"), ("bf16", "f32")])
@pytest.mark.parametrize("tokens, past, block", [(1, 0, 1), (1, 200, 1), (9, 60, 4), (70, 3, 24)])
@pytest.mark.parametrize("heads, kv_heads, size, size_v", [(4, 2, 64, 64), (8, 1, 32, 96)])
def test_flash_attention(kinds, tokens, past, block, heads, kv_heads, size, size_v):
    fk, fv = get(kinds[0]), get(kinds[1])
    n = past + tokens
    q = RNG.standard_normal((tokens, heads, size), np.float32)
    k = fk.encode(RNG.standard_normal((n, kv_heads * size), np.float32))
    v = fv.encode(RNG.standard_normal((n, kv_heads * size_v), np.float32))
    y, where, group = np.zeros((tokens, heads, size_v), np.float32), np.array([past]), heads // kv_heads
    need = attention.attention_scratch_bytes(size, size_v, block * group)
    scratch = np.zeros((2, need + 64), np.uint8)
    scratch[:, need:] = 77
    args = [*sources(q, k, v, fk, fv), at(y), *y.strides[:2], size, size_v, tokens, group, block, size**-0.5, at(where),
            at(scratch), scratch.shape[1]]
    run([Instruction(attention.flash_attention, args, kv_heads * -(-tokens // block), fk, fv)])
    dense_k = fk.decode(k, kv_heads * size).reshape(n, kv_heads, size)
    dense_v = fv.decode(v, kv_heads * size_v).reshape(n, kv_heads, size_v)
    close(y, naive_attention(q, dense_k, dense_v, past, size**-0.5), 2e-6)
    assert (scratch[:, need:] == 77).all(), "scratch was written beyond its end"


@pytest.mark.parametrize("kinds", [("f16", "f16"), ("q8_0", "bf16")])
@pytest.mark.parametrize("past, parts", [(0, 1), (0, 3), (31, 2), (32, 1), (200, 5)])
@pytest.mark.parametrize("heads, kv_heads, size, size_v", [(4, 2, 64, 64), (3, 1, 32, 96)])
def test_attention_of_one_token_in_parts(kinds, past, parts, heads, kv_heads, size, size_v):
    fk, fv = get(kinds[0]), get(kinds[1])
    q = RNG.standard_normal((1, heads, size), np.float32)
    k = fk.encode(RNG.standard_normal((past + 1, kv_heads * size), np.float32))
    v = fv.encode(RNG.standard_normal((past + 1, kv_heads * size_v), np.float32))
    y, where = np.zeros((1, heads, size_v), np.float32), np.array([past])
    partial = np.full((heads, parts, 16 + size_v), np.nan, np.float32)
    need = attention_one.part_scratch_bytes(size, size_v)
    scratch = np.full((2, need + 64), 77, np.uint8)
    args = [*sources(q, k, v, fk, fv), at(partial), parts, 0, size, size_v, 1, heads // kv_heads, 1, size**-0.5, at(where),
            at(scratch), scratch.shape[1]]
    run([Instruction(attention_one.attention_part, args, kv_heads * parts, fk, fv),
         Instruction(attention_one.merge_parts, [at(partial), parts, size_v, heads, at(y), y.strides[1]], 2)])
    dense_k = fk.decode(k, kv_heads * size).reshape(past + 1, kv_heads, size)
    dense_v = fv.decode(v, kv_heads * size_v).reshape(past + 1, kv_heads, size_v)
    close(y, naive_attention(q, dense_k, dense_v, past, size**-0.5), 2e-6)
    assert (scratch[:, need:] == 77).all(), "scratch was written beyond its end"
