"""Feed-forward blocks that graph builders share (llm_build_ffn of ik_llama.cpp), as of June 2025 and of August 2026."""

from ..graph.template import Ref, Template
from ..graph.types import QUANTIZED
from .blocks import Block


def feed_forward_2025(b: Block, cur: Ref, part: str = "", unary: str = "SILU") -> Ref:
    """llm_build_ffn with a parallel gate: the rows of ``cur`` through up, gate and down (``part``: "_shexp")."""
    t = b.t
    up = t.named(t.mul_mat(b.layer_weight(f"ffn_up{part}.weight"), cur), "ffn_up-{il}")
    up = b.biased(up, f"ffn_up{part}.bias", "ffn_up_b-{il}")
    gate = t.named(t.mul_mat(b.layer_weight(f"ffn_gate{part}.weight"), cur), "ffn_gate-{il}")
    gate = b.biased(gate, f"ffn_gate{part}.bias", "ffn_gate_b-{il}")
    cur = t.like("FUSED_MUL_UNARY", gate, up, unary=unary)
    cur = t.mul_mat(b.layer_weight(f"ffn_down{part}.weight"), cur)
    bias = b.optional(f"ffn_down{part}.bias")
    if bias is not None:
        t.named(cur, "ffn_down-{il}")
        cur = t.like("ADD", cur, bias)
    return cur


def feed_forward_2026(b: Block, cur: Ref, part: str = "", unary: str = "SILU") -> Ref:
    """As ``feed_forward_2025``, with up and gate in one op where switches and tensors allow it."""
    t = b.t
    biases = any(b.optional(f"ffn_{which}{part}.bias") is not None for which in ("up", "gate"))
    if not b.cx.fused_up_gate or biases:
        return feed_forward_2025(b, cur, part, unary)
    up, gate = b.layer_weight(f"ffn_up{part}.weight"), b.layer_weight(f"ffn_gate{part}.weight")
    cur = t.named(fused_up_gate(t, up, gate, cur, unary), "ffn_up_gate-{il}")
    cur = t.named(t.mul_mat(b.layer_weight(f"ffn_down{part}.weight"), cur), "ffn_down-{il}")
    return b.biased(cur, f"ffn_down{part}.bias", "ffn_down_b-{il}")


def feed_forward_block_2026(b: Block, x: Ref, norm: str = "ffn_norm", unary: str = "SILU", add: bool = True) -> Ref:
    """llm_build_ffn with its norm (a role) before and, with ``add``, its input added after."""
    cur = b.norm(x, b.layer_weight(f"{norm}.weight"))
    b.t.named(x, "ffn_norm-{il}")  # the reference names the input, not the norm
    cur = feed_forward_2026(b, cur, unary=unary)
    return b.t.like("ADD", cur, x) if add else cur


def fused_up_gate(t: Template, up: Ref, gate: Ref, cur: Ref, unary: str = "SILU") -> Ref:
    """ggml_fused_up_gate: one op, or three where the two weights differ or are not quantized."""
    if QUANTIZED[up.type] and up.type == gate.type and up.ne == gate.ne:
        return t.fused_up_gate(up, gate, cur, unary)
    return t.like("FUSED_MUL_UNARY", t.mul_mat(gate, cur), t.mul_mat(up, cur), unary=unary)


def swiglu(b: Block, cur: Ref) -> Ref:
    """llm_build_ffn for models whose ``ffn_up`` holds the gate's rows and then its own (LLM_FFN_SWIGLU)."""
    t = b.t
    cur = t.named(t.mul_mat(b.layer_weight("ffn_up.weight"), cur), "ffn_up-{il}")
    cur = t.named(t.swiglu(cur), "ffn_swiglu-{il}")
    return t.mul_mat(b.layer_weight("ffn_down.weight"), cur)
