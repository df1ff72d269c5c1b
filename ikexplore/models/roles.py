"""What a tensor is for, read from its GGUF name: layer, role, weight or bias, and the part of the model."""

import re
from functools import lru_cache
from typing import NamedTuple

_NAME = re.compile(r"(?:blk\.(0|[1-9]\d{0,5})\.)?(.+?)(?:\.(weight|bias|scale))?\Z", re.DOTALL)


class Role(NamedTuple):
    """``blk.3.ffn_down_exps.weight`` is layer 3, role ``ffn_down_exps``, suffix ``weight``, part ``experts``."""

    layer: int | None  #: block number; None for tensors outside the blocks
    role: str  #: the name without layer and suffix: ``attn_q``, ``token_embd``, ``rope_freqs`` ...
    suffix: str  #: ``weight``, ``bias``, ``scale`` or "" when the name has none
    part: str  #: one of PARTS


#: parts of a model, in the order in which a layer x role map shows them
PARTS = ("embedding", "attention", "dense", "router", "experts", "shared", "norm", "output", "other")


def _part(role: str) -> str:
    if role in ("token_embd", "token_types", "position_embd", "per_layer_token_embd"):
        return "embedding"
    if role == "output":
        return "output"
    if role.endswith("_norm") or "_norm_" in role:
        return "norm"
    if role.endswith("_exps"):
        return "experts"
    if role.endswith(("_shexp", "_shexps")):
        return "shared"
    if role in ("ffn_gate_inp", "ffn_gate_inp_shexp", "exp_probs_b"):
        return "router"
    if role.startswith("attn_"):
        return "attention"
    if role.startswith("ffn_"):
        return "dense"
    return "other"


@lru_cache(maxsize=1 << 16)
def role_of(name: str) -> Role:
    """Role of a tensor by its GGUF name; every name has one."""
    match = _NAME.match(name)
    if match is None:  # only the empty name
        return Role(None, name, "", "other")
    layer, role, suffix = match.groups()
    part = "router" if role == "ffn_gate_inp_shexp" else _part(role)
    return Role(int(layer) if layer is not None else None, role, suffix or "", part)
