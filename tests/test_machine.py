"""Machines: described, written and read as rig files, detected."""

import dataclasses

import psutil
import pytest

from ikexplore.errors import IkexploreError
from ikexplore.machine import Device, Machine
from ikexplore.machine import detect as detection

TWO = [{"name": "CUDA0", "free_mib": 24000, "cc": 860}, {"name": "CUDA1", "free_mib": 15000, "total_mib": 16384, "cc": "7.5"}]


def test_described():
    rig = Machine.described(gpus=TWO, cuda_build=True, sched_max_copies=4)
    assert [d.name for d in rig.devices] == ["CUDA0", "CUDA1", "CPU"]
    assert rig.gpus[0] == Device("CUDA0", "cuda", 24000, 24000, 860, True)
    assert (rig.gpus[1].total_mib, rig.gpus[1].free_mib, rig.gpus[1].cc) == (16384, 15000, 750)
    assert rig.sched_max_copies == 4 and rig.cuda_build and rig.simulated
    assert rig.cpu.kind == "cpu" and not rig.cpu.simulated and rig.features == frozenset() and rig.cores is None
    assert rig.device("CUDA1") is rig.gpus[1]
    assert "simulated" in str(rig)
    assert Machine.described(gpus=[{"free_mib": 1}]).gpus[0].name == "CUDA0"
    assert not Machine.described(cuda_build=False).gpus


def test_a_machine_is_a_plain_value():
    rig = Machine.described(TWO)
    assert rig == Machine.described(TWO) and hash(rig) == hash(Machine.described(TWO))
    with pytest.raises(dataclasses.FrozenInstanceError):
        rig.sched_max_copies = 2


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"gpus": [{"name": "CUDA0"}]}, "free_mib"),
        ({"gpus": [{"free_mib": 0}]}, "above 0"),
        ({"gpus": [{"free_mib": "lots"}]}, "MiB"),
        ({"gpus": [{"free_mib": 5, "total_mib": 4}]}, "lower it"),
        ({"gpus": [{"free_mib": 5, "cc": "sm_86"}]}, "cc"),
        ({"gpus": [{"free_mib": 5, "memory": 5}]}, "'memory' is not known"),
        ({"gpus": ["CUDA0"]}, "no table"),
        ({"gpus": [{"name": "", "free_mib": 5}]}, "name"),
        ({"gpus": [{"name": "A", "free_mib": 5}] * 2}, "two devices are called A"),
        ({"gpus": [{"name": "CPU", "free_mib": 5}]}, "two devices are called CPU"),
        ({"gpus": TWO, "cuda_build": False}, "without CUDA"),
        ({"sched_max_copies": 0}, "sched_max_copies"),
        ({"commit_date": "June"}, "2025-06-18"),
        ({"cpu": {"cores": 0}}, "cores"),
        ({"cpu": {"features": "avx2"}}, "features"),
        ({"cpu": {"speed": 3}}, "'speed' is not known"),
    ],
)
def test_a_bad_description_gives_one_line(change, words):
    with pytest.raises(IkexploreError) as caught:
        Machine.described(**change)
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_rig_files_survive_being_written(tmp_path):
    cpu = {"label": 'AMD "Ryzen"\t9 \\ ü', "cores": 16, "threads": 32, "ram_mib": 96000, "features": ["avx2", "AVX512_BF16"]}
    rig = Machine.described(TWO, sched_max_copies=4, cpu=cpu, commit="1d28b2a9a", commit_date="2025-06-03", name="two cards")
    rig.save(tmp_path / "rig.toml")
    assert Machine.load(tmp_path / "rig.toml") == rig
    assert rig.features == {"avx2", "avx512_bf16"} and rig.threads == 32 and rig.cpu.free_mib == 96000


def test_a_hand_written_rig(tmp_path):
    path = tmp_path / "rig.toml"
    path.write_text('[build]\ncommit_date = 2025-06-18\n[[gpu]]\nfree_mib = 24000\ncc = 8.9\n[[gpu]]\nfree_mib = 8000\n')
    rig = Machine.load(path)
    assert [(g.name, g.cc) for g in rig.gpus] == [("CUDA0", 890), ("CUDA1", 860)]
    assert rig.commit_date == "2025-06-18" and rig.cuda_build


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[[gpu]\n", "no TOML"),
        ("[gpu]\nfree_mib = 1\n", "[[gpu]]"),
        ("[[gpu]]\nmemory = 1\n", "'memory'"),
        ("speed = 3\n", "'speed'"),
        ("[build]\ncopies = 3\n", "'copies'"),
        ("[build]\nsched_max_copies = 'x'\n", "sched_max_copies"),
        ("cpu = 3\n", "no table"),
        ("build = 3\n", "[build]"),
    ],
)
def test_a_bad_rig_file_gives_one_line_with_its_name(tmp_path, text, words):
    path = tmp_path / "rig.toml"
    path.write_text(text)
    with pytest.raises(IkexploreError) as caught:
        Machine.load(path)
    assert words in str(caught.value) and str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_a_missing_rig_file(tmp_path):
    with pytest.raises(IkexploreError, match="cannot be read"):
        Machine.load(tmp_path / "none.toml")
    with pytest.raises(IkexploreError, match="cannot be written"):
        Machine.described().save(tmp_path / "none" / "rig.toml")


def test_detect(tmp_path):
    rig = Machine.detect()
    assert 1 <= rig.cores <= rig.threads <= (psutil.cpu_count() or 1)
    assert 0 < rig.cpu.free_mib <= rig.cpu.total_mib <= psutil.virtual_memory().total // 2**20
    assert rig.cpu.label and not rig.simulated and rig.cuda_build == bool(rig.gpus)
    rig.save(tmp_path / "rig.toml")
    loaded = Machine.load(tmp_path / "rig.toml")
    assert loaded.cpu == rig.cpu and all(gpu.simulated for gpu in loaded.gpus)
    both = rig.with_gpus(TWO)
    assert both.cpu == rig.cpu and both.simulated and both.cuda_build and len(both.gpus) == 2


SMI = """0, GPU-aaaa, NVIDIA GeForce RTX 3090, 24576, 24100, 8.6
1, GPU-bbbb, Tesla T4, 15360, 14900, 7.5
2, GPU-cccc, Broken, [N/A], [N/A], [N/A]
"""


@pytest.mark.parametrize(
    ("visible", "labels"),
    [
        (None, ["NVIDIA GeForce RTX 3090", "Tesla T4"]),
        ("", []),
        ("1", ["Tesla T4"]),
        ("1,0", ["Tesla T4", "NVIDIA GeForce RTX 3090"]),
        ("GPU-bb", ["Tesla T4"]),
        ("0,7,1", ["NVIDIA GeForce RTX 3090"]),
        ("-1", []),
    ],
)
def test_gpus_by_nvidia_smi(visible, labels):
    found = detection.parse_smi(SMI, visible)
    assert [gpu.label for gpu in found] == labels
    assert [gpu.name for gpu in found] == [f"CUDA{i}" for i in range(len(labels))]
    if labels and labels[0].startswith("NVIDIA"):
        assert (found[0].total_mib, found[0].free_mib, found[0].cc, found[0].simulated) == (24576, 24100, 860, False)


def test_limits_of_a_container_count(tmp_path, monkeypatch):
    monkeypatch.setattr(detection, "_CGROUP", tmp_path)
    (tmp_path / "memory.max").write_text(str(100 << 20))
    (tmp_path / "memory.current").write_text(str(40 << 20))
    (tmp_path / "cpu.max").write_text("50000 100000")
    cpu = detection._cpu()
    assert (cpu.total_mib, cpu.free_mib, cpu.cores, cpu.threads) == (100, 60, 1, 1)


def test_cpu_facts(tmp_path, monkeypatch):
    (tmp_path / "cpuinfo").write_text("model name\t: Some CPU @ 3 GHz\nflags\t\t: fpu avx2 avx512_bf16\n")
    monkeypatch.setattr(detection, "_CPUINFO", tmp_path / "cpuinfo")
    assert detection._cpu_facts() == ("Some CPU @ 3 GHz", {"fpu", "avx2", "avx512_bf16"})
    monkeypatch.setattr(detection, "_CPUINFO", tmp_path / "none")
    assert detection._cpu_facts()[0]
