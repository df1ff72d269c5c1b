"""The vector helpers that need an instruction of the target CPU: byte dot products and table look-ups."""

from llvmlite import binding as llvm
from llvmlite import ir
from numba.extending import intrinsic

from .vectors import ARM, AVX2, FEATURES, VNNI256, VNNI512, _call, _concat, _split, _take


def _vnni(b, acc, u, s, bits):
    """vpdpbusd of one register; the operand types changed in LLVM 22."""
    name = f"llvm.x86.avx512.vpdpbusd.{bits}"
    if llvm.llvm_version_info[0] < 22:
        u, s = (b.bitcast(v, acc.type) for v in (u, s))
    return _call(b, name, acc.type, [acc, u, s])


def _maddubs(b, u, s):
    return _call(b, "llvm.x86.avx2.pmadd.ub.sw", ir.VectorType(ir.IntType(16), 16), [u, s])


def _maddw(b, v, k):
    ones = ir.Constant(v.type, [k] * 16)
    return _call(b, "llvm.x86.avx2.pmadd.wd", ir.VectorType(ir.IntType(32), 8), [v, ones])


def _neon_dp(b, acc, u, s, seven):
    if "i8mm" in FEATURES:
        return _call(b, "llvm.aarch64.neon.usdot.v4i32.v16i8", acc.type, [acc, u, s])
    sdot = "llvm.aarch64.neon.sdot.v4i32.v16i8"
    if seven:
        return _call(b, sdot, acc.type, [acc, u, s])
    ones, zero = ir.Constant(s.type, [1] * 16), ir.Constant(acc.type, [0] * 4)
    total = _call(b, sdot, acc.type, [zero, ones, s])  # u = 128 + (u ^ 128 as signed)
    acc = b.add(acc, b.shl(total, ir.Constant(acc.type, [7] * 4)))
    return _call(b, sdot, acc.type, [acc, b.xor(u, ir.Constant(u.type, [128] * 16)), s])


def _emit_dp(b, acc, u, s, seven):
    """acc[lane] += sum of u[4 lane + j] * s[4 lane + j]; exact for every u8 * i8."""
    if VNNI512:
        return _vnni(b, acc, u, s, 512)
    if VNNI256 or AVX2:
        out = []
        for a, p, q in zip(_split(b, acc, 2), _split(b, u, 2), _split(b, s, 2)):
            if VNNI256:
                a = _vnni(b, a, p, q, 256)
            elif seven:
                a = b.add(a, _maddw(b, _maddubs(b, p, q), 1))
            else:  # pmaddubsw saturates beyond 7 bits: do the top bit on its own
                low = b.and_(p, ir.Constant(p.type, [127] * 32))
                top = b.lshr(p, ir.Constant(p.type, [7] * 32))
                a = b.add(a, _maddw(b, _maddubs(b, low, q), 1))
                a = b.add(a, _maddw(b, _maddubs(b, top, q), 128))
            out.append(a)
        return _concat(b, out)
    if ARM and not FEATURES.isdisjoint({"dotprod", "i8mm"}):
        return _concat(b, [_neon_dp(b, a, p, q, seven) for a, p, q in zip(_split(b, acc, 4), _split(b, u, 4), _split(b, s, 4))])
    wide = ir.VectorType(ir.IntType(32), 64)
    p = b.mul(b.zext(u, wide), b.sext(s, wide))
    pair = b.add(_take(b, p, range(0, 64, 2)), _take(b, p, range(1, 64, 2)))
    return b.add(acc, b.add(_take(b, pair, range(0, 32, 2)), _take(b, pair, range(1, 32, 2))))


#: AVX2 alone has no product of bytes that cannot overflow, but for unsigned ones of 7 bits or where one sign moves to the other
#: side. So codes of 8 bits are multiplied as signed ones there, which are ``SHIFT`` less than what ``unpack`` gave.
SHIFT = 128 if AVX2 and not (VNNI512 or VNNI256) else 0


def _emit_shifted_dp(b, acc, u, s):
    """acc[lane] += sum of (u[4 lane + j] - SHIFT) * s[4 lane + j]; exact for s from -127 on."""
    if not SHIFT:
        return _emit_dp(b, acc, u, s, False)
    out, half = [], ir.VectorType(ir.IntType(8), 32)
    for a, p, q in zip(_split(b, acc, 2), _split(b, u, 2), _split(b, s, 2)):
        p = b.xor(p, ir.Constant(half, [128] * 32))
        size = _call(b, "llvm.abs.v32i8", half, [p, ir.Constant(ir.IntType(1), 0)])
        out.append(b.add(a, _maddw(b, _maddubs(b, size, _call(b, "llvm.x86.avx2.psign.b", half, [q, p])), 1)))
    return _concat(b, out)


@intrinsic
def dpbusd(typingctx, acc, u, s):
    return acc(acc, u, s), lambda context, b, sig, args: _emit_dp(b, *args, False)


@intrinsic
def dpbusd_shifted(typingctx, acc, u, s):
    """acc[lane] += sum of (u[4 lane + j] - SHIFT) * s[4 lane + j], for s from -127 on."""
    return acc(acc, u, s), lambda context, b, sig, args: _emit_shifted_dp(b, *args)


@intrinsic
def dpbusd7(typingctx, acc, u, s):
    """dpbusd for u <= 127, which costs half as much on plain AVX2."""
    return acc(acc, u, s), lambda context, b, sig, args: _emit_dp(b, *args, True)


@intrinsic
def lookup16(typingctx, table, index):
    """table[index] for index < 16; table is 16 bytes, repeated four times."""
    def codegen(context, b, sig, args):
        tab, idx = args
        by = ir.VectorType(ir.IntType(8), 64)
        if "avx512bw" in FEATURES:
            return _call(b, "llvm.x86.avx512.pshuf.b.512", by, [tab, idx])
        if AVX2 or "ssse3" in FEATURES or ARM:
            k, name = (2, "llvm.x86.avx2.pshuf.b") if AVX2 else \
                      (4, "llvm.aarch64.neon.tbl1.v16i8") if ARM else (4, "llvm.x86.ssse3.pshuf.b.128")
            parts = zip(_split(b, tab, k), _split(b, idx, k))
            return _concat(b, [_call(b, name, t.type, [t, i]) for t, i in parts])
        out = _take(b, tab, [0] * 64)
        for j in range(1, 16):
            hit = b.icmp_unsigned("==", idx, ir.Constant(by, [j] * 64))
            out = b.select(hit, _take(b, tab, [j] * 64), out)
        return out
    return table(table, index), codegen


