"""-sm graph: every layer's matrices are divided among the GPUs, its norms are copied to each (August 2026).

Source: create_split, prepare_split_tensors and distribute_mla_tensors_for_split_mode_graph of ik_llama.cpp.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from ..errors import SettingsError
from ..graph.types import BLOCK, QUANTIZED, row_size
from ..models.columns import Added, Columns
from ..models.model import Model
from .buffers import padded

MIRROR, COLUMNS, ROWS, HEADS = -1, 0, 1, 2  #: copied, or the dimension that is divided
MIN_UNIT = 16  #: columns of a feed-forward that stay together at least
#: what architectures call the norm of the feed-forward that others call ffn_norm
FFN_NORM = {"glm4moe": "post_attention_norm.weight", "seed_oss": "post_attention_norm.weight"}
MLA_HEADS = 4  #: heads of latent attention that stay together


@dataclass(frozen=True)
class Division:
    """New tensors: the part of each GPU. ``place`` int8 per part: its GPU; ``whole``: rows that are divided.

    ``used``: bytes per GPU. ``alloc``: bytes of the divided buffer.
    """

    added: tuple[Added, ...]
    place: np.ndarray
    whole: np.ndarray
    used: tuple[int, ...]
    alloc: int


def shared_units(n: int, unit: int, points: np.ndarray, used: Sequence[int]) -> list[int]:
    """How many of ``n`` each GPU gets, in multiples of ``unit``: what lacks most to its share comes first.

    points: running shares, float32; used: bytes dealt so far. All in float32, as the reference reckons.
    """
    if n % unit:
        raise SettingsError(f"-sm graph: {n} cannot be divided in units of {unit}; use -sm layer")
    chunks, total = n // unit, np.float32(1 + sum(used))
    own = np.diff(points, prepend=np.float32(0)).astype(np.float32)
    want = [np.float32((p + (p - np.float32(np.float32(u) / total))) * np.float32(chunks)) for p, u in zip(own, used)]
    given = [max(0, _round(w)) for w in want]
    while sum(given) > chunks:
        given[_largest([g - w if g else None for g, w in zip(given, want)])] -= 1
    while sum(given) < chunks:
        given[_largest([w - g for g, w in zip(given, want)])] += 1
    return [g * unit for g in given]


def _round(x: np.float32) -> int:
    """std::roundf: halves away from zero."""
    return int(np.floor(abs(float(x)) + 0.5)) * (1 if x >= 0 else -1)


def _largest(errors: Sequence) -> int:
    best, at = -np.inf, -1
    for i, error in enumerate(errors):
        if error is not None and np.float32(error) > best:
            best, at = np.float32(error), i
    return at


@dataclass
class _Divider:
    """Deals one layer after the other; ``used`` runs on."""

    model: Model
    cols: Columns
    points: np.ndarray
    split: np.ndarray  #: bool per row: the loader would put it into the divided buffer
    used: list[int]
    added: list[Added] = field(default_factory=list)
    place: list[int] = field(default_factory=list)
    alloc: dict[int, int] = field(default_factory=dict)
    il: int = 0

    def row(self, role: str) -> int:
        pattern = role if role.startswith("rope_freqs") else f"blk.{{il}}.{role}"
        return int(self.cols.rows(pattern)[self.il])

    def may(self, *roles: str) -> bool:
        """Whether the model has all of these and none is overridden."""
        rows = [self.row(role) for role in roles]
        return min(rows) >= 0 and bool(self.split[rows].all())

    def share(self, n: int, unit: int) -> list[int]:
        return self.checked(shared_units(n, unit, self.points, self.used))

    def checked(self, shares: list[int]) -> list[int]:
        """The reference adds up parts of two GPUs at least, and stops otherwise."""
        if sum(s > 0 for s in shares) < 2:
            text = f"-sm graph: layer {self.il} is too small for two GPUs ({max(shares)} of it would be on one)"
            raise SettingsError(f"{text}; use -sm layer")
        return shares

    def give(self, role: str, how: int, parts: Sequence[int], shape: tuple[int, ...] | None = None) -> None:
        """Makes the parts of a tensor, if the model has it; ``shape`` where it is seen in another one."""
        row = self.row(role)
        if row < 0:
            return
        whole = tuple(self.cols.ne[row, :3].tolist()) if shape is None else shape
        kind, alloc = int(self.cols.type_id[row]), 0
        again = row in self.alloc  # the reference copies the ffn_norm of latent attention twice
        for gpu, n in enumerate(parts):
            if n <= 0:
                continue
            part = tuple(n if i == how else size for i, size in enumerate(whole))
            self.used[gpu] += row_size(kind, part[0]) * part[1] * part[2]
            alloc += padded(kind, part)
            if not again:
                name, pattern = self.cols.names[row], role if role.startswith("rope") else f"blk.{{il}}.{role}"
                self.added.append(Added(f"{name}.{gpu}", f"{pattern}.{gpu}", self.il, row, part))
                self.place.append(gpu)
        self.alloc[row] = -(-alloc // 128) * 128

    def layer(self, il: int) -> None:
        self.il = il
        everywhere = [1] * len(self.points)
        self.give("attn_norm.weight", MIRROR, everywhere)
        self.give("rope_freqs.weight", MIRROR, everywhere)
        latent = self.model.hparams.is_mla
        if not latent:
            self.attention()
        norm = FFN_NORM.get(self.model.arch, "ffn_norm.weight")
        if self.may(norm):
            self.give(norm, MIRROR, everywhere)
        if latent:
            self.latent()
        self.feed_forward("", None)
        experts = self.feed_forward("_exps", None)
        self.feed_forward("_shexp", experts)
        for role in ("ffn_gate_inp.weight", "exp_probs_b.bias"):
            if self.may(role):
                self.give(role, MIRROR, everywhere)

    def attention(self) -> None:
        """Units are the query heads of one KV head; for the output also a block of its columns at least."""
        hp, cols = self.model.hparams, self.cols
        gqa = hp.n_head_by_layer[self.il] // hp.n_head_kv_by_layer[self.il]
        q, o = self.row("attn_q.weight"), self.row("attn_output.weight")
        unit_o, kind = hp.head_dim_v * gqa, int(cols.type_id[o])
        if QUANTIZED[kind]:
            unit_o = max(unit_o, int(BLOCK[kind]))
        share_o = self.share(int(cols.ne[o, 0]), unit_o)
        share_q = self.share(int(cols.ne[q, 1]), hp.head_dim_k * gqa)
        if [s // hp.head_dim_v for s in share_o] != [s // hp.head_dim_k for s in share_q]:
            raise SettingsError(f"-sm graph: layer {self.il} would give a GPU other heads of K than of V; use -sm layer")
        share_k, share_v = [s // gqa for s in share_q], [s // gqa for s in share_o]
        for role, how, parts in (
            ("attn_q.weight", ROWS, share_q), ("attn_q_norm.weight", MIRROR, share_q), ("attn_q.bias", COLUMNS, share_q),
            ("attn_output.weight", COLUMNS, share_o), ("attn_output.bias", MIRROR, share_o),
            ("attn_k.weight", ROWS, share_k), ("attn_k.bias", COLUMNS, share_k), ("attn_k_norm.weight", MIRROR, share_k),
            ("attn_v.weight", ROWS, share_v), ("attn_v.bias", COLUMNS, share_v),
        ):  # fmt: skip
            self.give(role, how, parts)

    def latent(self) -> None:
        """Heads are divided; what all heads read is copied, the norm of the feed-forward once more."""
        hp, everywhere = self.model.hparams, [1] * len(self.points)
        n_head = hp.n_head_by_layer[self.il]
        heads = self.share(n_head, MLA_HEADS)
        for role in ("attn_q_a_norm.weight", "attn_kv_a_norm.weight", "attn_q_a.weight"):
            self.give(role, MIRROR, everywhere)
        columns = [n * hp.head_dim_k for n in heads]
        self.give("attn_q_b.weight" if self.row("attn_q_b.weight") >= 0 else "attn_q.weight", ROWS, columns)
        self.give("attn_kv_a_mqa.weight", MIRROR, everywhere)
        nope = hp.head_dim_k - hp.n_rot
        self.give("attn_k_b.weight", HEADS, heads, (nope, hp.kv_lora_rank, n_head))
        self.give("attn_v_b.weight", HEADS, heads, (hp.kv_lora_rank, hp.head_dim_v, n_head))
        self.give("attn_output.weight", COLUMNS, [n * hp.head_dim_v for n in heads])
        self.give("ffn_norm.weight", MIRROR, everywhere)

    def feed_forward(self, part: str, like: list[int] | None) -> list[int] | None:
        """down, up and gate; ``like``: shares whose zeros must be zeros here too."""
        roles = [f"ffn_{which}{part}.weight" for which in ("down", "up", "gate")]
        if not self.may(*roles):
            return None
        row = self.row(roles[0])
        kind, n = int(self.cols.type_id[row]), int(self.cols.ne[row, 0])
        unit = max(MIN_UNIT, int(BLOCK[kind])) if QUANTIZED[kind] else MIN_UNIT
        shares = self.share(n, unit)
        if like is not None and [s > 0 for s in shares] != [s > 0 for s in like]:
            sums = np.cumsum(like).astype(np.float32)
            shares = self.checked(shared_units(n, unit, sums / sums[-1], self.used))
        for role, how in zip(roles, (COLUMNS, ROWS, ROWS)):
            self.give(role, how, shares)
        return shares


def divide(
    model: Model, cols: Columns, points: np.ndarray, layers: Sequence[int], overridden: np.ndarray
) -> Division:
    """Divides the tensors of these layers. points: running shares of the GPUs; overridden: bool per row.

    Raises SettingsError for overrides that the reference cannot divide around.
    """
    if "blk.{il}.ffn_gate_up_exps.weight" in cols.index:
        raise SettingsError("-sm graph is not planned for files whose experts have up and gate in one tensor; use -sm layer")
    d = _Divider(model, cols, points, ~overridden, [0] * len(points))
    for il in layers:
        d.layer(il)
    whole = np.array(sorted(d.alloc), np.int64)
    if overridden[whole].any():
        name = cols.names[int(whole[overridden[whole]][0])]
        raise SettingsError(f"-sm graph divides {name}; an override of it is not planned: override experts only")
    return Division(tuple(d.added), np.array(d.place, np.int8), whole, tuple(d.used), sum(d.alloc.values()))
