"""The table of types against ggml's own numbers, the gguf package and the kernels' formats."""

import json

import gguf
import pytest

from ikexplore.errors import GGUFError
from ikexplore.gguf import BY_ID, TYPES, row_bytes, tensor_bytes, type_info
from ikexplore.gguf.types import OWN_IDS


@pytest.fixture(scope="module")
def facts(data):
    return json.loads((data / "gguf" / "types.json").read_text())


def test_every_type_of_the_reference_has_its_numbers(facts):
    ours = {t.name: [t.id, t.block, t.block_bytes, t.row_meta] for t in TYPES.values()}
    assert {name: ours.get(name) for name in facts["types"]} == facts["types"]
    kept = [number for number in BY_ID if number not in OWN_IDS]  # numbers of types of one's own are not given again
    assert len(kept) == len([t for t in TYPES.values() if t.id not in OWN_IDS])


def test_interleave_is_what_repacking_asks_for(facts):
    rows = {name: TYPES[name].interleave for name in facts["rows_multiple"]}
    assert rows == facts["rows_multiple"]
    for t in TYPES.values():
        suffix = t.name.rpartition("_r")[2]
        if suffix in ("4", "8", "16"):
            assert t.interleave == int(suffix), t.name


def test_types_that_the_gguf_package_knows_have_its_sizes():
    compared = 0
    for kind, (block, size) in gguf.GGML_QUANT_SIZES.items():
        ours = BY_ID.get(int(kind))
        # types of activations, never in a file: ik_llama.cpp added 4 bytes to q8_k; ggml.h's q8_1 has two half floats
        if ours is None or ours.name in ("q8_k", "q8_1"):
            continue
        assert (ours.block, ours.block_bytes, ours.row_meta) == (block, size, 0), kind
        compared += 1
    assert compared > 25


def test_formats_of_the_kernels_agree():
    formats = pytest.importorskip("ikexplore_kernels.formats")
    for name in formats.names():
        f, t = formats.get(name), TYPES[name]
        assert (f.id, f.block, f.block_bytes, f.row_meta, f.interleave) == t[1:], name


@pytest.mark.parametrize(
    "name, shape, nbytes",
    [
        ("f32", (5,), 20),
        ("q4_k", (512, 3), 3 * 288),
        ("iq4_ks", (512, 3, 2), 6 * 276),
        ("iq1_s_r4", (512, 4), 4 * 98),
        ("q8_kv", (64, 2, 3, 5), 30 * 72),
        ("i2_s", (128, 4), 128 + 32),
    ],
)
def test_bytes_of_a_tensor(name, shape, nbytes):
    assert tensor_bytes(type_info(name), shape) == nbytes


@pytest.mark.parametrize(
    "name, shape, rule",
    [
        ("q4_k", (255,), "ne0 is 255, no multiple of the 256 columns"),
        ("q8_0_r8", (32, 12), "ne1 is 12, no multiple of the 8 rows"),
        ("bf16_r16", (32,), "ne1 is 1, no multiple of the 16 rows"),
        ("f32", (), "0 dimensions"),
        ("f32", (1, 1, 1, 1, 1), "5 dimensions"),
        ("f32", (4, 0), "ne1 is 0"),
        ("f32", (2**64 - 1,), "ne0 is 18446744073709551615"),
        ("f32", (2**32, 2**31), "more than 2\\^63 elements"),
        ("f64", (2**31, 2**31), "more than 2\\^63 bytes"),
    ],
)
def test_shapes_that_a_type_cannot_have(name, shape, rule):
    with pytest.raises(GGUFError, match=rule):
        tensor_bytes(type_info(name), shape)


def test_unknown_names_and_odd_rows():
    assert type_info("IQ4_KS").name == "iq4_ks"
    with pytest.raises(GGUFError, match="unknown tensor type 'q9'"):
        type_info("q9")
    assert row_bytes("iq4_ks", 512) == 276
    with pytest.raises(GGUFError, match="33 columns cannot be q8_0"):
        row_bytes("q8_0", 33)
