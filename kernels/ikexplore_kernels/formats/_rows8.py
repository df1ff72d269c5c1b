"""Bytes of 8 interleaved rows: int8 q[quad][8][4], quad j (columns 4 j..4 j + 3) of all rows in 32 bytes."""

from .. import jit
from .gather import copy, join2x32


@jit
def bytes_to_rows8(src, s, dst, o, n):
    """n bytes of one row -> its places at o = start + 4 * row."""
    for j in range(n // 4):
        copy(dst, o + j * 32, src, s + j * 4, 4)


@jit
def bytes_from_rows8(src, o, dst, s, n):
    """The inverse of bytes_to_rows8."""
    for j in range(n // 4):
        copy(dst, s + j * 4, src, o + j * 32, 4)


@jit(forceinline=True)
def bytes_of_rows8(w, o, step):
    """32 columns of 16 rows (2 groups, ``step`` bytes apart), in unpack's order: 8 x u8x64."""
    return (
        join2x32(w, o, step),
        join2x32(w, o + 32, step),
        join2x32(w, o + 64, step),
        join2x32(w, o + 96, step),
        join2x32(w, o + 128, step),
        join2x32(w, o + 160, step),
        join2x32(w, o + 192, step),
        join2x32(w, o + 224, step),
    )
