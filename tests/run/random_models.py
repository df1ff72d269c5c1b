"""Small models with random weights, the same ones every time: the reference ran these very files.

Weights are integers from a 64-bit congruential sequence, so that they depend on no library's generator.
"""

import numpy as np

import ikexplore as ikx

VOCAB, EMBD, FF, EXPERTS = 64, 128, 128, 4
HEADS = {"qwen2": (2, 1), "gpt-oss": (4, 2), "deepseek2": (2, 2)}
TOKENS = (np.arange(140) * 37 + np.arange(140) ** 2 * 5) % VOCAB


class Numbers:
    """Evenly spread numbers between -1 and 1."""

    def __init__(self, seed: int):
        self.state = np.uint64(seed)

    def take(self, n: int) -> np.ndarray:
        with np.errstate(over="ignore"):
            steps = self.state + np.arange(1, n + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
            z = (steps ^ (steps >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        self.state = steps[-1]
        return ((z >> np.uint64(40)).astype(np.float64) / 2**23 - 1).astype(np.float32)


def _layer(arch: str, il: int) -> list[tuple[str, tuple[int, ...]]]:
    """Names and shapes of a layer's tensors, without ``blk.N.``."""
    if arch == "deepseek2":
        rows = [("attn_norm.weight", (EMBD,)), ("ffn_norm.weight", (EMBD,)), ("attn_q_a.weight", (EMBD, 64)),
                ("attn_q_a_norm.weight", (64,)), ("attn_q_b.weight", (64, 2 * 192)), ("attn_kv_a_mqa.weight", (EMBD, 576)),
                ("attn_kv_a_norm.weight", (512,)), ("attn_kv_b.weight", (512, 2 * 256)), ("attn_output.weight", (256, EMBD))]
    else:
        q, kv = 64 * HEADS[arch][0], 64 * HEADS[arch][1]
        rows = [("attn_norm.weight", (EMBD,)), ("attn_q.weight", (EMBD, q)), ("attn_k.weight", (EMBD, kv)),
                ("attn_v.weight", (EMBD, kv)), ("attn_output.weight", (q, EMBD)), ("attn_q.bias", (q,)),
                ("attn_k.bias", (kv,)), ("attn_v.bias", (kv,))]
    if arch == "qwen2" or (arch == "deepseek2" and il == 0):
        rows += [("ffn_gate.weight", (EMBD, FF)), ("ffn_up.weight", (EMBD, FF)), ("ffn_down.weight", (FF, EMBD))]
        return rows + ([("ffn_norm.weight", (EMBD,))] if arch == "qwen2" else [])
    rows += [("ffn_gate_inp.weight", (EMBD, EXPERTS)), ("ffn_gate_exps.weight", (EMBD, FF, EXPERTS)),
             ("ffn_up_exps.weight", (EMBD, FF, EXPERTS)), ("ffn_down_exps.weight", (FF, EMBD, EXPERTS))]
    if arch == "deepseek2":
        return [*rows, ("exp_probs_b.bias", (EXPERTS,)), ("ffn_gate_shexp.weight", (EMBD, FF)),
                ("ffn_up_shexp.weight", (EMBD, FF)), ("ffn_down_shexp.weight", (FF, EMBD))]
    return [*rows, ("attn_output.bias", (EMBD,)), ("post_attention_norm.weight", (EMBD,)), ("attn_sinks.weight", (4,)),
            ("ffn_gate_inp.bias", (EXPERTS,)), ("ffn_gate_exps.bias", (FF, EXPERTS)), ("ffn_up_exps.bias", (FF, EXPERTS)),
            ("ffn_down_exps.bias", (EMBD, EXPERTS))]


def _metadata(arch: str) -> dict[str, object]:
    head = 192 if arch == "deepseek2" else 64
    about: dict[str, object] = {
        "context_length": 4096, "embedding_length": EMBD, "block_count": 2, "feed_forward_length": FF,
        "attention.head_count": HEADS[arch][0], "attention.head_count_kv": HEADS[arch][1],
        "attention.layer_norm_rms_epsilon": 1e-6, "rope.freq_base": 10000.0, "vocab_size": VOCAB, "attention.key_length": head,
        "attention.value_length": 128 if arch == "deepseek2" else 64, "rope.dimension_count": 64,
    }  # fmt: skip
    if arch != "qwen2":
        about |= {"expert_count": EXPERTS, "expert_used_count": 2, "expert_feed_forward_length": FF,
                  "rope.scaling.type": "yarn", "rope.scaling.factor": 8.0, "rope.scaling.original_context_length": 64}
    if arch == "gpt-oss":
        about["attention.sliding_window"] = 24
    if arch == "deepseek2":
        about |= {"attention.kv_lora_rank": 512, "attention.q_lora_rank": 64, "leading_dense_block_count": 1,
                  "expert_shared_count": 1, "expert_weights_scale": 2.5, "expert_weights_norm": True,
                  "expert_gating_func": 2, "rope.scaling.yarn_log_multiplier": 0.1}
    return {"general.architecture": arch, "general.name": "random", "tokenizer.ggml.model": "no_vocab",
            **{f"{arch}.{key}": value for key, value in about.items()}}


def write(path, arch: str) -> None:
    """Write the random model of an architecture: matrices f16, all else f32."""
    numbers = Numbers(sum(map(ord, arch)))
    rows = [("token_embd.weight", (EMBD, VOCAB)), ("output_norm.weight", (EMBD,)), ("output.weight", (EMBD, VOCAB))]
    rows += [(f"blk.{il}.{name}", shape) for il in range(2) for name, shape in _layer(arch, il)]
    tensors = []
    for name, shape in rows:
        x = numbers.take(int(np.prod(shape)))
        if name.endswith("_norm.weight"):
            tensors.append((name, shape, "f32", (1 + x / 4).view(np.uint8)))
        elif len(shape) == 1 or name.endswith(".bias"):
            tensors.append((name, shape, "f32", (x / 2).view(np.uint8)))
        elif "ffn_gate_inp" in name:
            tensors.append((name, shape, "f32", (x / 4).view(np.uint8)))
        else:
            scaled = x if name == "token_embd.weight" else 2 * x / np.sqrt(np.float32(shape[0]))
            tensors.append((name, shape, "f16", scaled.astype(np.float16).view(np.uint8)))
    ikx.gguf.write(path, _metadata(arch), tensors)
