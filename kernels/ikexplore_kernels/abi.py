"""How a lowered graph calls its kernels: instruction records and op addresses.

A *record* is a row of int64: ``[address, chunks, argument 0, argument 1, ...]``. An op is a C function
``op(format a, format b, record, chunk, chunks, thread)``: the formats are empty values (i8, ignored) whose numba type
specialises one Python source for each quant type; ops without a format take plain i8. Arguments are raw addresses,
sizes, or float64 bits. Nothing here checks bounds: whoever lowers a graph checks shapes.

An op may leave to *parts* what differs from format to format (``has_parts``): C functions ``part(format a, 7 int64)`` whose
addresses stand at the end of its record. The op itself is then compiled once per kind of format (`Format.kind`).
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import carray, cfunc, typeof, types
from numba.extending import intrinsic

from ._cache import cache_in, inner, ops_folder

#: int64 items of a record; the first two are the op's address and its number of chunks
WIDTH, FIRST = 48, 2

_I64 = ir.IntType(64)


@intrinsic
def _pointer(typingctx, address):
    def codegen(context, b, sig, args):
        return b.inttoptr(args[0], ir.IntType(8).as_pointer())
    return types.voidptr(types.int64), codegen


@inner
def floats(address, n):
    """float32[n] at a raw address."""
    return carray(_pointer(address), (n,), np.float32)


@inner
def ints(address, n):
    """int32[n] at a raw address."""
    return carray(_pointer(address), (n,), np.int32)


@inner
def longs(address, n):
    """int64[n] at a raw address."""
    return carray(_pointer(address), (n,), np.int64)


@inner
def octets(address, n):
    """uint8[n] at a raw address."""
    return carray(_pointer(address), (n,), np.uint8)


def _make_get(kind, llvm_type, doc):
    """An intrinsic that loads one number at address + offset; much cheaper to compile than an array's item."""
    @intrinsic
    def get(typingctx, address, offset):
        def codegen(context, b, sig, args):
            return b.load(b.inttoptr(b.add(*args), llvm_type.as_pointer()), align=1)
        return kind(types.int64, types.int64), codegen
    get.__doc__ = doc
    return get


def _make_put(kind, llvm_type, doc):
    @intrinsic
    def put(typingctx, address, offset, value):
        def codegen(context, b, sig, args):
            b.store(args[2], b.inttoptr(b.add(args[0], args[1]), llvm_type.as_pointer()), align=1)
            return context.get_dummy_value()
        return types.void(types.int64, types.int64, kind), codegen
    put.__doc__ = doc
    return put


get_f32 = _make_get(types.float32, ir.FloatType(), "float32 at address + offset bytes.")
get_i32 = _make_get(types.int32, ir.IntType(32), "int32 at address + offset bytes.")
get_i64 = _make_get(types.int64, _I64, "int64 at address + offset bytes.")
get_u16 = _make_get(types.uint16, ir.IntType(16), "uint16 at address + offset bytes.")
get_u8 = _make_get(types.uint8, ir.IntType(8), "uint8 at address + offset bytes.")
put_f32 = _make_put(types.float32, ir.FloatType(), "Store a float32 at address + offset bytes.")
put_i32 = _make_put(types.int32, ir.IntType(32), "Store an int32 at address + offset bytes.")
put_i64 = _make_put(types.int64, _I64, "Store an int64 at address + offset bytes.")
put_u8 = _make_put(types.uint8, ir.IntType(8), "Store a uint8 at address + offset bytes.")
put_u16 = _make_put(types.uint16, ir.IntType(16), "Store a uint16 at address + offset bytes.")


@inner
def fill_f32(address, n, value):
    """n float32 of one value."""
    for i in range(n):
        put_f32(address, 4 * i, value)


@inner
def fill_i64(address, n, value):
    """n int64 of one value."""
    for i in range(n):
        put_i64(address, 8 * i, value)


@intrinsic
def arg(typingctx, record, i):
    """Argument i of a record, an int64."""
    def codegen(context, b, sig, args):
        at = b.add(args[0], b.mul(b.add(args[1], _I64(FIRST)), _I64(8)))
        return b.load(b.inttoptr(at, _I64.as_pointer()), align=8)
    return types.int64(types.int64, types.int64), codegen


@intrinsic
def argf(typingctx, record, i):
    """Argument i of a record whose bits are a float64, as float32."""
    def codegen(context, b, sig, args):
        at = b.add(args[0], b.mul(b.add(args[1], _I64(FIRST)), _I64(8)))
        return b.fptrunc(b.load(b.inttoptr(at, ir.DoubleType().as_pointer()), align=8), ir.FloatType())
    return types.float32(types.int64, types.int64), codegen


@intrinsic
def call_op(typingctx, address, record, chunk, chunks, thread):
    """Run one chunk of the op at a raw address."""
    def codegen(context, b, sig, args):
        i8 = ir.IntType(8)
        fn = b.inttoptr(args[0], ir.FunctionType(ir.VoidType(), [i8, i8, _I64, _I64, _I64, _I64]).as_pointer())
        b.call(fn, [i8(0), i8(0), *args[1:]])
        return context.get_dummy_value()
    return types.void(*[types.int64] * 5), codegen


@intrinsic
def call_part(typingctx, record, i, a, b, c, d, e, f, g):
    """Run part i of the record's op."""
    def codegen(context, builder, sig, args):
        at = builder.add(args[0], builder.sub(_I64(8 * (WIDTH - 1)), builder.mul(args[1], _I64(8))))
        address = builder.load(builder.inttoptr(at, _I64.as_pointer()), align=8)
        kind = ir.FunctionType(ir.VoidType(), [ir.IntType(8), *[_I64] * 7])
        builder.call(builder.inttoptr(address, kind.as_pointer()), [ir.IntType(8)(0), *args[2:]])
        return context.get_dummy_value()
    return types.void(*[types.int64] * 9), codegen


_compiled: dict[tuple, Any] = {}
_parts: dict[tuple, tuple[Callable, ...]] = {}


def has_parts(*parts: Callable) -> Callable:
    """Says that these functions do the format's share of an op's work."""
    def mark(op: Callable) -> Callable:
        _parts[op.__module__, op.__name__] = parts
        return op
    return mark


def _key(op: Callable, a: Any, b: Any) -> tuple:
    return op.__module__, op.__name__, a, b


def _address(op: Callable, signature: Any, *formats: Any) -> int:
    """Formats that a user's program registered have no files to tell versions apart: they are compiled anew."""
    key = _key(op, *(*formats, None)[:2])
    if key not in _compiled:
        sources = [f.sources for f in formats if f is not None]
        if None in sources:
            _compiled[key] = cfunc(signature, error_model="numpy")(op)
        else:
            with cache_in(ops_folder(*dict.fromkeys(stem for stems in sources for stem in stems))):
                _compiled[key] = cfunc(signature, cache=True, error_model="numpy")(op)
    return _compiled[key].address


def op_address(op: Callable, a: Any = None, b: Any = None) -> int:
    """The address of ``op`` compiled for the formats a and b (None: not used); compiled once, then cached on disk."""
    if (op.__module__, op.__name__) in _parts:
        part_addresses(op, a)
        a = a.kind
    kinds = [types.int8 if f is None else typeof(f) for f in (a, b)]
    return _address(op, types.void(*kinds, *[types.int64] * 4), a, b)


def part_addresses(op: Callable, a: Any) -> list[int]:
    """The addresses of an op's parts for format a, the first one last: how they stand at the end of a record."""
    parts = _parts.get((op.__module__, op.__name__), ())
    return [_address(part, types.void(typeof(a), *[types.int64] * 7), a) for part in reversed(parts)]


def is_compiled(op: Callable, a: Any = None, b: Any = None) -> bool:
    """Whether this process has the op already; for progress messages."""
    parts = _parts.get((op.__module__, op.__name__), ())
    return all(_key(part, a, None) in _compiled for part in parts) and _key(op, a.kind if parts else a, b) in _compiled
