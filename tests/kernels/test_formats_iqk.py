# ruff: noqa: F403, F405
"""The IQ*_K family: choosing codes against trying them all, and what its searches must find."""

import itertools

import numpy as np
import pytest
from naive.formats_iqk import CUBIC, IQ2, IQ3, IQ4, IQ5, PAIRS

from ikexplore_kernels import formats, jit
from ikexplore_kernels.formats import _iqk_books as books
from ikexplore_kernels.simd import *

TABLES = {"BOOK2": IQ2, "BOOK3": IQ3, "BOOK4": IQ4, "BOOK5": IQ5, "BOOK6": [float(v) for v in CUBIC]}


def snap_all(book, t):
    """Entries and codes for float32 [n], n a multiple of 16; compiled anew, so that a test may change how."""
    snap = books.snap

    @jit(cache=False)
    def run(book, n, t, values, codes):
        for i in range(0, n * 4, 64):
            v, c = snap(book, load_f32x16(t, i))
            store_f32x16(values, i, v)
            store_f32x16(codes, i, c)

    values, codes = np.empty_like(t), np.empty_like(t)
    run(book, len(t), t.ctypes.data, values.ctypes.data, codes.ctypes.data)
    return values, codes.astype(int)


@pytest.mark.parametrize("avx512", [True, False])
@pytest.mark.parametrize("name", TABLES)
def test_snap_finds_the_nearest_entry_with_and_without_look_ups(name, avx512, monkeypatch):
    table = np.array(TABLES[name], np.float32)
    if not avx512:
        monkeypatch.setattr(books, "FEATURES", frozenset())
    t = np.concatenate([np.linspace(-300, 300, 15998, dtype=np.float32), np.float32([-3e38, 3e38])])
    values, codes = snap_all(getattr(books, name), t)
    np.testing.assert_array_equal(values, table[codes])
    distance = np.abs(t[:, None].astype(np.float64) - table)
    np.testing.assert_allclose(np.abs(t - values.astype(np.float64)), distance.min(1), rtol=0, atol=2e-5)


def test_even_codes_are_the_best_of_all_32768():
    rng = np.random.default_rng(0)
    t, w = rng.normal(0, 60, (4, 16)).astype(np.float32), rng.random((4, 16)).astype(np.float32)
    out = np.empty((8, 16), np.float32)

    @jit(cache=False)
    def run(book, t, w, out):
        x = load_f32x16(t, 0), load_f32x16(t, 64), load_f32x16(t, 128), load_f32x16(t, 192)
        y = load_f32x16(w, 0), load_f32x16(w, 64), load_f32x16(w, 128), load_f32x16(w, 192)
        q = books.snap_even(book, x, y)
        for k in range(8):
            store_f32x16(out, k * 64, q[k])

    run(books.EVEN4, t.ctypes.data, w.ctypes.data, out.ctypes.data)
    values, codes = out[:4], out[4:].astype(int)
    np.testing.assert_array_equal(values, np.array(IQ4)[codes])
    assert all(sum(bin(c).count("1") for c in codes[:, l]) % 2 == 0 for l in range(16))
    fours = [c for c in itertools.product(range(16), repeat=4) if sum(bin(k).count("1") for k in c) % 2 == 0]
    entries = np.array(IQ4)[np.array(fours)]
    for l in range(16):
        best = (w[:, l] * np.square(entries - t[:, l].astype(np.float64))).sum(1).min()
        assert (w[:, l] * np.square(values[:, l] - t[:, l].astype(np.float64))).sum() == pytest.approx(best, rel=1e-5)


def test_pairs_are_the_best_of_all_32():
    rng = np.random.default_rng(1)
    t, w = rng.normal(0, 25, (2, 160)).astype(np.float32), rng.random((2, 160)).astype(np.float32)
    out = np.empty((3, 160), np.float32)

    @jit(cache=False)
    def run(book, n, t, w, out):
        for i in range(0, n * 4, 64):
            x0, x1 = load_f32x16(t, i), load_f32x16(t, n * 4 + i)
            q = books.snap_pair(book, x0, x1, load_f32x16(w, i), load_f32x16(w, n * 4 + i))
            for k in range(3):
                store_f32x16(out, k * n * 4 + i, q[k])

    run(books.PAIR_BOOK, 160, t.ctypes.data, w.ctypes.data, out.ctypes.data)
    np.testing.assert_array_equal(out[:2].T, np.array(PAIRS)[out[2].astype(int)])
    errors = (w.T[:, None] * np.square(np.array(PAIRS)[None] - t.T[:, None].astype(np.float64))).sum(2)
    np.testing.assert_allclose(errors[np.arange(160), out[2].astype(int)], errors.min(1), rtol=1e-4, atol=1e-3)


ROWS = ("iq2_ks", "iq3_ks", "iq2_kl")
BLOCKS = ("iq2_k", "iq3_k", "iq4_k", "iq5_k", "iq6_k")


@pytest.mark.parametrize("name", ROWS + BLOCKS)
def test_what_a_half_cannot_reach_becomes_the_largest_that_fits(name):
    """Weights of 1e30 beside one of 1: all decode to large numbers with their own sign, none to zero or infinity."""
    f = formats.get(name)
    x = np.full((2, 512), 1e30, np.float32)
    x[:, ::3] *= -1
    x[1, 256:] = 1.0
    values = f.decode(f.encode(x), 512)
    assert np.isfinite(values).all() and (np.sign(values[0]) == np.sign(x[0])).all()
    assert np.abs(values[0]).min() > 65504 * 10 * (2 if name == "iq2_k" else 5)


@pytest.mark.parametrize("name", (*ROWS, "iq4_kss", "iq5_ks", *BLOCKS))
def test_a_scale_of_either_sign_serves_lopsided_blocks(name):
    """Tables reach further down than up: blocks whose largest weight is positive need a negative scale, and get it."""
    f, rng = formats.get(name), np.random.default_rng(5)
    x = rng.standard_normal((4, 1024)).astype(np.float32)
    e = [np.square(f.decode(f.encode(sign * x), 1024) - sign * x).sum() for sign in (1, -1)]
    assert max(e) <= 1.05 * min(e)


@pytest.mark.parametrize("name", ("iq2_k", "iq3_k"))
def test_blocks_are_near_the_best_for_their_scale(name):
    """Against all scales and tables that d allows: the encoder tries those near what each block wants, and misses little."""
    f, rng = formats.get(name), np.random.default_rng(7)
    x = rng.standard_normal((4, 256)).astype(np.float32)
    data = f.encode(x)
    found = np.square(f.decode(data, 256) - x).reshape(4, 16, 16).sum(2)
    table, shift = (IQ2, 5) if name == "iq2_k" else (IQ3, 4)
    scales = range(-8, 8) if name == "iq2_k" else range(-31, 32, 2)
    d = data[:, :2].copy().view(np.float16).astype(np.float64)[:, 0]
    for r in range(4):
        best = np.full(16, np.inf)
        for scale, add in itertools.product(scales, (0, shift)):
            values = (np.array(table) + add) * d[r] * scale
            e = np.square(x[r][:, None] - values).min(1).reshape(16, 16).sum(1)
            best = np.minimum(best, e)
        assert found[r].sum() <= best.sum() * 1.03 and (found[r] >= best * (1 - 1e-4)).all()
