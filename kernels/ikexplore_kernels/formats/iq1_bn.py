"""iq1_bn: bitnet, five codes -1, 0 and 1 to a byte and one scale per row (1.625 bpw).

Row: half d, then blocks of 64 columns, 13 bytes each: uint8 q[4][3], of each 16 columns three bytes with columns 0..4,
5..9 and 10..14; uint8 extra, with columns 15, 31, 47 and 63. A byte with codes t0, t1, t2 ... is 256 / 243 of the number
t0 + 3 t1 + 9 t2 + 27 t3 + 81 t4, rounded up, so t_j is what 3 * (byte * 3^(4 - j) modulo 256) has above its low 8 bits.
weight = d * (code - 1).
"""

from llvmlite import ir
from numba.extending import intrinsic

from .. import jit
from ..simd import *
from ._half import half_bits, half_value
from ._ternary import row_scale, ternary
from .base import Code
from .gather import gather_f16, gather_u8, gather_u32, peek8, peek16, poke8, poke16

_POWERS = (81, 27, 9, 3, 1)
# 4 quads of columns: which of the 4 bytes (three of a group, then extra) each column is in, and its multiplier
_BYTES = [[min(c // 5, 3) for c in range(4 * j, 4 * j + 4)] for j in range(4)]
_pick0, _pick1, _pick2, _pick3 = (shuffle([4 * r + k for r in range(16) for k in four]) for four in _BYTES)
_times0, _times1, _times2 = (constant("u8", [_POWERS[c % 5] for c in range(4 * j, 4 * j + 4)] * 16) for j in range(3))
_times3 = constant("u8", [_POWERS[2], _POWERS[3], _POWERS[4], 1] * 16)  # extra is multiplied before
_pick_row = shuffle([0] * 5 + [1] * 5 + [2] * 5 + [3])
_times_row = constant("u8", list(_POWERS) * 3 + [1])


@intrinsic
def _digits(typingctx, v):
    """3 * v >> 8 of unsigned bytes: 0, 1 or 2."""

    def codegen(context, b, sig, args):
        def at_least(x):
            return b.zext(b.icmp_unsigned(">=", args[0], ir.Constant(v.ir, [x] * v.n)), v.ir)

        return b.add(at_least(86), at_least(171))

    return v(v), codegen


@jit(forceinline=True)
def _power(k):
    return 81 if k == 0 else 27 if k == 1 else 9 if k == 2 else 3


@jit
def decode(src, dst, n_rows, n_cols):
    blocks = n_cols // 64
    for r in range(n_rows):
        row = r * (2 + blocks * 13)
        d = load_f16(src, row)
        for b in range(blocks):
            o, to = row + 2 + b * 13, (r * n_cols + b * 64) * 4
            extra = peek8(src, o + 12)
            for k in range(4):
                word = peek16(src, o + k * 3) | peek8(src, o + k * 3 + 2) << 16 | (extra * _power(k) & 255) << 24
                bytes = _pick_row(as_u8x64(splat_i32x16(word)))
                codes = to_i32x16(_digits(bytes * _times_row())) - 1
                store_f32x16(dst, to + k * 64, to_f32x16(codes) * d)


@jit
def _packed(codes, at, n, step):
    """The byte of n codes, ``step`` bytes apart."""
    total = 0
    for j in range(n - 1, -1, -1):
        total = total * 3 + peek8(codes, at + j * step)
    return (256 * total + 242) // 243


@jit
def encode(x, w, dst, n_rows, n_cols, work):
    blocks = n_cols // 64
    for r in range(n_rows):
        row, at = r * (2 + blocks * 13), x + r * n_cols * 4
        bits = half_bits(row_scale(at, w, n_cols))
        d = half_value(bits)
        poke16(dst, row, bits)
        for b in range(blocks):
            o = row + 2 + b * 13
            for k in range(4):
                store_u8x16(work, k * 16, ternary(load_f32x16(at, b * 256 + k * 64), d))
                for j in range(3):
                    poke8(dst, o + k * 3 + j, _packed(work, k * 16 + j * 5, 5, 1))
            poke8(dst, o + 12, _packed(work, 15, 4, 16))


def unpack(q, w, base, stride, b):
    o, h = base + 2 + (b >> 1) * 13, b & 1
    extra = to_u32x16(gather_u8(w, o + 12, stride))
    first = gather_u32(w, o + h * 6, stride) & 0xFFFFFF | (extra * _power(2 * h)) << 24
    second = gather_u32(w, o + h * 6 + 2, stride) >> 8 | (extra * _power(2 * h + 1)) << 24
    a, c = as_u8x64(first), as_u8x64(second)
    s, zero = gather_f16(w, base, stride), splat_f32x16(0)
    v = (
        _digits(_pick0(a) * _times0()),
        _digits(_pick1(a) * _times1()),
        _digits(_pick2(a) * _times2()),
        _digits(_pick3(a) * _times3()),
        _digits(_pick0(c) * _times0()),
        _digits(_pick1(c) * _times1()),
        _digits(_pick2(c) * _times2()),
        _digits(_pick3(c) * _times3()),
    )
    return s, s, zero, zero, v


CODE = Code(decode=decode, encode=encode, unpack=unpack, bias=1)
