"""Reading headers: what valid files say, and how broken ones are refused."""

import os
import re
import struct
import time
from pathlib import Path

import gguf
import numpy as np
import pytest
from gguf_maker import ARRAY, DATA, ENTRIES, KEYS, STRING, build, small

from ikexplore.errors import GGUFError
from ikexplore.gguf import Mapped, read
from ikexplore.gguf.strings import MAX_STRINGS


@pytest.fixture
def put(tmp_path):
    """Write bytes to a file and give its path."""

    def write(data, name="x.gguf"):
        path = tmp_path / name
        path.write_bytes(data)
        return path

    return write


@pytest.mark.parametrize("version", [2, 3])
def test_every_value_type(put, version):
    found = read(put(build(KEYS, ENTRIES, DATA[:1104], version=version)))
    m = found.metadata
    assert found.version == version and list(m) == [k for k, _, _ in KEYS]
    for key, kind, item in KEYS:
        if kind != ARRAY:
            assert m[key] == item and type(m[key]) is type(bool(item) if kind == 7 else item), key
    tokens = m["a.tokens"]
    assert list(tokens) == KEYS[13][2][1] and tokens[-1] == "\0nul" and tokens[1:3] == ["a", "x" * 300]
    assert m["a.numbers"].dtype == np.int32 and m["a.numbers"].tolist() == [1, -2, 3]
    assert m["a.bools"].tolist() == [True, False] and len(m["a.none"]) == 0
    assert m["a.nested"][0].tolist() == [1, 2] and list(m["a.nested"][1]) == ["q"]
    assert not m["a.numbers"].flags.writeable


def test_tensors_and_their_bytes(put):
    data = small()
    path = put(data)
    found = read(path)
    start = len(data) - 1104
    assert [(t.name, t.shape, t.type, t.nbytes, t.offset - start) for t in found.tensors] == [
        ("token_embd.weight", (32, 2), "f32", 256, 0),
        ("blk.0.attn_q.weight", (256, 4), "iq4_ks", 560, 256),
        ("blk.0.ffn_up.weight", (32, 8), "q8_0_r8", 272, 832),
        ("again.weight", (8,), "f32", 32, 0),
    ]
    assert found.files == (path,) and found.file_bytes == len(data) and found.alignment == 32
    mapped = Mapped(path)
    assert mapped.bytes(start + 256, 560).tobytes() == DATA[256:816]


def test_agrees_with_the_gguf_package(put, tmp_path):
    path = tmp_path / "g.gguf"
    w = gguf.GGUFWriter(path, "llama")
    w.add_block_count(7)
    w.add_token_list(["a", "", "é"])
    w.add_tensor("a.weight", np.arange(64, dtype=np.float32).reshape(2, 32))
    w.add_tensor("b.weight", np.arange(34, dtype=np.uint8).reshape(1, 34), raw_dtype=gguf.GGMLQuantizationType.Q8_0)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()
    ours, theirs = read(path), gguf.GGUFReader(path)
    for t, o in zip(theirs.tensors, ours.tensors, strict=True):
        assert (t.name, t.shape.tolist(), t.data_offset) == (o.name, list(o.shape), o.offset)
        assert t.tensor_type.name.lower() == o.type and t.n_bytes == o.nbytes
    assert ours.metadata["llama.block_count"] == 7 and list(ours.metadata["tokenizer.ggml.tokens"]) == ["a", "", "é"]


def test_a_custom_alignment(put):
    keys = [("general.alignment", 4, 128)]
    found = read(put(build(keys, [("a", (8,), 0, 0), ("b", (8,), 0, 128)], bytes(160), alignment=128)))
    assert found.alignment == 128 and [t.offset % 128 for t in found.tensors] == [0, 0]


HEAD = 24  # bytes before the first key
BROKEN = {
    "empty": (b"", r"empty \(0 bytes\)"),
    "no gguf": (b"PK\x03\x04 something", r"at byte 0: not a GGUF file: it starts with b'PK"),
    "short and no gguf": (b"x", "at byte 0: not a GGUF file"),
    "only the magic": (b"GGUF", "ends at byte 4, inside the version"),
    "half the magic": (b"GG", "ends at byte 2, inside the magic"),
    "old": (b"tjgg" + bytes(40), "old GGML file"),
    "version 1": (build(version=1), "at byte 4: GGUF version 1 is not supported"),
    "version 77": (build(version=77), "at byte 4: GGUF version 77"),
    "big-endian": (b"GGUF" + struct.pack(">IQQ", 3, 0, 0), r"big-endian GGUF \(version 3"),
    "swapped magic": (b"FUGG" + struct.pack(">IQQ", 3, 0, 0), "looks like a big-endian"),
    "too many keys": (build(n_keys=2**60), "at byte 16: the header claims 1152921504606846976 metadata keys"),
    "too many tensors": (build(n_tensors=2**60), "at byte 8: the header claims 1152921504606846976 tensors"),
    "key twice": (build([("a", 4, 1), ("a", 4, 2)]), "at byte 41: metadata key 'a' is listed twice"),
    "empty key": (build([("", 4, 1), ("a", 4, 1)]), "at byte 24: metadata key 0 is empty"),
    "key of bad utf-8": (build([(b"\xff\xfe", 4, 1)]), "at byte 24: metadata key 0 is no UTF-8"),
    "long key": (build([("k" * 70000, 4, 1)]), "length of 70000 bytes; at most 65536"),
    "bool": (build([("a", 7, 2)]), "'a' is 2; a bool is 0 or 1"),
    "bool in an array": (build([("a", ARRAY, (7, [1, 9]))]), "neither 0 nor 1"),
    "alignment": (build([("general.alignment", 4, 24)]), "general.alignment is 24; it must be a power of two"),
    "alignment 0": (build([("general.alignment", 4, 0)]), "general.alignment is 0"),
    "alignment text": (build([("general.alignment", STRING, "x")]), "general.alignment is 'x'"),
    "name twice": (build([], [("a", (8,), 0, 0)] * 2, bytes(32)), "tensor name 'a' is listed twice"),
    "removed type": (build([], [("a", (8,), 4, 0)], bytes(99)), r"type id 4 \(the removed q4_2\)"),
    "unknown type": (build([], [("a", (8,), 777, 0)], bytes(99)), "at byte 45: tensor 'a' has type id 777"),
    "no dimensions": (build([], [("a", (), 0, 0)], bytes(99)), "at byte 33: tensor 'a' has 0 dimensions"),
    "five dimensions": (build([], [("a", (1,) * 5, 0, 0)], bytes(99)), "has 5 dimensions"),
    "zero dimension": (build([], [("a", (8, 0), 0, 0)], bytes(99)), "at byte 37: tensor 'a': ne1 is 0"),
    "overflow": (build([], [("a", (2**40, 2**40), 0, 0)], bytes(99)), "more than 2\\^63 elements"),
    "odd row": (build([], [("a", (100,), 12, 0)], bytes(99)), "ne0 is 100, no multiple of the 256"),
    "odd rows": (build([], [("a", (256, 6), 344, 0)], bytes(9999)), "ne1 is 6, no multiple of the 4 rows"),
    "offset": (build([], [("a", (8,), 0, 8)], bytes(99)), "offset 8, no multiple of the alignment 32"),
    "beyond the end": (build([], [("a", (8,), 0, 64)], bytes(90)), r"bytes 128 to 160, but the file ends at 154"),
    "far beyond": (build([], [("a", (8,), 0, 2**64 - 32)], bytes(90)), "but the file ends at"),
}


@pytest.mark.parametrize("case", list(BROKEN))
def test_broken_files(put, case):
    data, rule = BROKEN[case]
    path = put(data)
    with pytest.raises(GGUFError, match=rule) as error:
        read(path)
    assert "\n" not in str(error.value) and str(path) in str(error.value)


def array_head(sub, count):
    """A file whose only value is an array that claims ``count`` elements, and 64 bytes of them."""
    return build([], n_keys=1) + struct.pack("<Q1sIIQ", 1, b"a", ARRAY, sub, count) + bytes(64)


@pytest.mark.parametrize("sub, count", [(0, 65), (4, 17), (12, 2**61), (STRING, 9), (STRING, 2**64 - 1), (ARRAY, 6)])
def test_arrays_that_claim_more_than_there_is(put, sub, count):
    with pytest.raises(GGUFError, match=f"at byte 41: the value of 'a' claims {count} "):
        read(put(array_head(sub, count)))


def test_value_types_that_do_not_exist(put):
    with pytest.raises(GGUFError, match="at byte 33: the value of 'a' has value type 13"):
        read(put(build([], n_keys=1) + struct.pack("<Q1sI", 1, b"a", 13) + bytes(40)))
    with pytest.raises(GGUFError, match="at byte 37: the value of 'a' has value type 99"):
        read(put(array_head(99, 1)))


def test_arrays_nested_too_deep(put):
    deep = (4, [1])
    for _ in range(4):
        deep = (ARRAY, [deep])
    with pytest.raises(GGUFError, match="nests arrays deeper than 4"):
        read(put(build([("a", ARRAY, deep)])))


def test_a_string_that_runs_over_the_end_is_named_by_number(put):
    data = build([("a", ARRAY, (STRING, ["ab", "cd", "ef"]))])
    broken = data[:-10] + struct.pack("<Q", 2**50) + b"ef"
    rule = f"at byte {len(data) - 10}: string 2 of the value of 'a' has a length of {2**50}"
    with pytest.raises(GGUFError, match=rule):
        read(put(broken))


def test_absurd_sparse_files_are_refused_at_once(tmp_path):
    """Headers that a huge, empty file could back up with zeros: neither time nor memory may be spent on them."""
    for sub, count in ((STRING, MAX_STRINGS + 1), (ARRAY, 1 << 20)):
        path = tmp_path / f"sparse{sub}.gguf"
        path.write_bytes(array_head(sub, count))
        os.truncate(path, 1 << 33)
        begin = time.process_time()
        with pytest.raises(GGUFError, match="claims"):
            read(path)
        assert time.process_time() - begin < 2


def test_paths_that_are_no_files(tmp_path):
    with pytest.raises(GGUFError, match="no such file"):
        read(tmp_path / "nothing.gguf")
    with pytest.raises(GGUFError, match="is a folder"):
        read(tmp_path)
    with pytest.raises(GGUFError, match="cannot be opened"):
        read("a\0b")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(GGUFError, match="no regular file"):
        read(tmp_path / "pipe")


def test_a_big_vocabulary_is_read_fast(put):
    tokens = [f"token{i}" * (i % 3 + 1) for i in range(150_000)]
    path = put(build([("tokenizer.ggml.tokens", ARRAY, (STRING, tokens))]))
    times = []
    for _ in range(5):
        begin = time.process_time()
        found = read(path)
        times.append(time.process_time() - begin)
    assert found.metadata["tokenizer.ggml.tokens"][149_999] == tokens[-1]
    assert min(times) < 0.2, times  # a walk in Python with every token decoded takes longer


def test_reference_models(shared):
    paths = sorted((shared / "golden" / "models").rglob("*.gguf"))
    assert len(paths) > 10
    for path in paths:
        found = read(path)
        assert found.tensors and found.metadata["general.architecture"]
        if "quant" not in path.parts:
            theirs = gguf.GGUFReader(path)
            assert [(t.name, t.data_offset, t.n_bytes) for t in theirs.tensors] == [
                (t.name, t.offset, t.nbytes) for t in found.tensors
            ]


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="asks Linux how many mapped pages are resident")
def test_released_pages_leave_memory_and_come_back(tmp_path):
    def resident():
        status = Path("/proc/self/status").read_text()
        return int(re.search(r"RssFile:\s+(\d+) kB", status).group(1)) << 10

    size = 32 << 20
    path = tmp_path / "some"
    path.write_bytes(b"\x07" * size)
    mapped = Mapped(path)
    assert mapped.bytes(0, size).sum() == 7 * size
    before = resident()
    mapped.release(5000, size - 5000)
    assert before - resident() > size // 2
    assert mapped.bytes(4990, 20).sum() == 140
