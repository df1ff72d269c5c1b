"""Train the demo model from the text beside this file: ``python -m ikexplore.demo.train --out demo.gguf``.

Needs the extra `train` (torch, CPU build). The number of steps is fixed, so a seed, a thread count and a version of
torch give one result; the sequence length grows at the end, so that the model stays sane up to its 4096 tokens.
"""

import argparse
import math
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer

from . import export, train_data
from .train_model import Config, Qwen3Moe

ABOUT = {
    "name": "ikexplore demo",
    "description": "A small Qwen3-MoE model trained from scratch on Jane Austen's novels, for trying out kernels",
    "license": "mit",
}
HERE = Path(__file__).parent


@dataclass
class Options:
    """What a run depends on.

    `stages` is (steps, sequence length); a step is `tokens` tokens, or one sequence where that is longer.
    The learning rate rises for `warmup` steps, follows a cosine that would take `horizon` steps, and leaves it at
    step `cooldown` for a straight line that ends with the last stage.
    """

    stages: tuple[tuple[int, int], ...] = ((1250, 256), (350, 512), (200, 1024), (130, 2048), (70, 4096))
    tokens: int = 2048
    lr: float = 1.5e-3
    lr_end: float = 0.02
    warmup: int = 200
    horizon: int = 4000
    cooldown: int = 1250
    weight_decay: float = 0.1
    dropout: float = 0.05
    balance: float = 0.01
    clip: float = 1.0
    seed: int = 1

    @property
    def steps(self) -> int:
        return sum(n for n, _ in self.stages)

    def length(self, step: int) -> int:
        """Sequence length of a step."""
        for n, length in self.stages:
            step -= n
            if step < 0:
                return length
        raise ValueError("step beyond the last stage")

    def rate(self, step: int) -> float:
        """Learning rate of a step."""
        low = self.lr * self.lr_end
        if step < self.warmup:
            return self.lr * (step + 1) / self.warmup
        if step > self.cooldown:
            left = (self.steps - step) / (self.steps - self.cooldown)
            return low + left * (self.rate(self.cooldown) - low)
        x = (step - self.warmup) / (self.horizon - self.warmup)
        return low + (self.lr - low) * 0.5 * (1 + math.cos(math.pi * x))


def make_optimizer(model: Qwen3Moe, opt: Options) -> torch.optim.Optimizer:
    """AdamW; norms do not decay."""
    groups = [
        {"params": [p for p in model.parameters() if p.ndim > 1], "weight_decay": opt.weight_decay},
        {"params": [p for p in model.parameters() if p.ndim == 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=opt.lr, betas=(0.9, 0.99), fused=True)


def train_step(model: Qwen3Moe, adam: torch.optim.Optimizer, data: np.ndarray, step: int, opt: Options) -> float:
    """One update; the loss in nats per token. The batch depends on seed and step alone, so that runs resume exactly."""
    length = opt.length(step)
    rng = np.random.default_rng((opt.seed, step))
    rows = torch.from_numpy(train_data.batch(data, rng, max(1, opt.tokens // length), length))
    x, y = rows[:, :-1], rows[:, 1:]
    torch.manual_seed(opt.seed * 1_000_003 + step)  # dropout
    model.train()
    loss = F.cross_entropy(model(x).flatten(0, 1), y.flatten())
    (loss + opt.balance * model.balance).backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), opt.clip)
    for group in adam.param_groups:
        group["lr"] = opt.rate(step)
    adam.step()
    adam.zero_grad(set_to_none=True)
    return loss.item()


@torch.no_grad()
def bits_per_byte(model: Qwen3Moe, tok: Tokenizer, text: str, ctx: int = 512) -> float:
    """Bits per byte of `text`: cut into windows of `ctx` tokens, each read afresh; every token of a window but its
    first is predicted; the sum of -log2 p over these, divided by the bytes that they stand for."""
    ids, n_bytes_of = tok.encode(text).ids, [len(t) for t in train_data.token_list(tok)]
    bits, n_bytes = 0.0, 0
    model.eval()
    for at in range(0, len(ids), ctx):
        window = torch.tensor(ids[at : at + ctx])
        if len(window) < 2:
            break
        nll = F.cross_entropy(model(window[None])[0, :-1], window[1:], reduction="sum")
        bits += nll.item() / math.log(2)
        n_bytes += sum(n_bytes_of[i] for i in ids[at + 1 : at + ctx])
    return bits / n_bytes


def save(path: Path, step: int, model: Qwen3Moe, adam: torch.optim.Optimizer) -> None:
    part = path.with_suffix(".part")
    torch.save({"step": step, "model": model.state_dict(), "adam": adam.state_dict()}, part)
    part.replace(path)


def train(opt: Options, work: Path, every: int = 250) -> tuple[Qwen3Moe, Tokenizer]:
    """Train, or go on from the last checkpoint in `work`; (model, tokenizer)."""
    novels, valid = train_data.corpus()
    tok = train_data.make_tokenizer(novels, Config.n_vocab)
    data = train_data.encode_novels(tok, novels)
    n_bytes = sum(len(n.encode()) for n in novels)
    torch.manual_seed(opt.seed)
    model = Qwen3Moe(Config(), opt.dropout)
    adam = make_optimizer(model, opt)
    n_param = sum(p.numel() for p in model.parameters())
    print(f"{n_param:,} parameters; {n_bytes:,} bytes = {len(data):,} tokens; {opt}", flush=True)
    first, checkpoint = 0, work / "checkpoint.pt"
    if checkpoint.exists():
        state = torch.load(checkpoint)
        first = state["step"]
        model.load_state_dict(state["model"])
        adam.load_state_dict(state["adam"])
        print(f"going on from step {first} of {checkpoint}", flush=True)
    start, losses = time.time(), []
    for step in range(first, opt.steps):
        losses.append(train_step(model, adam, data, step, opt))
        if (step + 1) % 50 == 0:
            share = model.shares
            seconds = (time.time() - start) / (step + 1 - first)
            print(
                f"step {step + 1:5d} length {opt.length(step):4d} loss {np.mean(losses):.4f} rate {opt.rate(step):.2e} "
                f"experts {share.min():.2f}-{share.max():.2f} {seconds:.3f} s/step",
                flush=True,
            )
            losses = []
        if (step + 1) % every == 0 or step + 1 == opt.steps:
            bpb = bits_per_byte(model, tok, valid)
            print(f"step {step + 1:5d} validation {bpb:.4f} bits per byte, {time.time() - start:.0f} s", flush=True)
            save(checkpoint, step + 1, model, adam)
    return model.eval(), tok


def report(path: Path, tok: Tokenizer) -> None:
    """What a reader wants to know of the written file: its size, and bits per byte at three context lengths."""
    model = export.read(path)
    text = (HERE / "held_out.txt").read_text(encoding="utf-8")
    print(f"{path}: {path.stat().st_size:,} bytes")
    for ctx in (512, 2048, 4096):
        print(f"held-out text, context {ctx}: {bits_per_byte(model, tok, text, ctx):.4f} bits per byte")


def main() -> None:
    p = argparse.ArgumentParser(prog="python -m ikexplore.demo.train", description=__doc__.splitlines()[0])
    p.add_argument("--out", type=Path, default=Path("demo.gguf"), help="the GGUF to write (default: demo.gguf here)")
    p.add_argument("--work", type=Path, default=Path("demo-training"), help="folder of the checkpoint; resumed from")
    p.add_argument("--kind", choices=("Q8_0", "F16", "F32"), default="Q8_0", help="type of the matrices")
    p.add_argument("--seed", type=int, default=Options.seed)
    p.add_argument("--threads", type=int, default=2)
    a = p.parse_args()
    torch.set_num_threads(a.threads)
    a.work.mkdir(parents=True, exist_ok=True)
    model, tok = train(Options(seed=a.seed), a.work)
    export.write(a.out, model, tok, ABOUT, a.kind)
    report(a.out, tok)


if __name__ == "__main__":
    main()
