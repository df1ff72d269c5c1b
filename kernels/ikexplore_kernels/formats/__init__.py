"""Quant types: one type is one file here, and one line in the registry below.

``get("iq4_ks")`` gives a `Format`. The line holds what a reader of headers needs (id, block, bytes, pairs); the file
of that name holds the code (``CODE``) and is imported when a format first decodes, encodes or meets a kernel.
Type ids and block sizes are ggml's (ik_llama.cpp's numbering above 96).
"""

import difflib

from ._format import Format

__all__ = ["Format", "get", "names"]

_ALL = [
    Format("f32", 0, block=1, block_bytes=4, dense=True),
    Format("f16", 1, block=1, block_bytes=2, dense=True, repacked="bf16_r16"),
    Format("q4_0", 2, block=32, block_bytes=18, repacked="q4_0_r8"),
    Format("q5_0", 6, block=32, block_bytes=22, repacked="q5_0_r4"),
    Format("q8_0", 8, block=32, block_bytes=34, repacked="q8_0_r8"),
    Format("q4_k", 12, block=256, block_bytes=144, repacked="q4_k_r4"),
    Format("q5_k", 13, block=256, block_bytes=176, repacked="q5_k_r4"),
    Format("q6_k", 14, block=256, block_bytes=210, repacked="q6_k_r4"),
    Format("iq4_nl", 20, block=32, block_bytes=18, repacked="iq4_nl_r4"),
    Format("iq4_xs", 23, block=256, block_bytes=136, repacked="iq4_xs_r8"),
    Format("bf16", 30, block=1, block_bytes=2, dense=True, repacked="bf16_r16"),
    Format("q6_0", 133, block=32, block_bytes=26, repacked="q6_0_r4"),
    Format("iq4_ks", 144, block=256, block_bytes=136, row_meta=4, repacked="iq4_ks_r4"),
    Format("q4_0_r8", 202, block=32, block_bytes=18, base="q4_0", interleave=8),
    Format("q5_0_r4", 206, block=32, block_bytes=22, base="q5_0", interleave=4),
    Format("q8_0_r8", 208, block=32, block_bytes=34, base="q8_0", interleave=8),
    Format("q4_k_r4", 212, block=256, block_bytes=144, base="q4_k", interleave=4),
    Format("q5_k_r4", 213, block=256, block_bytes=176, base="q5_k", interleave=4),
    Format("q6_k_r4", 214, block=256, block_bytes=210, base="q6_k", interleave=4),
    Format("iq4_nl_r4", 220, block=32, block_bytes=18, base="iq4_nl", interleave=4),
    Format("iq4_xs_r8", 223, block=256, block_bytes=136, base="iq4_xs", interleave=8),
    Format("bf16_r16", 230, block=1, block_bytes=2, dense=True, base="bf16", interleave=16, cols_multiple=2),
    Format("q6_0_r4", 233, block=32, block_bytes=26, base="q6_0", interleave=4),
    Format("iq4_ks_r4", 344, block=256, block_bytes=136, row_meta=4, base="iq4_ks", interleave=4),
]
_BY_NAME = {f.name: f for f in _ALL}


def get(name: str) -> Format:
    """The format called ``name`` in any case. Raises ValueError that lists close names."""
    found = _BY_NAME.get(str(name).lower())
    if found is None:
        close = difflib.get_close_matches(str(name).lower(), _BY_NAME, n=4, cutoff=0.5) or list(_BY_NAME)
        raise ValueError(f"unknown quant type {name!r}; close names: {', '.join(close)}")
    return found


def names() -> list[str]:
    """Names of all formats that have code here, in the order of their ids."""
    return list(_BY_NAME)
