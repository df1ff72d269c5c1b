"""Quant types of the user's own, entered while the program runs: everything that takes a type's name then takes theirs."""

import inspect
import re
from collections.abc import Callable
from itertools import count
from typing import Any

import numpy as np

from ikexplore_kernels import formats

from ..errors import QuantError
from ..gguf import types as file_types
from ..graph import types as graph_types
from ..qtypes import Quant, quant

UNPACK = ["q", "w", "base", "stride", "b"]
_next_id = count(file_types.OWN_IDS.start)


def register_quant(
    name: str,
    *,
    block_bytes: int,
    decode: Callable[..., Any],
    encode: Callable[..., Any],
    unpack: Callable[..., Any],
    block: int = 32,
    row_meta: int = 0,
    bias: int = 0,
    sub: int = 32,
    has_min: bool = False,
) -> Quant:
    """Enter a quant type and give it as `ikx.quant` would. Given again under its name, it takes the earlier one's place.

    A row of ``n`` columns takes ``row_meta + n / block * block_bytes`` bytes; ``block`` is 32 or a multiple of it.

    decode(rows uint8 [r, bytes], n_cols) -> float32 [r, n_cols] and encode(x float32 [r, n_cols], w float32 [n_cols]) ->
    uint8 [r, bytes] are NumPy; ``w`` says how much each column counts (all 1 without an imatrix).
    unpack(q, w, base, stride, b) is compiled into the matrix products: see `ikexplore_kernels.formats.base.unpack` for
    what it gets and gives. ``bias``: what its codes are too large by, 0 to 128; ``sub`` 16 where each half of a block of
    32 has a scale of its own; ``has_min`` where it gives minima that are subtracted (its codes then have no bias).

    Whether unpack and decode mean the same weights shows `ikx.crosscheck`, or a product with rows of the identity. The
    type lives as long as the process. It has no kernel on a GPU and no repacked form, and no other program reads it.
    Raises QuantError for a ``name`` of ggml's, sizes that cannot be, or codecs that do not give the shapes above.

    >>> import ikexplore as ikx
    >>> from ikexplore_kernels.formats import q8_0
    >>> same = ikx.quant("q8_0")
    >>> mine = ikx.register_quant("mine", block_bytes=34, decode=same.decode, encode=same.encode, unpack=q8_0.unpack, bias=128)
    >>> mine.bpw, "mine" in ikx.quants()
    (8.5, True)
    >>> ikx.forget_quant("mine")
    """
    _sizes(name, block, block_bytes, row_meta)
    _kernel(name, bias, sub, has_min, unpack)
    number = next(_next_id)
    if number not in file_types.OWN_IDS:
        raise QuantError(f"{name}: {len(file_types.OWN_IDS)} types have been registered; start a new process for more")
    code = formats.Code(decode_rows=decode, encode_rows=encode, unpack=unpack, bias=bias, sub=sub, has_min=has_min)
    return enter(formats.Format(name, number, block=block, block_bytes=block_bytes, row_meta=row_meta, code=code))


def flawed_quant() -> Quant:
    """Enter ``iq4_kt_flawed``: the bytes, encoder and decoder of iq4_kt, and a fault in its matrix products. To practise on."""
    from ikexplore_kernels.formats import _flawed

    if _flawed.NAME in file_types.TYPES:
        return quant(_flawed.NAME)
    return enter(_flawed.flawed(next(_next_id)))


def enter(format: formats.Format) -> Quant:
    """A Format with code of its own, tried on two rows and entered in all tables. Raises QuantError as register_quant."""
    found = Quant(format)
    x = np.random.default_rng(0).standard_normal((2, 2 * format.block)).astype(np.float32)
    found.decode(found.encode(x), x.shape[1])
    try:
        formats.register(format)
    except ValueError as error:
        raise QuantError(str(error)) from None
    info = file_types.TypeInfo(format.name, format.id, format.block, format.block_bytes, format.row_meta, 1)
    file_types.add(info)
    graph_types.enter(info)
    return found


def forget_quant(name: str) -> None:
    """Take the registered type ``name`` away again. Raises QuantError for a type of ggml or an unknown one.

    >>> import ikexplore as ikx
    >>> ikx.forget_quant(ikx.demo.flawed_quant().name)
    >>> "iq4_kt_flawed" in ikx.quants()
    False
    """
    try:
        formats.forget(quant(name).name)
    except ValueError as error:
        raise QuantError(str(error)) from None
    file_types.remove(name.lower())


def _sizes(name: str, block: int, block_bytes: int, row_meta: int) -> None:
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,31}", name):
        raise QuantError(f"{name!r} cannot name a type: small letters, digits and _, at most 32, a letter first")
    if name in file_types.TYPES and file_types.TYPES[name].id not in file_types.OWN_IDS:
        raise QuantError(f"{name} is a type of ggml; give yours another name")
    if block % 32 or not 32 <= block <= 4096:
        raise QuantError(f"{name}: block {block} must be a multiple of 32 up to 4096: kernels work on 32 columns at a time")
    if block_bytes < 1 or row_meta < 0:
        raise QuantError(f"{name}: block_bytes {block_bytes} must be at least 1 and row_meta {row_meta} at least 0")


def _kernel(name: str, bias: int, sub: int, has_min: bool, unpack: Callable[..., Any]) -> None:
    if not 0 <= bias <= 128 or (bias and has_min):
        raise QuantError(f"{name}: bias {bias} must be from 0 to 128, and 0 with has_min")
    if sub not in (16, 32):
        raise QuantError(f"{name}: sub {sub} must be 16 or 32, the columns that share a scale")
    if not inspect.isfunction(unpack) or list(inspect.signature(unpack).parameters) != UNPACK:
        raise QuantError(f"{name}: unpack must be a plain function of ({', '.join(UNPACK)}); it is compiled where it is used")
