"""Loads that unpack is made of: 16 rows at once, brought together in registers.

All take ``w`` (a uint8 array or an int64 address), ``at`` (byte offset of the first piece) and ``stride`` (bytes from
piece to piece), read exactly the bytes that they return, and need no alignment.

Those that read a piece of each row also take `Words`, 16 rows in the engine's own layout (see `_own16`): the four bytes
of all rows at an offset are one vector in memory, nothing has to be brought together, and ``stride`` is not looked at.
"""

from itertools import pairwise

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic, models, register_model

from .. import jit
from ..vectors import (
    Vec,
    _address,
    _call,
    _concat,
    _splat,
    as_f16x16,
    as_f32x16,
    as_u32x16,
    to_f32x16,
    to_u16x16,
    u8x64,
    u32x16,
)

_I32, _I64 = ir.IntType(32), ir.IntType(64)


class Words(types.Type):
    """The address of 16 rows whose words of four bytes are interleaved."""

    def __init__(self):
        super().__init__(name="Words")


words = Words()


@register_model(Words)
class _WordsModel(models.PrimitiveModel):
    def __init__(self, dmm, fe_type):
        super().__init__(dmm, fe_type, _I64)


@intrinsic
def as_words(typingctx, address):
    """An int64 address as `Words`."""
    return words(types.int64), lambda context, b, sig, args: args[0]


def _words_at(b, w, at, count):
    """``count`` vectors (16 x i32) of four bytes of each row, from byte ``at`` of the rows on."""
    first, shift = b.and_(at, _I64(-4)), b.and_(at, _I64(3))
    vec = ir.VectorType(_I32, 16)
    place = b.add(w, b.mul(first, _I64(16)))
    loads = [
        b.load(b.inttoptr(b.add(place, _I64(64 * k)), vec.as_pointer()), align=1) for k in range(count + 1)
    ]
    bits = b.mul(_splat(b, u32x16, b.trunc(shift, _I32)), ir.Constant(vec, [8] * 16))
    # where ``at`` is known to be a whole word, the compiler keeps the first of each pair and no shift
    return [_call(b, "llvm.fshr.v16i32", vec, [high, low, bits]) for low, high in pairwise(loads)]


def _pieces(context, b, sig, args, piece, n):
    """n loads of ``piece`` (an LLVM type), each ``stride`` bytes after the one before."""
    w, at, stride = args
    out = []
    for _ in range(n):
        out.append(b.load(_address(context, b, sig.args[0], w, at, piece), align=1))
        at = b.add(at, stride)
    return out


def _zip(b, x, y, lanes):
    return b.shuffle_vector(x, y, ir.Constant(ir.VectorType(_I32, 16), [q + k for q in (0, 4, 8, 12) for k in lanes]))


def _tuple(context, b, kind, items):
    out = ir.Constant(context.get_value_type(kind), ir.Undefined)
    for k, item in enumerate(items):
        out = b.insert_value(out, item, k)
    return out


def _quads(context, b, sig, args):
    """16 bytes of 16 rows: a transpose of 4 x 4 words within each 128 bits, the cheapest kind of shuffle."""
    if isinstance(sig.args[0], Words):
        return [b.bitcast(v, u8x64.ir) for v in _words_at(b, args[0], args[1], 4)]
    rows = _pieces(context, b, sig, args, ir.VectorType(_I32, 4), 16)
    r0, r1, r2, r3 = (_concat(b, rows[k::4]) for k in range(4))  # quarter q of r_k is row 4 q + k
    low, high = (0, 16, 1, 17), (2, 18, 3, 19)
    even, odd = (0, 1, 16, 17), (2, 3, 18, 19)
    t0, t1, t2, t3 = _zip(b, r0, r1, low), _zip(b, r0, r1, high), _zip(b, r2, r3, low), _zip(b, r2, r3, high)
    pairs = [(t0, t2, even), (t0, t2, odd), (t1, t3, even), (t1, t3, odd)]
    return [b.bitcast(_zip(b, x, y, lanes), u8x64.ir) for x, y, lanes in pairs]


@intrinsic
def quads16(typingctx, w, at, stride):
    """16 bytes of each of 16 rows, as four u8x64: lane 4 r + i of vector j is byte 4 j + i of row r."""
    out = types.UniTuple(u8x64, 4)

    def codegen(context, b, sig, args):
        return _tuple(context, b, out, _quads(context, b, sig, args))

    return out(w, types.intp, types.intp), codegen


@intrinsic
def quads32(typingctx, w, at, stride):
    """32 bytes of each of 16 rows, as eight u8x64: quads16 of the first 16 bytes, then of the others."""
    out = types.UniTuple(u8x64, 8)

    def codegen(context, b, sig, args):
        w, at, stride = args
        first = _quads(context, b, sig, args)
        second = _quads(context, b, sig, (w, b.add(at, ir.Constant(at.type, 16)), stride))
        return _tuple(context, b, out, first + second)

    return out(w, types.intp, types.intp), codegen


@jit(forceinline=True)
def first_words(w, at, stride):
    """Bytes 0..3 of each of 16 rows, u32x16. Reads 16 bytes of each: cheaper than gathering where those are there."""
    return as_u32x16(quads16(w, at, stride)[0])


@jit(forceinline=True)
def last_words(w, at, stride):
    """Bytes 0..3 of each of 16 rows, u32x16. Reads the 12 bytes before them too."""
    return as_u32x16(quads16(w, at - 12, stride)[3])


@jit(forceinline=True)
def half_of(words):
    """The halves in the low 16 bits of u32x16, as f32x16."""
    return to_f32x16(as_f16x16(to_u16x16(words)))


def _make_gather(kind, doc):
    vec = Vec(kind, 16)

    @intrinsic
    def gather(typingctx, w, at, stride):
        def codegen(context, b, sig, args):
            if isinstance(sig.args[0], Words):
                word = _words_at(b, args[0], args[1], 1)[0]
                return word if vec.ir == word.type else b.trunc(word, vec.ir)
            out = ir.Constant(vec.ir, ir.Undefined)
            for i, x in enumerate(_pieces(context, b, sig, args, vec.ir.element, 16)):
                out = b.insert_element(out, x, _I32(i))
            return out

        return vec(w, types.intp, types.intp), codegen

    gather.__doc__ = doc
    return gather


gather_u8 = _make_gather("u8", "One byte of each of 16 rows, u8x16.")
gather_u16 = _make_gather("u16", "Two bytes of each of 16 rows, u16x16.")
gather_u32 = _make_gather("u32", "Four bytes of each of 16 rows, u32x16.")


@jit(forceinline=True)
def gather_f16(w, at, stride):
    """A half of each of 16 rows, f32x16."""
    return to_f32x16(as_f16x16(gather_u16(w, at, stride)))


@jit(forceinline=True)
def gather_f32(w, at, stride):
    """A float32 of each of 16 rows, f32x16."""
    return as_f32x16(gather_u32(w, at, stride))


def _make_join(n, size, doc):
    vec, piece = Vec("u8", n * size), ir.VectorType(ir.IntType(8), size)

    @intrinsic
    def join(typingctx, w, at, stride):
        def codegen(context, b, sig, args):
            return _concat(b, _pieces(context, b, sig, args, piece, n))

        return vec(w, types.intp, types.intp), codegen

    join.__doc__ = doc
    return join


join4x4 = _make_join(4, 4, "4 bytes of each of 4 groups of rows, end to end: u8x16.")
join4x8 = _make_join(4, 8, "8 bytes of each of 4 groups: u8x32.")
join4x16 = _make_join(4, 16, "16 bytes of each of 4 groups: u8x64.")
join2x8 = _make_join(2, 8, "8 bytes of each of 2 groups: u8x16.")
join2x16 = _make_join(2, 16, "16 bytes of each of 2 groups: u8x32.")
join2x32 = _make_join(2, 32, "32 bytes of each of 2 groups: u8x64.")


def _make_peek(bits):
    @intrinsic
    def peek(typingctx, w, at):
        def codegen(context, b, sig, args):
            word = b.load(_address(context, b, sig.args[0], args[0], args[1], ir.IntType(bits)), align=1)
            return b.zext(word, ir.IntType(64))

        return types.int64(w, types.intp), codegen

    peek.__doc__ = f"The unsigned {bits}-bit number at a byte offset, as int64."
    return peek


def _make_poke(bits):
    @intrinsic
    def poke(typingctx, w, at, x):
        def codegen(context, b, sig, args):
            word = b.trunc(args[2], ir.IntType(bits))
            b.store(word, _address(context, b, sig.args[0], args[0], args[1], word.type), align=1)
            return context.get_dummy_value()

        return types.void(w, types.intp, types.int64), codegen

    poke.__doc__ = f"Store the low {bits} bits of an int64 at a byte offset."
    return poke


@intrinsic
def load_scalar(typingctx, w, at):
    """The float32 at a byte offset."""

    def codegen(context, b, sig, args):
        return b.load(_address(context, b, sig.args[0], args[0], args[1], ir.FloatType()), align=1)

    return types.float32(w, types.intp), codegen


peek8, peek16, peek32 = _make_peek(8), _make_peek(16), _make_peek(32)
poke8, poke16, poke32 = _make_poke(8), _make_poke(16), _make_poke(32)


@intrinsic
def copy(typingctx, dst, to, src, at, n):
    """n bytes from src[at] to dst[to]."""

    def codegen(context, b, sig, args):
        dst, to, src, at, n = args
        i8 = ir.IntType(8)
        p = _address(context, b, sig.args[0], dst, to, i8)
        q = _address(context, b, sig.args[2], src, at, i8)
        cgutils.raw_memcpy(b, p, q, n, 1)
        return context.get_dummy_value()

    return types.void(dst, types.intp, src, types.intp, types.intp), codegen
