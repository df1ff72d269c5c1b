"""Encoders of the i-quants on grids: the points and signs that they choose, against every point there is."""

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from naive import formats_grids as naive

from ikexplore_kernels import formats

FACTS = json.loads((Path(__file__).resolve().parents[1] / "data" / "formats" / "grids.json").read_text())["types"]
#: grid, columns of a group, is the number of minus signs in 8 columns even?
STORED_SIGNS = {
    "iq2_xxs": (naive.XXS2, True),
    "iq2_xs": (naive.XS2, True),
    "iq2_s": (naive.S2, False),
    "iq3_xxs": (naive.XXS3, True),
    "iq3_s": (naive.S3, False),
}


def encoded(name, x, w=None):
    f = formats.get(name)
    return f.decode(f.encode(x, w), x.shape[1])


def groups(x, size=8):
    return x.reshape(-1, size).astype(np.float64)


@pytest.mark.parametrize("name", STORED_SIGNS)
def test_signs_are_those_of_the_weights_but_for_one_that_makes_their_number_even(name):
    x = np.random.default_rng(1).standard_normal((8, 512)).astype(np.float32)
    wrong = (groups(x) * groups(encoded(name, x)) < 0).sum(1)
    odd = (groups(x) < 0).sum(1) % 2
    np.testing.assert_array_equal(wrong, odd if STORED_SIGNS[name][1] else 0)


@pytest.mark.parametrize("name", ["iq2_xxs", "iq2_xs", "iq2_s", "iq3_s"])
def test_points_and_signs_are_the_best_at_their_scale(name):
    """Of all points with all allowed signs, for the scale that the encoder chose (read off its own result)."""
    grid, even = STORED_SIGNS[name]
    grid = np.array(grid, np.float64)
    size, rng = grid.shape[1], np.random.default_rng(2)
    x, w = rng.standard_normal((2, 256)).astype(np.float32), np.tile([1.0, 3.0, 0.2, 1.5], 64)
    signs = np.array(list(itertools.product((1, -1), repeat=size)))
    signs = signs[signs.prod(1) == 1] if even else signs
    points = (grid[:, None] * signs).reshape(-1, size)
    y = groups(encoded(name, x, w), size)
    weight = groups(np.tile((w / w.max()) ** 0.7, (2, 1)), size)
    for found, wanted, importance in zip(y, groups(x, size), weight, strict=True):
        lowest = np.abs(found).min()
        scales = [lowest / v for v in np.unique(grid)]
        fits = [np.abs(points * s - found).max(1) for s in scales]
        at_scale = [s for s, far in zip(scales, fits, strict=True) if far.min() < 1e-5 * np.abs(found).max()]
        left = (importance * np.square(found - wanted)).sum()
        # points may tell more than one scale (all values equal): the encoder had one of these
        best = [(importance * np.square(points * s - wanted)).sum(1).min() for s in at_scale]
        assert left <= max(best) + 2e-3 * (importance * np.square(wanted)).sum()


@pytest.mark.parametrize("name", ["iq2_s", "iq3_s"])
def test_scales_are_nearly_the_best_there_are(name):
    """Against a float scale of its own for each block, of 400 tried; scales of 4 bits cost little."""
    grid = np.array(STORED_SIGNS[name][0], np.float64)
    block, size = (16 if name == "iq2_s" else 32), grid.shape[1]
    x = np.random.default_rng(3).standard_normal((1, 512)).astype(np.float32)
    a = np.abs(x.astype(np.float64)).reshape(-1, block // size, 1, size)
    best = np.full(len(a), np.inf)
    for s in np.linspace(0.3, 3.5, 400) * np.abs(x).max() / grid.max() / 3:
        best = np.minimum(best, np.square(a - s * grid).sum(-1).min(-1).sum(-1))
    found = np.square(encoded(name, x).astype(np.float64) - x).sum()
    assert found <= 1.08 * best.sum()


@pytest.mark.parametrize("name", ["iq2_xxs", "iq2_xs"])
def test_encode_without_an_imatrix_is_as_good_as_the_reference_s_interleaved_type(data, name):
    """The reference refuses the plain types without an imatrix, but makes the interleaved ones of the same weights."""
    with np.load(data / "formats" / "golden.npz") as arrays:
        x = arrays["src"]
    e = encoded(name, x).astype(np.float64) - x
    assert np.sqrt(np.square(e).sum() / np.square(x, dtype=np.float64).sum()) <= FACTS[f"{name}_r4"]["plain"]["rmse"]


@pytest.mark.parametrize("name", ["iq1_s", "iq1_m", "iq1_s_r4", "iq1_m_r4"])
def test_ternary_weights_come_back_exactly(name):
    """Points of the grid, moved up or down, at two scales: a quantizer that tries every point finds them."""
    rng = np.random.default_rng(4)
    points = np.array(naive.TERNARY, np.float32)[rng.integers(0, 2048, (8, 64))]
    moved = points + np.float32(0.125) * rng.choice([-1, 1], (8, 16, 1, 1)).repeat(4, 1).reshape(8, 64, 1)
    scale = rng.choice([3, 5], (8, 16, 1, 1)).repeat(4, 1).reshape(8, 64, 1).astype(np.float32)
    x = (moved * scale * np.float32(0.25)).reshape(8, 512)
    e = encoded(name, x) - x
    assert np.square(e).sum() <= 1e-4 * np.square(x).sum()
