"""The one layer axis that the tensor map and the split lanes share, and where tensors and nodes lie on it.

On the axis layer ``l`` takes ``[l, l + 1)``; the embedding lies before 0 and the output after ``n_layer``. Inside a
layer attention and router take 40 %, up and gate 36 %, down 19 % and what follows 5 %: the axis never moves with
the settings, true bytes are told in words.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

#: roles in the order of the computation; unknown ones follow, by name
ROLE_ORDER = (
    "attn_norm", "attn_norm_2", "attn_qkv", "attn_q_a", "attn_q_a_norm", "attn_q_b", "attn_q", "attn_kv_a_mqa",
    "attn_kv_a_norm", "attn_kv_b", "attn_k_b", "attn_v_b", "attn_k", "attn_v", "attn_q_norm", "attn_k_norm",
    "attn_output", "attn_post_norm", "post_attention_norm", "ffn_norm", "ffn_gate_inp", "exp_probs_b", "ffn_gate",
    "ffn_up", "ffn_down", "ffn_gate_exps", "ffn_up_exps", "ffn_down_exps", "ffn_gate_shexp", "ffn_up_shexp",
    "ffn_down_shexp", "ffn_post_norm", "post_ffw_norm",
)
_RANK = {role: i for i, role in enumerate(ROLE_ORDER)}
_BLOCK = re.compile(r"blk\.(\d+)\.(.+)", re.DOTALL)
_LAYER = re.compile(r"-(\d+)(?![\d.])|cache_[kv]_l(\d+)")
_UP = ("ffn_moe_gate_par", "ffn_moe_up", "ffn_moe_gate-", "ffn_moe_gate ", "ffn_up", "ffn_gate-", "ffn_gate ",
       "ffn_gate_par", "ffn_up_gate")
_DOWN = ("ffn_moe_down", "ffn_down", "ffn_out")
#: where the four phases of a layer begin and end, as fractions of it
PHASES = (0.0, 0.4, 0.76, 0.95, 1.0)


def layer_and_role(name: str) -> tuple[int | None, str]:
    """``blk.3.attn_q.weight`` -> ``(3, "attn_q")``; a tensor of no layer -> ``(None, its name without .weight)``."""
    match = _BLOCK.fullmatch(name)
    return (int(match[1]), match[2].removesuffix(".weight")) if match else (None, name.removesuffix(".weight"))


def roles(names: Iterable[str]) -> list[str]:
    """The roles that occur in ``names``, in the order of the computation."""
    found = {role for layer, role in map(layer_and_role, names) if layer is not None}
    return sorted(found, key=lambda role: (_RANK.get(role.removesuffix(".bias"), len(_RANK)), role))


def edge(n_layer: int) -> float:
    """Width of the embedding and of the output on the axis, in layers: one, less for models of few layers."""
    return min(1.0, max(0.2, n_layer / 24))


def positions(names: Sequence[str], n_layer: int) -> list[float]:
    """Axis position of the beginning of each node in execution order, and of the end of the last: ``len + 1`` numbers.

    The layer is read from the names (``attn_norm-12``, ``cache_k_l12 (view)``); nodes without one stay where the
    last named node was. Nodes before the first layer lie in the embedding, ``result_norm`` and what follows after
    the last layer.
    """
    margin = edge(n_layer)
    where = _places(names, n_layer)
    out: list[float] = []
    start = 0
    while start < len(where):
        stop = start
        while stop < len(where) and where[stop] == where[start]:
            stop += 1
        low, high = _span(*where[start], n_layer, margin)
        out += [low + (high - low) * k / (stop - start) for k in range(stop - start)]
        start = stop
    return [*out, n_layer + margin]


def _span(layer: int, phase: int, n_layer: int, margin: float) -> tuple[float, float]:
    if layer < 0:
        return -margin, 0.0
    if layer >= n_layer:
        return float(n_layer), n_layer + margin
    return layer + PHASES[phase], layer + PHASES[phase + 1]


def _places(names: Sequence[str], n_layer: int) -> list[tuple[int, int]]:
    """``(layer, phase)`` of each node; neither ever goes back."""
    places = []
    layer, phase, since_down = -1, 0, 0
    for name in names:
        match = _LAYER.search(name)
        number = int(match[1] or match[2]) if match else layer
        if number > n_layer:  # split mode graph: 1000 times the device, plus the layer
            number %= 1000
        if name.startswith("result_"):
            number = n_layer
        if layer < number <= n_layer:
            layer, phase = number, 0
        if phase < 1 and name.startswith(_UP):
            phase = 1
        elif phase == 1 and name.startswith(_DOWN):
            phase, since_down = 2, 0
        elif phase == 2:
            since_down += 1
            if since_down >= 2:
                phase = 3
        places.append((layer, phase))
    return places
