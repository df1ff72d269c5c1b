"""Tokenizers against the reference's own token ids, and against slow twins on random text."""

import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from naive import tokenizer as naive

from ikexplore.errors import ModelError
from ikexplore.models.model import Model
from ikexplore.models.tokenizer import from_metadata, tokenizer

WAYS = {
    "ids": {"add_special": False},
    "ids_add_special": {"add_special": True},
    "ids_parse_special": {"add_special": False, "parse_special": True},
    "ids_add_parse_special": {"add_special": True, "parse_special": True},
}
#: text with everything that the rules tell apart
CHARS = st.sampled_from(list("ab'sStTlLe rRvV.,!?12\n\r\t\v~▁éÉß€日本語ɐ٣² \u00a0\u3000\u200b\u0301😀<|>"))
TEXTS = st.lists(
    st.one_of(CHARS, st.sampled_from(["the", " the", "'re", "<|note|>", "  ", "\r\n", "old", " in"])), max_size=40
).map("".join)


@pytest.fixture(scope="module")
def vocabularies(data):
    return json.loads((data / "models" / "vocabularies.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def reference(data):
    return json.loads((data / "models" / "tokenizer.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", ["spm", "qwen2"])
@pytest.mark.parametrize("way", list(WAYS))
def test_ids_are_the_references(vocabularies, reference, name, way):
    t = from_metadata(vocabularies[name])
    pairs = reference[name]["pairs"]
    assert len(pairs) == 20
    wrong = {p["text"]: t.encode(p["text"], **WAYS[way]) for p in pairs if t.encode(p["text"], **WAYS[way]) != p[way]}
    assert not wrong


@pytest.mark.parametrize("name", ["spm", "qwen2"])
def test_pieces_are_the_references(vocabularies, reference, name):
    t = from_metadata(vocabularies[name])
    assert [t.piece(i).hex() for i in range(t.n_vocab)] == list(reference[name]["pieces_hex"])


@pytest.mark.parametrize(
    "folder, name", [("llama", "spm"), ("deepseek2", "spm"), ("qwen2", "qwen2"), ("qwen3moe", "qwen2")]
)
def test_ids_from_the_files_themselves(shared, folder, name):
    model = Model.open(shared / "golden" / "models" / folder / "model-f16.gguf")
    t = tokenizer(model)
    assert tokenizer(model) is t
    pairs = json.loads((shared / "golden" / "models" / "tokenizer.json").read_text(encoding="utf-8"))[name]["pairs"]
    for p in pairs:
        for way, options in WAYS.items():
            assert t.encode(p["text"], **options) == p[way], (p["text"], way)


@settings(max_examples=300, deadline=None)
@given(text=TEXTS)
def test_spm_equals_its_twin(vocabularies, text):
    v = vocabularies["spm"]
    t = from_metadata_once("spm", v)
    ids = {s: i for i, s in enumerate(v["tokenizer.ggml.tokens"])}
    expected: list[int] = []
    parts = text.split("<|note|>")  # the one user-defined token
    for k, part in enumerate(parts):
        expected += [ids["<|note|>"]] * (k > 0) + naive.spm(part, ids, v["tokenizer.ggml.scores"])
    assert t.encode(text, add_special=False) == expected


@settings(max_examples=300, deadline=None)
@given(text=TEXTS)
def test_bpe_equals_its_twin(vocabularies, text):
    v = vocabularies["qwen2"]
    t = from_metadata_once("qwen2", v)
    ids = {s: i for i, s in enumerate(v["tokenizer.ggml.tokens"])}
    expected = naive.bpe(naive.words_qwen2(text), ids, v["tokenizer.ggml.merges"])
    assert t.encode(text) == expected
    assert t.decode(expected) == text


_ONCE: dict = {}


def from_metadata_once(name, metadata):
    if name not in _ONCE:
        _ONCE[name] = from_metadata(metadata)
    return _ONCE[name]


def tied_spm(rng: random.Random) -> dict:
    """A small SPM vocabulary full of ties and of words with inner spaces, where the order of merges matters."""
    letters = "ab▁"
    texts = {*letters}
    while len(texts) < 24:
        texts.add("".join(rng.choice(letters) for _ in range(rng.randint(2, 5))))
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{b:02X}>" for b in range(256)), *sorted(texts)]
    return {
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.scores": [0.0] * 259 + [float(rng.randint(-3, 0)) for _ in texts],
        "tokenizer.ggml.token_type": [2, 3, 3] + [6] * 256 + [1] * len(texts),
    }


@pytest.mark.parametrize("seed", range(40))
def test_spm_with_tied_scores_equals_its_twin(seed):
    rng = random.Random(seed)
    metadata = tied_spm(rng)
    t = from_metadata(metadata)
    ids = {s: i for i, s in enumerate(metadata["tokenizer.ggml.tokens"])}
    for _ in range(20):
        text = "".join(rng.choice("aab  ") for _ in range(rng.randint(1, 30)))
        assert t.encode(text, add_special=False) == naive.spm(text, ids, metadata["tokenizer.ggml.scores"]), text


@pytest.mark.parametrize("name", ["spm", "qwen2"])
@pytest.mark.parametrize("text", ["", " ", "Hello world", "  two  spaces ", "naïve 日本語 😀\n\ttab", "'re ~ $5.00"])
def test_text_comes_back(vocabularies, name, text):
    t = from_metadata_once(name, vocabularies[name])
    assert t.decode(t.encode(text), special=False) == text


def test_bos_eos_and_end_of_generation(vocabularies):
    spm, qwen2 = (from_metadata_once(n, vocabularies[n]) for n in ("spm", "qwen2"))
    assert (spm.bos, spm.eos, spm.n_vocab, spm.eog) == (1, 2, 320, {2})
    assert (qwen2.bos, qwen2.eos, qwen2.n_vocab, qwen2.eog) == (317, 319, 320, {317, 319})
    assert spm.encode("") == [1] and spm.encode("", add_special=False) == [] and qwen2.encode("") == []
    assert spm.decode([1, 261], special=True) == "<s> the" and spm.decode([1, 261], special=False) == "the"


def test_metadata_decides_about_bos_eos_and_the_leading_space(vocabularies):
    changed = {
        "tokenizer.ggml.add_bos_token": False,
        "tokenizer.ggml.add_eos_token": True,
        "tokenizer.ggml.add_space_prefix": False,
    }
    t = from_metadata(vocabularies["spm"] | changed)
    assert t.encode(" the") == [261, 2]
    assert t.decode([261]) == " the"


def test_a_control_looking_token_of_normal_type_is_control(vocabularies):
    v = vocabularies["qwen2"]
    types = list(v["tokenizer.ggml.token_type"])
    types[319] = 1
    t = from_metadata(v | {"tokenizer.ggml.token_type": types})
    assert t.encode("<|im_end|>", parse_special=True) == [319] and 319 not in t.encode("<|im_end|>")


def test_a_merge_without_a_token_gives_its_ascii_characters(vocabularies):
    v = vocabularies["qwen2"]
    merges = [*v["tokenizer.ggml.merges"], "z q", "zq Ġx"]
    t = from_metadata(v | {"tokenizer.ggml.merges": merges})
    ids = {s: i for i, s in enumerate(v["tokenizer.ggml.tokens"])}
    assert t.encode("zq") == [ids["z"], ids["q"]] == naive.bpe(["zq"], ids, merges)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"tokenizer.ggml.pre": "qwen9"}, "unknown pre-tokenizer 'qwen9'"),
        ({"tokenizer.ggml.model": "bert"}, "kind 'bert'"),
        ({"tokenizer.ggml.model": "no_vocab"}, "no vocabulary"),
        ({"tokenizer.ggml.tokens": []}, "empty"),
        ({"tokenizer.ggml.tokens": None}, "no list of tokens"),
        ({"tokenizer.ggml.merges": None}, "no merges"),
        ({"tokenizer.ggml.token_type": [1, 2]}, "2 entries for 320 tokens"),
    ],
)
def test_a_vocabulary_that_cannot_be_used_is_a_model_error(vocabularies, change, message):
    with pytest.raises(ModelError, match=message):
        from_metadata(vocabularies["qwen2"] | change)


def test_ids_outside_the_vocabulary_are_a_model_error(vocabularies):
    t = from_metadata_once("spm", vocabularies["spm"])
    for i in (-1, 320):
        with pytest.raises(ModelError, match=rf"token id {i} "):
            t.decode([i])


def test_a_byte_without_token_is_a_model_error():
    metadata = {"tokenizer.ggml.model": "llama", "tokenizer.ggml.tokens": ["<unk>", "<s>", "</s>", "▁", "a"]}
    t = from_metadata(metadata)
    assert t.encode("a") == [1, 3, 4]
    with pytest.raises(ModelError, match="no token for byte 0xC3"):
        t.encode("é")


def test_a_missing_pre_tokenizer_is_said(vocabularies):
    v = {k: x for k, x in vocabularies["qwen2"].items() if k != "tokenizer.ggml.pre"}
    with pytest.warns(UserWarning, match="no pre-tokenizer"):
        assert from_metadata(v).pre == "default"
