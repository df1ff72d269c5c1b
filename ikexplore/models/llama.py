"""Graph of the architecture ``llama`` (build_llama of ik_llama.cpp): dense, or with experts as in Mixtral."""

from ..errors import SettingsError
from ..graph.template import Ref
from . import parallel
from .blocks import Block, Inputs, attention_2025, attention_2026
from .experts import experts_2025, experts_2026
from .feed import feed_forward_2025, feed_forward_block_2026

ROPE_MODE = 0  #: rotates pairs of neighbours (LLAMA_ROPE_TYPE_NORM)
MOE_ROLES = ("ffn_gate_inp", "ffn_up_exps", "ffn_gate_exps", "ffn_down_exps")


def layer(b: Block, x: Ref, inputs: Inputs) -> Ref:
    """One layer: attention and feed-forward, each with its input added."""
    return layer_2026(b, x, inputs, ROPE_MODE) if b.cx.newer else layer_2025(b, x, inputs, ROPE_MODE)


def layer_2025(b: Block, x: Ref, inputs: Inputs, rope_mode: int) -> Ref:
    """A layer of June 2025; ``rope_mode`` is all that dense architectures differ in."""
    t = b.t
    cur, x = attention_2025(b, x, inputs, rope_mode)
    mid = t.like("ADD", cur, x, name="ffn_inp-{il}")
    cur = b.norm(mid, b.layer_weight("ffn_norm.weight"), "ffn_norm-{il}")
    if b.hp.is_moe:
        cur = t.named(experts_2025(b, cur), "ffn_moe_out-{il}")
    else:
        cur = t.named(feed_forward_2025(b, cur), "ffn_out-{il}")
    return t.like("ADD", cur, mid, name="l_out-{il}")


def layer_2026(b: Block, x: Ref, inputs: Inputs, rope_mode: int) -> Ref:
    """A layer of August 2026."""
    t = b.t
    mid = attention_2026(b, x, inputs, rope_mode)
    if not b.hp.is_moe:
        return t.named(feed_forward_block_2026(b, mid), "l_out-{il}")
    cur = b.norm(mid, b.layer_weight("ffn_norm.weight"), "ffn_norm-{il}")
    # The reference adds the normed input here where the residual belongs (llm_build_moe_ffn with add_input).
    residual = mid if b.corrected else cur
    return t.like("ADD", experts_2026(b, cur), residual, name="l_out-{il}")


def divided(b: Block, x: parallel.Sum, inputs: Inputs, readers: tuple[int, ...], rope_mode: int = ROPE_MODE) -> parallel.Sum:
    """A dense layer that all GPUs compute together (-sm graph)."""
    if b.hp.is_moe:
        raise SettingsError(f"-sm graph: {b.hp.arch} with experts has no divided graph; use -sm layer")
    mid = parallel.attention(b, x, inputs, rope_mode, parallel.gpus_of(b, "ffn_down.weight"))
    return parallel.feed_forward(b, mid, readers)
