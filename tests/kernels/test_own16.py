"""The engine's own layout: 16 rows word by word."""

import numpy as np
import pytest

from ikexplore_kernels import formats
from ikexplore_kernels.single import matmul

PLAIN = [name for name in formats.names() if formats.own16(formats.get(name)) is not None]


def rows_of(name, m, k):
    return formats.get(name).encode(np.random.default_rng(3).standard_normal((m, k), np.float32))


def test_which_types_have_one():
    """Plain types whose fields are whole words; nobody else meets them."""
    assert {"q4_k", "iq4_k", "iq5_k", "iq6_k", "iq4_kss", "iq4_kt", "q4_1"} <= set(PLAIN)
    assert not {"q8_0", "q6_k", "f16", "q4_k_r4"} & set(PLAIN) and not any("own16" in name for name in formats.names())
    own = formats.own16(formats.get("q4_k"))
    assert own is formats.get("q4_k_own16") and own.base is formats.get("q4_k") and own.rows_multiple == 16
    assert formats.get("q4_k").repacked is formats.get("q4_k_r4"), "what -rtr makes stays what it was"
    with pytest.raises(ValueError, match="unknown quant type 'q8_0_own16'"):
        formats.get("q8_0_own16")


@pytest.mark.parametrize("name", PLAIN)
def test_words_lie_side_by_side_and_come_back(name):
    plain, k = formats.get(name), 512
    own, rows = formats.own16(plain), rows_of(name, 48, 512)
    mixed = plain.repack(rows, k, into=own)
    words = rows.view(np.uint32)
    for r, i in ((0, 0), (15, 1), (16, 0), (47, words.shape[1] - 1)):
        at = (r // 16 * words.shape[1] + i) * 16 + r % 16
        assert mixed.view(np.uint32).reshape(-1)[at] == words[r, i]
    assert np.array_equal(own.unrepack(mixed, k), rows)
    assert np.array_equal(own.decode(mixed, k), plain.decode(rows, k))
    with pytest.raises(ValueError, match="interleaves 16 rows and 8 is not a multiple"):
        plain.repack(rows[:8], k, into=own)


@pytest.mark.parametrize("name", ["q4_1", "iq4_ks", "iq6_k"])
def test_products_are_the_plain_types_bit_for_bit(name):
    """One column, a tile, several panels of a long row; 16 to 64 rows."""
    plain, rng = formats.get(name), np.random.default_rng(5)
    for m, k, n in ((16, 256, 1), (64, 1280, 1), (48, 768, 9)):
        rows, x = rows_of(name, m, k), rng.standard_normal((n, k), np.float32)
        own = matmul(formats.own16(plain), plain.repack(rows, k, into=formats.own16(plain)), x, threads=2)
        assert np.array_equal(own, matmul(plain, rows, x, threads=2))
