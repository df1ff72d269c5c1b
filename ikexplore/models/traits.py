"""What the engine knows of each architecture, and what tells its layers apart where their tensors do not."""

from collections.abc import Callable
from dataclasses import dataclass

from ..settings.declare import NEW
from .hparams import HParams

OLD = "2025-06"
#: how far a plan was compared with the engine: all of it; graphs, cache and compute buffer on the CPU
FULL_PROOF, CPU_PROOF = "full", "cpu"


@dataclass(frozen=True)
class Traits:
    """How the graph of an architecture differs from others; the defaults are those of most.

    profiles: the engines that know it. kind: what makes a layer different from another with the same tensors and window.
    selects_one: rows that give output are selected for a single token too (August 2026; before, always). positions: numbers
    per token. scaled: the embedding is multiplied by the root of its width. temperature: there is a factor per token.
    layer_norm: the last norm has a mean too. graph_split: -sm graph divides it; without, the engine goes back to -sm layer.
    proof: how far plans were compared with the engine.
    """

    profiles: tuple[str, ...] = (OLD, NEW)
    kind: Callable[[HParams, int], int] = lambda hp, il: 0
    selects_one: bool = False
    positions: int = 1
    scaled: bool = False
    temperature: bool = False
    layer_norm: bool = False
    graph_split: bool = False
    proof: str = CPU_PROOF


def _with_experts(hp: HParams, il: int) -> int:
    """ernie4_5-moe: experts in the last layer of each step, after the dense ones."""
    return int(il >= hp.n_layer_dense_lead and (il + 1) % hp.n_moe_step == 0)


TRAITS: dict[str, Traits] = {
    "cohere2": Traits(kind=lambda hp, il: int(il == hp.n_layer - 2), layer_norm=True, graph_split=True),
    "deepseek2": Traits(selects_one=True, graph_split=True, proof=FULL_PROOF),
    "dots1": Traits((NEW,), selects_one=True),
    "ernie4_5": Traits((NEW,), selects_one=True),
    "ernie4_5-moe": Traits((NEW,), kind=_with_experts, graph_split=True),
    "gemma2": Traits(selects_one=True, scaled=True),
    "gemma3": Traits(selects_one=True, scaled=True),
    "glm4": Traits(selects_one=True),
    "glm4moe": Traits((NEW,), graph_split=True),
    "gpt-oss": Traits((NEW,), graph_split=True),
    "granite": Traits(),
    "granitemoe": Traits(),
    "hunyuan-moe": Traits((NEW,), graph_split=True),
    "llama": Traits(graph_split=True, proof=FULL_PROOF),
    "llama4": Traits(temperature=True),
    "minimax-m2": Traits((NEW,), selects_one=True, graph_split=True),
    "mistral3": Traits((NEW,), temperature=True, graph_split=True),
    "phi3": Traits(selects_one=True),
    "qwen2": Traits(selects_one=True),
    "qwen2moe": Traits(selects_one=True),
    "qwen3": Traits(graph_split=True, proof=FULL_PROOF),
    "qwen3moe": Traits(graph_split=True, proof=FULL_PROOF),
    "qwen3vl": Traits((NEW,), positions=4, graph_split=True),
    "qwen3vlmoe": Traits((NEW,), positions=4, selects_one=True),
    "seed_oss": Traits((NEW,), graph_split=True),
    "smollm3": Traits((NEW,), kind=lambda hp, il: int((il + 1) % 4 == 0), selects_one=True),
}
USUAL = Traits()


def traits_of(arch: str) -> Traits:
    """The traits of an architecture; the usual ones where it has none of its own."""
    return TRAITS.get(arch, USUAL)
