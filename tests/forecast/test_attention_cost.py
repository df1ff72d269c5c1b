"""Seconds of one token's attention: which threads have work, what a kernel reads, and how often."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

import ikexplore as ikx

LITE = Path(__file__).resolve().parents[1] / "data" / "schedule" / "models" / "deepseek-v2-lite-q4_k_m.json.gz"
CPU = ikx.Machine.from_text("EPYC 7763 64 cores", [])
ONE = "-c 8192 -fa"


def attention(model, line, rig, profile="2025-06"):
    """{factor: datasheet seconds} of one token's attention with a cache of 8192, the devices added up."""
    plan = ikx.plan(model, ikx.Settings.parse(line, profile=profile), rig)
    found = plan.forecast(0).terms(1)
    out: dict[str, float] = {}
    for seconds, group, factors in zip(found.seconds(8191), found.group, found.factors):
        if found.groups[group].cause == "attention":
            name = factors[0][0]
            out[name] = out.get(name, 0.0) + float(seconds)
    return out


@pytest.fixture(scope="module")
def lite():
    return ikx.Model.from_header(LITE)


@pytest.fixture(scope="module")
def qwen():
    return ikx.demo.header("qwen3-235b-a22b-iq4_xs")


@pytest.mark.parametrize(("threads", "busy"), [(16, 16), (24, 8), (48, 16), (63, 1), (10, 2), (64, 16)])
def test_a_head_of_its_own_is_one_threads_work(lite, threads, busy):
    """16 heads, none shares its cache (-mla 0): the threads that divide 16 among them, iqk_flash_attn_noalibi."""
    found = attention(lite, f"{ONE} -mla 0 -t {threads}", CPU)
    alone = attention(lite, f"{ONE} -mla 0 -t 1", CPU)
    assert alone["cpu.attn1.cycles"] / found["cpu.attn1.cycles"] == pytest.approx(busy)
    assert alone["cpu.attn1.expanded3"] / found["cpu.attn1.expanded3"] == pytest.approx(busy)


@pytest.mark.parametrize("line", ["-mla 3", "-mla 1"])
def test_the_latent_cache_is_shared_by_all_threads(lite, line):
    many, one = (attention(lite, f"{ONE} {line} -t {t}", CPU) for t in (24, 1))
    assert one["cpu.attn1.cycles"] / many["cpu.attn1.cycles"] == pytest.approx(24)


def gpu(date):
    return dataclasses.replace(ikx.Machine.from_text("Ryzen 9950X, RTX 3090 Ti"), commit_date=date)


def numbers(model, cells=8192):
    """Of K and V in all layers."""
    hp = model.hparams
    return hp.n_layer * cells * hp.n_head_kv * (hp.head_dim_k + hp.head_dim_v)


@pytest.mark.parametrize(("kind", "size"), [("f16", 2), ("q8_0", 34 / 32 + 4)])
def test_a_quantized_cache_becomes_f16_before_it_is_multiplied(qwen, kind, size):
    line = f"-ngl 99 -ot exps=CPU -c 8192 -fa -ctk {kind} -ctv {kind}"
    found = attention(qwen, line, gpu("2025-06-01"))
    assert found["gpu.attn1.gqa"] == pytest.approx(numbers(qwen) * size / 1008e9, rel=1e-3)
    assert found["gpu.attn1.compute.gqa"] > 0 and "gpu.attn1.vector" not in found


def test_vector_kernels_read_the_cache_for_every_head(qwen):
    """Before 4 May 2025, and where an odd number of heads shares a KV head."""
    line = "-ngl 99 -ot exps=CPU -c 8192 -fa -ctk q8_0 -ctv q8_0"
    found = attention(qwen, line, gpu("2025-05-01"))
    assert found == {"gpu.attn1.vector": pytest.approx(numbers(qwen) * 2 * 16 / 1008e9, rel=1e-3)}
    meta = dict(qwen.metadata) | {"qwen3moe.attention.head_count": 20}
    tensors = [
        dataclasses.replace(t, shape=_heads(t.name, t.shape, 20)) if "attn_" in t.name else t for t in qwen.tensors.values()
    ]
    odd = ikx.Model(tensors, meta)
    assert set(attention(odd, line, gpu("2025-06-01"))) == {"gpu.attn1.vector"}


def _heads(name, shape, n):
    at = {"attn_q": 1, "attn_output": 0}.get(name.split(".")[2])
    return shape if at is None else tuple(int(v) for v in np.where(np.arange(len(shape)) == at, 128 * n, shape))
