"""Between the torch module and GGUF: write (Q8_0 or F16 matrices, F32 norms and routers) and read back."""

import json
from pathlib import Path

import gguf
import numpy as np
import torch
from gguf import quants
from tokenizers import Tokenizer

from .train_data import END, token_list
from .train_model import Config, Qwen3Moe, gguf_name

_KEYS = {
    "context_length": "n_ctx_train",
    "embedding_length": "n_embd",
    "block_count": "n_layer",
    "attention.head_count": "n_head",
    "attention.head_count_kv": "n_head_kv",
    "attention.key_length": "head_dim",
    "attention.value_length": "head_dim",
    "rope.dimension_count": "head_dim",
    "expert_count": "n_expert",
    "expert_used_count": "n_expert_used",
    "expert_feed_forward_length": "n_ff_exp",
    "vocab_size": "n_vocab",
}


def write(path: Path, model: Qwen3Moe, tok: Tokenizer, about: dict[str, str], kind: str = "Q8_0") -> None:
    """Write `model` as GGUF; `kind` (Q8_0, F16 or F32) is the type of its matrices. `about` is `general.*` metadata."""
    qtype, ftype = gguf.GGMLQuantizationType[kind], {"F32": 0, "F16": 1, "Q8_0": 7}[kind]
    w = gguf.GGUFWriter(path, "qwen3moe")
    for key, value in about.items():
        w.add_string(f"general.{key}", value)
    _write_shape(w, model.cfg)
    w.add_file_type(ftype)
    w.add_quantization_version(gguf.GGML_QUANT_VERSION)
    _write_tokenizer(w, tok)
    for name, p in model.state_dict().items():
        x = p.numpy()
        if x.ndim == 1 or "ffn_gate_inp" in name:
            w.add_tensor(gguf_name(name), x)
        else:
            w.add_tensor(gguf_name(name), quants.quantize(x, qtype), raw_dtype=qtype)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def _write_shape(w: gguf.GGUFWriter, cfg: Config) -> None:
    for key, field in _KEYS.items():
        w.add_uint32(f"qwen3moe.{key}", getattr(cfg, field))
    # no dense layer uses it, but readers of Qwen3-MoE files expect the key
    w.add_uint32("qwen3moe.feed_forward_length", cfg.n_ff_exp * cfg.n_expert_used)
    w.add_float32("qwen3moe.attention.layer_norm_rms_epsilon", cfg.rms_eps)
    w.add_float32("qwen3moe.rope.freq_base", cfg.rope_freq_base)


def _write_tokenizer(w: gguf.GGUFWriter, tok: Tokenizer) -> None:
    tokens = token_list(tok)
    end = tokens.index(END)
    merges = json.loads(tok.to_str())["model"]["merges"]
    w.add_tokenizer_model("gpt2")
    w.add_tokenizer_pre("qwen2")
    w.add_token_list(tokens)
    w.add_token_types([gguf.TokenType.CONTROL if t == END else gguf.TokenType.NORMAL for t in tokens])
    w.add_token_merges([m if isinstance(m, str) else " ".join(m) for m in merges])
    w.add_bos_token_id(end)
    w.add_eos_token_id(end)
    w.add_pad_token_id(end)
    w.add_add_bos_token(False)


def read(path: Path) -> Qwen3Moe:
    """A qwen3moe GGUF as a torch module in F32 (quantized matrices decoded), ready for evaluation."""
    r = gguf.GGUFReader(path)

    def value(key):
        return r.fields[f"qwen3moe.{key}"].contents()

    shape = {field: value(key) for key, field in _KEYS.items()}
    eps, base = value("attention.layer_norm_rms_epsilon"), value("rope.freq_base")
    model = Qwen3Moe(Config(**shape, rms_eps=eps, rope_freq_base=base))
    data = {t.name: quants.dequantize(t.data, t.tensor_type) for t in r.tensors}
    state = {}
    for name, p in model.state_dict().items():
        state[name] = torch.from_numpy(np.array(data.pop(gguf_name(name)), np.float32).reshape(p.shape))
    assert not data, f"tensors without a place in the module: {sorted(data)}"
    model.load_state_dict(state)
    return model.eval()
