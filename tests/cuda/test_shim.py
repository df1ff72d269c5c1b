"""The stand-in itself (waiting, shuffles, halves, guards), and the quantizer of activations, the first kernel through it."""

import numpy as np
import pytest
from cuda_harness import down, quantized, up
from shim import ShimRuntime, needs_compiler

pytestmark = needs_compiler

_TEXT = """
#include "common.cuh"
KERNEL(sums, const float* x, float* y) {
    __shared__ float scratch[32];
    y[threadIdx.x] = block_sum(x[threadIdx.x], scratch) + 1000 * block_max(-x[threadIdx.x], scratch);
}
KERNEL(halves, const float* x, u16* h, float* y, u16* b, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    h[i] = float_to_half(x[i]);
    y[i] = half_to_float(h[i]);
    b[i] = float_to_bf16(x[i]);
}
KERNEL(turned, const u8* x, u8* y) {
    SHARED_BYTES(kept);
    kept[threadIdx.x] = x[blockIdx.x * blockDim.x + threadIdx.x];
    __syncthreads();
    y[blockIdx.x * blockDim.x + threadIdx.x] = kept[blockDim.x - 1 - threadIdx.x];
}
KERNEL(returned, float* y) {
    if (threadIdx.x < 7) return;
    y[threadIdx.x] = __shfl_xor_sync(FULL_WARP, y[threadIdx.x], 1);
}
KERNEL(crooked, const u8* x, float* y) { y[0] = load_half<2>(x + 1); }
KERNEL(beyond, float* y, int n) { y[n] = 1; }
"""


@pytest.fixture(scope="module")
def device():
    return ShimRuntime(texts={"tried": _TEXT})


def test_threads_of_a_block_wait_for_each_other(device):
    x = np.arange(96, dtype=np.float32) + 1
    a, b = up(device, x), device.alloc(96 * 4)
    device.launch("tried", "sums", [1], [96], [a.ptr, b.ptr])
    assert (down(device, b, (96,)) == x.sum() - 1000).all()
    x = np.arange(256, dtype=np.uint8)
    a, b = up(device, x), device.alloc(256)
    device.launch("tried", "turned", [2], [128], [a.ptr, b.ptr], shared=128)
    np.testing.assert_array_equal(down(device, b, (2, 128), np.uint8), x.reshape(2, 128)[:, ::-1])
    device.check_guards()


def test_halves_are_those_of_ieee(device):
    every = np.arange(65536, dtype=np.uint16).view(np.float16).astype(np.float32)
    every = every[np.isfinite(every)]
    near = np.nextafter(every, np.float32(0)), np.nextafter(every, np.float32(np.inf))
    middle = every[:-1] / 2 + every[1:] / 2  # what a tie is, and more
    x = np.concatenate(
        [every, np.float32([np.inf, -np.inf, np.nan]), *near, middle, np.float32([65519, 65520, 1e-8, 2.98e-8, -2.99e-8])]
    )
    a, h, y, b = up(device, x), device.alloc(2 * len(x)), device.alloc(4 * len(x)), device.alloc(2 * len(x))
    device.launch("tried", "halves", [-(-len(x) // 256)], [256], [a.ptr, h.ptr, y.ptr, b.ptr, np.int32(len(x))])
    with np.errstate(over="ignore"):
        want = x.astype(np.float16)
    np.testing.assert_array_equal(down(device, h, x.shape, np.float16), want)
    np.testing.assert_array_equal(down(device, y, x.shape), want.astype(np.float32))
    whole = x.view(np.uint32).astype(np.uint64)
    nearest = (whole + 0x7FFF + (whole >> 16 & 1)) >> 16
    numbers = ~np.isnan(x)
    np.testing.assert_array_equal(down(device, b, x.shape, np.uint16)[numbers], nearest.astype(np.uint16)[numbers])


def test_what_a_card_would_not_forgive_is_reported(device):
    y = up(device, np.zeros(32, np.float32))
    with pytest.raises(RuntimeError, match="a lane returned"):
        device.launch("tried", "returned", [1], [32], [y.ptr])
    with pytest.raises(RuntimeError, match="not a multiple"):
        device.launch("tried", "crooked", [1], [1], [y.ptr, y.ptr])
    with pytest.raises(TypeError, match=r"\[8, 4\] bytes and was given \[8, 8\]"):
        device.launch("tried", "beyond", [1], [1], [y.ptr, 3])
    with pytest.raises(ValueError, match="2048"):
        device.launch("tried", "beyond", [1], [2048], [y.ptr, np.int32(3)])
    other = ShimRuntime(texts={"tried": _TEXT})
    y = up(other, np.zeros(32, np.float32))
    other.launch("tried", "beyond", [1], [1], [y.ptr, np.int32(32)])
    with pytest.raises(AssertionError, match="outside"):
        other.check_guards()


@pytest.mark.parametrize(("n", "k", "stride"), [(1, 32, 32), (3, 160, 200), (2, 1024, 1024)])
def test_activations_are_quantized_as_on_the_cpu(n, k, stride):
    device, rng = ShimRuntime(), np.random.default_rng(k)
    x = (rng.standard_normal((n, stride)) * 10.0 ** rng.integers(-6, 6, (n, 1))).astype(np.float32)
    x[0, :32] = 0
    a, q, s = up(device, x), device.alloc(n * k), device.alloc(n * k // 32 * 8)
    device.launch("activations", "quantize_q8", [-(-k // 512), n], [128], [a.ptr, q.ptr, s.ptr, k, stride])
    codes, d, spread = quantized(x[:, :k])
    got = down(device, s, (n, k // 32, 2))
    found = down(device, q, (n, k), np.int8).reshape(n, -1, 32)
    other = (found != codes.reshape(found.shape)).any(axis=2)
    # another number of steps only where two leave the same error but for rounding
    assert (np.sort(spread, axis=2)[..., 1][other] < 1e-5).all() and other.mean() < 0.05
    np.testing.assert_allclose(got[..., 0][~other], d[~other], rtol=1e-6)
    sums = found.sum(axis=2, dtype=np.int64).astype(np.float32)
    np.testing.assert_array_equal(got[..., 1], got[..., 0] * sums)
    device.check_guards()


def test_the_cpu_quantizes_alike():
    """Products on both devices start from the same numbers, but for blocks where two steps are equally good."""
    from ikexplore_kernels import activations
    from ikexplore_kernels.program import Instruction, Program
    from ikexplore_kernels.team import Team

    device, k = ShimRuntime(), 4096
    x = (np.random.default_rng(3).standard_normal(k) * np.exp(np.random.default_rng(4).standard_normal(k))).astype(np.float32)
    codes, d, sums, scratch = np.zeros(k, np.int8), np.zeros(k // 32, np.float32), np.zeros(k // 32, np.int32), np.zeros(2 * k)
    column = np.array([x.ctypes.data], np.int64)
    at = [codes.ctypes.data, d.ctypes.data, scratch.ctypes.data, scratch.nbytes, 0, 1, 8, 32, sums.ctypes.data]
    work = Program([Instruction(activations.quantize, [column.ctypes.data, 1, 1, k, *at], 1)]).link()
    team = Team(1)
    team.run(work.records, np.zeros(1, np.int64))
    team.close()

    a, q, s = up(device, x), device.alloc(k), device.alloc(k // 32 * 8)
    device.launch("activations", "quantize_q8", [-(-k // 512), 1], [128], [a.ptr, q.ptr, s.ptr, k, k])
    found = down(device, q, (k // 32, 32), np.int8)
    same = (found == codes.reshape(-1, 32)).all(axis=1)
    assert same.mean() > 0.95
    np.testing.assert_allclose(down(device, s, (k // 32, 2))[same, 0], d[same], rtol=1e-5)
