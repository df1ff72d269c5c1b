"""Node lists of qwen2, gpt-oss and deepseek2 on a CPU, as the reference of August 2026 evaluates them (its eval callback)."""

import functools
import gzip
import json
from pathlib import Path

import pytest

import ikexplore as ikx
from ikexplore.gguf.types import tensor_bytes, type_info
from ikexplore.graph import broken
from ikexplore.models.build import build
from ikexplore.models.model import Tensor
from ikexplore.placement import place

DATA = Path(__file__).resolve().parent.parent / "data" / "models" / "nodes.json.gz"


@functools.cache
def data() -> dict:
    with gzip.open(DATA) as f:
        return json.load(f)


@functools.cache
def header(name: str) -> ikx.Model:
    about = data()["models"][name]
    tensors = [Tensor(t, tuple(s), k, tensor_bytes(type_info(k), s), None, 0) for t, s, k in about["tensors"]]
    return ikx.Model(tensors, about["metadata"])


def rows(model: ikx.Model, flags: str, n_tokens: int, n_kv: int) -> list:
    settings = ikx.Settings.parse(flags)
    tensors = place(model, settings, ikx.Machine.described(cuda_build=False)).tensors
    g = build(model, settings, None, n_tokens=n_tokens, n_kv=n_kv, kv_head=0, tensors=tensors)
    assert broken(g) == []
    columns = zip(g.op, g.name, g.type, g.ne.tolist(), g.nb.tolist(), g.srcs.tolist())
    return [[*row, "".join(f"{g.name[s]}|" for s in srcs if s >= 0)] for *row, srcs in columns][g.n_leafs :]


@pytest.mark.parametrize("number", range(len(data()["lists"])))
def test_equal_row_by_row(number):
    about = data()["lists"][number]
    mine = rows(header(about["model"]), about["flags"], about["n_tokens"], about["n_kv"])
    different = [i for i, (a, b) in enumerate(zip(mine, about["rows"])) if a != b]
    assert not different, f"{about['model']} {about['flags']}: {mine[different[0]]}, not {about['rows'][different[0]]}"
    assert len(mine) == len(about["rows"])


def test_the_engine_of_june_does_not_know_gpt_oss():
    with pytest.raises(ikx.ModelError, match="does not know the architecture 'gpt-oss'"):
        build(header("gpt-oss"), ikx.Settings(profile="2025-06"))


def test_layers_with_a_window_alternate():
    graph = build(header("gpt-oss"), ikx.Settings.parse("-fa on -c 512 --rope-freq-base 7"), n_tokens=4)
    attention = [node for node in graph.nodes if node.op == "FLASH_ATTN_EXT"]
    assert [node.params.get("n_swa") for node in attention] == [32, None]
    bases = {node.layer: node.params["freq_base"] for node in graph.nodes if node.op == "ROPE"}
    assert bases == {0: 150000.0, 1: 7.0}  # the window's layers keep the base of training
