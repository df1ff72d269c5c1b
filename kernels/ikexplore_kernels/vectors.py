"""Vector types for numba kernels: values, operators, loads, stores, casts.

Kernels written with this module read like scalar numba code, but a variable may
hold a whole vector: ``u8x64``, ``i32x16``, ``f32x16`` ...  Each vector type is a
numba type whose data model is an LLVM vector, so values live in registers, pass
through @njit calls, and LLVM does the rest.

    v   = load_u8x64(w, i)            # 64 bytes at &w[i], no alignment, no bounds check
    lo  = v & 15                      # operators: + - * & | ^ << >>, scalar rhs is splatted
    acc = dpbusd(acc, lo, bcast4(x, j))
    f   = fma(to_f32x16(acc), scale, f)

Vectors are always 512 bits wide *logically*.  On AVX2 or NEON LLVM splits them;
only the few helpers that need a target instruction (dpbusd, lookup16) differ by
CPU, and they choose while the kernel is being compiled, from the very features
numba compiles for (these are part of numba's cache key, so cached code is safe).

Memory is an array (the index counts its items) or a raw address, an int64 (the index counts bytes).
"""
import operator

from llvmlite import binding as llvm
from llvmlite import ir
from numba.core import cgutils, config, types
from numba.core.imputils import lower_builtin
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import intrinsic, models, register_model

# ------------------------------------------------------------------ target CPU


def _features():
    """Feature names numba compiles for (NUMBA_CPU_NAME/FEATURES are honoured)."""
    text = config.CPU_FEATURES
    if text is None:
        if config.CPU_NAME not in (None, "host"):
            return set()
        return {k for k, on in llvm.get_host_cpu_features().items() if on}
    return {f[1:] for f in text.split(",") if f.startswith("+")}


FEATURES = _features()
ARM = llvm.get_process_triple().startswith(("aarch64", "arm64"))
VNNI512 = {"avx512vnni", "avx512bw"} <= FEATURES
VNNI256 = "avxvnni" in FEATURES or {"avx512vnni", "avx512vl"} <= FEATURES
AVX2 = "avx2" in FEATURES
#: vector registers as 512-bit units: how large a tile of accumulators may be
REGS = 32 if "avx512f" in FEATURES else 8

# ---------------------------------------------------------------- vector types

_IR = {"i8": ir.IntType(8), "u8": ir.IntType(8), "i16": ir.IntType(16), "u16": ir.IntType(16),
       "i32": ir.IntType(32), "u32": ir.IntType(32), "f16": ir.HalfType(), "f32": ir.FloatType()}
_BITS = {k: int(k[1:]) for k in _IR}


class Vec(types.Type):
    def __init__(self, kind, n):
        self.kind, self.n = kind, n
        super().__init__(name=f"{kind}x{n}")

    @property
    def ir(self):
        return ir.VectorType(_IR[self.kind], self.n)

    @property
    def is_float(self):
        return self.kind[0] == "f"

    @property
    def signed(self):
        return self.kind[0] == "i"


@register_model(Vec)
class _VecModel(models.PrimitiveModel):
    def __init__(self, dmm, fe_type):
        super().__init__(dmm, fe_type, fe_type.ir)


def _const(vec, x):
    return ir.Constant(vec.ir, [ir.Constant(vec.ir.element, x)] * vec.n)


def _splat(b, vec, scalar):
    v = b.insert_element(ir.Constant(vec.ir, ir.Undefined), scalar, ir.Constant(ir.IntType(32), 0))
    mask = ir.Constant(ir.VectorType(ir.IntType(32), vec.n), None)
    return b.shuffle_vector(v, ir.Constant(vec.ir, ir.Undefined), mask)


def _mask(lanes):
    return ir.Constant(ir.VectorType(ir.IntType(32), len(lanes)), list(lanes))


def _take(b, v, lanes):
    return b.shuffle_vector(v, ir.Constant(v.type, ir.Undefined), _mask(lanes))


def _concat(b, parts):
    while len(parts) > 1:
        n = parts[0].type.count
        parts = [b.shuffle_vector(p, q, _mask(range(2 * n))) for p, q in zip(parts[::2], parts[1::2])]
    return parts[0]


def _split(b, v, k):
    n = v.type.count // k
    return [_take(b, v, range(i * n, i * n + n)) for i in range(k)]


def _call(b, name, ret, args):
    fn = cgutils.get_or_insert_function(b.module, ir.FunctionType(ret, [a.type for a in args]), name)
    return b.call(fn, args)


def _widen_half(b, v):
    """half -> float, scalar or vector; without F16C LLVM would call a libgcc symbol."""
    n = getattr(v.type, "count", None)
    i16, i32, f32 = ((t if n is None else ir.VectorType(t, n)) for t in (ir.IntType(16), ir.IntType(32), ir.FloatType()))
    if "f16c" in FEATURES or ARM:
        return b.fpext(v, f32)

    def const(t, x):
        return ir.Constant(t, x if n is None else [x] * n)
    h = b.zext(b.bitcast(v, i16), i32)
    size = b.bitcast(b.shl(b.and_(h, const(i32, 0x7FFF)), const(i32, 13)), f32)
    size = b.fmul(size, const(f32, 2.0 ** 112))  # moves the exponent, subnormals included
    sign = b.shl(b.and_(h, const(i32, 0x8000)), const(i32, 16))
    return b.bitcast(b.or_(b.bitcast(size, i32), sign), f32)


# ------------------------------------------------------------------- operators

_OPS = {operator.add: ("add", "add", "fadd"), operator.sub: ("sub", "sub", "fsub"),
        operator.mul: ("mul", "mul", "fmul"), operator.truediv: ("sdiv", "udiv", "fdiv"), operator.and_: ("and_", "and_", None),
        operator.or_: ("or_", "or_", None), operator.xor: ("xor", "xor", None),
        operator.lshift: ("shl", "shl", None), operator.rshift: ("ashr", "lshr", None)}


def _register_operator(op, names):
    @infer_global(op)
    class _(AbstractTemplate):
        def generic(self, args, kws):
            if isinstance(args[0], Vec):
                r = types.unliteral(args[1])
                if r == args[0] or isinstance(r, types.Number):
                    return signature(args[0], args[0], r)

    def emit(context, b, sig, args):
        vec, rhs = sig.args
        r = args[1]
        if not isinstance(rhs, Vec):
            scalar = {"f32": types.float32}.get(vec.kind) or getattr(types, f"{'' if vec.signed else 'u'}int{_BITS[vec.kind]}")
            r = _splat(b, vec, context.cast(b, r, rhs, scalar))
        return getattr(b, names[2 if vec.is_float else 0 if vec.signed else 1])(args[0], r)

    lower_builtin(op, Vec, Vec)(emit)
    lower_builtin(op, Vec, types.Number)(emit)


for _op, _names in _OPS.items():
    _register_operator(_op, _names)

# ------------------------------------------------- per-type loads, stores, casts


def _address(context, b, aryty, ary, index, pointee):
    if isinstance(aryty, types.Integer):
        return b.inttoptr(b.add(ary, index), pointee.as_pointer())
    data = cgutils.create_struct_proxy(aryty)(context, b, value=ary).data
    return b.bitcast(b.gep(data, [index]), pointee.as_pointer())


def _make_load(vec):
    @intrinsic
    def load(typingctx, arr, i):
        def codegen(context, b, sig, args):
            return b.load(_address(context, b, sig.args[0], args[0], args[1], vec.ir), align=1)
        return vec(arr, types.intp), codegen
    return load


def _make_store(vec):
    @intrinsic
    def store(typingctx, arr, i, v):
        def codegen(context, b, sig, args):
            b.store(args[2], _address(context, b, sig.args[0], args[0], args[1], vec.ir), align=1)
            return context.get_dummy_value()
        return types.void(arr, types.intp, vec), codegen
    return store


def _make_splat(vec):
    scalar = getattr(types, ("float" if vec.is_float else "int" if vec.signed else "uint") + str(_BITS[vec.kind]))

    @intrinsic
    def splat(typingctx, x):
        return vec(scalar), lambda context, b, sig, args: _splat(b, vec, args[0])
    return splat


def _make_as(vec):
    @intrinsic
    def reinterpret(typingctx, v):
        return vec(v), lambda context, b, sig, args: b.bitcast(args[0], vec.ir)
    return reinterpret


def _make_to(vec):
    @intrinsic
    def convert(typingctx, v):
        def codegen(context, b, sig, args):
            src = sig.args[0]
            if src.kind == "f16":
                return _widen_half(b, args[0])
            if vec.is_float:
                return (b.sitofp if src.signed else b.uitofp)(args[0], vec.ir)
            if src.is_float:
                return b.fptosi(args[0], vec.ir)
            if _BITS[vec.kind] < _BITS[src.kind]:
                return b.trunc(args[0], vec.ir)
            return (b.sext if src.signed else b.zext)(args[0], vec.ir)
        return vec(v), codegen
    return convert


for _kind, _n in [("i8", 64), ("u8", 64), ("i8", 32), ("u8", 32), ("i8", 16), ("u8", 16), ("i16", 32), ("i16", 16),
                  ("u16", 16), ("u16", 32), ("i32", 16), ("u32", 16), ("f16", 16), ("f32", 16)]:
    _v = Vec(_kind, _n)
    globals()[_v.name] = _v
    globals()["load_" + _v.name] = _make_load(_v)
    globals()["store_" + _v.name] = _make_store(_v)
    globals()["splat_" + _v.name] = _make_splat(_v)
    globals()["as_" + _v.name] = _make_as(_v)
    globals()["to_" + _v.name] = _make_to(_v)


def constant(kind, values):
    """An intrinsic that returns a constant vector: TABLE = constant("u8", [...] * 4)."""
    vec = Vec(kind, len(values))

    @intrinsic
    def const(typingctx):
        return vec(), lambda context, b, sig, args: ir.Constant(vec.ir, [ir.Constant(vec.ir.element, x) for x in values])
    return const


def shuffle(lanes):
    """An intrinsic that permutes (or widens, or narrows) a vector by constant lane numbers."""
    @intrinsic
    def shuf(typingctx, v):
        out = Vec(v.kind, len(lanes))
        return out(v), lambda context, b, sig, args: _take(b, args[0], lanes)
    return shuf


@intrinsic
def concat(typingctx, a, c):
    """Two vectors of one type, end to end."""
    return Vec(a.kind, 2 * a.n)(a, c), lambda context, b, sig, args: _concat(b, list(args))


@intrinsic
def bcast4(typingctx, arr, i):
    """Four bytes at &arr[i], repeated 16 times, as i8x64."""
    out = Vec("i8", 64)

    def codegen(context, b, sig, args):
        i32 = ir.IntType(32)
        word = b.load(_address(context, b, sig.args[0], args[0], args[1], i32), align=1)
        return b.bitcast(_splat(b, Vec("i32", 16), word), out.ir)
    return out(arr, types.intp), codegen


@intrinsic
def load_f16(typingctx, arr, i):
    """One half at &arr[i] as a float32 scalar."""
    def codegen(context, b, sig, args):
        half = b.load(_address(context, b, sig.args[0], args[0], args[1], ir.HalfType()), align=1)
        return _widen_half(b, half)
    return types.float32(arr, types.intp), codegen


def _make_prefetch(locality, doc, write=0):
    @intrinsic
    def ask(typingctx, arr, i):
        def codegen(context, b, sig, args):
            p = _address(context, b, sig.args[0], args[0], args[1], ir.IntType(8))
            i32 = ir.IntType(32)
            _call(b, "llvm.prefetch.p0", ir.VoidType(), [p, i32(write), i32(locality), i32(1)])
            return context.get_dummy_value()
        return types.void(arr, types.intp), codegen
    ask.__doc__ = doc
    return ask


prefetch = _make_prefetch(3, "Ask for the cache line of &arr[i] ahead of its use.")
prefetch_far = _make_prefetch(2, "The same, well ahead: into the second-level cache.")
prefetch_write = _make_prefetch(3, "Ask for the cache line of &arr[i] to write to it.", write=1)


# ------------------------------------------------------------------ arithmetic


def _emit_fma(b, x, y, z):
    return _call(b, f"llvm.fma.v{x.type.count}f32", x.type, [x, y, z])


@intrinsic
def fma(typingctx, x, y, z):
    return z(x, y, z), lambda context, b, sig, args: _emit_fma(b, *args)


@intrinsic
def vabs(typingctx, v):
    return v(v), lambda context, b, sig, args: _call(b, f"llvm.fabs.v{v.n}f32", v.ir, list(args))


def _emit_max(b, x, y):
    return b.select(b.fcmp_ordered(">", x, y), x, y)


@intrinsic
def vmax(typingctx, x, y):
    return x(x, y), lambda context, b, sig, args: _emit_max(b, *args)


@intrinsic
def vmin(typingctx, x, y):
    return x(x, y), lambda context, b, sig, args: b.select(b.fcmp_ordered("<", *args), *args)


def _reduce(b, v, step):
    while v.type.count > 1:
        v = step(*_split(b, v, 2)) if v.type.count > 2 else step(_take(b, v, [0]), _take(b, v, [1]))
    return b.extract_element(v, ir.Constant(ir.IntType(32), 0))


@intrinsic
def vsum(typingctx, v):
    """Sum of all lanes."""
    def codegen(context, b, sig, args):
        return _reduce(b, args[0], b.fadd if v.is_float else b.add)
    return (types.float32 if v.is_float else types.int32)(v), codegen


@intrinsic
def vfirst(typingctx, v):
    """Lane 0."""
    out = types.float32 if v.is_float else types.int32
    return out(v), lambda context, b, sig, args: b.extract_element(args[0], ir.IntType(32)(0))


@intrinsic
def vtop(typingctx, v):
    """Largest lane of a float vector."""
    return types.float32(v), lambda context, b, sig, args: _reduce(b, args[0], lambda x, y: _emit_max(b, x, y))


