"""Codes of the IQ*_K family to values: for decode (into float32) and for unpack (unsigned bytes)."""

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from .. import jit
from ..simd import *
from ._eights import _bytes, bits_of, join_bits
from ._iqk_books import CUBIC, IQ2, IQ3, IQ5, PAIRS
from ._tables import IQ4
from .gather import peek32, quads32

#: what unpack adds to the values of 2- and 3-bit types, and to those of the others
LOW_BIAS, BIAS = 64, 128


def _tables(values, add=0):
    """Tables for lookup16, of 16 entries each."""
    parts = [values[k : k + 16] for k in range(0, len(values), 16)]
    return [constant("u8", [x + add & 255 for x in [*part, *[0] * (16 - len(part))]] * 4) for part in parts]


_IQ6 = [round(CUBIC[0] + q * (CUBIC[1] + q * (CUBIC[2] + q * CUBIC[3]))) for q in range(64)]
_FIRST, _SECOND = [x for x, _ in PAIRS], [x for _, x in PAIRS]
(_two,), (_two_biased,) = _tables(IQ2), _tables(IQ2, LOW_BIAS)
(_three,), (_three_biased,) = _tables(IQ3), _tables(IQ3, LOW_BIAS)
(_four,), (_four_biased,) = _tables(IQ4), _tables(IQ4, BIAS)
_five0, _five1 = _tables(IQ5)
_five_biased0, _five_biased1 = _tables(IQ5, BIAS)
_six0, _six1, _six2, _six3 = _tables(_IQ6, BIAS)
_first0, _first1 = _tables(_FIRST)
_first_biased0, _first_biased1 = _tables(_FIRST, LOW_BIAS)
_second0, _second1 = _tables(_SECOND)
_second_biased0, _second_biased1 = _tables(_SECOND, LOW_BIAS)


@jit(forceinline=True)
def look_up2(v):
    return as_i8x64(lookup16(_two(), v))


@jit(forceinline=True)
def look_up3(v):
    return as_i8x64(lookup16(_three(), v))


@jit(forceinline=True)
def look_up4(v):
    return as_i8x64(lookup16(_four(), v))


@intrinsic
def _where(typingctx, bits, yes, no):
    """In each byte: yes where any bit is set, else no."""

    def codegen(context, b, sig, args):
        return b.select(b.icmp_unsigned("!=", args[0], _bytes(0)), args[1], args[2])

    return yes(bits, yes, no), codegen


@jit(forceinline=True)
def _of_32(low, high, v):
    return _where(v & 16, lookup16(high, v & 15), lookup16(low, v & 15))


@jit(forceinline=True)
def look_up5(v):
    return as_i8x64(_of_32(_five0(), _five1(), v))


@jit(forceinline=True)
def look_up_firsts(v):
    return as_i8x64(_of_32(_first0(), _first1(), v))


@jit(forceinline=True)
def look_up_seconds(v):
    return as_i8x64(_of_32(_second0(), _second1(), v))


@jit(forceinline=True)
def _biased2(v):
    return lookup16(_two_biased(), v)


@jit(forceinline=True)
def _biased3(v):
    return lookup16(_three_biased(), v)


@jit(forceinline=True)
def _biased4(v):
    return lookup16(_four_biased(), v)


@jit(forceinline=True)
def _plus_halves(v, add0, add1):
    return v[0] + add0, v[1] + add0, v[2] + add0, v[3] + add0, v[4] + add1, v[5] + add1, v[6] + add1, v[7] + add1


def _for_eight(one):
    @jit(forceinline=True)
    def eight(v, add0, add1):
        values = one(v[0]), one(v[1]), one(v[2]), one(v[3]), one(v[4]), one(v[5]), one(v[6]), one(v[7])
        return _plus_halves(values, add0, add1)

    return eight


#: unpack's 8 x u8x64 codes -> biased values, plus add0 for the first 16 columns and add1 for the others (u8x64)
biased2, biased3, biased4 = _for_eight(_biased2), _for_eight(_biased3), _for_eight(_biased4)


@jit(forceinline=True)
def _five(v, top):
    return _where(top, lookup16(_five_biased1(), v), lookup16(_five_biased0(), v))


@jit(forceinline=True)
def _six(v, top, fifth, sixth):
    odd = top & fifth
    upper = _where(odd, lookup16(_six3(), v), lookup16(_six2(), v))
    return _where(top & sixth, upper, _where(odd, lookup16(_six1(), v), lookup16(_six0(), v)))


@jit(forceinline=True)
def biased5_of_rows4(v, top, add0, add1):
    """As biased4, of the nibbles of 5-bit codes and the bytes that repack_bits wrote, in the order 0, 2, 4, 6, 1, 3, 5, 7.

    High bits choose between two look-ups from where they lie: they need not be moved to the nibbles first.
    """
    first = _five(v[0], top & 1), _five(v[1], top & 16), _five(v[2], top & 2), _five(v[3], top & 32)
    other = _five(v[4], top & 4), _five(v[5], top & 64), _five(v[6], top & 8), _five(v[7], top & 128)
    return _plus_halves(first + other, add0, add1)


@jit(forceinline=True)
def biased5(v, top, p, add0, add1):
    """As biased4, of the nibbles of 5-bit codes; their fifth bits are bit p of ``top``, as nibbles 8 x u8x64."""
    bit = splat_u8x64(1 << p)
    first = _five(v[0], top[0] & bit), _five(v[1], top[1] & bit), _five(v[2], top[2] & bit), _five(v[3], top[3] & bit)
    other = _five(v[4], top[4] & bit), _five(v[5], top[5] & bit), _five(v[6], top[6] & bit), _five(v[7], top[7] & bit)
    return _plus_halves(first + other, add0, add1)


@jit(forceinline=True)
def biased6(v, top, p, add0, add1):
    """As biased5, of 6-bit codes, whose higher bits are bits p and p + 1."""
    a, c = splat_u8x64(1 << p), splat_u8x64(2 << p)
    first = _six(v[0], top[0], a, c), _six(v[1], top[1], a, c), _six(v[2], top[2], a, c), _six(v[3], top[3], a, c)
    other = _six(v[4], top[4], a, c), _six(v[5], top[5], a, c), _six(v[6], top[6], a, c), _six(v[7], top[7], a, c)
    return _plus_halves(first + other, add0, add1)


@jit(forceinline=True)
def _pair(v):
    """Four codes of each of 16 rows -> their eight biased values, in order."""
    first = as_u32x16(_of_32(_first_biased0(), _first_biased1(), v))
    second = as_u32x16(_of_32(_second_biased0(), _second_biased1(), v))
    low = first & 255 | (first & 0xFF00) << 8 | (second & 255) << 8 | (second & 0xFF00) << 16
    first, second = first >> 16, second >> 16
    high = first & 255 | (first & 0xFF00) << 8 | (second & 255) << 8 | (second & 0xFF00) << 16
    return as_u8x64(low), as_u8x64(high)


@jit(forceinline=True)
def biased_pairs(low, high, p):
    """Part p of iq2_kl: 16 bytes of nibbles and of high bits, of 16 rows -> 8 x u8x64 biased values."""
    v = join_bits(bits_of(low, (p & 1) * 4, 15), bits_of(high, p, 1), 4)
    v01, v23, v45, v67 = _pair(v[0]), _pair(v[1]), _pair(v[2]), _pair(v[3])
    return v01[0], v01[1], v23[0], v23[1], v45[0], v45[1], v67[0], v67[1]


@jit(forceinline=True)
def shift_bytes(bits, shift):
    """i32x16 or u32x16 of 0 or 1, a lane per row -> u8x64: ``shift`` in the row's four bytes where the bit is 1."""
    return as_u8x64(bits * (shift * 0x01010101))


# ---------------------------------------------------------------------------------------- the fields of blocks


@intrinsic
def lane(typingctx, v, k):
    """Lane k of a vector, as a number."""
    out = types.float32 if v.is_float else types.int32
    return out(v, types.intp), lambda context, b, sig, args: b.extract_element(args[0], args[1])


@intrinsic
def pick_bits(typingctx, words):
    """The lowest bit of each of 16 words, the first lowest, as an integer."""

    def codegen(context, b, sig, args):
        bits = b.trunc(args[0], ir.VectorType(ir.IntType(1), 16))
        return b.zext(b.bitcast(bits, ir.IntType(16)), ir.IntType(64))

    return types.int64(words), codegen


_NUMBERS = constant("u32", range(16))
_FOURS = constant("u32", [4 * (k % 8) for k in range(16)])
_halves = shuffle([*range(8), *range(24, 32)])


@jit(forceinline=True)
def nibbles_of(src, at):
    """16 nibbles from 8 bytes, the low one of a byte first: i32x16."""
    low, high = splat_u32x16(peek32(src, at)), splat_u32x16(peek32(src, at + 4))
    return as_i32x16(_halves(concat(low, high)) >> _FOURS() & 15)


@jit(forceinline=True)
def bits_in(word):
    """The 16 low bits of an integer: i32x16 of 0 or 1."""
    return as_i32x16(splat_u32x16(word) >> _NUMBERS() & 1)


@jit(forceinline=True)
def twos_in(word):
    """16 pairs of bits of a 32-bit integer: i32x16."""
    return as_i32x16(splat_u32x16(word) >> _NUMBERS() * 2 & 3)


@jit(forceinline=True)
def fields(words, p):
    """Byte p of 8 that are two u32x16 of words, a lane per row: u32x16."""
    low, high = words
    return low >> p * 8 & 255 if p < 4 else high >> p * 8 - 32 & 255


@jit(forceinline=True)
def low_codes(w, at, stride, p):
    """Part p of 2-bit codes: bits 2 (p % 4).. of the p / 4-th 32 bytes, of 16 rows: 8 x u8x64."""
    return bits_of(quads32(w, at + (p >> 2) * 32, stride), (p & 3) * 2, 3)


@jit(forceinline=True)
def nibble_codes(w, at, stride, p):
    """Part p of nibbles: those of the p / 2-th 32 bytes, low ones for even p, of 16 rows: 8 x u8x64."""
    return bits_of(quads32(w, at + (p >> 1) * 32, stride), (p & 1) * 4, 15)


# ----------------------------------------------------------------------------------------------------- decode


_quarter0, _quarter1, _quarter2, _quarter3 = (shuffle(range(16 * k, 16 * k + 16)) for k in range(4))


@jit(forceinline=True)
def store_64(values, dst, to, s0, s1, s2, s3, a0, a1, a2, a3):
    """i8x64 values -> float32 (value + a_k) * s_k of each 16 of them, 256 bytes at dst + to."""
    store_f32x16(dst, to, to_f32x16(to_i32x16(_quarter0(values)) + a0) * s0)
    store_f32x16(dst, to + 64, to_f32x16(to_i32x16(_quarter1(values)) + a1) * s1)
    store_f32x16(dst, to + 128, to_f32x16(to_i32x16(_quarter2(values)) + a2) * s2)
    store_f32x16(dst, to + 192, to_f32x16(to_i32x16(_quarter3(values)) + a3) * s3)


@jit(forceinline=True)
def store_lanes(values, dst, to, s, a, k):
    """As store_64, with lanes k..k+3 of the vectors s and a."""
    s0, s1, s2, s3 = lane(s, k), lane(s, k + 1), lane(s, k + 2), lane(s, k + 3)
    a0, a1, a2, a3 = lane(a, k), lane(a, k + 1), lane(a, k + 2), lane(a, k + 3)
    store_64(values, dst, to, s0, s1, s2, s3, a0, a1, a2, a3)


@jit(forceinline=True)
def two_bits(src, at, p):
    """Codes of parts p and p + 1 (p even) of `low_codes`' layout, of one row: u8x64."""
    q = load_u8x32(src, at + (p >> 2) * 32) >> (p & 3) * 2
    return concat(q & 3, q >> 2 & 3)


@jit(forceinline=True)
def four_bits(src, at, p):
    """Codes of parts p and p + 1 (p even) of `nibble_codes`' layout, of one row: u8x64."""
    q = load_u8x32(src, at + p * 16)
    return concat(q & 15, q >> 4)


@jit(forceinline=True)
def one_bits(src, at, p):
    """Bits p and p + 1 of 32 bytes: u8x64 of 0 or 1."""
    q = load_u8x32(src, at) >> p
    return concat(q & 1, q >> 1 & 1)
