"""``build``: the graph of one evaluation, for the planner, the forecaster and the executor alike."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from ..errors import ModelError
from ..graph.assemble import assemble
from ..graph.graph import Graph
from ..graph.template import Ref, Template
from ..graph.types import F16, I32
from ..settings import Settings
from . import deepseek2, gpt_oss, llama, qwen2, qwen3, qwen3moe
from .blocks import Block, Evaluation, Inputs
from .columns import Columns, columns
from .context import Context, before, context
from .hparams import HParams
from .model import Model
from .parallel import Sum, gpus_of, is_divided

#: architecture -> what makes one of its layers
ARCHITECTURES: dict[str, Callable[[Block, Ref, Inputs], Ref]] = {
    "deepseek2": deepseek2.layer,
    "gpt-oss": gpt_oss.layer,
    "llama": llama.layer,
    "qwen2": qwen2.layer,
    "qwen3": qwen3.layer,
    "qwen3moe": qwen3moe.layer,
}

#: the same, for layers that all GPUs compute together (-sm graph)
DIVIDED: dict[str, Callable[[Block, Sum, Inputs, tuple[int, ...]], Sum]] = {
    "deepseek2": deepseek2.divided,
    "llama": llama.divided,
    "qwen3": qwen3.divided,
    "qwen3moe": qwen3moe.divided,
}

#: the newer engine selects rows of output even from a single token
ALWAYS_SELECT = ("deepseek2", "qwen2")

ROPE_FIRST = "2025-05-30"  #: 469: the latent cache has its rotated part first

#: ops on these become one where their types are equal, or have views whose strides depend on the type
_TYPES_MATTER = {
    "ffn_up", "ffn_gate", "ffn_up_exps", "ffn_gate_exps", "ffn_up_shexp", "ffn_gate_shexp", "attn_k_b", "attn_v_b",
    "attn_kv_b",
}  # fmt: skip


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
    quantized cache to f16 (without, to its own type); its commit date tells the order of cached rows.
    corrected: True repairs what the reference's graph computes wrongly (2026-08, ``llama`` with experts: the residual).

    Raises ModelError for other architectures and for missing tensors, SettingsError for switches that the reference
    refuses.
    """
    layer = ARCHITECTURES.get(model.arch)
    if layer is None:
        raise ModelError(
            f"architecture {model.arch!r} has no graph yet; planned and run are {', '.join(sorted(ARCHITECTURES))}"
        )
    hp, cx = model.hparams, context(model, settings, machine)
    _check(hp)
    n_kv = cx.n_ctx if n_kv is None else n_kv
    n_outputs = n_tokens if n_outputs is None else n_outputs
    at = Evaluation(n_tokens, n_kv, n_outputs, n_kv - n_tokens if kv_head is None else kv_head)
    cols = columns(model) if tensors is None else tensors
    engine: dict[str, Any] = {"corrected": corrected, "gpus": machine is not None and bool(machine.gpus)}
    if settings.split_mode == "graph" and machine is not None:
        engine |= {"n_parts": len(machine.gpus), "main_gpu": settings.main_gpu}
    engine["latent_first"] = not cx.newer and before(machine, ROPE_FIRST)
    return _Builder(hp, cx, cols, at, layer, engine).graph()


def _check(hp: HParams) -> None:
    if hp.arch == "deepseek2":
        if not hp.is_mla:
            raise ModelError("deepseek2.attention.kv_lora_rank is missing or 0; this architecture needs it")
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
        self, hp: HParams, cx: Context, cols: Columns, at: Evaluation, layer: Callable, engine: dict[str, Any]
    ):
        self.hp, self.cx, self.cols, self.at, self.layer, self.engine = hp, cx, cols, at, layer, engine

    def block(self, il: int = -1) -> Block:
        return Block(Template(), self.hp, self.cx, self.cols, self.at, il, **self.engine)

    def graph(self) -> Graph:
        first, embd, inputs = self._inputs()
        templates, sequence, layers = [first], [0], [-1]
        known: dict[tuple, tuple[int, Sum]] = {}
        x = Sum(embd.as_previous(len(first)))
        for il, kind in enumerate(self._kinds()):
            last = il == self.hp.n_layer - 1
            readers = () if last else gpus_of(self.block(il + 1), "attn_output.weight")
            before = (x.whole.type, *(None if part is None else part.row for part in x.parts))
            key = (kind, last, readers, before)
            if key not in known:
                known[key] = (len(templates), self._layer(il, x, inputs, readers, templates))
            number, x = known[key]
            sequence.append(number)
            layers.append(il)
        templates.append(self._head(x.whole))
        sequence.append(len(templates) - 1)
        layers.append(-1)
        about = {"n_tokens": self.at.n_tokens, "n_kv": self.at.n_kv, "n_outputs": self.at.n_outputs}
        return assemble(templates, sequence, layers, self.cols.weights(), kv_head=self.at.kv_head, **about)

    def _layer(self, il: int, x: Sum, inputs: Inputs, readers: tuple[int, ...], templates: list[Template]) -> Sum:
        """Adds the template of a layer; its output as the next layer sees it."""
        b = self.block(il)
        if is_divided(b):
            out = DIVIDED[self.hp.arch](b, x, inputs, readers)
        else:
            out = Sum(self.layer(b, x.whole, inputs))
        assert out.whole.row == len(b.t) - 1, "a layer ends with its output"
        templates.append(b.t)
        n = len(b.t)
        parts = tuple(None if part is None else part.as_previous(n) for part in out.parts)
        return Sum(out.whole.as_previous(n), parts)

    def _inputs(self) -> tuple[Template, Ref, Inputs]:
        """The first template: inputs, the mask in the type that attention reads, the embedding (its last row)."""
        b, at, cx = self.block(), self.at, self.cx
        t = b.t
        tokens = t.input("inp_tokens", I32, (at.n_tokens,))
        pos = t.input("inp_pos", I32, (at.n_tokens,))
        mask = t.input("KQ_mask", cx.mask_type, (at.n_kv, cx.n_mask(at.n_tokens)))
        if cx.flash_attn and mask.type != F16:
            mask = t.cast(mask, F16)
        swa = None
        if any(self.hp.window_by_layer):
            swa = t.input("KQ_mask_swa", cx.mask_type, (at.n_kv, cx.n_mask(at.n_tokens)))
            if cx.flash_attn and swa.type != F16:
                swa = t.cast(swa, F16)
        single = cx.newer and at.n_tokens == 1 and self.hp.arch not in ALWAYS_SELECT
        ids = None if single else t.input("inp_out_ids", I32, (at.n_outputs,)).as_global()
        embd = t.named(t.get_rows(b.need("token_embd.weight"), tokens), "inp_embd")
        return t, embd, Inputs(pos.as_global(), mask.as_global(), ids, None if swa is None else swa.as_global())

    def _head(self, x: Ref) -> Template:
        """Final norm and output; without an output matrix the embedding is used once more."""
        b = self.block()
        cur = b.norm(x, b.need("output_norm.weight"), "result_norm")
        output = b.find("output.weight")
        cur = b.t.mul_mat(output if output is not None else b.need("token_embd.weight"), cur)
        b.t.expand(b.t.named(cur, "result_output"))
        return b.t

    def _kinds(self) -> tuple[int, ...]:
        """A number per layer; layers with the same number have the same graph but for names and weights."""
        hp = self.hp
        by_layer = (hp.n_head_by_layer, hp.n_head_kv_by_layer, hp.window_by_layer)
        return _kinds(_Layers(self.cols, (hp.n_layer, hp.n_layer_dense_lead, by_layer)))


class _Layers:
    """The columns of a model, hashed by what the kinds of its layers depend on."""

    def __init__(self, cols: Columns, numbers: tuple):
        self.cols, self.numbers = cols, numbers

    def __hash__(self) -> int:
        return hash((self.cols.signature, self.numbers))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Layers) and (self.cols.signature, self.numbers) == (other.cols.signature, other.numbers)


@lru_cache(maxsize=16)
def _kinds(layers: _Layers) -> tuple[int, ...]:
    cols, (n, n_dense, by_layer) = layers.cols, layers.numbers
    facts = []
    for pattern in sorted(p for p in cols.index if p.startswith("blk.{il}.")):
        rows = cols.index[pattern][:n]
        facts.append(np.where((rows < 0)[:, None], 0, cols.ne[rows]))
        if pattern.split(".")[2] in _TYPES_MATTER:
            facts.append(np.where(rows < 0, -1, cols.type_id[rows])[:, None])
    dense = [il < n_dense for il in range(n)]
    table = np.hstack([*facts, *(np.array(h)[:, None] for h in (*by_layer, dense))])
    known: dict[bytes, int] = {}
    return tuple(known.setdefault(row.tobytes(), len(known)) for row in table)
