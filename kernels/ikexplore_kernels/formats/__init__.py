"""Quant types: one type is one file here, and one line in the registry below.

``get("iq4_ks")`` gives a `Format`. The line holds what a reader of headers needs (id, block, bytes, pairs); the file
of that name holds the code (``CODE``) and is imported when a format first decodes, encodes or meets a kernel.
Type ids and block sizes are ggml's (ik_llama.cpp's numbering above 96). ``register`` adds a type while the program runs.
"""

import difflib

from ._format import Code, Format
from ._own16 import SUFFIX, own16

__all__ = ["Code", "Format", "forget", "get", "names", "own16", "register"]

_ALL = [
    Format("f32", 0, block=1, block_bytes=4, dense=True),
    Format("f16", 1, block=1, block_bytes=2, dense=True, repacked="bf16_r16"),
    Format("q4_0", 2, block=32, block_bytes=18, repacked="q4_0_r8"),
    Format("q4_1", 3, block=32, block_bytes=20),
    Format("q5_0", 6, block=32, block_bytes=22, repacked="q5_0_r4"),
    Format("q5_1", 7, block=32, block_bytes=24),
    Format("q8_0", 8, block=32, block_bytes=34, repacked="q8_0_r8"),
    Format("q2_k", 10, block=256, block_bytes=84, repacked="q2_k_r4"),
    Format("q3_k", 11, block=256, block_bytes=110, repacked="q3_k_r4"),
    Format("q4_k", 12, block=256, block_bytes=144, repacked="q4_k_r4"),
    Format("q5_k", 13, block=256, block_bytes=176, repacked="q5_k_r4"),
    Format("q6_k", 14, block=256, block_bytes=210, repacked="q6_k_r4"),
    Format("iq2_xxs", 16, block=256, block_bytes=66, repacked="iq2_xxs_r4"),
    Format("iq2_xs", 17, block=256, block_bytes=74, repacked="iq2_xs_r4"),
    Format("iq3_xxs", 18, block=256, block_bytes=98, repacked="iq3_xxs_r4"),
    Format("iq1_s", 19, block=256, block_bytes=50),
    Format("iq4_nl", 20, block=32, block_bytes=18, repacked="iq4_nl_r4"),
    Format("iq3_s", 21, block=256, block_bytes=110, repacked="iq3_s_r4"),
    Format("iq2_s", 22, block=256, block_bytes=82, repacked="iq2_s_r4"),
    Format("iq4_xs", 23, block=256, block_bytes=136, repacked="iq4_xs_r8"),
    Format("iq1_m", 29, block=256, block_bytes=56),
    Format("bf16", 30, block=1, block_bytes=2, dense=True, repacked="bf16_r16"),
    Format("mxfp4", 39, block=32, block_bytes=17, repacked="mxfp4_r8"),
    Format("q1_0_g128", 41, block=128, block_bytes=18),
    Format("q6_0", 133, block=32, block_bytes=26, repacked="q6_0_r4"),
    Format("iq1_bn", 134, block=64, block_bytes=13, row_meta=2),
    Format("iq2_bn", 135, block=64, block_bytes=16, row_meta=4, repacked="iq2_bn_r4"),
    Format("iq2_k", 137, block=256, block_bytes=76, repacked="iq2_k_r4"),
    Format("iq3_k", 138, block=256, block_bytes=110, repacked="iq3_k_r4"),
    Format("iq4_k", 139, block=256, block_bytes=144, repacked="iq4_k_r4"),
    Format("iq5_k", 140, block=256, block_bytes=176, repacked="iq5_k_r4"),
    Format("iq6_k", 141, block=256, block_bytes=212),
    Format("iq4_ks", 144, block=256, block_bytes=136, row_meta=4, repacked="iq4_ks_r4"),
    Format("iq2_ks", 145, block=256, block_bytes=70, row_meta=2),
    Format("iq4_kss", 146, block=256, block_bytes=128, row_meta=4),
    Format("q8_kv", 151, block=32, block_bytes=32, row_meta=8, repacked="q8_kv_r8"),
    Format("iq5_ks", 152, block=256, block_bytes=168, row_meta=4, repacked="iq5_ks_r4"),
    Format("iq2_kt", 153, block=256, block_bytes=68, row_meta=4),
    Format("iq3_kt", 154, block=256, block_bytes=100, row_meta=4),
    Format("iq4_kt", 155, block=256, block_bytes=128, row_meta=4),
    Format("iq3_ks", 156, block=256, block_bytes=102, row_meta=2),
    Format("iq2_kl", 157, block=256, block_bytes=86, row_meta=2),
    Format("iq1_kt", 158, block=256, block_bytes=56, row_meta=4),
    Format("q4_0_r8", 202, block=32, block_bytes=18, base="q4_0", interleave=8),
    Format("q5_0_r4", 206, block=32, block_bytes=22, base="q5_0", interleave=4),
    Format("q8_0_r8", 208, block=32, block_bytes=34, base="q8_0", interleave=8),
    Format("q2_k_r4", 210, block=256, block_bytes=84, base="q2_k", interleave=4),
    Format("q3_k_r4", 211, block=256, block_bytes=110, base="q3_k", interleave=4),
    Format("q4_k_r4", 212, block=256, block_bytes=144, base="q4_k", interleave=4),
    Format("q5_k_r4", 213, block=256, block_bytes=176, base="q5_k", interleave=4),
    Format("q6_k_r4", 214, block=256, block_bytes=210, base="q6_k", interleave=4),
    Format("iq2_xxs_r4", 216, block=256, block_bytes=66, base="iq2_xxs", interleave=4),
    Format("iq2_xs_r4", 217, block=256, block_bytes=74, base="iq2_xs", interleave=4),
    Format("iq3_xxs_r4", 218, block=256, block_bytes=98, base="iq3_xxs", interleave=4),
    Format("iq1_s_r4", 219, block=32, block_bytes=6, row_meta=2, interleave=4),
    Format("iq4_nl_r4", 220, block=32, block_bytes=18, base="iq4_nl", interleave=4),
    Format("iq3_s_r4", 221, block=256, block_bytes=110, base="iq3_s", interleave=4),
    Format("iq2_s_r4", 222, block=256, block_bytes=82, base="iq2_s", interleave=4),
    Format("iq4_xs_r8", 223, block=256, block_bytes=136, base="iq4_xs", interleave=8),
    Format("iq1_m_r4", 229, block=32, block_bytes=7, row_meta=2, interleave=4),
    Format("bf16_r16", 230, block=1, block_bytes=2, dense=True, base="bf16", interleave=16, cols_multiple=2),
    Format("q6_0_r4", 233, block=32, block_bytes=26, base="q6_0", interleave=4),
    Format("iq2_bn_r4", 335, block=64, block_bytes=16, row_meta=4, base="iq2_bn", interleave=4),
    Format("iq2_k_r4", 337, block=256, block_bytes=76, base="iq2_k", interleave=4),
    Format("iq3_k_r4", 338, block=256, block_bytes=110, base="iq3_k", interleave=4),
    Format("iq4_k_r4", 339, block=256, block_bytes=144, base="iq4_k", interleave=4),
    Format("iq5_k_r4", 340, block=256, block_bytes=176, base="iq5_k", interleave=4),
    Format("iq4_ks_r4", 344, block=256, block_bytes=136, row_meta=4, base="iq4_ks", interleave=4),
    Format("iq5_ks_r4", 352, block=256, block_bytes=168, row_meta=4, base="iq5_ks", interleave=4),
    Format("mxfp4_r8", 353, block=32, block_bytes=17, base="mxfp4", interleave=8),
    Format("q8_k_r16", 397, block=256, block_bytes=258, interleave=16),
    Format("q8_kv_r8", 398, block=32, block_bytes=32, row_meta=4, base="q8_kv", interleave=8),
    Format("q8_k_r8", 399, block=256, block_bytes=258, interleave=8),
]
_BY_NAME = {f.name: f for f in _ALL}


def get(name: str) -> Format:
    """The format called ``name`` in any case. Raises ValueError that lists close names."""
    found = _BY_NAME.get(str(name).lower())
    if found is None and str(name).endswith(SUFFIX):
        found = own16(get(str(name).removesuffix(SUFFIX)))
    if found is None:
        close = difflib.get_close_matches(str(name).lower(), _BY_NAME, n=4, cutoff=0.5) or list(_BY_NAME)
        raise ValueError(f"unknown quant type {name!r}; close names: {', '.join(close)}")
    return found


def register(format: Format) -> Format:
    """Add a format that brings its own code, in the place of an earlier one of its name. Kernels that are compiled from
    now on see this one. Raises ValueError for the name of a built-in type, or a format without code."""
    before = _BY_NAME.get(format.name)
    if before is not None and not before.own:
        raise ValueError(f"{format.name} is a type of ggml; give yours another name")
    if not format.own:
        raise ValueError(f"{format.name} comes without code; give Format(..., code=Code(...))")
    _BY_NAME[format.name] = format
    return format


def forget(name: str) -> None:
    """Take away a registered format. Raises ValueError for a name that was not registered."""
    if not get(name).own:
        raise ValueError(f"{name} is a type of ggml; only registered types can be taken away")
    del _BY_NAME[name.lower()]


def names() -> list[str]:
    """Names of all formats that have code here, in the order of their ids."""
    return list(_BY_NAME)
