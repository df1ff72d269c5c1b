"""The engine's own layout: 16 rows of a plain type, word by word.

Word i (bytes 4 i to 4 i + 3) of rows r..r + 15 lies at 64 i + 4 (row - r) of the group: bit for bit the file's bytes in
another order, and one stream through memory. A plain type's ``unpack`` serves it as it is, since the loads of `gather` know
the layout (`gather.Words`): 16 bytes of 16 rows, 12 insertions and 8 shuffles otherwise, are four loads of whole vectors.

It is for this engine alone: no file has it, ``names()`` does not list it, and there is no kernel for it on a GPU.
"""

from functools import cache

import numpy as np

from ._format import Code, Format

SUFFIX = "_own16"
ROWS = 16


@cache
def own16(plain: Format) -> Format | None:
    """The own layout of a plain format; None where its fields are no whole words, or it is dense or interleaved."""
    if plain.dense or plain.own or plain.interleave > 1 or plain.base is not None:
        return None
    if plain.block_bytes % 4 or plain.row_meta % 4:
        return None
    return Own16(plain)


class Own16(Format):
    """See the module. ``repack`` and ``unrepack`` of it go to and from the plain type."""

    def __init__(self, plain: Format):
        super().__init__(plain.name + SUFFIX, plain.id, block=plain.block, block_bytes=plain.block_bytes,
                         row_meta=plain.row_meta, interleave=ROWS, base=plain.name)
        self.sources = plain.sources

    @property
    def code(self) -> Code:  # type: ignore[override]
        """The plain type's, with loads of whole vectors."""
        return _code(self)


@cache
def _code(f: Own16) -> Code:
    from .base import as_own16

    assert f.base is not None
    code = f.base.code

    def words(address: int, rows: int, columns: int) -> np.ndarray:
        from ctypes import c_uint32

        count = rows * f.row_bytes(columns) // 4
        return np.ctypeslib.as_array((c_uint32 * count).from_address(address))

    def repack(src: int, dst: int, rows: int, columns: int) -> None:
        """Whole groups of rows of the plain type, addresses."""
        apart = words(src, rows, columns).reshape(rows // ROWS, ROWS, -1)
        words(dst, rows, columns).reshape(rows // ROWS, -1, ROWS)[:] = apart.transpose(0, 2, 1)

    def unrepack(src: int, dst: int, rows: int, columns: int) -> None:
        """The inverse."""
        mixed = words(src, rows, columns).reshape(rows // ROWS, -1, ROWS)
        words(dst, rows, columns).reshape(rows // ROWS, ROWS, -1)[:] = mixed.transpose(0, 2, 1)

    return Code(repack=repack, unrepack=unrepack, unpack=as_own16(code.unpack), bias=code.bias, sub=code.sub,
                has_min=code.has_min, apart=code.apart)
