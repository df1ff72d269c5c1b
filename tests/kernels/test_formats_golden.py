"""Formats against the reference's own bytes and values: what its quantizer made of 16 x 512 weights."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from ikexplore_kernels import formats

COLUMNS = 512
DATA = Path(__file__).resolve().parents[1] / "data" / "formats"
#: files of facts (.json) and arrays (.npz); an imatrix array that is left out equals the plain one
FAMILIES = ("golden", "legacy", "iqk", "grids", "trellis")
FACTS = {name: facts for f in FAMILIES for name, facts in json.loads((DATA / f"{f}.json").read_text())["types"].items()}
#: the reference's to_float of these takes the scale in front of the row for codes, and leaves the scale at 1
SCALE_AS_CODES = {"iq1_bn": np.float16(1), "iq2_bn": np.float32(1)}
#: the reference computes d * code - 16 d there, which is never -0; everything else is equal
NO_MINUS_ZERO = ("q5_0_r4", "q6_0_r4")


@pytest.fixture(scope="module")
def golden():
    arrays = {}
    for family in FAMILIES:
        with np.load(DATA / f"{family}.npz") as file:
            arrays.update(file)
    for name in [key.removesuffix("/plain") for key in arrays if key.endswith("/plain")]:
        arrays.setdefault(f"{name}/imatrix", arrays[f"{name}/plain"])
    return arrays, FACTS


def reference_rows(name, rows):
    """The bytes as the reference's to_float reads them."""
    if name not in SCALE_AS_CODES:
        return rows
    one = np.frombuffer(SCALE_AS_CODES[name].tobytes(), np.uint8)
    return np.hstack([np.tile(one, (len(rows), 1)), rows[:, : -len(one)]])


def known(quantized=False):
    """Names of the formats that the reference wrote and that have code here."""
    names = [n for n in formats.names() if n in FACTS]
    return [n for n in names if not (quantized and formats.get(n).dense)]


def errors(values, src, imatrix):
    e, x, w = (values.astype(np.float64) - src) ** 2, src.astype(np.float64) ** 2, imatrix.astype(np.float64)
    return np.sqrt(e.sum() / x.sum()), np.sqrt((w * e).sum() / (w * x).sum())


@pytest.mark.parametrize("name, which", [(n, which) for n in known() for which in FACTS[n]])
def test_decode_equals_the_reference_bit_for_bit(golden, name, which):
    arrays, facts = golden
    values = formats.get(name).decode(reference_rows(name, arrays[f"{name}/{which}"]), COLUMNS)
    if name in NO_MINUS_ZERO:
        values = values + np.float32(0)
    assert hashlib.sha256(values.tobytes()).hexdigest() == facts[name][which]["sha256"]


@pytest.mark.parametrize("name", [n for n in known() if formats.get(n).base])
def test_repack_equals_the_reference_byte_for_byte(golden, name):
    arrays, _ = golden
    f = formats.get(name)
    for which in FACTS[f.base.name]:  # the reference makes some types with an imatrix only
        plain, mixed = arrays[f"{f.base.name}/{which}"], arrays[f"{name}/{which}"]
        np.testing.assert_array_equal(f.base.repack(plain, COLUMNS), mixed)
        np.testing.assert_array_equal(f.repack(plain, COLUMNS), mixed)
        np.testing.assert_array_equal(f.unrepack(mixed, COLUMNS), plain)


@pytest.mark.parametrize("name", ["f16", "bf16", "q8_0", "q8_0_r8", "q8_kv", "q8_kv_r8", "q1_0_g128"])
def test_encode_equals_the_reference_byte_for_byte_where_it_only_rounds(golden, name):
    arrays, _ = golden
    np.testing.assert_array_equal(formats.get(name).encode(arrays["src"]), arrays[f"{name}/plain"])


@pytest.mark.parametrize("name", [n for n in known(quantized=True) if not formats.get(n).base])
def test_encode_is_as_good_as_the_reference(golden, name):
    arrays, facts = golden
    src, imatrix, f = arrays["src"], arrays["imatrix"], formats.get(name)
    if "plain" in facts[name]:
        plain, _ = errors(f.decode(f.encode(src), COLUMNS), src, imatrix)
        assert plain <= facts[name]["plain"]["rmse"] * (1 + 1e-6)
    both, weighted = errors(f.decode(f.encode(src, imatrix), COLUMNS), src, imatrix)
    assert weighted <= facts[name]["imatrix"]["weighted_rmse"] * (1 + 1e-6)
    assert both <= facts[name]["imatrix"]["rmse"] * 1.02  # not what an imatrix is for, but it should not suffer either


@pytest.mark.parametrize("name", [n for n in known() if formats.get(n).base])
def test_encode_of_an_interleaved_type_is_the_repacked_plain_one(golden, name):
    arrays, _ = golden
    f = formats.get(name)
    plain = f.base.encode(arrays["src"], arrays["imatrix"])
    np.testing.assert_array_equal(f.encode(arrays["src"], arrays["imatrix"]), f.base.repack(plain, COLUMNS))


@pytest.mark.shared
def test_all_values_of_the_whole_reference_set(shared):
    with np.load(shared / "golden" / "quants.npz") as arrays:
        found = {key.split("/")[0].lower(): key.split("/")[0] for key in arrays.files}
        for name in known():
            for which in FACTS[name]:
                data, values = (arrays[f"{found[name]}/{which}/{part}"] for part in ("bytes", "values"))
                found_values = formats.get(name).decode(reference_rows(name, data), COLUMNS)
                np.testing.assert_array_equal(found_values, values, err_msg=name)


@pytest.mark.parametrize("name", [n for n in known(quantized=True) if not formats.get(n).base])
def test_an_imatrix_helps_even_with_outliers(name):
    """A few weights far out on one side: the error weighted by the imatrix is no larger with it than without."""
    rng, f = np.random.default_rng(7), formats.get(name)
    x = (rng.standard_normal((16, COLUMNS)) * 0.01).astype(np.float32)
    imatrix = (rng.standard_normal(COLUMNS) ** 2 + 0.05).astype(np.float32)
    x[:, ::64] = -40 * x.std() * rng.random((16, COLUMNS // 64))
    with_it, without = (errors(f.decode(f.encode(x, *w), COLUMNS), x, imatrix)[1] for w in ((imatrix,), ()))
    assert with_it <= without * (1 + 1e-6)
