"""``Model``: headers, files, bytes on demand, replaced tensors; hyper-parameters and roles."""

import gzip
import json

import numpy as np
import pytest

import ikexplore as ikx
from ikexplore.errors import GGUFError, ModelError
from ikexplore.gguf import write
from ikexplore.models import role_of
from ikexplore.models.hparams import hparams
from ikexplore.models.roles import PARTS

QWEN = "qwen3-30b-a3b-q4_k_m.json.gz"
META = {
    "general.architecture": "llama",
    "general.name": "tiny",
    "llama.block_count": 2,
    "llama.context_length": 128,
    "llama.embedding_length": 64,
    "llama.feed_forward_length": 96,
    "llama.attention.head_count": 4,
    "llama.attention.head_count_kv": 2,
    "llama.attention.layer_norm_rms_epsilon": 1e-5,
}


@pytest.fixture
def tiny(tmp_path):
    """A model file with two tensors whose bytes tell them apart."""
    path = tmp_path / "tiny.gguf"
    rows = [
        ("token_embd.weight", (64, 10), "f32", np.arange(2560, dtype=np.uint32).astype(np.uint8)),
        ("blk.1.attn_q.weight", (64, 8), "q8_0", np.full(544, 7, np.uint8)),
    ]
    write(path, META, rows)
    return path


def test_header_of_a_large_model(data):
    m = ikx.Model.from_header(data / "models" / QWEN)
    assert m.arch == "qwen3moe" and m.name == "Qwen3 30B A3B" and len(m.tensors) == 579 and not m.has_weights
    t = m.tensors["blk.3.ffn_down_exps.weight"]
    assert (t.shape, t.type, t.layer, t.role, t.part) == ((768, 2048, 128), "q6_k", 3, "ffn_down_exps", "experts")
    assert t.nbytes == 128 * 2048 * 3 * 210 and t.row_bytes == 630 and t.n_rows == 128 * 2048
    assert m.find("ffn_down_exps", 3) is t and m.find("ffn_down", 3) is None and m.find("output").shape[1] == 151936
    h = m.hparams
    assert (h.n_layer, h.n_embd, h.n_vocab, h.n_ctx_train, h.n_head, h.n_head_kv) == (48, 2048, 151936, 40960, 32, 4)
    assert (h.head_dim_k, h.head_dim_v, h.n_rot) == (128, 128, 128)
    assert (h.n_expert, h.n_expert_used, h.n_ff_exp) == (128, 8, 768)
    assert (h.rms_eps, h.rope_freq_base, h.rope_scaling_type, h.n_gqa) == (1e-6, 1e6, "none", 8)
    with pytest.raises(ModelError, match="header without weights"):
        m.data(t.name)


def test_offsets_of_a_header_follow_each_other(data):
    m = ikx.open(data / "models" / "deepseek-r1-iq1_s_r4.json.gz")
    end = 0
    for t in m.tensors.values():
        assert t.offset == -(-end // 32) * 32
        end = t.offset + t.nbytes
    assert m.file_bytes == -(-end // 32) * 32
    assert m.tensors["blk.3.ffn_up_exps.weight"].type == "iq1_s_r4"
    h = m.hparams
    assert (h.q_lora_rank, h.kv_lora_rank, h.n_layer_dense_lead, h.expert_gating_func) == (1536, 512, 3, "sigmoid")
    assert (h.rope_scaling_type, h.rope_scale, h.rope_orig_ctx, h.rope_yarn_log_mul) == ("yarn", 40.0, 4096, 0.1)
    assert (h.n_ff_shexp, h.expert_weights_scale, h.expert_weights_norm) == (2048, 2.5, True)
    assert h.is_mla and h.is_moe


def test_bytes_are_mapped_and_read_only(tiny):
    m = ikx.open(tiny)
    assert m.path == tiny and m.files == (tiny,) and m.file_bytes == tiny.stat().st_size and m.has_weights
    d = m.data("blk.1.attn_q.weight")
    assert d.dtype == np.uint8 and d.shape == (544,) and (d == 7).all()
    assert not d.flags.writeable and not d.flags.owndata
    assert m.data("token_embd.weight")[:4].tolist() == [0, 1, 2, 3]
    with pytest.raises(ModelError, match="no tensor 'x'"):
        m.data("x")
    assert m.hparams.n_vocab == 10  # no vocabulary: the rows of token_embd


def test_replaced_tensors(tiny):
    m = ikx.open(tiny)
    new = np.arange(64 * 8 * 2, dtype=np.uint16).astype(np.uint8)
    r = m.replaced({"blk.1.attn_q.weight": ("F16", new.reshape(8, 128))})
    t = r.tensors["blk.1.attn_q.weight"]
    assert (t.type, t.nbytes, t.shape, t.file) == ("f16", 1024, (64, 8), None)
    assert np.array_equal(r.data(t.name), new) and not r.data(t.name).flags.writeable
    assert np.array_equal(r.data("token_embd.weight"), m.data("token_embd.weight"))
    assert m.tensors["blk.1.attn_q.weight"].type == "q8_0" and list(r.tensors) == list(m.tensors)
    back = r.replaced({"token_embd.weight": ("f32", np.zeros(2560, np.uint8))})
    assert np.array_equal(back.data(t.name), new) and not back.data("token_embd.weight").any() and back.has_weights


@pytest.mark.parametrize(
    "name, kind, data, rule",
    [
        ("nothing", "f32", np.zeros(4, np.uint8), "no tensor 'nothing' to replace"),
        ("token_embd.weight", "f32", np.zeros(2561, np.uint8), "uint8 array of 2560 bytes, not uint8 .2561."),
        ("token_embd.weight", "f32", np.zeros(640, np.float32), "not float32"),
        ("token_embd.weight", "q4_k", np.zeros(4, np.uint8), "cannot be q4_k: ne0 is 64"),
        ("token_embd.weight", "q8_0_r8", np.zeros(4, np.uint8), "cannot be q8_0_r8: ne1 is 10"),
        ("token_embd.weight", "q9", np.zeros(4, np.uint8), "unknown tensor type 'q9'"),
        ("token_embd.weight", "f32", bytes(2560), "not bytes"),
    ],
)
def test_replacements_that_do_not_fit(tiny, name, kind, data, rule):
    with pytest.raises(ModelError, match=rule):
        ikx.open(tiny).replaced({name: (kind, data)})


def test_a_file_that_was_cut_short_after_opening(tiny):
    m = ikx.open(tiny)
    tiny.write_bytes(tiny.read_bytes()[:-100])
    with pytest.raises(GGUFError, match="outside the file"):
        m.data("blk.1.attn_q.weight")


def test_a_gguf_that_is_no_model(tmp_path):
    path = tmp_path / "x.gguf"
    write(path, {"general.type": "imatrix"}, [("a", (4,), "f32", bytes(16))])
    m = ikx.open(path)
    assert m.name == "x" and "1 tensors" in repr(m)
    for ask in (lambda: m.arch, lambda: m.hparams):
        with pytest.raises(ModelError, match=r"no general\.architecture"):
            ask()


@pytest.mark.parametrize(
    "text, rule",
    [
        ("{", "not a JSON header"),
        ("[" * 100_000, "not a JSON header"),
        ("[]", "a header is a JSON object, not a list"),
        ('{"metadata": {}}', "an object with 'metadata'"),
        ('{"metadata": {}, "tensors": [["a", [4]]]}', "tensor 0 is .*it must be .name, shape, type."),
        ('{"metadata": {}, "tensors": [["a", [4.5], "f32"]]}', "tensor 0"),
        ('{"metadata": {}, "tensors": [["a", [4], "q9"]]}', "tensor 'a': unknown tensor type 'q9'"),
        ('{"metadata": {}, "tensors": [["a", [4], "q4_k"]]}', "tensor 'a': ne0 is 4"),
        ('{"metadata": {}, "tensors": [["a", [4], "f32"], ["a", [4], "f32"]]}', "'a' is listed twice"),
    ],
)
def test_bad_json_headers(tmp_path, text, rule):
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises(ModelError, match=rule):
        ikx.Model.from_header(path)


def test_headers_that_cannot_be_unpacked(tmp_path):
    path = tmp_path / "x.json.gz"
    with pytest.raises(ModelError, match="no such file"):
        ikx.open(path)
    path.write_bytes(b"no gzip at all")
    with pytest.raises(ModelError, match="cannot be read"):
        ikx.open(path)
    path.write_bytes(gzip.compress(b" " * (65 << 20)))
    with pytest.raises(ModelError, match="more than 64 MiB"):
        ikx.open(path)
    path.write_bytes(gzip.compress(json.dumps({"metadata": META, "tensors": []}).encode()))
    assert ikx.open(path).hparams.n_layer == 2


@pytest.mark.parametrize(
    "change, rule",
    [
        ({"llama.block_count": None}, r"no llama\.block_count"),
        ({"llama.block_count": 0}, "from 1 to"),
        ({"llama.block_count": 10**6}, "from 1 to"),
        ({"llama.block_count": "two"}, "is 'two'; it must be"),
        ({"llama.embedding_length": -1}, "embedding_length is -1"),
        ({"llama.attention.head_count": [4]}, "a whole number, or 2 of them"),
        ({"llama.attention.head_count_kv": 3}, "4 query heads cannot share 3 KV heads"),
        ({"llama.rope.dimension_count": 8}, "rotates whole heads of 16"),
        ({"llama.rope.freq_base": float("nan")}, "a finite number"),
        ({"llama.expert_count": 4, "llama.expert_used_count": 5}, "expert_used_count is 5"),
        ({"llama.expert_gating_func": 9}, "expert_gating_func is 9"),
        ({"general.architecture": 5}, "no general.architecture"),
    ],
)
def test_hyper_parameters_that_make_no_sense(change, rule):
    metadata = {k: v for k, v in (META | change).items() if v is not None}
    with pytest.raises(ModelError, match=rule):
        hparams(metadata)


def test_defaults_and_arrays_of_hyper_parameters():
    h = hparams(META)
    assert (h.head_dim_k, h.head_dim_v, h.n_rot, h.n_expert, h.rope_freq_base, h.rope_scale) == (16, 16, 16, 0, 1e4, 1)
    assert (h.rope_orig_ctx, h.rope_attn_factor, h.n_vocab) == (128, 1.0, 0)
    arrays = META | {"llama.attention.head_count": np.array([4, 8], np.int32), "llama.feed_forward_length": [96, 32]}
    h = hparams(arrays | {"llama.rope.scale_linear": 2.0, "tokenizer.ggml.tokens": ["a", "b", "c"]}, embd_rows=99)
    assert h.n_head_by_layer == (4, 8) and h.n_ff_by_layer == (96, 32) and h.n_ff == 96
    assert (h.rope_scaling_type, h.rope_scale, h.n_vocab) == ("linear", 2.0, 3)
    assert hparams(arrays | {"llama.vocab_size": 7, "tokenizer.ggml.tokens": ["a"]}).n_vocab == 7


def test_mainline_mla_headers_are_read_as_ik_reads_them():
    deepseek = {k.replace("llama.", "deepseek2."): v for k, v in META.items()} | {
        "general.architecture": "deepseek2",
        "deepseek2.attention.head_count": 16,
        "deepseek2.attention.head_count_kv": 1,
        "deepseek2.attention.key_length": 576,
        "deepseek2.attention.value_length": 512,
        "deepseek2.attention.key_length_mla": 192,
        "deepseek2.attention.value_length_mla": 128,
        "deepseek2.rope.dimension_count": 64,
    }
    h = hparams(deepseek)
    assert (h.n_head_kv, h.head_dim_k, h.head_dim_v, h.n_rot) == (16, 192, 128, 64)


@pytest.mark.parametrize(
    "name, layer, role, suffix, part",
    [
        ("blk.3.ffn_down_exps.weight", 3, "ffn_down_exps", "weight", "experts"),
        ("blk.12.ffn_up_shexp.weight", 12, "ffn_up_shexp", "weight", "shared"),
        ("blk.0.attn_q.bias", 0, "attn_q", "bias", "attention"),
        ("blk.0.attn_q_norm.weight", 0, "attn_q_norm", "weight", "norm"),
        ("blk.60.exp_probs_b.bias", 60, "exp_probs_b", "bias", "router"),
        ("blk.1.ffn_gate_inp.weight", 1, "ffn_gate_inp", "weight", "router"),
        ("blk.1.ffn_gate.weight", 1, "ffn_gate", "weight", "dense"),
        ("token_embd.weight", None, "token_embd", "weight", "embedding"),
        ("output.weight", None, "output", "weight", "output"),
        ("output_norm.weight", None, "output_norm", "weight", "norm"),
        ("rope_freqs.weight", None, "rope_freqs", "weight", "other"),
        ("blk.x.odd", None, "blk.x.odd", "", "other"),
        ("", None, "", "", "other"),
    ],
)
def test_roles(name, layer, role, suffix, part):
    assert role_of(name) == (layer, role, suffix, part)


def test_every_header_of_the_reference_has_hyper_parameters(shared):
    for path in sorted((shared / "oracle" / "models").glob("*.json.gz")):
        m = ikx.Model.from_header(path)
        h = m.hparams
        assert max(t.layer for t in m.tensors.values() if t.layer is not None) == h.n_layer - 1
        assert m.find("token_embd").shape == (h.n_embd, h.n_vocab)
        assert {t.part for t in m.tensors.values()} <= set(PARTS)
