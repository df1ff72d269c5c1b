"""A kernel with a fault in it, to be found: iq4_kt whose matrix products lose the sign of a block's scale.

For the tutorial about differences between two programs. The bytes, the encoder and the decoder are those of iq4_kt; only
what matrix products see is wrong. It is no type of ggml and is entered on request alone.
"""

from .. import jit
from ..simd import *
from . import get, iq4_kt
from ._format import Code, Format

NAME = "iq4_kt_flawed"
_right = jit(forceinline=True, cache=False)(iq4_kt.unpack)


def unpack(q, w, base, stride, b):
    s0, s1, m0, m1, v = _right(q, w, base, stride, b)
    return vabs(s0), vabs(s1), m0, m1, v


def flawed(number):
    """The Format with type id ``number``."""
    right = get("iq4_kt")
    code = Code(decode=iq4_kt.decode, encode=iq4_kt.encode, unpack=unpack, bias=right.code.bias)
    return Format(NAME, number, block=right.block, block_bytes=right.block_bytes, row_meta=right.row_meta, code=code,
                  sources=("iq4_kt",))
