"""The trellis: its sequence, the cells that a search looks into, and searches against exhaustive ones."""

import functools

import numpy as np
import pytest
from naive import formats_trellis as naive

from ikexplore_kernels import formats

TYPES = ["iq1_kt", "iq2_kt", "iq3_kt", "iq4_kt"]
#: states, values of a state, offsets, all values positive
BOOKS = {
    "iq1_kt": (8192, 8, (4096,), False),
    "iq2_kt": (65536, 8, (4096,), False),
    "iq3_kt": (65536, 8, (4096,), True),
    "iq4_kt": (32768, 4, (4096, 36864), False),
}


@functools.cache
def words(name):
    """All states' values, float32 [offsets, states, n]."""
    from ikexplore_kernels.formats._trellis_book import sequence

    states, n, offsets, magnitudes = BOOKS[name]
    values = np.stack([sequence(np.arange(states) + first, n) for first in offsets]).astype(np.float32)
    return np.abs(values) if magnitudes else values


def test_the_sequence_is_the_naive_one():
    from ikexplore_kernels.formats._trellis_book import sequence

    states = np.array([0, 1, 4095, 28672, 65535])
    for first in (4096, 36864):
        expected = [naive.sequence(int(state), first, 8) for state in states]
        np.testing.assert_array_equal(sequence(states + first, 8), expected)


def test_values_are_sums_of_four_uniform_ones():
    values = words("iq2_kt")
    assert values.min() >= -126 and values.max() <= 126
    assert abs(values.mean()) < 0.1 and values.std() == pytest.approx(np.sqrt(4 * (64**2 - 1) / 12), rel=0.005)


@pytest.mark.parametrize("name", TYPES)
def test_a_book_holds_every_state_once(name):
    from ikexplore_kernels.formats._trellis_book import book

    cells = formats.get(name).code.encode.__globals__["PLAN"].cells
    _, dim, offsets, magnitudes = BOOKS[name]
    count = cells.count * cells.size
    for first, values in zip(offsets, words(name), strict=True):
        data = book(cells, first, magnitudes)
        order = data[-2 * count :].view(np.uint16)
        assert (np.sort(order) == np.arange(count)).all()
        stored = data[cells.count * dim * 4 : -2 * count].view(np.int8).reshape(cells.count, -1, dim // 2, 16, 2)
        np.testing.assert_array_equal(stored.transpose(0, 1, 3, 2, 4).reshape(count, dim), values[order])
        means = data[: cells.count * dim * 4].view(np.int16).reshape(-1, dim // 2, 2, 16, 2)[:, :, 1]
        expected = values[order].reshape(cells.count, -1, dim).mean(axis=1)
        np.testing.assert_allclose(means.transpose(0, 2, 1, 3).reshape(cells.count, dim), expected, atol=0.501)


def nearest_error(name, data, x, w):
    """What is left with the scales of ``data`` when the best of all states is taken for every group."""
    f, (_, n, _, magnitudes) = formats.get(name), BOOKS[name]
    left = 0.0
    for r, row in enumerate(data):
        scales, which = part_scales(f, row)
        for p, (s, b) in enumerate(zip(scales, which, strict=True)):
            q, at = words(name)[b] * s, slice(32 * p, 32 * p + 32)
            xs, ws = x[r, at].reshape(-1, n), w[at].reshape(-1, n)
            xs = np.abs(xs) if magnitudes else xs
            left += float(((ws @ (q * q).T) - 2 * (ws * xs) @ q.T + (ws * xs * xs).sum(1, keepdims=True)).min(1).sum())
    return left


def part_scales(f, row):
    """Scale and number of the offset for each part of 32 columns of a row of 256."""
    d, b = row[:4].view(np.float32)[0], row[4:].astype(int)
    iq4 = np.array(naive.IQ4)
    if f.name == "iq1_kt":
        return d * iq4[b[:8] & 15], [0] * 8
    if f.name == "iq4_kt":
        return d * ((b[0:32:4] >> 1) - 64), b[0:32:4] & 1
    nibbles = np.concatenate([b[:4] & 15, b[:4] >> 4])
    return d * (iq4[nibbles] if f.name == "iq2_kt" else nibbles), [0] * 8


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", TYPES)
def test_states_are_nearly_the_best_for_their_scales(name, weighted):
    """The search skips most states and loses a little by that: at most 3 % of the squared error."""
    f, rng = formats.get(name), np.random.default_rng(7)
    x = rng.standard_normal((4, 256)).astype(np.float32)
    w = np.exp(rng.standard_normal(256)).astype(np.float32) if weighted else np.ones(256, np.float32)
    data = f.encode(x, w if weighted else None)
    if weighted:  # what the encoder was given
        w = (w / w.max()) ** (0.84 if name in ("iq3_kt", "iq4_kt") else 0.7)
    found = float((w * (f.decode(data, 256).astype(np.float64) - x) ** 2).sum())
    best = nearest_error(name, data, x, w.astype(np.float64))
    assert best * 0.999 <= found <= best * 1.03


@pytest.mark.parametrize("name", TYPES)
def test_parts_of_zeros_stay_small_beside_large_ones(name):
    """A scale of zero is exact where the type has one; else the smallest scale with the smallest state."""
    f, x = formats.get(name), np.zeros((2, 512), np.float32)
    x[:, :256] = np.random.default_rng(0).standard_normal((2, 256))
    values = f.decode(f.encode(x), 512)
    assert np.abs(values[:, 256:]).max() <= (0.01 if name in ("iq1_kt", "iq2_kt") else 0)


def test_a_row_of_zeros_is_zero_bytes_but_for_codes():
    """No byte is left as it was in memory."""
    for name in TYPES:
        f = formats.get(name)
        data = f.encode(np.zeros((3, 512), np.float32))
        assert not data[:, :4].any() and (data == data[0]).all()
