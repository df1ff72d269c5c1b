"""The older, bitnet and 8-bit types: what is theirs alone; and that every type of the reference has code."""

import json

import numpy as np
import pytest

from ikexplore_kernels import formats
from ikexplore_kernels.formats import _part_tables, q4_k

#: Types of the reference that have no code here (yet): none.

@pytest.fixture(scope="module")
def all_types(data):
    """Every type that the reference's quantizer writes: id, block, block bytes, row metadata, bytes of 512 columns."""
    return json.loads((data / "formats" / "legacy.json").read_text())["all"]


def test_every_type_of_the_reference_has_code_or_is_listed(all_types):
    missing = set(all_types) - set(formats.names())
    assert not missing, f"no code for {sorted(missing)}"
    assert len(all_types) == 72


def test_ids_and_sizes_are_the_reference_s(all_types):
    for name in set(all_types) & set(formats.names()):
        f = formats.get(name)
        assert [f.id, f.block, f.block_bytes, f.row_meta, f.row_bytes(512)] == all_types[name], name


@pytest.mark.parametrize("name", ["iq1_bn", "iq2_bn", "iq2_bn_r4"])
def test_bitnet_rows_are_kept_exactly(name):
    """Rows of -d, 0 and d, as such models have them; d of every size that the type can hold."""
    rng = np.random.default_rng(0)
    d = (10.0 ** rng.uniform(-3, 3, (40, 1))).astype(np.float16).astype(np.float32)
    x = rng.integers(-1, 2, (40, 320)).astype(np.float32) * d
    x[0], x[1, 1:] = 0, 0
    f = formats.get(name)
    np.testing.assert_array_equal(f.decode(f.encode(x), 320), x)
    np.testing.assert_array_equal(f.decode(f.encode(x, rng.random(320)), 320), x)


def test_bitnet_scale_is_the_best_there_is():
    """Against every threshold: the best d is a mean over the largest magnitudes, so all prefixes are tried."""
    rng = np.random.default_rng(1)
    x = np.vstack([rng.standard_normal((6, 512)), rng.standard_cauchy((6, 512)), rng.uniform(-1, 1, (6, 512))])
    x = x.astype(np.float32)
    f = formats.get("iq2_bn")
    found = np.square(f.decode(f.encode(x), 512) - x.astype(np.float64)).sum(1)
    sizes = -np.sort(-np.abs(x.astype(np.float64)), axis=1)
    best = np.square(sizes).sum(1) - (np.cumsum(sizes, 1) ** 2 / np.arange(1, 513)).max(1)
    assert (found <= best * 1.01).all() and (found >= best * (1 - 1e-5)).all()


def test_five_ternary_codes_in_a_byte_are_all_different():
    """All 243 combinations of five codes come back from iq1_bn."""
    codes = np.array([[n // 3**j % 3 - 1 for j in range(5)] for n in range(243)], np.float32)
    x = np.zeros((243, 64), np.float32)
    x[:, 0:5], x[:, 21:26], x[:, 58:63], x[:, 15::16], x[:, 30] = codes, codes, codes, codes[:, :4], 1
    f = formats.get("iq1_bn")
    np.testing.assert_array_equal(f.decode(f.encode(x), 64), x)


def test_every_power_of_two_of_mxfp4_and_every_code():
    f = formats.get("mxfp4")
    rows = np.zeros((256, 17), np.uint8)
    rows[:, 0], rows[:, 1:] = np.arange(256), np.arange(16) * 17
    values = f.decode(rows, 32)
    two = np.array([0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12], np.float64)
    with np.errstate(over="ignore"):
        expected = (np.ldexp(two, np.arange(256)[:, None] - 128)).astype(np.float32)
    np.testing.assert_array_equal(values, np.hstack([expected, expected]))
    # and weights that a block can hold exactly come back, from the size on that encoders do not take for zero
    kept = slice(28, 253)
    np.testing.assert_array_equal(f.decode(f.encode(values[kept]), 32), values[kept])


def test_q8_kv_keeps_the_sum_of_its_codes():
    f = formats.get("q8_kv")
    x = np.random.default_rng(3).standard_normal((16, 96)).astype(np.float32)
    data = f.encode(x)
    np.testing.assert_array_equal(data[:, 4:8].copy().view(np.int32)[:, 0], data[:, 8:].view(np.int8).sum(1, dtype=int))
    assert f.repack(data, 96).shape == (16, 100) and f.unrepack(f.repack(data, 96), 96).shape == (16, 104)
    wrong = data.copy()
    wrong[:, 4:8] = 77  # not part of the weights: unrepack puts it right
    np.testing.assert_array_equal(f.unrepack(f.repack(wrong, 96), 96), data)


@pytest.mark.parametrize("name, bits", [("q4_1", 4), ("q5_1", 5)])
def test_offsets_of_any_sign_cost_nothing(name, bits):
    """The same weights moved up or down are coded about as well, as long as halves can hold the offset."""
    f, rng = formats.get(name), np.random.default_rng(5)
    x = rng.uniform(-1, 1, (32, 256))
    errors = []
    for offset in (0, 1.5, -1.5, 8, -8):
        y = (x + offset).astype(np.float32)
        errors.append(np.sqrt(np.square(f.decode(f.encode(y), 256) - y.astype(np.float64)).mean()))
    assert max(errors) <= 1.1 * min(errors) and max(errors) <= 2 / (2**bits - 1) / np.sqrt(12)


@pytest.mark.parametrize("name", ["q8_k_r8", "q8_k_r16"])
def test_types_without_a_plain_form_say_so(name):
    f = formats.get(name)
    data = f.encode(np.ones((f.interleave, 256), np.float32))
    for call in (f.repack, f.unrepack):
        with pytest.raises(ValueError, match=f"{name} has no interleaved form"):
            call(data, 256)
    with pytest.raises(ValueError, match=f"interleaves {f.interleave} rows and 3"):
        f.encode(np.ones((3, 256), np.float32))


def test_q4_k_decodes_the_same_by_tables_and_plainly():
    """The plain way serves CPUs without AVX-512; scales that are NaN, infinite, subnormal or negative included."""
    if not _part_tables.HAS_LOOK_UP:
        pytest.skip("this CPU has no AVX-512: there is one way only, and the other tests take it")
    f = formats.get("q4_k")
    rows = np.random.default_rng(7).integers(0, 256, (300, f.row_bytes(512)), dtype=np.uint8)
    rows[:9, 2:4] = np.frombuffer(np.float16(np.inf).tobytes(), np.uint8)
    one, other = np.empty((300, 512), np.float32), np.empty((300, 512), np.float32)
    q4_k.decode_by_tables(rows.ctypes.data, one.ctypes.data, 300, 512)
    q4_k.decode_plainly(rows.ctypes.data, other.ctypes.data, 300, 512)
    numbers = ~np.isnan(other)
    np.testing.assert_array_equal(np.isnan(one), ~numbers)
    np.testing.assert_array_equal(one[numbers].view(np.uint32), other[numbers].view(np.uint32))
    assert np.isinf(other).any() and not numbers.all()
