"""``build``: the graph of one evaluation, for the planner, the forecaster and the executor alike."""

from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import ModelError
from ..graph.assemble import assemble
from ..graph.graph import Graph
from ..graph.template import Ref, Template
from ..graph.types import F16, I32
from ..settings import Settings
from . import deepseek2, llama, qwen3, qwen3moe
from .blocks import Block, Evaluation, Inputs
from .columns import Columns, columns
from .context import Context, context
from .hparams import HParams
from .model import Model

#: architecture -> what makes one of its layers
ARCHITECTURES: dict[str, Callable[[Block, Ref, Inputs], Ref]] = {
    "deepseek2": deepseek2.layer,
    "llama": llama.layer,
    "qwen3": qwen3.layer,
    "qwen3moe": qwen3moe.layer,
}

#: ops on these become one where their types are equal, or have views whose strides depend on the type
_TYPES_MATTER = (
    "ffn_up.weight", "ffn_gate.weight", "ffn_up_exps.weight", "ffn_gate_exps.weight", "ffn_up_shexp.weight",
    "ffn_gate_shexp.weight", "attn_k_b.weight", "attn_v_b.weight", "attn_kv_b.weight",
)  # fmt: skip


def build(
    model: Model,
    settings: Settings,
    machine: Any = None,
    n_tokens: int = 1,
    n_kv: int | None = None,
    n_outputs: int | None = None,
    kv_head: int | None = None,
    tensors: Columns | None = None,
    corrected: bool = False,
) -> Graph:
    """The graph that evaluates ``n_tokens`` tokens.

    n_kv: cells of the KV cache that attention reads, a multiple of 256 with flash attention and of 32 without (all of
    the cache if not given). n_outputs: rows of output (n_tokens). kv_head: the first cell that is written (the last
    n_tokens of n_kv); see ``Graph.moved`` for other places. tensors: the weights as they are at run time, with
    repacked types and merged tensors (as in the file if not given). machine: with GPUs, prompts of deepseek2 expand a
    quantized cache to f16 (without, to its own type).
    corrected: True repairs what the reference's graph computes wrongly (2026-08, ``llama`` with experts: the residual).

    Raises ModelError for other architectures and for missing tensors, SettingsError for switches that the reference
    refuses.
    """
    layer = ARCHITECTURES.get(model.arch)
    if layer is None:
        raise ModelError(
            f"architecture {model.arch!r} has no graph yet; planned and run are {', '.join(sorted(ARCHITECTURES))}"
        )
    hp, cx = model.hparams, context(model, settings)
    _check(hp)
    n_kv = cx.n_ctx if n_kv is None else n_kv
    n_outputs = n_tokens if n_outputs is None else n_outputs
    at = Evaluation(n_tokens, n_kv, n_outputs, n_kv - n_tokens if kv_head is None else kv_head)
    cols = columns(model) if tensors is None else tensors
    return _Builder(hp, cx, cols, at, corrected, layer, bool(machine is not None and machine.gpus)).graph()


def _check(hp: HParams) -> None:
    if hp.is_mla:
        return
    if hp.n_rot != hp.head_dim_k or hp.head_dim_v != hp.head_dim_k:
        raise ModelError(
            f"{hp.arch}: heads of {hp.head_dim_k} (K), {hp.head_dim_v} (V) with {hp.n_rot} rotated columns; "
            "the three must be equal for this architecture"
        )
    if hp.n_swa and hp.arch == "llama":
        raise ModelError("llama with a sliding window has no graph yet; use a model without attention.sliding_window")


class _Builder:
    """Makes one template per kind of layer and puts them together."""

    def __init__(
        self, hp: HParams, cx: Context, cols: Columns, at: Evaluation, corrected: bool, layer: Callable, gpus: bool
    ):
        self.hp, self.cx, self.cols, self.at, self.layer = hp, cx, cols, at, layer
        self.corrected, self.gpus = corrected, gpus

    def block(self, il: int = -1) -> Block:
        return Block(Template(), self.hp, self.cx, self.cols, self.at, il, self.corrected, self.gpus)

    def graph(self) -> Graph:
        first, embd, inputs = self._inputs()
        templates, sequence, layers = [first], [0], [-1]
        known: dict[tuple, int] = {}
        x = Ref(-2, embd.type, embd.ne, embd.nb)
        for il, kind in enumerate(self._kinds()):
            key = (kind, il == self.hp.n_layer - 1)
            if key not in known:
                b = self.block(il)
                out = self.layer(b, x, inputs)
                assert out.row == len(b.t) - 1, "a layer ends with its output"
                known[key] = len(templates)
                templates.append(b.t)
            sequence.append(known[key])
            layers.append(il)
        x = Ref(-2, embd.type, templates[sequence[-1]].refs[-1].ne, templates[sequence[-1]].refs[-1].nb)
        templates.append(self._head(x))
        sequence.append(len(templates) - 1)
        layers.append(-1)
        about = {"n_tokens": self.at.n_tokens, "n_kv": self.at.n_kv, "n_outputs": self.at.n_outputs}
        return assemble(templates, sequence, layers, self.cols.weights(), kv_head=self.at.kv_head, **about)

    def _inputs(self) -> tuple[Template, Ref, Inputs]:
        """The first template: inputs, the mask in the type that attention reads, the embedding (its last row)."""
        b, at, cx = self.block(), self.at, self.cx
        t = b.t
        tokens = t.input("inp_tokens", I32, (at.n_tokens,))
        pos = t.input("inp_pos", I32, (at.n_tokens,))
        mask = t.input("KQ_mask", cx.mask_type, (at.n_kv, cx.n_mask(at.n_tokens)))
        if cx.flash_attn and mask.type != F16:
            mask = t.cast(mask, F16)
        single = cx.newer and at.n_tokens == 1 and not self.hp.is_mla
        ids = None if single else t.input("inp_out_ids", I32, (at.n_outputs,)).as_global()
        embd = t.named(t.get_rows(b.need("token_embd.weight"), tokens), "inp_embd")
        return t, embd, Inputs(pos.as_global(), mask.as_global(), ids)

    def _head(self, x: Ref) -> Template:
        """Final norm and output; without an output matrix the embedding is used once more."""
        b = self.block()
        cur = b.norm(x, b.need("output_norm.weight"), "result_norm")
        output = b.find("output.weight")
        cur = b.t.mul_mat(output if output is not None else b.need("token_embd.weight"), cur)
        b.t.expand(b.t.named(cur, "result_output"))
        return b.t

    def _kinds(self) -> list[int]:
        """A number per layer; layers with the same number have the same graph but for names and weights."""
        n, facts = self.hp.n_layer, []
        for pattern in sorted(p for p in self.cols.index if p.startswith("blk.{il}.")):
            rows = self.cols.index[pattern][:n]
            shape = np.where((rows < 0)[:, None], 0, self.cols.ne[rows])
            facts.append(shape)
            if pattern.endswith(_TYPES_MATTER):
                facts.append(np.where(rows < 0, -1, self.cols.type_id[rows])[:, None])
        dense = [il < self.hp.n_layer_dense_lead for il in range(n)]
        heads = [self.hp.n_head_by_layer, self.hp.n_head_kv_by_layer, dense]
        table = np.hstack([*facts, *(np.array(h)[:, None] for h in heads)])
        known: dict[bytes, int] = {}
        return [known.setdefault(row.tobytes(), len(known)) for row in table]
