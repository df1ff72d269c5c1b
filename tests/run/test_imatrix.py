"""Importance matrices: the reference's values, both files, resumed and interrupted runs."""

import numpy as np
import pytest
from gguf import GGUFReader

import ikexplore as ikx
from ikexplore.cli import main
from ikexplore.run import Imatrix

SETTINGS = ikx.Settings(n_threads=2)


@pytest.fixture(scope="module")
def text(data):
    return (data / "run" / "quality" / "calib.txt").read_text()


@pytest.fixture(scope="module")
def some(moe, text):
    """Eight chunks of a model with experts."""
    return ikx.imatrix(moe, text, 128, SETTINGS, chunks=8, dataset="calib.txt")


def agree(a: Imatrix, b: Imatrix, rel: float):
    assert set(a) == set(b)
    for name in a:
        assert np.linalg.norm(a[name] - b[name]) <= rel * np.linalg.norm(b[name]), name


def test_the_references_values(llama, text, data):
    found = ikx.imatrix(llama, text, 128, SETTINGS)
    want = Imatrix.load(data / "run" / "quality" / "imatrix.dat")
    agree(found, want, 1e-4)
    assert found.chunks == want.chunks == 128 and want.datasets == ("calib.txt",)
    assert found.ppl == pytest.approx(11.5, abs=0.05)


def test_experts_as_in_the_reference(shared):
    folder = shared / "golden" / "models" / "qwen3moe"
    text = (folder.parent / "calib.txt").read_text()
    found = ikx.imatrix(ikx.open(folder / "model-f16.gguf"), text, 128, SETTINGS)
    agree(found, Imatrix.load(folder / "imatrix.dat"), 1e-3)  # an expert flips now and then


def test_experts_are_counted_by_what_they_see(some):
    gate, router = (some.counts[f"blk.0.{role}.weight"] for role in ("ffn_gate_exps", "ffn_gate_inp"))
    assert gate.sum() == 2 * router[0] == 2 * 8 * 128 and len(gate) == 4 and len(set(gate.tolist())) > 1
    assert np.array_equal(some["blk.0.ffn_gate_exps.weight"], some["blk.0.ffn_up_exps.weight"])
    assert some["blk.0.ffn_gate_exps.weight"].shape == (1024,)


def test_fused_ops_change_nothing(moe, text, some):
    apart = SETTINGS.replace(fused_moe=False, fused_up_gate=False, fused_mmad=False, flash_attn=False, n_ubatch=48)
    agree(ikx.imatrix(moe, text, 128, apart, chunks=8), some, 0.02)  # 8-bit rounding moves an expert now and then


@pytest.mark.parametrize("name", ["a.dat", "a.gguf"])
def test_written_and_read(some, tmp_path, name):
    some.save(tmp_path / name)
    found = Imatrix.load(tmp_path / name)
    agree(found, some, 1e-6)
    assert found.chunks == 8 and found.datasets == ("calib.txt",)


def test_the_gguf_is_llama_cpps(some, tmp_path):
    some.save(tmp_path / "a.imatrix", "gguf")
    file = GGUFReader(tmp_path / "a.imatrix")
    assert file.get_field("general.type").contents() == "imatrix"
    assert file.get_field("imatrix.datasets").contents() == ["calib.txt"]
    assert [file.get_field(f"imatrix.chunk_{k}").contents() for k in ("count", "size")] == [8, 128]
    tensors = {t.name: t for t in file.tensors}
    name = "blk.0.ffn_down_exps.weight"
    assert tensors[f"{name}.in_sum2"].shape.tolist() == [256, 4] and tensors[f"{name}.counts"].shape.tolist() == [1, 4]
    assert np.array_equal(tensors[f"{name}.counts"].data.reshape(-1), some.counts[name])
    assert len(tensors) == 2 * len(some)


def test_stopped_and_resumed_is_the_same(moe, text, some, tmp_path):
    out = tmp_path / "i.gguf"

    def stop(done, total, text):
        if done == 5:
            raise KeyboardInterrupt

    part = ikx.imatrix(moe, text, 128, SETTINGS, out=out, save_every=2, chunks=8, on_chunk=stop)
    assert part.stopped and part.chunks == Imatrix.load(out).chunks == 5
    assert [p.name for p in tmp_path.iterdir()] == ["i.gguf"]
    done = ikx.imatrix(moe, text, 128, SETTINGS, out=out, resume=out, chunks=8)
    assert done.chunks == 8 and not done.stopped
    for name in some:
        assert np.array_equal(done.counts[name], some.counts[name])
    agree(done, some, 1e-6)
    with pytest.raises(ikx.SettingsError, match="chunks of 128"):
        ikx.imatrix(moe, text, 256, SETTINGS, resume=out)


def test_a_dat_is_gone_on_with(moe, text, some, tmp_path):
    ikx.imatrix(moe, text, 128, SETTINGS, out=tmp_path / "i.dat", chunks=4)
    done = ikx.imatrix(moe, text, 128, SETTINGS, resume=tmp_path / "i.dat", chunks=8)
    assert done.chunks == 8
    name = "blk.0.attn_q.weight"  # every chunk has the same number of tokens
    assert np.allclose(done[name], some[name], rtol=1e-5)


def test_experts_that_saw_nothing():
    found = Imatrix(128)
    sums, counts = np.ones((40, 8)), np.full(40, 2)
    sums[3], counts[3] = 0, 0
    found.add("blk.0.ffn_up_exps.weight", sums, counts)
    sums[4:6], counts[4:6] = 0, 0
    found.add("blk.0.ffn_gate_exps.weight", sums, counts)
    values = found["blk.0.ffn_up_exps.weight"].reshape(40, 8)
    assert (values[3] == 1).all() and (values[2] == 0.5).all()
    assert found.missing() == {"blk.0.ffn_up_exps.weight": 1, "blk.0.ffn_gate_exps.weight": 3}


def test_a_dat_leaves_out_what_lacks_too_much(tmp_path):
    found = Imatrix(128)
    for name, missing in (("blk.0.a.weight", 1), ("blk.0.b.weight", 2)):
        counts = np.full(40, 2)
        counts[:missing] = 0
        found.add(name, counts[:, None] * np.ones(8), counts)
    found.save(tmp_path / "a.dat")
    assert set(Imatrix.load(tmp_path / "a.dat")) == {"blk.0.a.weight"}


@pytest.mark.parametrize("content, words", [
    (b"\x02\0\0\0\x03\0\0\0abc", "at byte"), (b"\x01\0\0\0\x01\0\0\0a\x01\0\0\0\x01\0\0\0\0\0\xc0\x7f", "value nan"),
    (b"\x01\0\0\0\x01\0\0\0a\x01\0\0\0\xff\xff\xff\xff", "at byte")])
def test_bad_files_are_one_line(tmp_path, content, words):
    (tmp_path / "bad").write_bytes(content)
    with pytest.raises(ikx.QuantError, match=words) as error:
        Imatrix.load(tmp_path / "bad")
    assert "\n" not in str(error.value)


def test_a_model_is_no_imatrix(data):
    with pytest.raises(ikx.QuantError, match=r"general\.type"):
        Imatrix.load(data / "run" / "llama-f16.gguf")


def test_command_line_and_quantizer(data, tmp_path, capsys):
    run = data / "run"
    out = tmp_path / "i.gguf"
    words = ["imatrix", str(run / "llama-f16.gguf"), str(run / "quality" / "calib.txt"), "-o", str(out), "--ctx", "128"]
    assert main([*words, "--chunks", "3", "--", "-t", "2"]) == 0
    assert main([*words, "--chunks", "4", "--resume", "--", "-t", "2"]) == 0
    assert Imatrix.load(out).chunks == 4 and "4 chunks" in capsys.readouterr().out
    sizes = []
    for more in ([], ["--imatrix", str(out)]):
        assert main(["quantize", str(run / "llama-f16.gguf"), str(tmp_path / "q.gguf"), "q4_0", "--pure", *more]) == 0
        sizes.append((tmp_path / "q.gguf").read_bytes())
    assert len(sizes[0]) == len(sizes[1]) and sizes[0] != sizes[1]
