"""Flash attention of a prompt with q . k in 8 bits, for caches whose K has 8 bits (q8_0, q8_KV).

Queries get codes of 8 bits with a scale per 32, rows of K are repacked 64 positions at a time: codes shifted to unsigned
bytes side by side, then their scales. So 32 numbers are 8 byte products where float32 takes 32 multiplications. Everything
but queries, keys and scores is ``attention``'s.
"""

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic, overload

from ._cache import inner
from .abi import arg, argf, get_f32, get_i32, put_f32, put_i32
from .activations import quantize_row
from .attention import attend_with, pad_rows, query
from .cache_rows import CODES
from .formats.base import FormatType
from .mathv import LOG2E
from .simd import *
from .target import _emit_shifted_dp
from .tiles import _each, _pack, _vectors
from .vectors import REGS, _emit_fma, _splat, f32x16, i8x64, i32x16, u8x64

ROWS = 4 if REGS == 32 else 2  # keys at once: twice as many sums are held as for float32


# -- vectors -------------------------------------------------------------------------------------------------------


@intrinsic
def integer_strip(typingctx, like, starts):
    """Integer sums of ROWS keys for a strip of ``like.count / KEYS`` vectors: vector v of each begins as the one at starts."""
    width = like.count // KEYS
    out = types.UniTuple(i32x16, ROWS * width)

    def codegen(context, b, sig, args):
        first = _vectors(b, args[1], width, i32x16)
        return _pack(b, context.get_value_type(out), first * ROWS)
    return out(like, types.int64), codegen


@intrinsic
def float_strip(typingctx, like):
    """Sums of ROWS keys for a strip as wide as ``like``, zero."""
    out = types.UniTuple(f32x16, like.count // KEYS * ROWS)
    return out(like), lambda context, b, sig, args: ir.Constant(context.get_value_type(out), None)


@intrinsic
def outer_dpbusd(typingctx, acc, rows, stride, x):
    """acc[r width + v] += the 4 unsigned bytes at rows + r stride, times 4 signed bytes in each lane of vector v at x."""
    width = acc.count // ROWS

    def codegen(context, b, sig, args):
        columns, items, at = _vectors(b, args[3], width, i8x64), _each(b, args[0]), args[1]
        for r in range(ROWS):
            quad = b.load(b.inttoptr(at, ir.IntType(32).as_pointer()), align=4)
            quad = b.bitcast(_splat(b, i32x16, quad), u8x64.ir)
            for v in range(width):
                items[r * width + v] = _emit_shifted_dp(b, items[r * width + v], quad, columns[v])
            at = b.add(at, args[2])
        return _pack(b, args[0].type, items)
    return acc(acc, types.int64, types.int64, types.int64), codegen


@intrinsic
def outer_scale_add(typingctx, facc, iacc, scales, stride, d):
    """facc[r width + v] += number * the float32 at scales + r stride, * vector v at d; iacc holds MAGIC_BITS + number.

    ``tiles.tile_scale_add`` says how that works; the scales' mantissas end in two zeros.
    """
    width = facc.count // ROWS

    def codegen(context, b, sig, args):
        columns, at, out = _vectors(b, args[4], width), args[2], []
        pairs = list(zip(_each(b, args[0]), _each(b, args[1])))
        for r in range(ROWS):
            scale = _splat(b, f32x16, b.load(b.inttoptr(at, ir.FloatType().as_pointer()), align=4))
            away = b.fmul(scale, ir.Constant(f32x16.ir, [-MAGIC] * 16))
            for v in range(width):
                f, i = pairs[r * width + v]
                out.append(_emit_fma(b, _emit_fma(b, b.bitcast(i, f32x16.ir), scale, away), columns[v], f))
            at = b.add(at, args[3])
        return _pack(b, args[0].type, out)
    return facc(facc, iacc, types.int64, types.int64, types.int64), codegen


# -- keys ----------------------------------------------------------------------------------------------------------


def place32(q, row, b):
    """Address of codes 32 b .. 32 b + 31 of the row of K at address ``row``."""
    raise NotImplementedError("for use inside compiled kernels")


def scale32(q, row, b):
    """Their scale, float32."""
    raise NotImplementedError("for use inside compiled kernels")


@overload(place32, inline="always")
def _place32(q, row, b):
    if isinstance(q, FormatType) and q.format in CODES:
        before, step = CODES[q.format]
        return lambda q, row, b: row + before + b * step


@overload(scale32, inline="always")
def _scale32(q, row, b):
    if isinstance(q, FormatType) and q.format == "q8_0":
        return lambda q, row, b: load_f16(row + b * 34, 0)
    if isinstance(q, FormatType) and q.format == "q8_kv":
        return lambda q, row, b: get_f32(row, 0)


@inner
def _keys(q, k, stride, size, count, out):
    """count rows at k to [rows, 5 / 4 size] bytes at out: codes + 128, then a float32 scale per 32; padded as for float32."""
    for r in range(pad_rows(count)):
        row, to = k + min(r, count - 1) * stride, out + r * (size + (size >> 3))
        for b in range(size >> 5):
            at = place32(q, row, b)
            for half in range(0, 32, 16):
                store_u8x16(to, b * 32 + half, load_u8x16(at, half) ^ 128)
            put_f32(to, size + b * 4, scale32(q, row, b))
            put_i32(to, size + b * 4, get_i32(to, size + b * 4) & -4)  # see ``outer_scale_add``


# -- queries and scores --------------------------------------------------------------------------------------------


@inner
def _queries(w, record, head, t0, columns, group, first, x, room):
    """A strip's queries in 8 bits at x.

    Codes [size / 4, w, 16, 4]; then for each 32 of them scales float32 [w, 16] and what integer sums begin with, int32
    [w, 16]: keys are 128 too large.
    """
    size, factor = arg(record, 12), argf(record, 17) * LOG2E
    sums, scales, blocks = room + size, room + size + (size >> 2), x + size * w * 16
    for c in range(w * 16):
        at = query(record, head, t0, columns, group, first + c)
        quantize_row(at, size, room, sums, scales, 4)
        for i in range(size >> 2):
            put_i32(x, (i * w * 16 + c) * 4, get_i32(room, i * 4))
        for b in range(size >> 5):
            put_f32(blocks, (b * 2 * w * 16 + c) * 4, get_f32(scales, b * 4) * factor)
            total = get_i32(sums, b * 8) + get_i32(sums, b * 8 + 4)
            put_i32(blocks, ((b * 2 + 1) * w * 16 + c) * 4, np.int32(MAGIC_BITS - (128 - SHIFT) * total))


@inner
def _scores(like, w, keys, size, count, x, s):
    """Keys times a strip of queries: float32 [rows, w, 16] at s."""
    step, blocks = size + (size >> 3), x + size * w * 16
    for r in range(0, count, ROWS):
        acc, row = float_strip(like), keys + r * step
        for b in range(size >> 5):
            more = blocks + b * w * 128
            part = integer_strip(like, more + w * 64)
            for i in range(8):
                part = outer_dpbusd(part, row + b * 32 + i * 4, step, x + (b * 8 + i) * w * 64)
            acc = outer_scale_add(acc, part, row + size + b * 4, step, more)
        store_tuple(acc, s + r * w * 64)


_attend = attend_with(_queries, _keys, _scores)


def flash_attention_8bit(kq, vq, record, chunk, chunks, thread):
    """Op: ``attention.flash_attention``, the same arguments and chunks, with q . k in 8 bits. K is q8_0 or q8_KV."""
    _attend(kq, vq, record, chunk, thread)
