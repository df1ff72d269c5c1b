"""What tests of hybrid runs share: stand-in cards, rigs for them, models in other types, and evaluations."""

import numpy as np
from shim import ShimRuntime

import ikexplore as ikx
from ikexplore_kernels.formats import get

OPS = ("ops_elements", "ops_rows", "ops_attention", "ops_fused", "activations", "experts")
TYPES = ("f16", "f32", "q8_0", "q4_0", "iq4_nl", "iq4_ks_r4")


def cards(n=1, kind=ShimRuntime):
    return [kind(OPS, TYPES) for _ in range(n)]


def rig(n=1, free_mib=24000):
    gpus = [{"name": f"CUDA{i}", "free_mib": free_mib, "cc": 860} for i in range(n)]
    return ikx.Machine.described(gpus=gpus, cuda_build=True)


def flags(line):
    return ikx.Settings.parse(f"-c 256 -t 2 {line}")


def relative(got, want):
    return float(np.linalg.norm(got - want) / np.linalg.norm(want))


def quantized(model, kind):
    """The model with its matrices of a layer in another type."""
    f, new = get(kind), {}
    for t in model.tensors.values():
        if t.type == "f16" and t.name.startswith("blk."):
            x = get("f16").decode(model.data(t.name).reshape(-1, t.row_bytes), t.shape[0])
            new[t.name] = (kind, (f.base.repack(f.base.encode(x), t.shape[0]) if f.base else f.encode(x)).reshape(-1))
    return model.replaced(new)


def tokens(model, n):
    return np.random.default_rng(0).integers(0, model.hparams.n_vocab, n)


def evaluated(session, ids, single=2):
    """Logits of a prompt, then of single tokens."""
    n = len(ids) - single
    return np.concatenate([session.eval(ids[:n], n), *(session.eval(ids[i : i + 1]) for i in range(n, len(ids)))])
