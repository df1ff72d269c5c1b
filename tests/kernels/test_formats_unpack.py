# ruff: noqa: F403, F405
"""unpack, widen and columns, the pieces that kernels are made of, against decode."""

import ctypes

import numba
import numpy as np
import pytest
from kernel_harness import PRODUCTS, some
from naive import formats as naive
from numba import types

from ikexplore_kernels import formats, jit
from ikexplore_kernels.formats._format import MOST_OF_SEVEN
from ikexplore_kernels.formats.base import bias, block_bytes16, columns, halves, has_min, is_dense, unpack, widen
from ikexplore_kernels.formats.gather import (
    first_words,
    gather_f16,
    gather_f32,
    gather_u8,
    gather_u16,
    gather_u32,
    last_words,
)
from ikexplore_kernels.simd import *

COLUMNS = 512
QUANTIZED = some([n for n in formats.names() if not formats.get(n).dense],
                 [n for n in formats.names() if n not in PRODUCTS or formats.get(n).interleave > 1 or n in ("q4_0", "iq3_s")],
                 "products with this plain type are in test_product.py")
OWN = some([f.name for f in map(formats.own16, map(formats.get, formats.names())) if f is not None],
           [f"{n}_own16" for n in ("q4_1", "q2_k", "iq1_m", "iq2_bn", "q8_kv", "iq6_k", "iq4_ks", "iq1_kt")],
           "its plain type's unpack and the loads of this layout are tested with others")


@jit
def unpack_all(q, w, base, stride, n, codes, scales):
    """Codes of n blocks to uint8 [n, 8, 16, 4], scales and minima to float32 [n, 4, 16]; all arguments addresses."""
    for b in range(n):
        s0, s1, m0, m1, v = unpack(q, w, base, stride, b)
        store_f32x16(scales, b * 256, s0)
        store_f32x16(scales, b * 256 + 64, s1)
        store_f32x16(scales, b * 256 + 128, m0)
        store_f32x16(scales, b * 256 + 192, m1)
        o = b * 512
        store_u8x64(codes, o, v[0])
        store_u8x64(codes, o + 64, v[1])
        store_u8x64(codes, o + 128, v[2])
        store_u8x64(codes, o + 192, v[3])
        store_u8x64(codes, o + 256, v[4])
        store_u8x64(codes, o + 320, v[5])
        store_u8x64(codes, o + 384, v[6])
        store_u8x64(codes, o + 448, v[7])
    return bias(q), halves(q), has_min(q), block_bytes16(q), is_dense(q)


def weights_of(f, w, base, stride, n):
    """Weights that unpack describes: float32 [16, 32 n]."""
    codes, scales = np.empty((n, 8, 16, 4), np.uint8), np.empty((n, 4, 16), np.float32)
    facts = unpack_all(f, w, base, stride, n, codes.ctypes.data, scales.ctypes.data)
    if f.code.has_min or f.code.bias <= MOST_OF_SEVEN:
        assert codes.max() <= 127, "products on AVX2 rely on it"
    signed = codes.transpose(2, 0, 1, 3).reshape(16, n, 2, 16).astype(np.float32) - facts[0]
    s, m = scales[:, :2].transpose(2, 0, 1)[..., None], scales[:, 2:].transpose(2, 0, 1)[..., None]
    with np.errstate(all="ignore"):
        return (s * signed - m).reshape(16, -1), scales, facts


@pytest.mark.parametrize("name", [*QUANTIZED, *OWN])
def test_unpack_gives_the_weights_of_decode(name):
    """Random bytes (so also NaN and infinite scales) at odd addresses, with odd strides; two types in an array, too."""
    f, rng = formats.get(name), np.random.default_rng(len(name))
    size, k = f.row_bytes(COLUMNS), f.interleave
    for rows_at, extra in ((0, 0), (1, 0), (3, 3), (6, 61)):
        rows = rng.integers(0, 256, (32, size), dtype=np.uint8)
        # iq6_k's values are no integers; products take the nearest ones, here as in the reference
        if (plain := name.removesuffix("_own16")) in ("iq6_k", "iq2_kt", "iq3_kt"):  # the last two: times a factor
            expected = naive.decode(f"{plain} in products", f.unrepack(rows, COLUMNS) if f.base else rows, COLUMNS)
        else:
            expected = f.decode(rows, COLUMNS)
        # groups of interleaved rows are whole: an odd stride is possible for plain types only
        stride = size + (extra if k == 1 else 0)
        memory = rng.integers(0, 256, rows_at + 32 * stride + 1, dtype=np.uint8)
        for r in range(32):
            memory[rows_at + r * stride : rows_at + r * stride + size] = rows[r]
        for first in (0, 16):
            for w in (memory, memory.ctypes.data) if name in ("q4_0", "q4_k_r4") else (memory.ctypes.data,):
                found, scales, facts = weights_of(f, w, rows_at + first * stride, stride, COLUMNS // 32)
                np.testing.assert_array_equal(found, expected[first : first + 16])
        assert facts == (f.code.bias, f.code.sub == 16, f.code.has_min, 512 * f.block_bytes // f.block, False)
        if f.code.sub == 32:
            np.testing.assert_array_equal(scales[:, 0], scales[:, 1])
        if not f.code.has_min:
            assert not scales[:, 2:].any()


def test_a_format_stands_in_the_signature_of_a_cfunc():
    f = formats.get("q4_0")
    assert numba.typeof(f) is numba.typeof(formats.get("Q4_0"))
    assert numba.typeof(f) != numba.typeof(formats.get("q8_0"))

    def op(q, out, unused, number):
        store_f32x16(out, 0, splat_f32x16(bias(q) + number))

    compiled = numba.cfunc(types.void(numba.typeof(f), types.int64, types.int64, types.int64))(op)
    out = np.zeros(16, np.float32)
    call = ctypes.CFUNCTYPE(None, ctypes.c_int8, *[ctypes.c_int64] * 3)(compiled.address)
    call(0, out.ctypes.data, 0, 3)
    assert (out == 11).all()


@jit
def widen_row(q, w, base, n, out):
    for c in range(0, n, 16):
        store_f32x16(out, c * 4, widen(q, w, base, 0, c))


@jit
def all_columns(q, w, base, n, out):
    for c in range(n):
        store_f32x16(out, c * 64, columns(q, w, base, c))


@pytest.mark.parametrize("name", ["f32", "f16", "bf16"])
def test_widen_gives_a_row_of_decode(name):
    f, rng = formats.get(name), np.random.default_rng(5)
    rows = rng.integers(0, 256, (2, f.row_bytes(96)), dtype=np.uint8)
    out = np.empty(96, np.float32)
    for r in range(2):
        widen_row(f, rows.ctypes.data, r * rows.shape[1], 96, out.ctypes.data)
        np.testing.assert_array_equal(out, f.decode(rows, 96)[r])


def test_columns_of_bf16_r16_are_those_of_decode():
    f, rng = formats.get("bf16_r16"), np.random.default_rng(6)
    rows = rng.integers(0, 256, (32, f.row_bytes(38)), dtype=np.uint8)
    out = np.empty((38, 16), np.float32)
    for first in (0, 16):
        all_columns(f, rows.ctypes.data, first * rows.shape[1], 38, out.ctypes.data)
        np.testing.assert_array_equal(out.T, f.decode(rows, 38)[first : first + 16])


@jit
def gathered(w, at, stride, out):
    store_f32x16(out, 0, to_f32x16(to_i32x16(gather_u8(w, at, stride))))
    store_f32x16(out, 64, to_f32x16(to_i32x16(gather_u16(w, at, stride))))
    store_f32x16(out, 128, as_f32x16(gather_u32(w, at, stride)))
    store_f32x16(out, 192, gather_f16(w, at, stride))
    store_f32x16(out, 256, gather_f32(w, at, stride))
    store_f32x16(out, 320, as_f32x16(first_words(w, at, stride)))
    store_f32x16(out, 384, as_f32x16(last_words(w, at, stride)))


def test_gathers_bring_the_same_place_of_16_rows_together():
    w = np.random.default_rng(9).integers(0, 256, 16 * 53 + 40, dtype=np.uint8)
    pieces = [w[17 + 53 * r : 21 + 53 * r] for r in range(16)]
    four = np.array(pieces)
    for memory in (w, w.ctypes.data):
        out = np.empty((7, 16), np.float32)
        gathered(memory, 17, 53, out.ctypes.data)
        words, halves16 = four.view(np.float32)[:, 0], four[:, :2].copy().view(np.float16)[:, 0]
        np.testing.assert_array_equal(out[0], four[:, 0])
        np.testing.assert_array_equal(out[1], four[:, :2].copy().view(np.uint16)[:, 0])
        np.testing.assert_array_equal(out[3], halves16.astype(np.float32))
        for k in (2, 4, 5, 6):
            np.testing.assert_array_equal(out[k].view(np.uint32), words.view(np.uint32))
