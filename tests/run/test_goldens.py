"""Logits of the architectures in every setting against the reference's: small random models always, its own set if there."""

import numpy as np
import pytest
import random_models
from golden_cases import CACHE_BOUND, F16_BOUND, LATENT_BOUND, Reference, distance, flags, followed, run

import ikexplore as ikx
from ikexplore.models import Tensor
from ikexplore.run import Session

MODELS = ("llama", "qwen2", "qwen3", "qwen3moe", "gpt-oss", "deepseek2", "deepseek2-lite")
#: what is run of the whole set here; tests/bench/goldens.py runs all of it
ONCE = {
    "llama": ("fa=1/one", "fa=1/split", "yarn", "ctk=q4_0", "khad=1,ctk=q6_0"),
    "qwen2": ("fa=1/one", "fa=0/one"),
    "qwen3": ("fa=1/one",),
    "qwen3moe": ("fa=1/one", "ctk=iq4_nl"),
    "gpt-oss": ("fa=1/one", "fa=0/one", "fa=1/split", "ctk=q8_0,ctv=q6_0"),
    "deepseek2": ("fa=1,mla=3/one", "fa=1,mla=3/split", "fa=0,mla=0/one", "fa=0,mla=1,ctk=q6_0", "fa=1,mla=2,ctk=q8_0"),
    "deepseek2-lite": ("fa=1,mla=3/one",),
}


@pytest.fixture(scope="module")
def random_model(tmp_path_factory):
    """Path of the random model of an architecture, written once."""
    folder = tmp_path_factory.mktemp("random")

    def path(arch):
        if not (folder / f"{arch}.gguf").exists():
            random_models.write(folder / f"{arch}.gguf", arch)
        return folder / f"{arch}.gguf"

    return path


def golden(data):
    return dict(np.load(data / "run" / "random.npz"))


CASES = [
    "qwen2/fa=1", "qwen2/fa=0", "qwen2/fa=0,ctk=q4_0", "qwen2/fa=1,ctk=q8_0,ctv=q8_0", "qwen2/fa=1,khad=1,ctk=q6_0,ctv=q6_0",
    "gpt-oss/fa=1", "gpt-oss/fa=0", "gpt-oss/fa=1,mqkv=1", "gpt-oss/fa=1,muge=1", "gpt-oss/fa=0,fmoe=0",
    "gpt-oss/fa=0,ctk=iq4_nl",
    "deepseek2/fa=1,mla=3", "deepseek2/fa=0,mla=3", "deepseek2/fa=1,mla=1", "deepseek2/fa=0,mla=1", "deepseek2/fa=0,mla=0",
    "deepseek2/fa=1,mla=2,ctk=q8_0", "deepseek2/fa=1,mla=1,ctk=q6_0",
]  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_random_models(random_model, data, case):
    """F16 to rounding; with another cache type the reference rounds queries to 8 bits too, so the median over rows."""
    arch, options = case.split("/")
    found = golden(data)
    got = run(ikx.open(random_model(arch)), random_models.TOKENS, flags(options)[0])[found["pos"]]
    cache = "ctk" in options
    assert distance(got, found[case], cache) < (CACHE_BOUND if cache else F16_BOUND)


@pytest.mark.parametrize("arch, line", [
    ("gpt-oss", ""), ("gpt-oss", "-no-fa"), ("deepseek2", "-mla 3"), ("deepseek2", "-mla 2"), ("deepseek2", "-mla 1 -no-fa"),
    ("deepseek2", "-mla 0 -amb 1")])
def test_parts_of_a_prompt_give_what_the_whole_gives(random_model, arch, line):
    model, tokens = ikx.open(random_model(arch)), random_models.TOKENS
    bound = LATENT_BOUND if arch == "deepseek2" else F16_BOUND  # -mla 2 and 3 take another graph for prompts
    assert distance(run(model, tokens, line, "split"), run(model, tokens, line)) < bound


@pytest.mark.parametrize("arch, line", [("gpt-oss", "-no-mmad"), ("deepseek2", "-mqkv"), ("deepseek2", "-no-fug -no-fmoe"),
                                        ("deepseek2", "-t 1")])
def test_switches_that_must_not_change_results(random_model, arch, line):
    model, tokens = ikx.open(random_model(arch)), random_models.TOKENS[:20]
    assert distance(run(model, tokens, line), run(model, tokens)) < 1e-5


def test_an_absorbed_matrix_is_made_of_the_whole_and_back(random_model):
    """A file with k_b and v_b only gives what one with kv_b gives."""
    from ikexplore.run.made import made_bytes
    from ikexplore_kernels.formats import get

    whole = ikx.open(random_model("deepseek2"))
    parts, rows = [], list(whole.tensors.values())
    f16, memory = get("f16"), {}
    for il in range(2):
        rows = [t for t in rows if t.name != f"blk.{il}.attn_kv_b.weight"]
        for which, shape in (("k_b", (128, 512, 2)), ("v_b", (512, 128, 2))):
            name = f"blk.{il}.attn_{which}.weight"
            memory[name] = made_bytes(whole, name, f16)
            parts.append(Tensor(name, shape, "f16", memory[name].size, None, 0))
    split = ikx.Model([*rows, *parts], whole.metadata, whole.path, whole.files, whole.file_bytes, memory)
    for line in ("-mla 3", "-mla 1", "-mla 0"):
        tokens = random_models.TOKENS
        assert distance(run(split, tokens, line), run(whole, tokens, line)) < 1e-6


def test_smart_expert_reduction_drops_experts(random_model):
    """-ser of June 2025: with a threshold of 1 and one entry at least, only the best expert of each token works."""
    model = ikx.open(random_model("deepseek2"))
    one = ikx.Model(model.tensors.values(), {**model.metadata, "deepseek2.expert_used_count": 1}, model.path, model.files)
    line = "-c 512 -t 2 -fa -fmoe -mla 1"
    got = []
    for m, more in ((model, " -ser 1,1"), (one, ""), (model, "")):
        with Session(m, ikx.Settings.parse(line + more, profile="2025-06")) as session:
            got.append(session.eval(random_models.TOKENS[:20], 20))
    assert distance(got[0], got[1]) < 1e-5
    assert distance(got[2], got[1]) > 0.01


def test_cache_types_that_cannot_be_are_one_clear_line(random_model):
    model = ikx.open(random_model("qwen2"))
    for line, words in (("-ctk q8_KV -ctv q8_KV", "use it for K only"), ("-no-fa -ctv q8_0", "needs flash attention")):
        with pytest.raises(ikx.SettingsError, match=words):
            run(model, random_models.TOKENS[:8], line)


@pytest.mark.parametrize("name", MODELS)
def test_reference_set(shared, name):
    reference = Reference(shared / "golden" / "models" / name)
    keys = [k for k in reference.f16_keys() if any(k.startswith(f"head/{o}") or f",{o}" in k for o in ONCE[name])]
    assert keys
    rows = [reference.f16_row(k) for k in keys]
    assert [str(r) for r in rows if not r.good] == []
    greedy = next(v for v in reference.info["greedy"].values() if "top1_minus_top2" in v)
    got = followed(reference.model, reference.tokens, greedy["ids"])
    clear = [gap > 0.02 for gap in greedy["top1_minus_top2"]]
    assert [(a, b) for a, b, sure in zip(got, greedy["ids"], clear) if sure and a != b] == []


@pytest.mark.parametrize("name, kind", [("deepseek2", "IQ4_KS")])
def test_quantized_files_of_the_set(shared, name, kind):
    rows = Reference(shared / "golden" / "models" / name).quant_rows(kind)
    assert len(rows) > 2 and [str(r) for r in rows if not r.good] == []
