"""Models to time kernels with: true shapes, random weights of one type, the demo model's tokenizer; kept in a folder.

``dense``: 300M-class llama (n_embd 1024, 16 layers, ff 4096, 16/8 heads of 64). ``moe``: two layers of Qwen3-30B-A3B's
shape. ``demo``: the embedded model, requantized. Weights are dealt out from few encoded rows, as `demo.synthetic` does.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ikexplore.gguf import tensor_bytes, type_info, write
from ikexplore.models import open as open_model
from ikexplore_kernels import formats

DEMO = Path(__file__).resolve().parent.parent.parent / "ikexplore" / "demo" / "demo.gguf"
ROWS = 64

SHAPES = {
    "dense": {"arch": "llama", "n_layer": 16, "n_embd": 1024, "n_ff": 4096, "n_head": 16, "n_head_kv": 8, "head": 64},
    "moe": {"arch": "qwen3moe", "n_layer": 2, "n_embd": 2048, "n_ff": 6144, "n_head": 32, "n_head_kv": 4, "head": 128,
            "experts": 128, "used": 8, "n_ff_exp": 768},
}


def _metadata(name: str, s: dict) -> dict:
    a, demo = s["arch"], open_model(DEMO).metadata
    values = {
        "general.architecture": a, "general.name": f"bench {name}", f"{a}.context_length": 32768,
        f"{a}.embedding_length": s["n_embd"], f"{a}.block_count": s["n_layer"], f"{a}.feed_forward_length": s["n_ff"],
        f"{a}.attention.head_count": s["n_head"], f"{a}.attention.head_count_kv": s["n_head_kv"],
        f"{a}.attention.key_length": s["head"], f"{a}.attention.value_length": s["head"],
        f"{a}.rope.dimension_count": s["head"], f"{a}.attention.layer_norm_rms_epsilon": 1e-6, f"{a}.rope.freq_base": 1e6,
        f"{a}.vocab_size": open_model(DEMO).hparams.n_vocab,
    }
    if "experts" in s:
        values |= {f"{a}.expert_count": s["experts"], f"{a}.expert_used_count": s["used"],
                   f"{a}.expert_feed_forward_length": s["n_ff_exp"]}
    return values | {k: v for k, v in demo.items() if k.startswith("tokenizer.")}


def _shapes(s: dict) -> Iterator[tuple[str, tuple[int, ...]]]:
    d, q, kv = s["n_embd"], s["n_head"] * s["head"], s["n_head_kv"] * s["head"]
    vocab = open_model(DEMO).hparams.n_vocab
    yield "token_embd.weight", (d, vocab)
    yield "output_norm.weight", (d,)
    yield "output.weight", (d, vocab)
    for i in range(s["n_layer"]):
        p = f"blk.{i}."
        yield p + "attn_norm.weight", (d,)
        yield p + "attn_q.weight", (d, q)
        yield p + "attn_k.weight", (d, kv)
        yield p + "attn_v.weight", (d, kv)
        yield p + "attn_output.weight", (q, d)
        yield p + "ffn_norm.weight", (d,)
        if "experts" not in s:
            yield p + "ffn_gate.weight", (d, s["n_ff"])
            yield p + "ffn_up.weight", (d, s["n_ff"])
            yield p + "ffn_down.weight", (s["n_ff"], d)
            continue
        yield p + "attn_q_norm.weight", (s["head"],)
        yield p + "attn_k_norm.weight", (s["head"],)
        yield p + "ffn_gate_inp.weight", (d, s["experts"])
        yield p + "ffn_gate_exps.weight", (d, s["n_ff_exp"], s["experts"])
        yield p + "ffn_up_exps.weight", (d, s["n_ff_exp"], s["experts"])
        yield p + "ffn_down_exps.weight", (s["n_ff_exp"], d, s["experts"])


def _values(shape: tuple[int, ...], kind: str, rng: np.random.Generator) -> np.ndarray:
    n_rows = int(np.prod(shape[1:]))
    if kind == "f32":
        x = rng.standard_normal((n_rows, shape[0]), np.float32)
        return (x / np.sqrt(shape[0]) if len(shape) > 1 else 1 + 0.05 * x).astype(np.float32).view(np.uint8).reshape(-1)
    f = formats.get(kind)
    few = f.encode(rng.standard_normal((ROWS, shape[0]), np.float32) / np.float32(np.sqrt(shape[0])))
    groups = few.reshape(ROWS // f.interleave, -1)
    return np.take(groups, rng.integers(0, len(groups), n_rows // f.interleave), axis=0).reshape(-1)


def bench_model(name: str, kind: str, folder: Path) -> Path:
    """The GGUF of model ``name`` (dense, moe, demo) with matrices of type ``kind``; made when it is not there yet."""
    path = folder / f"{name}-{kind}.gguf"
    if path.exists():
        return path
    folder.mkdir(parents=True, exist_ok=True)
    if name == "demo":
        from ikexplore.run import requantized

        m = requantized(open_model(DEMO), kind)
        write(path, m.metadata, [(t.name, t.shape, t.type, m.data(t.name)) for t in m.tensors.values()])
        return path
    rng = np.random.default_rng(0)
    tensors = []
    for tensor, shape in _shapes(SHAPES[name]):
        own = "f32" if len(shape) == 1 or "gate_inp" in tensor else "q8_0" if tensor == "token_embd.weight" else kind
        own = type_info(own).name
        tensors.append((tensor, shape, own, lambda shape=shape, own=own: _values(shape, own, rng)))
        assert tensor_bytes(type_info(own), shape)
    write(path, _metadata(name, SHAPES[name]), tensors)
    return path
