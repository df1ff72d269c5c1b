"""-rtr, -ub, -fa, KV types and threads do not change what is computed: random small models, random settings."""

import json
import tempfile
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

import ikexplore as ikx

KINDS = ("f16", "q8_0", "iq4_ks")
VOCAB = 96


@st.composite
def models(draw):
    """A model of 1 or 2 layers with random weights; every matrix in one of three types."""
    arch = draw(st.sampled_from(["llama", "qwen3", "qwen3moe"]))
    head, kv = draw(st.sampled_from([32, 64, 128])), draw(st.sampled_from([1, 2]))
    heads, experts = kv * draw(st.sampled_from([1, 2, 4])), draw(st.sampled_from([2, 4, 5]))
    embd, ff, layers = draw(st.sampled_from([256, 512])), draw(st.sampled_from([256, 512])), draw(st.sampled_from([1, 2]))
    metadata = {
        "general.architecture": arch, "general.name": "small", "tokenizer.ggml.model": "no_vocab", f"{arch}.vocab_size": VOCAB,
        f"{arch}.block_count": layers, f"{arch}.context_length": 512, f"{arch}.embedding_length": embd,
        f"{arch}.feed_forward_length": ff, f"{arch}.attention.head_count": heads, f"{arch}.attention.head_count_kv": kv,
        f"{arch}.attention.key_length": head, f"{arch}.attention.value_length": head, f"{arch}.rope.dimension_count": head,
        f"{arch}.attention.layer_norm_rms_epsilon": 1e-5, f"{arch}.rope.freq_base": 1e4,
    }  # fmt: skip
    wide = heads * head
    shapes = {"attn_q": [embd, wide], "attn_k": [embd, kv * head], "attn_v": [embd, kv * head], "attn_output": [wide, embd]}
    if arch == "qwen3moe":
        metadata |= {f"{arch}.expert_count": experts, f"{arch}.expert_used_count": draw(st.sampled_from([1, 2])),
                     f"{arch}.expert_feed_forward_length": ff}
        shapes |= {f"ffn_{which}_exps": [embd, ff, experts] for which in ("up", "gate")}
        shapes["ffn_down_exps"] = [ff, embd, experts]
    else:
        shapes |= {"ffn_up": [embd, ff], "ffn_gate": [embd, ff], "ffn_down": [ff, embd]}
    tensors = [["token_embd.weight", [embd, VOCAB], "q8_0"], ["output_norm.weight", [embd], "f32"],
               ["output.weight", [embd, VOCAB], draw(st.sampled_from(KINDS))]]
    for layer in range(layers):
        kinds = {role: draw(st.sampled_from(KINDS if shape[0] % 256 == 0 else KINDS[:2])) for role, shape in shapes.items()}
        kinds["ffn_gate_exps"] = kinds.get("ffn_up_exps", "")
        tensors += [[f"blk.{layer}.{role}.weight", shape, kinds[role]] for role, shape in shapes.items()]
        vectors = {"attn_norm": [embd], "ffn_norm": [embd]}
        if arch != "llama":
            vectors |= {"attn_q_norm": [head], "attn_k_norm": [head]}
        if arch == "qwen3moe":
            vectors["ffn_gate_inp"] = [embd, experts]
        tensors += [[f"blk.{layer}.{role}.weight", shape, "f32"] for role, shape in vectors.items()]
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "small.json").write_text(json.dumps({"metadata": metadata, "tensors": tensors}))
        return ikx.demo.synthetic(Path(folder) / "small.json", layers, seed=draw(st.integers(0, 99)))


@st.composite
def switches(draw):
    kv = draw(st.sampled_from(["f16", "f16", "q8_0"]))
    fa = kv == "q8_0" or draw(st.booleans())
    return ikx.Settings(n_ctx=256, rtr=draw(st.booleans()), n_ubatch=draw(st.sampled_from([1, 5, 16, 512])), flash_attn=fa,
                        cache_type_k=kv, cache_type_v=kv, n_threads=draw(st.sampled_from([1, 2, 3])),
                        fused_moe=draw(st.booleans()), fused_up_gate=draw(st.booleans()))


@settings(max_examples=12, deadline=None)
@given(models(), switches(), st.integers(4, 40), st.integers(0, 99))
def test_settings_do_not_change_results(model, other, n, seed):
    """Node by node on equal inputs; and from end to end, where rounding adds up but no router can flip."""
    plain = ikx.Settings(n_ctx=256, n_threads=2)
    tokens = np.random.default_rng(seed).integers(0, VOCAB, n)
    assert ikx.crosscheck(model, plain, other, tokens) is None
    if model.arch != "qwen3moe" and other.cache_type_k == "f16":
        want, got = (ikx.logits(model, tokens, s) for s in (plain, other))
        dense = all(t.type in ("f32", "f16") for t in model.tensors.values() if t.name != "token_embd.weight")
        assert np.linalg.norm(got - want) < (1e-4 if dense else 0.03) * np.linalg.norm(want)


@settings(max_examples=6, deadline=None)
@given(models(), switches())
def test_the_naive_twin_agrees(model, other):
    assert ikx.crosscheck(model, other, "naive", single=1) is None
