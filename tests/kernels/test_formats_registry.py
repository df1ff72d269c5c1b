"""The registry, what it costs to import, and the checked front `ikexplore.quant`."""

import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import ikexplore as ikx
from ikexplore import qtypes
from ikexplore_kernels import formats

ROOT = Path(__file__).resolve().parents[2]


def test_every_line_has_a_file_and_every_file_a_line():
    folder = Path(formats.__file__).parent
    files = {p.stem for p in folder.glob("*.py") if not p.name.startswith("_")} - {"base", "gather"}
    assert files == set(formats.names())
    ids = [formats.get(n).id for n in formats.names()]
    assert ids == sorted(set(ids))


@pytest.mark.parametrize("name", formats.names())
def test_pairs_point_at_each_other_and_code_is_complete(name):
    f = formats.get(name)
    if f.base:
        assert f.base.repacked is f and f.base.block_bytes == f.block_bytes
        assert f.base.row_meta == f.row_meta or name == "q8_kv_r8"  # which leaves out the sum of the codes
        assert f.repacked is None and f.interleave > 1 and f.code.repack and f.code.unrepack
    else:
        assert (f.interleave == 1 or not f.repacked) and f.code.decode and (f.code.encode or f.code.encode_floats)
    assert f.code.widen or f.code.columns if f.dense else f.code.unpack
    assert f.dense or f.code.bias == 0 or not f.code.has_min  # kernels of types with minima know no bias
    assert pickle.loads(pickle.dumps(f)) is f


def test_asking_for_sizes_imports_no_numba():
    code = "import ikexplore as i; assert i.quant('IQ4_KS').row_bytes(512) == 276; print('numba' in sys.modules)"
    roots = [str(ROOT), str(ROOT / "kernels")]
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = {roots!r}; " + code], capture_output=True, text=True
    )
    assert done.stdout.strip() == "False", done.stderr


def test_sizes_are_the_reference_s(data):
    import json

    facts = json.loads((data / "formats" / "golden.json").read_text())["types"]
    with np.load(data / "formats" / "golden.npz") as arrays:
        for name in facts:
            if name in formats.names():
                assert ikx.quant(name).row_bytes(512) == arrays[f"{name}/plain"].shape[1]
    assert ikx.quant("iq4_ks").bpw == 4.3125 and ikx.quant("q6_k").bpw == 6.5625 and ikx.quant("f16").bpw == 16


def test_quant_is_the_format_with_checks():
    q = ikx.quant("IQ4_ks")
    assert q == ikx.quant("iq4_ks") and q.name == "iq4_ks" and q.repacked.name == "iq4_ks_r4" and q.repacked.base == q
    assert q.repacked.repacked is None and ikx.quant("f32").repacked is None and q.name in ikx.quants()
    x = np.random.default_rng(0).standard_normal((8, 512))
    data = q.encode(x)
    assert data.dtype == np.uint8 and data.shape == (8, q.row_bytes(512))
    np.testing.assert_array_equal(q.unrepack(q.repack(data, 512), 512), data)
    np.testing.assert_array_equal(q.repacked.decode(q.repack(data, 512), 512), q.decode(data, 512))
    readonly = data.copy()
    readonly.flags.writeable = False
    np.testing.assert_array_equal(q.decode(readonly, 512), q.decode(data, 512))
    wide = np.zeros((8, 2 * data.shape[1]), np.uint8)
    wide[:, ::2] = data
    np.testing.assert_array_equal(q.decode(wide[:, ::2], 512), q.decode(data, 512))  # not contiguous
    np.testing.assert_array_equal(q.encode(np.asfortranarray(x)), data)


def nan_at(row, col):
    x = np.ones((4, 256), np.float32)
    x[row, col] = np.nan
    return x


BAD = [
    (lambda q: ikx.quant("iq4ks"), "unknown quant type 'iq4ks'; close names: iq4_ks"),
    (lambda q: ikx.quant(""), "unknown quant type"),
    (lambda q: q.row_bytes(500), "500 is not a multiple"),
    (lambda q: q.encode(np.ones((4, 100))), "packs 256 columns together and 100"),
    (lambda q: q.encode(np.ones((4, 0))), "0 is not a multiple"),
    (lambda q: q.encode(np.ones(256)), r"weights must be numbers \[rows, columns\]"),
    (lambda q: q.encode(np.full((4, 256), "a")), "weights must be numbers"),
    (lambda q: q.encode(nan_at(2, 17)), "weight nan at row 2, column 17: quantizers need finite"),
    (lambda q: q.encode(np.full((4, 256), -np.inf)), r"-inf at row 0, column 0 \(and 1023 more\)"),
    (lambda q: q.encode(np.full((4, 256), 1e300)), "1e.300 at row 0, column 0"),
    (lambda q: q.encode(np.ones((4, 256)), np.ones(3)), "imatrix must be 256 numbers"),
    (lambda q: q.encode(np.ones((4, 256)), nan_at(0, 9)[0]), "imatrix value nan at row 0, column 9"),
    (lambda q: q.encode(np.ones((4, 256)), -np.ones(256)), "imatrix value -1 at column 0 is negative"),
    (lambda q: q.decode(np.zeros((4, 139), np.uint8), 256), "takes 140 bytes and these rows have 139"),
    (lambda q: q.decode(np.zeros((4, 140), np.int8), 256), r"bytes must be uint8 \[rows, bytes\], got int8"),
    (lambda q: q.decode(np.zeros(140, np.uint8), 256), "bytes must be uint8"),
    (lambda q: q.repack(np.zeros((3, 140), np.uint8), 256), "interleaves 4 rows and 3 is not a multiple"),
    (lambda q: q.repacked.decode(np.zeros((3, 140), np.uint8), 256), "interleaves 4 rows"),
    (lambda q: q.repacked.encode(np.zeros((3, 256))), "interleaves 4 rows"),
    (lambda q: ikx.quant("f32").repack(np.zeros((4, 4), np.uint8), 1), "f32 has no interleaved form"),
    (lambda q: ikx.quant("f32").unrepack(np.zeros((4, 4), np.uint8), 1), "f32 has no interleaved form"),
    (lambda q: ikx.quant("bf16_r16").decode(np.zeros((16, 6), np.uint8), 3), "packs 2 columns together"),
]


@pytest.mark.parametrize("call, message", BAD)
def test_bad_input_gets_one_line(call, message):
    with pytest.raises(ikx.QuantError, match=message) as caught:
        call(ikx.quant("iq4_ks"))
    assert "\n" not in str(caught.value)


def test_the_table_in_the_docs_is_the_registry():
    """python -m ikexplore.qtypes prints it; the error is measured, so only about the same."""
    lines = (ROOT / "docs" / "quant-types.md").read_text().splitlines()
    written = [line.strip("| ").split(" | ") for line in lines if line.startswith("|")]
    expected = [line.strip("| ").split(" | ") for line in qtypes.table().splitlines()]
    assert [row[:-1] for row in written if len(row) > 1] == [row[:-1] for row in expected if len(row) > 1]
    stated = {row[0]: float(row[-1].split()[0]) / 100 for row in written[2:]}
    for name in ("q4_0", "iq4_ks_r4", "f16"):
        assert qtypes.encode_error(name) == pytest.approx(stated[name], rel=0.06)
