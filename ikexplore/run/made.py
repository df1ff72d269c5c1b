"""Tensors that loading makes: merged ones (-mqkv, -muge) and those of latent attention that a file lacks.

Which there are, with their types, says ``placement``; here are their bytes. Source: llm_prepare_mla, merge_qkv and
merge_up_gate_exps of ik_llama.cpp.
"""

import numpy as np

from ikexplore_kernels.formats import Format, get

from ..errors import ModelError
from ..models import Model

#: role -> roles whose rows follow each other in it, expert by expert
_MERGED = {
    "attn_qkv": ("attn_q", "attn_k", "attn_v"),
    "attn_qk": ("attn_q", "attn_k"),
    "ffn_gate_up_exps": ("ffn_gate_exps", "ffn_up_exps"),
}


def made_bytes(model: Model, name: str, kind: Format) -> np.ndarray:
    """uint8 bytes of a tensor that the file has not, in the format ``kind``. Raises ModelError for an unknown one."""
    block, role, suffix = name.rsplit(".", 2)
    if role == "attn_qk_a_mqa":
        q = "attn_q_a" if f"{block}.attn_q_a.weight" in model.tensors else "attn_q"
        return _merged(model, [f"{block}.{q}.{suffix}", f"{block}.attn_kv_a_mqa.{suffix}"])
    if role in _MERGED:
        return _merged(model, [f"{block}.{part}.{suffix}" for part in _MERGED[role]])
    if role in ("attn_k_b", "attn_v_b", "attn_kv_b"):
        return _latent(model, block, role, kind)
    raise ModelError(f"{model.path or 'this model'} has no tensor {name!r}, and it cannot be made of others")


def made_format(model: Model, name: str, kind: Format) -> Format:
    """The format that ``made_bytes`` gives a tensor of run-time format ``kind`` in: merged ones keep the file's."""
    block, role, suffix = name.rsplit(".", 2)
    if role in _MERGED or role == "attn_qk_a_mqa":
        part = _MERGED[role][0] if role in _MERGED else "attn_kv_a_mqa"
        found = model.tensors.get(f"{block}.{part}.{suffix}")
        if found is not None:
            return get(found.type)
    return kind.base or kind


def _merged(model: Model, parts: list[str]) -> np.ndarray:
    many = model.tensors[parts[0]].shape
    matrices = many[2] if len(many) > 2 else many[1] if parts[0].endswith(".bias") and len(many) > 1 else 1
    return np.concatenate([model.data(part).reshape(matrices, -1) for part in parts], axis=1).reshape(-1)


def _values(model: Model, name: str) -> np.ndarray:
    """float32 [rows, columns] of a matrix, as products see it."""
    tensor = model.tensors[name]
    f = get(tensor.type)
    values = f.decode(model.data(name).reshape(-1, f.row_bytes(tensor.shape[0])), tensor.shape[0])
    return values * np.float32(f.product_factor)


def _latent(model: Model, block: str, role: str, kind: Format) -> np.ndarray:
    """kv_b has, per head, rows of the unrotated part of K and of V over the latent; k_b is the former transposed."""
    hp, whole = model.hparams, f"{block}.attn_kv_b.weight"
    heads, nope, lora = hp.n_head, hp.head_dim_k - hp.n_rot, hp.kv_lora_rank
    if role == "attn_kv_b":
        k_b = _values(model, f"{block}.attn_k_b.weight").reshape(heads, lora, nope).transpose(0, 2, 1)
        v_b = _values(model, f"{block}.attn_v_b.weight").reshape(heads, hp.head_dim_v, lora)
        return kind.encode(np.concatenate([k_b, v_b], axis=1).reshape(-1, lora)).reshape(-1)
    if role == "attn_v_b":
        rows = model.data(whole).reshape(heads, nope + hp.head_dim_v, -1)
        return np.ascontiguousarray(rows[:, nope:]).reshape(-1)
    k_b = _values(model, whole).reshape(heads, nope + hp.head_dim_v, lora)[:, :nope]
    return kind.encode(np.ascontiguousarray(k_b.transpose(0, 2, 1)).reshape(-1, nope)).reshape(-1)
