"""Attention and the rows of its cache, against the plainest NumPy that says the same and the reference's own bytes."""

import numpy as np
import pytest
from kernel_harness import at, close, run

from ikexplore_kernels import attention, attention_8bit, attention_one, rows
from ikexplore_kernels.formats import get
from ikexplore_kernels.formats._format import work_bytes
from ikexplore_kernels.program import Instruction

RNG = np.random.default_rng(3)
QUANTIZED = ["q8_0", "q8_kv", "q6_0", "q5_1", "q5_0", "q4_1", "q4_0", "iq4_nl"]


def stored(name, x, past=0, cells=None, chunks=2):
    """float32 [rows, n] put into a cache of so many cells after ``past`` of them: uint8 [cells, row bytes]."""
    f, (count, n) = get(name), x.shape
    cache = np.zeros((cells or count, f.row_bytes(n)), np.uint8)
    step, ones, work, where = cache.strides[0], np.ones(n, np.float32), np.zeros((2, work_bytes(n)), np.uint8), np.array([past])
    args = [at(x), x.strides[0], n, count, at(cache), step, at(ones), 0, at(where), step, count, 0, at(work), work.shape[1]]
    run([Instruction(rows.store_quantized, args, chunks, f)])
    return cache


@pytest.mark.parametrize("name", QUANTIZED)
def test_quantized_rows_are_the_references(name, data):
    """Its from_float functions, byte for byte, but for blocks of zeros: there only the values must be zero."""
    golden = np.load(data / "kernels" / "cache_rows.npz")
    x, want, f = golden["x"], golden[name], get(name)
    got = stored(name, x, past=2, cells=12)
    assert not got[:2].any() and not got[10:].any()
    zero = (x.reshape(len(x), -1, 32) == 0).all(axis=2)
    same = np.repeat(zero, f.block_bytes, axis=1) | (got[2:10] == want) if f.row_meta == 0 else got[2:10] == want
    assert same.all(), f"{int((~same).sum())} bytes differ"
    assert not f.decode(got[2:10], 128).reshape(len(x), -1, 32)[zero].any()


@pytest.mark.parametrize("name", QUANTIZED)
def test_rows_with_gaps_are_stored_alike(name):
    wide = RNG.standard_normal((6, 160), np.float32)
    assert np.array_equal(stored(name, wide[:, :128]), stored(name, wide[:, :128].copy()))


@pytest.mark.parametrize("name", [*QUANTIZED, "f16", "bf16", "f32"])
def test_widened_rows_are_decoded_rows(name):
    f = get(name)
    raw = f.encode(RNG.standard_normal((5, 96), np.float32))
    y = np.zeros((5, 96), np.float32)
    run([Instruction(rows.widen_rows, [at(raw), raw.strides[0], 96, 5, at(y)], 2, f)])
    assert np.allclose(y, f.decode(raw, 96), rtol=1e-6, atol=1e-9)


def sources(q, k, v, fk, fv):
    """Arguments 0 to 8 of attention: q, k, v with their strides."""
    heads = k.shape[1] // fk.row_bytes(q.shape[2])
    return [at(q), *q.strides[:2], at(k), k.strides[0], k.shape[1] // heads, at(v), v.strides[0], v.shape[1] // heads]


def naive_attention(q, k, v, past, scale, window=0, sinks=None):
    """float64: q [tokens, heads, size], k and v [positions, kv heads, size]; token t sees positions up to past + t, the last
    ``window`` of them if that is not 0; a head's sink is one more score, without a value."""
    tokens, heads, _ = q.shape
    group = heads // k.shape[1]
    out = np.zeros((tokens, heads, v.shape[2]))
    for t in range(tokens):
        for h in range(heads):
            first = max(0, past + t + 1 - window) if window else 0
            scores = scale * (k[first : past + t + 1, h // group].astype(np.float64) @ q[t, h])
            scores = np.append(scores, -np.inf if sinks is None else sinks[h])
            p = np.exp(scores - scores.max())
            out[t, h] = (p / p.sum())[:-1] @ v[first : past + t + 1, h // group]
    return out


def prompt(op, kinds, q, past, block, kv_heads, size_v, window=0, sinks=None):
    """(what the op gives, what the plain attention gives) for q [tokens, heads, size] over random K and V of these types."""
    (tokens, heads, size), (fk, fv) = q.shape, map(get, kinds)
    n, group = past + tokens, heads // kv_heads
    k = fk.encode(RNG.standard_normal((n * kv_heads, size), np.float32)).reshape(n, -1)
    v = fv.encode(RNG.standard_normal((n, kv_heads * size_v), np.float32))
    y, where = np.zeros((tokens, heads, size_v), np.float32), np.array([past])
    need = attention.attention_scratch_bytes(size, size_v, block * group)
    scratch = np.zeros((2, need + 64), np.uint8)
    scratch[:, need:] = 77
    sink = np.resize(np.array(sinks or [0], np.float32), heads)
    args = [*sources(q, k, v, fk, fv), at(y), *y.strides[:2], size, size_v, tokens, group, block, size**-0.5, at(where),
            at(scratch), scratch.shape[1], window, at(sink) if sinks else 0]
    run([Instruction(op, args, kv_heads * -(-tokens // block), fk, fv)])
    assert (scratch[:, need:] == 77).all(), "scratch was written beyond its end"
    dense_k = fk.decode(k.reshape(n * kv_heads, -1), size).reshape(n, kv_heads, size)
    dense_v = fv.decode(v, kv_heads * size_v).reshape(n, kv_heads, size_v)
    return y, naive_attention(q, dense_k, dense_v, past, size**-0.5, window, sink if sinks else None)


@pytest.mark.parametrize("kinds, window, sinks", [
    (("f16", "f16"), 0, None), (("f16", "f16"), 13, (-1.0, 4.0)), (("q6_0", "q4_1"), 0, None), (("bf16", "f32"), 70, None)])
@pytest.mark.parametrize("tokens, past, block", [(1, 0, 1), (1, 200, 1), (9, 60, 4), (70, 3, 24)])
@pytest.mark.parametrize("heads, kv_heads, size, size_v", [(4, 2, 64, 64), (8, 1, 32, 96)])
def test_flash_attention(kinds, window, sinks, tokens, past, block, heads, kv_heads, size, size_v):
    q = RNG.standard_normal((tokens, heads, size), np.float32)
    close(*prompt(attention.flash_attention, kinds, q, past, block, kv_heads, size_v, window, sinks), 2e-6)


@pytest.mark.parametrize("kinds, window, sinks", [
    (("q8_0", "f16"), 0, None), (("q8_0", "f16"), 13, (-1.0, 4.0)), (("q8_kv", "f16"), 0, None)])
@pytest.mark.parametrize("tokens, past, block", [(1, 200, 1), (9, 60, 4), (70, 3, 24)])
@pytest.mark.parametrize("heads, kv_heads, size, size_v", [(4, 2, 64, 64), (8, 1, 32, 96), (2, 1, 576, 512)])
def test_8_bits_are_exact_for_queries_in_8_bits(kinds, window, sinks, tokens, past, block, heads, kv_heads, size, size_v):
    """Each 32 numbers are a scale times whole numbers up to 127, so that quantizing the queries loses nothing."""
    codes = RNG.integers(-127, 128, (tokens, heads, size // 32, 32))
    codes[..., 5] = RNG.choice([-127, 127], codes.shape[:-1])
    q = (codes * RNG.uniform(0.001, 0.02, (*codes.shape[:-1], 1))).astype(np.float32).reshape(tokens, heads, size)
    close(*prompt(attention_8bit.flash_attention_8bit, kinds, q, past, block, kv_heads, size_v, window, sinks), 4e-6)


@pytest.mark.parametrize("kind", ["q8_0", "q8_kv"])
def test_8_bit_queries_cost_half_a_percent(kind):
    q = RNG.standard_normal((60, 4, 128), np.float32)
    y, want = prompt(attention_8bit.flash_attention_8bit, (kind, "f16"), q, 40, 24, 2, 64)
    assert 0.001 < np.sqrt(((y - want) ** 2).mean() / (want**2).mean()) < 0.008


@pytest.mark.parametrize("op, kind", [(attention.flash_attention, "f16"), (attention_8bit.flash_attention_8bit, "q8_0")])
def test_what_is_worked_on_at_once_changes_no_bit(op, kind):
    """Neither how many tokens are a chunk nor how many are a micro-batch."""
    f, (heads, kv_heads, size, total) = get(kind), (4, 2, 32, 96)
    q = RNG.standard_normal((total, heads, size), np.float32)
    k, v = (f.encode(RNG.standard_normal((total, kv_heads * size), np.float32)) for _ in range(2))

    def by(ubatch, block):
        y, where = np.zeros((total, heads, size), np.float32), np.zeros(1, np.int64)
        scratch = np.zeros((2, attention.attention_scratch_bytes(size, size, block * 2)), np.uint8)
        for past in range(0, total, ubatch):
            where[0], part, out = past, q[past : past + ubatch], y[past : past + ubatch]
            args = [*sources(part, k, v, f, f), at(out), *out.strides[:2], size, size, len(part), 2, block, size**-0.5,
                    at(where), at(scratch), scratch.shape[1], 0, 0]
            run([Instruction(op, args, kv_heads * -(-len(part) // block), f, f)])
        return y

    want = by(96, 24)
    first = np.repeat(f.decode(v[:1], kv_heads * size).reshape(kv_heads, size), heads // kv_heads, axis=0)
    assert np.array_equal(want[0], first), "what token 0 does not see adds nothing, not even a denormal"
    for ubatch, block in [(96, 48), (96, 7), (32, 24), (64, 24), (16, 16)]:
        assert np.array_equal(by(ubatch, block), want), (ubatch, block)


@pytest.mark.parametrize("kinds, window, sinks", [
    (("f16", "f16"), 0, None), (("f16", "f16"), 40, (-1.0, 4.0)), (("iq4_nl", "q5_0"), 33, None)])
@pytest.mark.parametrize("past, parts", [(0, 1), (0, 3), (31, 2), (32, 1), (200, 5)])
@pytest.mark.parametrize("heads, kv_heads, some, size, size_v", [(4, 2, 1, 64, 64), (3, 1, 1, 32, 96), (6, 3, 2, 64, 32)])
def test_attention_of_one_token_in_parts(kinds, window, sinks, past, parts, heads, kv_heads, some, size, size_v):
    fk, fv = get(kinds[0]), get(kinds[1])
    q = RNG.standard_normal((1, heads, size), np.float32)
    k = fk.encode(RNG.standard_normal((past + 1, kv_heads * size), np.float32))
    v = fv.encode(RNG.standard_normal((past + 1, kv_heads * size_v), np.float32))
    y, where = np.zeros((1, heads, size_v), np.float32), np.array([past])
    partial = np.full((heads, parts, 16 + size_v), np.nan, np.float32)
    need = attention_one.part_scratch_bytes(size, size_v)
    scratch = np.full((2, need + 64), 77, np.uint8)
    args = [*sources(q, k, v, fk, fv), at(partial), parts, some, size, size_v, kv_heads, heads // kv_heads, 1, size**-0.5,
            at(where), at(scratch), scratch.shape[1], window]
    sink = np.resize(np.array(sinks or [0], np.float32), heads)
    merge = [at(partial), parts, size_v, heads, at(y), y.strides[1], at(sink) if sinks else 0]
    run([Instruction(attention_one.attention_part, args, -(-kv_heads // some) * parts, fk, fv),
         Instruction(attention_one.merge_parts, merge, 2)])
    dense_k = fk.decode(k, kv_heads * size).reshape(past + 1, kv_heads, size)
    dense_v = fv.decode(v, kv_heads * size_v).reshape(past + 1, kv_heads, size_v)
    close(y, naive_attention(q, dense_k, dense_v, past, size**-0.5, window, sink if sinks else None), 2e-6)
    assert (scratch[:, need:] == 77).all(), "scratch was written beyond its end"
