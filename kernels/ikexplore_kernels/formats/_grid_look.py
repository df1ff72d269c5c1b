"""Looking grid points up, 16 at a time, and giving them signs."""

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from .. import jit
from ..simd import *
from ..vectors import FEATURES, Vec, _address, _call, _mask
from ._eights import _bytes, _each

_I8, _I32, _I64 = ir.IntType(8), ir.IntType(32), ir.IntType(64)


def _laid_down(b, at):
    """A function from a lane to that lane of ``at`` (16 x i32), as i64, read back from memory.

    A vector in memory is read a lane at a time by the ports that load, which taking it apart in registers would leave
    idle. The empty assembly keeps the compiler from turning the one into the other.
    """
    place = cgutils.alloca_once(b, at.type)
    b.store(at, place)
    words = b.bitcast(place, _I32.as_pointer())
    b.asm(ir.FunctionType(ir.VoidType(), [words.type]), "", "r,~{memory}", [words], True)
    return lambda k: b.zext(b.load(b.gep(words, [_I32(k)])), _I64)


def _emit_look(context, b, table_type, table, at):
    """The 32-bit words at byte offsets ``at`` of a table. A load each is slower here than a gather: twice the inserts."""
    base = _address(context, b, table_type, table, _I64(0), _I8)
    if "avx512f" in FEATURES:
        every = ir.Constant(ir.VectorType(ir.IntType(1), 16), [1] * 16)
        old = ir.Constant(at.type, [0] * 16)
        return _call(b, "llvm.x86.avx512.mask.gather.dpi.512", at.type, [old, base, at, every, _I32(1)])
    out = ir.Constant(at.type, ir.Undefined)
    place = _laid_down(b, at)
    for k in range(16):
        word = b.load(b.bitcast(b.gep(base, [place(k)]), _I32.as_pointer()), align=1)
        out = b.insert_element(out, word, _I32(k))
    return out


@intrinsic
def look_word(typingctx, table, at):
    """The 4 bytes of a table (uint8 array) at each of 16 byte offsets: u32x16."""

    def codegen(context, b, sig, args):
        return _emit_look(context, b, sig.args[0], *args)

    return u32x16(table, at), codegen


@intrinsic
def look_float(typingctx, table, at):
    """The float32 of a table (uint8 array) at each of 16 byte offsets: f32x16."""

    def codegen(context, b, sig, args):
        return b.bitcast(_emit_look(context, b, sig.args[0], *args), f32x16.ir)

    return f32x16(table, at), codegen


@intrinsic
def negate(typingctx, v, bits):
    """i8x64 from u8x64: -v where the bit of an int64 is set, else v."""
    out = Vec("i8", 64)

    def codegen(context, b, sig, args):
        where = b.bitcast(args[1], ir.VectorType(ir.IntType(1), 64))
        return b.select(where, b.sub(_bytes(0), args[0]), args[0])

    return out(v, types.int64), codegen


@intrinsic(prefer_literal=True)
def signed_codes(typingctx, values, words, bias):
    """bias - value where the bit of a column is set, else bias + value: 8 x u8x64 in unpack's order, a literal bias.

    ``words``: u32x16, bit c of lane r belongs to column c of row r.
    """

    def codegen(context, b, sig, args):
        bytes = b.bitcast(args[1], u8x64.ir)
        middle = _bytes(bias.literal_value)

        def emit(j):
            v = b.extract_value(args[0], j)
            mine = b.shuffle_vector(bytes, bytes, _mask([4 * r + j // 2 for r in range(16) for _ in range(4)]))
            bits = ir.Constant(u8x64.ir, [1 << (j % 2 * 4 + i) for i in range(4)] * 16)
            negative = b.icmp_unsigned("!=", b.and_(mine, bits), _bytes(0))
            return b.select(negative, b.sub(middle, v), b.add(middle, v))

        return _each(context, b, values, emit)

    return values(values, words, bias), codegen


def _two_words(b, points):
    """16 points (i64 each): their first words and their second, two u8x64."""
    halves = []
    for first in (0, 8):
        v = ir.Constant(ir.VectorType(_I64, 8), ir.Undefined)
        for k in range(8):
            v = b.insert_element(v, points[first + k], _I32(k))
        halves.append(b.bitcast(v, ir.VectorType(_I32, 16)))
    return [b.bitcast(b.shuffle_vector(*halves, _mask(range(odd, 32, 2))), u8x64.ir) for odd in (0, 1)]


def _emit_points(context, b, table_type, table, index):
    """16 points of 8 bytes by number: their first words and their second, two u8x64. Two gathers take 1.5 times as long."""
    base = _address(context, b, table_type, table, _I64(0), _I64)
    place = _laid_down(b, index)
    return _two_words(b, [b.load(b.gep(base, [place(k)]), align=1) for k in range(16)])


@intrinsic
def points_of_8(typingctx, table, i0, i1, i2, i3):
    """32 columns of 16 rows from four u32x16 indices into a table of 8 bytes a point: 8 x u8x64."""
    out = types.UniTuple(u8x64, 8)

    def codegen(context, b, sig, args):
        result = ir.Constant(context.get_value_type(out), ir.Undefined)
        vectors = [v for index in args[1:] for v in _emit_points(context, b, sig.args[0], args[0], index)]
        for k, v in enumerate(vectors):
            result = b.insert_value(result, v, k)
        return result

    return out(table, i0, i1, i2, i3), codegen


@intrinsic
def points_of_rows(typingctx, table, w, at, near, far):
    """`points_of_8` for indices of a byte that lie in memory, four per row: row r's at ``at`` + r % 4 near + r // 4 far.

    A load for each point instead of two gathers of a word, which are slow on many processors.
    """
    out = types.UniTuple(u8x64, 8)

    def codegen(context, b, sig, args):
        table, w, at, near, far = args
        grid = _address(context, b, sig.args[0], table, _I64(0), _I64)
        points: list[list] = [[], [], [], []]
        for r in range(16):
            if r % 4 == 0:
                group, at = at, b.add(at, far)
            word = b.load(_address(context, b, sig.args[1], w, group, _I32), align=1)
            group = b.add(group, near)
            for k in range(4):
                i = b.zext(b.and_(b.lshr(word, _I32(8 * k)), _I32(255)), _I64)
                points[k].append(b.load(b.gep(grid, [i]), align=1))
        vectors = [v for k in range(4) for v in _two_words(b, points[k])]
        result = ir.Constant(context.get_value_type(out), ir.Undefined)
        for k, v in enumerate(vectors):
            result = b.insert_value(result, v, k)
        return result

    return out(table, w, types.intp, types.intp, types.intp), codegen


@jit(forceinline=True)
def points_of_4(table, low, high, more):
    """The same from 8 indices of 4 bytes a point: the bytes of two u32x16, bit j of ``more`` (u32x16) above byte j."""
    return (
        as_u8x64(look_word(table, (low & 255 | (more & 1) << 8) << 2)),
        as_u8x64(look_word(table, (low >> 8 & 255 | (more & 2) << 7) << 2)),
        as_u8x64(look_word(table, (low >> 16 & 255 | (more & 4) << 6) << 2)),
        as_u8x64(look_word(table, (low >> 24 | (more & 8) << 5) << 2)),
        as_u8x64(look_word(table, (high & 255 | (more & 16) << 4) << 2)),
        as_u8x64(look_word(table, (high >> 8 & 255 | (more & 32) << 3) << 2)),
        as_u8x64(look_word(table, (high >> 16 & 255 | (more & 64) << 2) << 2)),
        as_u8x64(look_word(table, (high >> 24 | (more & 128) << 1) << 2)),
    )


@jit(forceinline=True)
def eighth_signs(words):
    """Four groups of 7 sign bits (u32x16, bits 0..27) -> four bytes, the parity of each 7 as its eighth bit."""
    s = (words & 127) | (words & 0x3F80) << 1 | (words & 0x1FC000) << 2 | (words & 0xFE00000) << 3
    p = s ^ s >> 4
    p = p ^ p >> 2
    p = p ^ p >> 1
    return s | (p & 0x01010101) << 7


_PAIR = shuffle([k // 2 for k in range(16)])
_quarters = tuple(shuffle(range(16 * k, 16 * k + 16)) for k in range(4))
_q0, _q1, _q2, _q3 = _quarters
_STEP = constant("u32", [0, 4] * 8)


@jit(forceinline=True)
def columns_of_8(table, index):
    """64 columns of a row from 8 indices (the low lanes of u32x16): u8x64."""
    return as_u8x64(look_word(table, (_PAIR(index) << 3) + _STEP()))


@jit(forceinline=True)
def columns_of_4(table, index):
    """64 columns of a row from 16 indices (u32x16) of 4 bytes a point: u8x64."""
    return as_u8x64(look_word(table, index << 2))


@jit(forceinline=True)
def put_64(dst, to, values, s0, s1, s2, s3):
    """64 columns to dst + to: i8x64 times a scale for each 16."""
    store_f32x16(dst, to, to_f32x16(to_i32x16(_q0(values))) * s0)
    store_f32x16(dst, to + 64, to_f32x16(to_i32x16(_q1(values))) * s1)
    store_f32x16(dst, to + 128, to_f32x16(to_i32x16(_q2(values))) * s2)
    store_f32x16(dst, to + 192, to_f32x16(to_i32x16(_q3(values))) * s3)


@intrinsic(prefer_literal=True)
def signed_by_bit(typingctx, values, bytes, bias):
    """bias - value where bit j of a byte is set, else bias + value, for vector j of values: 8 x u8x64."""

    def codegen(context, b, sig, args):
        middle = _bytes(bias.literal_value)

        def emit(j):
            v = b.extract_value(args[0], j)
            negative = b.icmp_unsigned("!=", b.and_(args[1], _bytes(1 << j)), _bytes(0))
            return b.select(negative, b.sub(middle, v), b.add(middle, v))

        return _each(context, b, values, emit)

    return values(values, bytes, bias), codegen
