"""Which shapes and types of flash attention a CUDA device has kernels for, by compute capability (860 is 8.6)."""

PASCAL, VOLTA, TURING, AMPERE = 600, 700, 750, 800
_MMA = (64, 80, 96, 112, 128, 192, 256)
_WMMA = (64, 80, 96, 112, 128, 256)


def flash_2025(d: int, n: int, gqa: int, d_k: int, d_v: int, type_k: str, type_v: str, cc: int) -> bool:
    """June 2025. d: head size of q; n: queries; gqa: query heads per KV head; d_k, d_v: head sizes of K and V."""
    kinds = ("f16", "q8_0")
    if d == 128:
        return True
    if (d_k, d_v) == (256, 256) and type_k in kinds and type_v in kinds:
        return True
    if (d_k, d_v) == (192, 128):
        return type_k == type_v and type_k in kinds
    if (d_k, d_v) == (576, 512):
        return cc >= AMPERE and gqa % 16 == 0
    if d_k > 256:
        return False
    if d == 64 and type_k == "f16":
        return True
    return cc >= VOLTA and type_k == type_v == "f16"


def flash_2026(
    d: int, n: int, gqa: int, d_k: int, d_v: int, type_k: str, type_v: str, cc: int, window: bool = False
) -> bool:
    """August 2026 (ggml_cuda_fattn_is_supported). window: the op knows of a sliding window."""
    if cc < PASCAL or cc == 610:
        return _vector(d_k, d_v, type_k, type_v) if n <= 8 or d == 256 else _tile(d_k, d_v)
    if cc < VOLTA:
        if (d, d_k, d_v) == (576, 576, 512) and n <= 8:
            return type_k == type_v and type_k in ("f16", "q8_0")
        return _vector(d_k, d_v, type_k, type_v) if n <= 8 or d == 256 else _tile(d_k, d_v)
    mma = cc >= TURING
    plain = not any(kind.startswith(("q", "iq")) for kind in (type_k, type_v))
    vector = d <= 256 and d_k == d_v and d % 64 == 0
    if n == 1 and vector and plain and not (mma and gqa % 2 == 0 and not window):
        return _vector(d_k, d_v, type_k, type_v)
    if mma and d in (576, 512, 320):
        return gqa % 4 == 0
    if mma and (d_k, d_v) == (192, 128) and cc > TURING:
        return True
    if not mma or d_k != d_v:
        return (d_k, d_v) == (192, 128) if d_k != d_v else d_k in _WMMA
    return d_k in _MMA


def _tile(d_k: int, d_v: int) -> bool:
    return d_k == d_v and d_k in (64, 128)


def _vector(d_k: int, d_v: int, type_k: str, type_v: str) -> bool:
    """The kernels for few queries, in a build without GGML_CUDA_FA_ALL_QUANTS."""
    if d_k != d_v:
        return (d_k, d_v) in ((192, 128), (576, 512)) and type_k == type_v and type_k in ("f16", "q8_0")
    if d_k == 128:
        if type_k == type_v:
            return type_k in ("q4_0", "q8_0", "f16", "iq4_nl")
        return (type_k, type_v) in (("q8_0", "iq4_nl"), ("q6_0", "q5_0"), ("q8_0", "q6_0"))
    if type_k != type_v:
        return False
    return type_k == "f16" if d_k == 64 else d_k == 256 and type_k in ("f16", "q8_0")
