"""Activations to rows of a quantized KV cache, as the reference does it: in one pass over each block of 32.

The types' own encoders search for better scales; here the result must be the cache that the reference would have.
Sources: the from_float functions of ik_llama.cpp: iqk_quantize_q4_0, quantize_row_q6_0_ref and its like,
quantize_row_iq4_nl_impl without tries.
"""

import numpy as np
from numba.extending import overload

from ._cache import inner
from .abi import get_f32, get_u8, put_i32, put_u8, put_u16
from .formats import get
from .formats._half import half_bits
from .formats._tables import IQ4
from .formats.base import FormatType

#: type -> (bytes of a block, largest code, has a minimum, where the high bits are, where the nibbles are)
_LAYOUT = {
    "q4_0": (18, 15, False, 0, 2), "q4_1": (20, 15, True, 0, 4), "q5_0": (22, 31, False, 2, 6),
    "q5_1": (24, 31, True, 4, 8), "q6_0": (26, 63, False, 2, 10),
}  # fmt: skip
_BOOK = np.array(IQ4, np.float32)
_MAGIC = np.float32(12582912)  # 1.5 * 2**23: what is added to it is rounded to a whole number
_MIDDLES = (_BOOK[1:] + _BOOK[:-1]) / 2


def encode_rows(q, x, ones, y, rows, n, work):
    """``rows`` rows of n float32 at x to rows of type q at y, one after the other; ones: float32 [n] of ones; work: 64 KB."""
    raise NotImplementedError("for use inside compiled kernels")


@overload(encode_rows)
def _encode_rows(q, x, ones, y, rows, n, work):
    if not isinstance(q, FormatType):
        return None
    if q.format == "iq4_nl":
        return _iq4_nl
    if q.format in _LAYOUT:
        return _by_layout(*_LAYOUT[q.format])
    encode = get(q.format).code.encode  # one pass: q8_0, q8_kv
    return lambda q, x, ones, y, rows, n, work: encode(x, ones, y, rows, n, work)


@inner
def _largest(x):
    """The number of largest magnitude of 32; the first of equals."""
    value = np.float32(0)
    for j in range(32):
        v = get_f32(x, 4 * j)
        if abs(v) > abs(value):
            value = v
    return value


@inner
def _nibbles(codes, y):
    for j in range(16):
        put_u8(y, j, np.uint8((get_u8(codes, j) & 15) | (get_u8(codes, j + 16) & 15) << 4))


@inner
def _centred(x, most, codes):
    """Codes 0 .. most around the middle one; returns the scale. q4_0 rounds ties to even, and it and q6_0 fit the scale."""
    middle = np.float32((most + 1) // 2)
    d = _largest(x) / -middle
    inverse = np.float32(1) / d if d != 0 else np.float32(0)
    along, square = np.float32(0), np.float32(0)
    for j in range(32):
        v = get_f32(x, 4 * j)
        scaled = v * inverse
        code = np.int64((scaled + _MAGIC) - _MAGIC + middle) if most == 15 else np.int64(scaled + (middle + np.float32(0.5)))
        code = min(most, code)
        put_u8(codes, j, np.uint8(code))
        level, weight = np.float32(code) - middle, scaled * scaled
        along += weight * v * level
        square += weight * level * level
    return along / square if most != 31 and square > 0 else d


@inner
def _from_lowest(x, most, codes):
    """Codes from the lowest number up; returns the scale and that number."""
    low, high = get_f32(x, 0), get_f32(x, 0)
    for j in range(1, 32):
        low, high = min(low, get_f32(x, 4 * j)), max(high, get_f32(x, 4 * j))
    d = (high - low) / np.float32(most)
    inverse = np.float32(1) / d if d != 0 else np.float32(0)
    for j in range(32):
        put_u8(codes, j, np.uint8(min(most, np.int64((get_f32(x, 4 * j) - low) * inverse + np.float32(0.5)))))
    return d, low


def _by_layout(size, most, has_min, high, low):
    def encode(q, x, ones, y, rows, n, work):
        for b in range(rows * n // 32):
            block = y + b * size
            if has_min:
                d, least = _from_lowest(x + b * 128, most, work)
                put_u16(block, 2, np.uint16(half_bits(least)))
            else:
                d = _centred(x + b * 128, most, work)
            put_u16(block, 0, np.uint16(half_bits(d)))
            _nibbles(work, block + low)
            if most == 31:
                bits = np.int64(0)
                for j in range(32):
                    bits |= (np.int64(get_u8(work, j)) >> 4) << j
                put_i32(block, high, np.int32(bits))
            if most == 63:
                for j in range(8):
                    a, c = get_u8(work, j) >> 4, get_u8(work, j + 16) >> 4
                    e, g = get_u8(work, j + 8) >> 4, get_u8(work, j + 24) >> 4
                    put_u8(block, high + j, np.uint8(a | c << 2 | e << 4 | g << 6))

    return encode


@inner
def _nearest(v):
    code = 0
    for middle in _MIDDLES:
        code += v >= middle
    return code


def _iq4_nl(q, x, ones, y, rows, n, work):
    for b in range(rows * n // 32):
        at, block = x + b * 128, y + b * 18
        d = _largest(at) / _BOOK[0]
        inverse = np.float32(1) / d if abs(d) > 1e-15 else np.float32(0)
        along, square = np.float32(0), np.float32(0)
        for j in range(32):
            v = get_f32(at, 4 * j)
            code = _nearest(v * inverse)
            put_u8(work, j, np.uint8(code))
            along += v * v * _BOOK[code] * v
            square += v * v * _BOOK[code] * _BOOK[code]
        put_u16(block, 0, np.uint16(half_bits(_stepped(at, work, along, square) if square > 0 else np.float32(0))))
        _nibbles(work, block + 2)


@inner
def _next_step(x, codes, d):
    """(number, direction) of the code whose next value is reached soonest along the error's gradient; direction 0: none."""
    best, direction, nearest = 0, 0, np.float32(np.inf)
    for j in range(32):
        v, code = get_f32(x, 4 * j), np.int64(get_u8(codes, j))
        slope = d * v * v * (v - d * _BOOK[code])
        way = 1 if slope > 0 and code < 15 else -1 if slope < 0 and code > 0 else 0
        if way != 0:
            step = (_BOOK[code + way] - _BOOK[code]) / slope
            if step < nearest:
                best, direction, nearest = j, way, step
    return best, direction


@inner
def _stepped(x, codes, along, square):
    """Moves single codes while the fit gets better; returns the scale. along, square: sums of w x q and w q**2."""
    d = along / square
    for _ in range(1024):
        j, way = _next_step(x, codes, d)
        if way == 0:
            break
        v, code = get_f32(x, 4 * j), np.int64(get_u8(codes, j))
        old, new = _BOOK[code], _BOOK[code + way]
        more, wider = along + v * v * v * (new - old), square + v * v * (new * new - old * old)
        if not (wider > 0 and more * more > d * along * wider):
            break
        along, square = more, wider
        d = along / square
        put_u8(codes, j, np.uint8(code + way))
    return d
