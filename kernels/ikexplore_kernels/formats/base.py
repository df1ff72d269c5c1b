"""A format as a numba type: an empty value that specialises a kernel, and what kernels ask of it while they compile.

    @jit
    def kernel(q, w, base, stride, n_cols):              # q = formats.get("iq4_ks")
        for b in range(n_cols // 32):
            s0, s1, m0, m1, v = unpack(q, w, base, stride, b)

A format can also stand in a signature: ``types.void(numba.typeof(q), types.int64)``.
"""

from llvmlite import ir
from numba.core import types
from numba.extending import NativeValue, models, overload, register_model, unbox

from .._cache import jit, piece_options
from . import get
from ._format import Code, Format
from .gather import as_words

__all__ = [
    "Code",
    "Format",
    "FormatType",
    "bias",
    "block_bytes16",
    "by_eight",
    "columns",
    "dots",
    "halves",
    "has_min",
    "has_rest",
    "is_dense",
    "streams",
    "turn",
    "unpack",
    "widen",
]


PIECE = piece_options(forceinline=True)


class FormatType(types.Type):
    """The numba type of one format. Its name holds all that kernels depend on, so caches tell formats apart."""

    def __init__(self, format, bias, sub, has_min, dense, size, block, by_eight, dots=0, number=None,
                 interleave=1, turn=1):
        self.format, self.bias, self.sub, self.has_min, self.dense, self.size = format, bias, sub, has_min, dense, size
        self.block, self.by_eight, self.dots = block, by_eight, dots
        self.streams, self.turn = 16 // interleave, turn
        own = "" if number is None else f",number={number}"
        parts = f"bias={bias},sub={sub},min={has_min},dense={dense},bytes={size},block={block},eight={by_eight},dots={dots}"
        parts += f",streams={self.streams},turn={turn}"
        super().__init__(name=f"Format({format},{parts}{own})")


@register_model(FormatType)
class _FormatModel(models.PrimitiveModel):
    def __init__(self, dmm, fe_type):
        super().__init__(dmm, fe_type, ir.IntType(8))


@unbox(FormatType)
def _unbox(typ, obj, c):
    return NativeValue(ir.IntType(8)(0))


def _constant(ask, doc):
    """A function that compiles to a constant of the format."""

    def of_format(q):
        raise NotImplementedError("for use inside compiled kernels")

    of_format.__doc__ = doc

    @overload(of_format, inline="always")
    def _impl(q):
        if isinstance(q, FormatType):
            value = ask(q)
            return lambda q: value

    return of_format


bias = _constant(lambda q: q.bias, "What unpack added to the codes to make them unsigned.")
halves = _constant(lambda q: q.sub == 16, "Has each half of a block of 32 a scale of its own?")
has_min = _constant(lambda q: q.has_min, "Is a minimum subtracted?")
dots = _constant(lambda q: q.dots, "How codes are multiplied, see `Format.dots`.")
is_dense = _constant(lambda q: q.dense, "Does the format hold floats, with no integer codes?")
by_eight = _constant(lambda q: q.by_eight, "Are there always eight blocks of 32 columns, with parts in common?")
block_bytes16 = _constant(lambda q: q.size, "Average bytes of 16 rows x 32 weights.")

streams = _constant(lambda q: q.streams, "Rows, or interleaved groups of them, that 16 rows are.")
turn = _constant(lambda q: q.turn, "Blocks of 32 columns that a turn of the loop over a column takes, see `Code.turn`.")
has_rest = _constant(lambda q: q.block // 32 % q.turn != 0, "Can there be blocks beyond the last whole turn?")


def unpack(q, w, base, stride, b):
    """16 rows x 32 columns -> (s0, s1, m0, m1, (v0, ..., v7)).

    ``w``: uint8 array or int64 address; ``base``: byte offset of the first of 16 rows; ``stride``: bytes from row to
    row; ``b``: number of the block of 32 columns. Lane 4 r + i of u8x64 v[j] is the code of row r, column
    32 b + 4 j + i; the weight is s * (code - bias) - m with s0, m0 (f32x16, a lane per row) for the first 16 columns
    and s1, m1 for the others. Interleaved types: base is where the first group of rows starts.
    """
    raise NotImplementedError("for use inside compiled kernels")


def widen(q, w, base, stride, c):
    """f32x16: columns c..c+15 of the row-major dense row that starts at byte ``base``."""
    raise NotImplementedError("for use inside compiled kernels")


def columns(q, w, base, c):
    """f32x16: column c of the 16 rows of the interleaved dense group that starts at byte ``base``."""
    raise NotImplementedError("for use inside compiled kernels")


def as_own16(plain):
    """A plain type's ``unpack`` (source) for 16 rows in the engine's own layout, at an address."""
    rows = jit(forceinline=True)(plain)

    def of_words(q, w, base, stride, b):
        return rows(q, as_words(w + base), 0, stride, b)

    return of_words


@overload(unpack, jit_options=PIECE)
def _unpack(q, w, base, stride, b):
    if isinstance(q, FormatType):
        return get(q.format).code.unpack


@overload(widen, jit_options=PIECE)
def _widen(q, w, base, stride, c):
    if isinstance(q, FormatType):
        return get(q.format).code.widen


@overload(columns, jit_options=PIECE)
def _columns(q, w, base, c):
    if isinstance(q, FormatType):
        return get(q.format).code.columns
