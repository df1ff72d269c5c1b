"""``build``: the graph of one evaluation, for the planner, the forecaster and the executor alike."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from ..errors import ModelError
from ..graph.assemble import assemble
from ..graph.graph import Graph
from ..graph.template import Ref, Template
from ..settings import Settings
from . import (
    cohere2,
    deepseek2,
    dots1,
    ernie4_5,
    gemma2,
    gemma3,
    glm4,
    glm4moe,
    gpt_oss,
    granite,
    hunyuan_moe,
    llama,
    llama4,
    minimax_m2,
    mistral3,
    phi3,
    qwen2,
    qwen2moe,
    qwen3,
    qwen3moe,
    qwen3vl,
    seed_oss,
    smollm3,
)
from .blocks import Block, Evaluation, Inputs
from .columns import Columns, columns
from .context import Context, before, context
from .ends import first, head
from .hparams import HParams
from .model import Model
from .parallel import Sum, gpus_of, is_divided
from .traits import traits_of

#: architecture -> what makes one of its layers
ARCHITECTURES: dict[str, Callable[[Block, Ref, Inputs], Ref]] = {
    "cohere2": cohere2.layer,
    "deepseek2": deepseek2.layer,
    "dots1": dots1.layer,
    "ernie4_5": ernie4_5.dense_layer,
    "ernie4_5-moe": ernie4_5.layer,
    "gemma2": gemma2.layer,
    "gemma3": gemma3.layer,
    "glm4": glm4.layer,
    "glm4moe": glm4moe.layer,
    "gpt-oss": gpt_oss.layer,
    "granite": granite.layer,
    "granitemoe": granite.layer,
    "hunyuan-moe": hunyuan_moe.layer,
    "llama": llama.layer,
    "llama4": llama4.layer,
    "minimax-m2": minimax_m2.layer,
    "mistral3": mistral3.layer,
    "phi3": phi3.layer,
    "qwen2": qwen2.layer,
    "qwen2moe": qwen2moe.layer,
    "qwen3": qwen3.layer,
    "qwen3moe": qwen3moe.layer,
    "qwen3vl": qwen3vl.layer,
    "qwen3vlmoe": qwen3vl.moe_layer,
    "seed_oss": seed_oss.layer,
    "smollm3": smollm3.layer,
}

#: the same, for layers that all GPUs compute together (-sm graph)
DIVIDED: dict[str, Callable[[Block, Sum, Inputs, tuple[int, ...]], Sum]] = {
    "deepseek2": deepseek2.divided,
    "ernie4_5-moe": ernie4_5.divided,
    "glm4moe": glm4moe.divided,
    "hunyuan-moe": hunyuan_moe.divided,
    "llama": llama.divided,
    "mistral3": mistral3.divided,
    "qwen3": qwen3.divided,
    "qwen3moe": qwen3moe.divided,
    "qwen3vl": qwen3vl.divided,
    "seed_oss": seed_oss.divided,
}

#: heads of which a part is not rotated
PARTLY_ROTATED = ("cohere2", "gemma2", "gemma3", "glm4", "glm4moe", "minimax-m2", "phi3", "smollm3")
MOST_EXPERTS = {"2025-06": 256, "2026-08": 512}  #: LLAMA_MAX_EXPERTS

ROPE_FIRST = "2025-05-30"  #: 469: the latent cache has its rotated part first

#: ops on these become one where their types are equal, or have views whose strides depend on the type
_TYPES_MATTER = {
    "ffn_up", "ffn_gate", "ffn_up_exps", "ffn_gate_exps", "ffn_up_shexp", "ffn_gate_shexp", "attn_k_b", "attn_v_b",
    "attn_kv_b", "ffn_gate_up_exps",
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
            f"architecture {model.arch!r} has no graph yet; those planned are {', '.join(sorted(ARCHITECTURES))}"
        )
    hp, cx = model.hparams, context(model, settings, machine)
    _check(hp, cx)
    n_kv = cx.n_ctx if n_kv is None else n_kv
    n_outputs = n_tokens if n_outputs is None else n_outputs
    at = Evaluation(n_tokens, n_kv, n_outputs, n_kv - n_tokens if kv_head is None else kv_head)
    cols = columns(model) if tensors is None else tensors
    engine: dict[str, Any] = {"corrected": corrected, "gpus": machine is not None and bool(machine.gpus)}
    if cx.split_mode == "graph" and machine is not None:
        engine |= {"n_parts": len(machine.gpus), "main_gpu": settings.main_gpu}
    engine["pin_norms"] = n_tokens < 32 or settings.n_gpu_layers > hp.n_layer
    engine["latent_first"] = not cx.newer and before(machine, ROPE_FIRST)
    return _Builder(hp, cx, cols, at, layer, engine).graph()


def _check(hp: HParams, cx: Context) -> None:
    """What the reference insists on."""
    if cx.profile not in traits_of(hp.arch).profiles:
        raise ModelError(f"the engine of profile {cx.profile} does not know the architecture {hp.arch!r}; use 2026-08")
    most = MOST_EXPERTS[cx.profile]
    if hp.n_expert > most:
        raise ModelError(f"{hp.arch}.expert_count is {hp.n_expert}; the engine of profile {cx.profile} stops at {most}")
    if hp.arch == "deepseek2":
        if not hp.is_mla:
            raise ModelError("deepseek2.attention.kv_lora_rank is missing or 0; this architecture needs it")
        return
    partly = hp.arch in PARTLY_ROTATED
    if hp.head_dim_v != hp.head_dim_k or (not partly and hp.n_rot != hp.head_dim_k):
        raise ModelError(
            f"{hp.arch}: heads of {hp.head_dim_k} (K), {hp.head_dim_v} (V) with {hp.n_rot} rotated columns; "
            f"the {'two sizes' if partly else 'three'} must be equal for this architecture"
        )
    if hp.arch == "phi3" and not hp.n_swa and not cx.newer:
        raise ModelError("phi3.attention.sliding_window is 0; the engine of profile 2025-06 needs a window")


class _Builder:
    """Makes one template per kind of layer and puts them together."""

    def __init__(
        self, hp: HParams, cx: Context, cols: Columns, at: Evaluation, layer: Callable, engine: dict[str, Any]
    ):
        self.hp, self.cx, self.cols, self.at, self.layer, self.engine = hp, cx, cols, at, layer, engine
        self.traits = traits_of(hp.arch)

    def block(self, il: int = -1) -> Block:
        return Block(Template(), self.hp, self.cx, self.cols, self.at, il, **self.engine)

    def graph(self) -> Graph:
        start, embd, inputs = first(self.block(), self.traits)
        templates, sequence, layers = [start], [0], [-1]
        known: dict[tuple, tuple[int, Sum]] = {}
        x = Sum(embd.as_previous(len(start)))
        for il, kind in enumerate(self._kinds()):
            last = il == self.hp.n_layer_run - 1
            readers = () if last else gpus_of(self.block(il + 1), "attn_output.weight")
            before = (x.whole.type, *(None if part is None else part.row for part in x.parts))
            key = (kind, last, readers, before)
            if key not in known:
                known[key] = (len(templates), self._layer(il, x, inputs, readers, templates))
            number, x = known[key]
            sequence.append(number)
            layers.append(il)
        templates.append(head(self.block(), x.whole, self.traits))
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

    def _kinds(self) -> tuple[int, ...]:
        """A number per layer; layers with the same number have the same graph but for names and weights."""
        hp = self.hp
        own = tuple(self.traits.kind(hp, il) for il in range(hp.n_layer_run))
        by_layer = (hp.n_head_by_layer, hp.n_head_kv_by_layer, hp.window_by_layer, own)
        return _kinds(_Layers(self.cols, (hp.n_layer_run, hp.n_layer_dense_lead, by_layer)))


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
    table = np.hstack([*facts, *(np.array(h[:n])[:, None] for h in (*by_layer, dense))])
    known: dict[bytes, int] = {}
    return tuple(known.setdefault(row.tobytes(), len(known)) for row in table)
