"""Which kernel multiplies a type: classes of quant types with one speed each, as they were on a given day."""

import re
from functools import lru_cache

ON_THE_FLY = "2025-06-18"  #: 531 ff.: large batches are repacked while they are multiplied
TRELLIS_PACKED = "2025-06-19"  #: 535 ff.: trellis types become 8-bit integers quickly before products with many columns
TRELLIS_INT = "2025-06-20"  #: 541: one column of them is multiplied in integers too
LATENT_GPU = "2025-05-04"  #: 370: faster attention on GPUs


@lru_cache(maxsize=1024)
def cpu_prompt(kind: str, date: str) -> str:
    """Class of a type in products with many columns on the CPU."""
    if kind.endswith("_kt"):
        return "trellis-int" if date >= TRELLIS_PACKED else "trellis" if date >= ON_THE_FLY else "trellis-float"
    if re.search(r"_r\d+$", kind):
        return "packed"
    if re.fullmatch(r"q\d_\d|f16|bf16|f32|iq\d_bn", kind):
        return "legacy"
    if date >= ON_THE_FLY:
        return "onthefly"
    if re.fullmatch(r"q\d_k|iq4_(xs|nl)", kind):
        return "k"
    return "iqk" if re.fullmatch(r"iq\d_k[ls]?s?", kind) else "iq"


@lru_cache(maxsize=1024)
def cpu_token(kind: str, date: str) -> str:
    """Class of a type in products with one column on the CPU."""
    if kind.endswith("_kt"):
        return "trellis-int" if date >= TRELLIS_INT else "trellis"
    base = re.sub(r"_r\d+$", "", kind)
    if re.fullmatch(r"q\d_\d|f16|bf16|f32|iq\d_bn", base):
        name = "legacy"
    elif re.fullmatch(r"q\d_k|iq4_(xs|nl)", base):
        name = "k"
    else:
        name = "iqk" if "_k" in base else "iq"
    return name + ("-packed" if base != kind else "")


def gpu_decode(kind: str) -> str:
    """Class of a type without integer kernels on a GPU, by what decoding it to f16 takes."""
    return "trellis" if kind.endswith("_kt") else "grid" if kind.startswith(("iq1", "iq2_xxs", "iq3_xxs")) else "packed"


@lru_cache(maxsize=1024)
def gpu(kind: str) -> str:
    """Class of a type on a GPU: integer kernels, or decoded to f16 before a product with many columns."""
    return "trellis" if kind.endswith("_kt") else "packed" if re.search(r"_r\d+$", kind) else "int8"
