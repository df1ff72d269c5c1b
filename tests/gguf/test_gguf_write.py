"""Writing: what is read back, and that a failure leaves what was there."""

import gguf
import numpy as np
import pytest
from gguf_maker import small

from ikexplore.errors import GGUFError
from ikexplore.gguf import TYPES, Mapped, Metadata, read, tensor_bytes, write


def rows_of(path):
    found = read(path)
    mapped = Mapped(path)
    return found, [(t.name, t.shape, t.type, mapped.bytes(t.offset, t.nbytes)) for t in found.tensors]


def test_reading_and_writing_keeps_keys_types_and_bytes(tmp_path):
    first, second = tmp_path / "a.gguf", tmp_path / "b.gguf"
    first.write_bytes(small())
    found, rows = rows_of(first)
    write(second, found.metadata, rows)
    again, rows_again = rows_of(second)
    assert again.metadata.kinds == found.metadata.kinds and list(again.metadata) == list(found.metadata)
    for key, value in found.metadata.items():
        if isinstance(value, np.ndarray):
            assert np.array_equal(again.metadata[key], value), key
        elif key != "a.nested":
            assert again.metadata[key] == value, key
    for old, new in zip(rows, rows_again, strict=True):
        assert old[:3] == new[:3] and np.array_equal(old[3], new[3])
    assert {p.name for p in tmp_path.iterdir()} == {"a.gguf", "b.gguf"}


def test_all_types(tmp_path):
    rng = np.random.default_rng(0)
    rows = []
    for t in TYPES.values():
        shape = (512, 16, 2)
        rows.append((f"{t.name}.weight", shape, t.name, rng.integers(0, 256, tensor_bytes(t, shape), np.uint8)))
    path = tmp_path / "all.gguf"
    write(path, {"general.architecture": "llama"}, rows)
    for (name, shape, kind, data), found in zip(rows, rows_of(path)[1], strict=True):
        assert (name, shape, kind) == found[:3] and np.array_equal(data, found[3])


def test_the_gguf_package_reads_it(tmp_path):
    path = tmp_path / "a.gguf"
    metadata = {"general.architecture": "llama", "n": 5, "m": -5, "big": 2**40, "x": 0.5, "yes": True, "t": ""}
    metadata |= {"f": [0.5], "i": [1, -2], "s": ["a", "é"], "np": np.arange(3, dtype=np.int64), "scalar": np.float32(2)}
    write(path, metadata, [("w", (32, 2), "q8_0", lambda: np.arange(68, dtype=np.uint8))])
    theirs = gguf.GGUFReader(path)
    kinds = {k: [t.name for t in f.types] for k, f in theirs.fields.items() if not k.startswith("GGUF.")}
    assert kinds == {
        "general.architecture": ["STRING"],
        "n": ["UINT32"],
        "m": ["INT32"],
        "big": ["UINT64"],
        "x": ["FLOAT32"],
        "yes": ["BOOL"],
        "t": ["STRING"],
        "f": ["ARRAY", "FLOAT32"],
        "i": ["ARRAY", "INT32"],
        "s": ["ARRAY", "STRING"],
        "np": ["ARRAY", "INT64"],
        "scalar": ["FLOAT32"],
    }
    assert theirs.fields["s"].contents() == ["a", "é"] and theirs.fields["big"].contents() == 2**40
    assert theirs.tensors[0].shape.tolist() == [32, 2] and theirs.tensors[0].data.tobytes() == bytes(range(68))


def test_changed_values_keep_their_type_where_they_fit(tmp_path):
    path = tmp_path / "a.gguf"
    path.write_bytes(small())
    found, rows = rows_of(path)
    m = found.metadata.copy()
    m["a.u8"], m["a.i16"], m["a.f64"] = 7, 100_000, 2
    m |= {"split.no": 0, "split.count": 2}
    assert isinstance(m, Metadata)
    write(path, m, rows)  # over the file that the rows are mapped from
    again = read(path).metadata
    assert (again["a.u8"], again["a.i16"], again["a.f64"]) == (7, 100_000, 2.0)
    names = [again.kinds[k][0].name for k in ("a.u8", "a.i16", "a.f64")]
    assert names == ["UINT8", "UINT32", "FLOAT64"]
    assert "split.count" not in again


def test_a_failure_leaves_what_was_there(tmp_path):
    path = tmp_path / "a.gguf"
    path.write_bytes(b"old")

    def fails():
        raise RuntimeError("no data today")

    rows = [("a", (8,), "f32", bytes(32)), ("b", (8,), "f32", fails)]
    with pytest.raises(RuntimeError, match="no data today"):
        write(path, {}, rows)
    assert path.read_bytes() == b"old" and [p.name for p in tmp_path.iterdir()] == ["a.gguf"]


@pytest.mark.parametrize(
    "metadata, rows, rule",
    [
        ({}, [("a", (8,), "f32", bytes(31))], "'a' has 31 bytes; its type and shape take 32"),
        ({}, [("a", (8,), "f32", np.zeros(8, np.float32))], "bytes are a uint8 array, not float32"),
        ({}, [("a", (8,), "q9", bytes(32))], "unknown tensor type 'q9'"),
        ({}, [("a", (8,), "q8_0", bytes(32))], "tensor 'a' cannot be q8_0: ne0 is 8"),
        ({}, [("a", (8,), "f32", bytes(32))] * 2, "'a' is given twice"),
        ({}, [("", (8,), "f32", bytes(32))], "a name has 1 to"),
        ({"k": object()}, [], "metadata 'k' is a object that no GGUF can hold"),
        ({"k": 2**70}, [], "metadata 'k'"),
        ({"k": [1, "a"]}, [], "metadata 'k'"),
        ({"": 1}, [], "a key is text"),
        ({"general.alignment": 48}, [], "power of two"),
    ],
)
def test_what_cannot_be_written(tmp_path, metadata, rows, rule):
    with pytest.raises(GGUFError, match=rule):
        write(tmp_path / "a.gguf", metadata, rows)
    assert not list(tmp_path.iterdir())


def test_places_that_cannot_be_written(tmp_path):
    with pytest.raises(GGUFError, match="cannot be written"):
        write(tmp_path / "none" / "a.gguf", {}, [])
    with pytest.raises(GGUFError, match="is a folder"):
        write(tmp_path, {}, [])
