"""``Picture``: what a plan looks like, in plain columns. The panel and the static figures both draw from it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from .axis import edge, layer_and_role, positions, roles

MIB = 1 << 20


@dataclass(frozen=True)
class Device:
    """One device's memory in MiB; ``capacity`` is None where it is not known."""

    name: str
    host: bool = False
    simulated: bool = False
    capacity: float | None = None
    model: float = 0.0
    kv: float = 0.0
    compute: float = 0.0

    @property
    def total(self) -> float:
        """Model, KV and compute together, MiB."""
        return self.model + self.kv + self.compute


@dataclass(frozen=True)
class Grid:
    """The tensors of a model on the layer axis: columns of one length, in file order. Never changes with settings."""

    names: tuple[str, ...]
    role: tuple[int, ...]  #: index into ``roles``; -1 for a tensor of no layer
    layer: tuple[int, ...]  #: -1: before the layers (the embedding), ``n_layer``: after them
    nbytes: tuple[int, ...]
    types: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    roles: tuple[str, ...]
    n_layer: int

    @classmethod
    def of(cls, tensors: Iterable[Any], n_layer: int) -> Grid:
        """From tensors with ``name shape type nbytes``; ``n_layer`` grows where a tensor names a later layer."""
        rows = list(tensors)
        placed = [layer_and_role(t.name) for t in rows]
        n_layer = max([n_layer, *(layer + 1 for layer, _ in placed if layer is not None and layer < 10_000)])
        known = roles(t.name for t in rows)
        number = {role: i for i, role in enumerate(known)}
        layers = tuple((-1 if t.name.startswith("token_embd") else n_layer) if layer is None else layer
                       for t, (layer, _) in zip(rows, placed))
        return cls(
            names=tuple(t.name for t in rows),
            role=tuple(-1 if layer is None else number[role] for layer, role in placed),
            layer=layers,
            nbytes=tuple(int(t.nbytes) for t in rows),
            types=tuple(str(t.type) for t in rows),
            shapes=tuple(tuple(t.shape) for t in rows),
            roles=tuple(known),
            n_layer=n_layer,
        )

    @property
    def edge(self) -> float:
        """Width of the embedding and of the output on the axis, in layers."""
        return edge(self.n_layer)

    @cached_property
    def index(self) -> dict[str, int]:
        """Name -> row."""
        return {name: i for i, name in enumerate(self.names)}


@dataclass(frozen=True)
class Lanes:
    """A graph cut into splits: columns of one length, in order; ``start`` has one more, the end of the axis."""

    device: tuple[int, ...]
    start: tuple[float, ...]  #: axis position where a split begins
    first: tuple[str, ...]  #: name of its first node
    nodes: tuple[int, ...]
    n_inputs: tuple[int, ...]  #: activations copied in
    input_bytes: tuple[int, ...]
    n_weights: tuple[int, ...]  #: weights borrowed from another device
    weight_bytes: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.device)

    @classmethod
    def of(cls, splits: Sequence[Split], names: Sequence[str], n_layer: int, devices: Sequence[str]) -> Lanes:
        """From splits and the names of all nodes in execution order."""
        where = positions(names, n_layer)
        number = {name: i for i, name in enumerate(devices)}
        return cls(
            device=tuple(number[s.device] for s in splits),
            start=(*(where[s.begin] for s in splits), where[-1]),
            first=tuple(names[s.begin] if s.begin < len(names) else "" for s in splits),
            nodes=tuple(s.end - s.begin for s in splits),
            n_inputs=tuple(s.n_inputs for s in splits),
            input_bytes=tuple(s.input_bytes for s in splits),
            n_weights=tuple(s.n_weights for s in splits),
            weight_bytes=tuple(s.weight_bytes for s in splits),
        )


@dataclass(frozen=True)
class Split:
    """One split as the scheduler tells it: nodes ``begin`` to ``end`` (not included) and what is copied in."""

    device: str
    begin: int
    end: int
    n_inputs: int = 0
    input_bytes: int = 0
    n_weights: int = 0
    weight_bytes: int = 0


@dataclass(frozen=True)
class Picture:
    """A whole plan. ``at`` and ``why`` have a row per tensor of the grid, the device's index and the reason."""

    title: str
    grid: Grid
    devices: tuple[Device, ...]
    at: tuple[int, ...]
    why: tuple[str, ...]
    pp: Lanes
    tg: Lanes
    repacked: Mapping[int, str] = field(default_factory=dict)  #: row -> type after run-time repack

    @property
    def host(self) -> int:
        """Index of the CPU."""
        return next((i for i, d in enumerate(self.devices) if d.host), len(self.devices) - 1)
