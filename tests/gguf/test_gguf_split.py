"""Split files: any part opens all, and wrong sets are refused."""

import os

import numpy as np
import pytest
from gguf_maker import STRING, build

from ikexplore.errors import GGUFError
from ikexplore.gguf import Mapped, read


def part(number, count, entries, total, architecture=True):
    keys = [("general.architecture", STRING, "llama"), ("only.first", 4, 7)] if architecture else []
    keys += [("split.no", 2, number), ("split.count", 2, count), ("split.tensors.count", 5, total)]
    rows = [(name, (8,), 0, 32 * i) for i, name in enumerate(entries)]
    data = b"".join(np.full(8, ord(name[0]), np.float32).tobytes() for name in entries)
    return build(keys, rows, data)


@pytest.fixture
def parts(tmp_path):
    names = [["a1", "a2"], ["b1"], ["c1", "c2", "c3"]]
    paths = []
    for i, entries in enumerate(names):
        path = tmp_path / f"model-{i + 1:05d}-of-00003.gguf"
        path.write_bytes(part(i, 3, entries, 6, architecture=i == 0))
        paths.append(path)
    return paths


def test_any_part_opens_all(parts):
    for given in parts:
        found = read(given)
        assert found.files == tuple(parts) and found.metadata["only.first"] == 7
        assert [t.name for t in found.tensors] == ["a1", "a2", "b1", "c1", "c2", "c3"]
        assert [t.file for t in found.tensors] == [0, 0, 1, 2, 2, 2]
        assert found.file_bytes == sum(p.stat().st_size for p in parts)
    t = found.tensors[4]
    assert (Mapped(found.files[t.file]).bytes(t.offset, t.nbytes).view(np.float32) == ord("c")).all()


def test_a_part_may_hold_no_tensors(tmp_path):
    for i, entries in enumerate([[], ["b1"]]):
        (tmp_path / f"m-{i + 1:05d}-of-00002.gguf").write_bytes(part(i, 2, entries, 1))
    assert [t.file for t in read(tmp_path / "m-00001-of-00002.gguf").tensors] == [1]


def test_a_missing_part_is_named(parts):
    os.unlink(parts[1])
    for given in (parts[0], parts[2]):
        with pytest.raises(GGUFError, match=r"part model-00002-of-00003\.gguf of 3 is missing"):
            read(given)


def test_renamed_and_mixed_parts_are_refused(parts, tmp_path):
    renamed = tmp_path / "renamed.gguf"
    renamed.write_bytes(parts[0].read_bytes())
    with pytest.raises(GGUFError, match="one of 3 parts, but not named as one"):
        read(renamed)
    good = parts[1].read_bytes()
    parts[1].write_bytes(parts[2].read_bytes())
    with pytest.raises(GGUFError, match=r"split\.no is 2 where its name says 1"):
        read(parts[0])
    parts[1].write_bytes(part(1, 3, ["a1"], 6))
    with pytest.raises(GGUFError, match="tensor 'a1' is in an earlier part too"):
        read(parts[0])
    parts[1].write_bytes(part(1, 3, ["b1", "b2"], 6))
    with pytest.raises(GGUFError, match=r"split\.tensors\.count is 6, but the parts hold 7"):
        read(parts[0])
    parts[1].write_bytes(good[:-10])
    with pytest.raises(GGUFError, match=r"model-00002-of-00003\.gguf: at byte .*cut short"):
        read(parts[0])


def test_a_whole_file_may_be_named_like_a_part(tmp_path):
    path = tmp_path / "model-00001-of-00006.gguf"
    path.write_bytes(build([("general.architecture", STRING, "llama")], [("a", (8,), 0, 0)], bytes(32)))
    assert len(read(path).files) == 1
    path.write_bytes(build([("split.count", STRING, "six")]))
    with pytest.raises(GGUFError, match=r"split\.count is 'six'"):
        read(path)
