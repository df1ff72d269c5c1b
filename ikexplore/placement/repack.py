"""Run-time repack (-rtr): which types become which interleaved type, and for which tensors."""

import numpy as np

from ..gguf.types import TYPES
from ..graph.types import N_TYPES

# type, what it becomes, rows that ne1 must be a multiple of (iqk_repack_tensor of ik_llama.cpp)
_TABLE = """
iq2_k iq2_k_r4 4
iq3_k iq3_k_r4 4
iq4_k iq4_k_r4 4
iq5_k iq5_k_r4 4
iq4_xs iq4_xs_r8 8
iq4_ks iq4_ks_r4 4
iq5_ks iq5_ks_r4 4
iq4_nl iq4_nl_r4 4
iq2_bn iq2_bn_r4 4
iq2_xxs iq2_xxs_r4 4
iq2_xs iq2_xs_r4 4
iq2_s iq2_s_r4 4
iq3_xxs iq3_xxs_r4 4
iq3_s iq3_s_r4 4
q2_k q2_k_r4 4
q3_k q3_k_r4 4
q4_k q4_k_r4 4
q5_k q5_k_r4 4
q6_k q6_k_r4 4
q4_0 q4_0_r8 8
q5_0 q5_0_r4 4
q6_0 q6_0_r4 4
q8_0 q8_0_r8 8
q8_k q8_k_r8 8
q8_kv q8_kv_r8 8
bf16 bf16_r16 16
f16 bf16_r16 16
mxfp4 mxfp4_r8 8
"""
REPACK: dict[str, tuple[str, int]] = {
    kind: (to, int(rows)) for kind, to, rows in (line.split() for line in _TABLE.strip().splitlines())
}
#: repacked only where the CPU multiplies bf16
NEED_BF16 = ("bf16", "f16")
#: known to the newer profile only
NEWER = ("mxfp4",)


def repacked_types(type_ids: np.ndarray, ne: np.ndarray, may: np.ndarray, bf16: bool, newer: bool) -> np.ndarray:
    """Type ids after -rtr: int32 per tensor. ``may`` (bool per tensor) marks host tensors that may change."""
    to, rows = np.arange(N_TYPES, dtype=np.int32), np.ones(N_TYPES, np.int64)
    for kind, (target, multiple) in REPACK.items():
        if (kind in NEED_BF16 and not bf16) or (kind in NEWER and not newer):
            continue
        to[TYPES[kind].id], rows[TYPES[kind].id] = TYPES[target].id, multiple
    fits = may & (ne[:, 1] % rows[type_ids] == 0)
    return np.where(fits, to[type_ids], type_ids).astype(np.int32)
