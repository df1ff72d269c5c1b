"""Rates of the CUDA kernels on this card, as the tables of docs/cuda.md want them.

    python tests/bench/cuda.py [--types q4_k,iq4_ks] [--rows 14336] [--cols 4096] [--tokens 4096] [--device 0]
    python tests/bench/cuda.py --model model.gguf [--flags "-ngl 99"]

With a model: tokens generated per second, with CUDA graphs and without. Otherwise bandwidth of copies on the card; GEMV of
every type against it (bytes of the weights over the best time of several); decoding to half; the prompt-sized product (decode
to half, then cuBLAS) against cuBLAS alone. Without a card it says so in one line.
"""

import argparse
import sys
import time
from functools import partial

import numpy as np

import ikexplore as ikx
from ikexplore.machine.probe_gpu import best
from ikexplore.run import Session
from ikexplore_kernels import formats
from ikexplore_kernels.cuda import build, products
from ikexplore_kernels.cuda.runtime import CupyRuntime

SMALL, LARGE = (10, 20), (3, 10)  #: calls in a row and rounds of them, of which the best counts


def weights(device: CupyRuntime, name: str, rows: int, cols: int) -> list:
    """Random bytes, in so many copies that no cache holds them all (a model's layers are not in the cache either)."""
    size = rows * formats.get(name).row_bytes(cols)
    copies = max(2, -(-256 * 2**20 // size))
    host = np.random.default_rng(0).integers(0, 256, size, dtype=np.uint8)
    out = [device.alloc(size) for _ in range(copies)]
    for buffer in out:
        device.upload(buffer.ptr, host)
    device.sync()
    return out


def in_turn(buffers: list, call):
    """A function that calls with the next buffer each time."""
    count = [0]

    def work():
        call(w=buffers[count[0] % len(buffers)].ptr)
        count[0] += 1

    return work


def copy_rate(device: CupyRuntime, nbytes: int = 2**30) -> float:
    """Bytes/s of a copy on the card, read and written ones together."""
    a, b = device.alloc(nbytes), device.alloc(nbytes)
    return 2 * nbytes / best(device, lambda: device.copy(b.ptr, a.ptr, nbytes), *LARGE)


def gemv_rates(device: CupyRuntime, names: list[str], rows: int, cols: int, copy: float) -> None:
    print(f"\nGEMV {rows} x {cols}: GB/s of weights, share of the copy's rate, and the same for 8 columns\n")
    print("| type | 1 column | share | 8 columns | share | decode to half, GB/s written |\n|---|---|---|---|---|---|")
    y, half = device.alloc(8 * rows * 4), device.alloc(rows * cols * 2)
    x = device.alloc(8 * cols * 4)
    device.fill(x.ptr, 0, x.nbytes)
    codes, scales = (device.alloc(n) for n in products.activation_bytes(8, cols))
    products.quantize(device, x.ptr, codes.ptr, scales.ptr, 8, cols)
    for name in names:
        f, w = formats.get(name), weights(device, name, rows, cols)
        size, a = rows * f.row_bytes(cols), x.ptr if f.dense else (codes.ptr, scales.ptr)
        cells = []
        for n in (1, 8):
            call = partial(products.gemv, device, name, x=a, y=y.ptr, rows=rows, cols=cols, n=n)
            rate = size / best(device, in_turn(w, call), *SMALL)
            cells += [f"{rate / 1e9:.0f}", f"{rate / copy:.0%}"]
        call = partial(products.decode, device, name, to=half.ptr, rows=rows, cols=cols, half=True)
        seconds = best(device, in_turn(w, call), *LARGE)
        print(f"| {name} | {' | '.join(cells)} | {2 * rows * cols / seconds / 1e9:.0f} |", flush=True)


def matmul_rates(device: CupyRuntime, names: list[str], rows: int, cols: int, tokens: int) -> None:
    import cupy

    a, x = cupy.zeros((rows, cols), cupy.float16), cupy.ones((tokens, cols), cupy.float16)
    out, work = cupy.empty((tokens, rows), cupy.float16), 2 * rows * cols * tokens
    alone = best(device, lambda: cupy.matmul(x, a.T, out=out), *LARGE)
    print(f"\nProducts {rows} x {cols} x {tokens}: cuBLAS half {work / alone / 1e12:.0f} TFLOP/s\n")
    print("| type | decode and cuBLAS, TFLOP/s | share of cuBLAS |\n|---|---|---|")
    for name in names:

        def call(w, name=name):
            products.decode(device, name, w, a.data.ptr, rows, cols, half=True)
            cupy.matmul(x, a.T, out=out)

        seconds = best(device, in_turn(weights(device, name, rows, cols), call), *LARGE)
        print(f"| {name} | {work / seconds / 1e12:.0f} | {alone / seconds:.0%} |", flush=True)


def token_rates(path: str, line: str, tokens: int = 64, rounds: int = 5) -> None:
    """Generation from an empty context, the best of some rounds: replayed graphs beside launches one by one."""
    model, rates = ikx.open(path), {}
    for graphs in (True, False):
        with Session(model, ikx.Settings.parse(line), cuda_graphs=graphs) as session:
            times = []
            for _ in range(rounds + 1):  # the first compiles, launches and captures
                session.rewind()
                begin = time.perf_counter()
                for token in range(tokens):
                    session.eval([token])
                times.append(time.perf_counter() - begin)
            rates[graphs] = tokens / min(times[1:])
            computed = session.computed_on
    print(f"{model.name} {line}, on {computed}: {rates[True]:.1f} tokens/s with CUDA graphs, {rates[False]:.1f} without")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--types", default="")
    parser.add_argument("--rows", type=int, default=14336)
    parser.add_argument("--cols", type=int, default=4096)
    parser.add_argument("--tokens", type=int, default=4096)
    parser.add_argument("--device", type=int, default=0)
    parser.add_argument("--model", default="")
    parser.add_argument("--flags", default="-ngl 99")
    args = parser.parse_args()
    can, reason = build.available()
    if not can:
        print(f"no CUDA device to measure: {reason}")
        return 1
    if args.model:
        token_rates(args.model, args.flags)
        return 0
    device = CupyRuntime(args.device)
    names = [formats.get(n).name for n in args.types.split(",") if n] or formats.names()
    copy = copy_rate(device)
    print(f"{device.name}: copies at {copy / 1e9:.0f} GB/s")
    gemv_rates(device, names, args.rows, args.cols, copy)
    matmul_rates(device, names, args.rows, args.cols, args.tokens)
    return 0


if __name__ == "__main__":
    sys.exit(main())
