"""``warm``: kernels of the named types and of their repacked forms are there afterwards."""

import pytest

import ikexplore as ikx
from ikexplore.run.warm import warm
from ikexplore_kernels import product
from ikexplore_kernels.abi import is_compiled
from ikexplore_kernels.formats import get


def test_types_and_their_repacked_forms():
    told = []
    assert warm(["Q8_0"], told.append) == 3
    assert is_compiled(product.product, get("q8_0")) and is_compiled(product.product, get("q8_0_r8"))
    assert [e["text"] for e in told][-3:] == ["product q8_0", "product q8_0_r8", "get_rows q8_0"]
    assert all(0 <= e["done"] <= e["total"] for e in told)


def test_unknown_type():
    with pytest.raises(ikx.QuantError, match="q9_x"):
        warm(["q9_x"])
