"""The demo model as a torch module: a `qwen3moe` that stays close to the GGUF that it becomes.

Parameter names follow GGUF tensor names (`gguf_name` maps them); parameter shapes are those of the GGUF tensors as
numpy shows them (ggml's ne reversed). The definition is that of Qwen3-MoE: RMS norms, rotary
embedding of the "neox" kind (halves rotated against each other), RMS norm of each query and key head before it,
grouped-query attention, softmax over all experts, the top k of them renormalised to sum 1, SwiGLU experts.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class Config:
    """Hyper-parameters, with GGUF's names shortened. Every matrix row is a multiple of 256 elements long, the
    super-block of k-quants and i-quants, so that every quant type can be applied to every matrix."""

    n_vocab: int = 704
    n_embd: int = 256
    n_layer: int = 4
    n_head: int = 4
    n_head_kv: int = 2
    head_dim: int = 64
    n_expert: int = 8
    n_expert_used: int = 2
    n_ff_exp: int = 256
    n_ctx_train: int = 4096
    rms_eps: float = 1e-6
    rope_freq_base: float = 1e6


class Norm(nn.Module):
    """RMS norm over the last axis with a learnt scale."""

    def __init__(self, n: int, eps: float):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(n))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, (x.shape[-1],), self.weight, self.eps)


def rope_table(cfg: Config, n: int) -> tuple[Tensor, Tensor]:
    """Cosine and sine, [n, head_dim / 2] each, of position * base^(-2 i / head_dim)."""
    inv = cfg.rope_freq_base ** (-torch.arange(0, cfg.head_dim, 2, dtype=torch.float64) / cfg.head_dim)
    angle = torch.outer(torch.arange(n, dtype=torch.float64), inv)
    return angle.cos().float(), angle.sin().float()


def rope(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate x [batch, head, token, head_dim]: element i against element i + head_dim / 2 ("neox")."""
    a, b = x.chunk(2, dim=-1)
    return torch.cat((a * cos - b * sin, b * cos + a * sin), dim=-1)


class Dropout(nn.Module):
    """nn.Dropout with one random byte per element (so p is a multiple of 1/256): ten times faster on the CPU."""

    def __init__(self, p: float):
        super().__init__()
        self.of_256 = round(256 * p)

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or not self.of_256:
            return x
        bits = torch.empty(-(-x.numel() // 8), dtype=torch.int64).random_(-(2**63), None)
        keep = bits.view(torch.uint8)[: x.numel()].view_as(x) >= self.of_256
        return x * (keep * (256 / (256 - self.of_256)))


class Attention(nn.Module):
    def __init__(self, cfg: Config):
        super().__init__()
        self.cfg = cfg
        q, kv = cfg.n_head * cfg.head_dim, cfg.n_head_kv * cfg.head_dim
        self.attn_q = nn.Linear(cfg.n_embd, q, bias=False)
        self.attn_k = nn.Linear(cfg.n_embd, kv, bias=False)
        self.attn_v = nn.Linear(cfg.n_embd, kv, bias=False)
        self.attn_output = nn.Linear(q, cfg.n_embd, bias=False)
        self.attn_q_norm = Norm(cfg.head_dim, cfg.rms_eps)
        self.attn_k_norm = Norm(cfg.head_dim, cfg.rms_eps)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        b, t, _ = x.shape

        def heads(y: Tensor) -> Tensor:
            return y.view(b, t, -1, self.cfg.head_dim)

        q = rope(self.attn_q_norm(heads(self.attn_q(x))).transpose(1, 2), cos, sin)
        k = rope(self.attn_k_norm(heads(self.attn_k(x))).transpose(1, 2), cos, sin)
        v = heads(self.attn_v(x)).transpose(1, 2)
        group = self.cfg.n_head // self.cfg.n_head_kv
        k, v = k.repeat_interleave(group, 1), v.repeat_interleave(group, 1)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.attn_output(y.transpose(1, 2).reshape(b, t, -1))


class Experts(nn.Module):
    """The mixture of experts. Tokens are sorted by expert, so that each expert is three plain matmuls."""

    def __init__(self, cfg: Config):
        super().__init__()
        self.cfg = cfg
        e, d, f = cfg.n_expert, cfg.n_embd, cfg.n_ff_exp
        self.ffn_gate_inp = nn.Linear(d, e, bias=False)
        self.ffn_gate_exps = nn.Parameter(torch.empty(e, f, d))
        self.ffn_up_exps = nn.Parameter(torch.empty(e, f, d))
        self.ffn_down_exps = nn.Parameter(torch.empty(e, d, f))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """x [n, n_embd] -> (output [n, n_embd], balance loss, share of the choices that each expert got)."""
        cfg = self.cfg
        probs = self.ffn_gate_inp(x).softmax(-1)
        weight, chosen = probs.topk(cfg.n_expert_used, dim=-1)
        weight = weight / weight.sum(-1, keepdim=True)
        order = chosen.flatten().argsort(stable=True)
        token = order // cfg.n_expert_used
        count = torch.bincount(chosen.flatten(), minlength=cfg.n_expert)
        groups = x.index_select(0, token).split(count.tolist())
        parts = [self.one(e, rows) for e, rows in enumerate(groups) if len(rows)]
        y = torch.cat(parts) * weight.flatten()[order, None]
        share = count / count.sum()
        # Switch Transformer's auxiliary loss: 1 when choices and probabilities are spread evenly
        balance = cfg.n_expert * (share * probs.mean(0)).sum()
        return torch.zeros_like(x).index_add(0, token, y), balance, share

    def one(self, e: int, x: Tensor) -> Tensor:
        h = F.silu(F.linear(x, self.ffn_gate_exps[e])) * F.linear(x, self.ffn_up_exps[e])
        return F.linear(h, self.ffn_down_exps[e])


class Block(nn.Module):
    def __init__(self, cfg: Config, dropout: float):
        super().__init__()
        self.attn_norm = Norm(cfg.n_embd, cfg.rms_eps)
        self.attn = Attention(cfg)
        self.ffn_norm = Norm(cfg.n_embd, cfg.rms_eps)
        self.ffn = Experts(cfg)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x = x + self.dropout(self.attn(self.attn_norm(x), cos, sin))
        y, balance, share = self.ffn(self.ffn_norm(x).flatten(0, 1))
        return x + self.dropout(y.view_as(x)), balance, share


class Qwen3Moe(nn.Module):
    """tokens int64 [batch, n] -> logits float32 [batch, n, n_vocab]; after a call `balance` holds the balance loss
    (mean over layers) and `shares` float32 [n_layer, n_expert] how the choices were spread."""

    def __init__(self, cfg: Config, dropout: float = 0.0):
        super().__init__()
        self.cfg = cfg
        self.token_embd = nn.Embedding(cfg.n_vocab, cfg.n_embd)
        self.dropout = Dropout(dropout)
        self.blk = nn.ModuleList(Block(cfg, dropout) for _ in range(cfg.n_layer))
        self.output_norm = Norm(cfg.n_embd, cfg.rms_eps)
        self.output = nn.Linear(cfg.n_embd, cfg.n_vocab, bias=False)
        cos, sin = rope_table(cfg, cfg.n_ctx_train)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)
        self.reset()

    def reset(self) -> None:
        """Normal(0, 0.02), and less for the matrices that write to the residual stream (as in GPT-2)."""
        for name, p in self.named_parameters():
            if p.ndim > 1:
                writes = "attn_output" in name or "ffn_down" in name
                nn.init.normal_(p, std=0.02 / (2 * self.cfg.n_layer) ** 0.5 if writes else 0.02)

    def forward(self, tokens: Tensor) -> Tensor:
        n = tokens.shape[1]
        cos, sin = self.cos[:n], self.sin[:n]
        x = self.dropout(self.token_embd(tokens))
        balance, shares = [], []
        for block in self.blk:
            x, b, s = block(x, cos, sin)
            balance.append(b)
            shares.append(s)
        self.balance, self.shares = torch.stack(balance).mean(), torch.stack(shares).detach()
        return self.output(self.output_norm(x))


def gguf_name(name: str) -> str:
    """Name of a parameter -> name of its GGUF tensor: blk.0.ffn.ffn_up_exps -> blk.0.ffn_up_exps.weight"""
    name = name.replace(".attn.", ".").replace(".ffn.", ".")
    return name if name.endswith(".weight") else name + ".weight"
