"""Damaged files: reading ends with a result or a GGUFError, whatever was changed."""

import resource
import tempfile
import time
from pathlib import Path

import pytest
from gguf_maker import small
from hypothesis import given, settings
from hypothesis import strategies as st

from ikexplore.errors import GGUFError
from ikexplore.gguf import Strings, read

SMALL = small()


def outcome(data):
    """Read damaged bytes, look at everything that was read, and give the error or None."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.gguf"
        path.write_bytes(data)
        begin = time.process_time()
        try:
            found = read(path)
        except GGUFError as error:
            assert str(path) in str(error) and "\n" not in str(error)
            return error
        finally:
            assert time.process_time() - begin < 2
        for value in found.metadata.values():
            if isinstance(value, Strings):
                assert len(list(value)) == len(value)
        for t in found.tensors:
            assert t.offset >= 0 and t.offset + t.nbytes <= len(data)
        return None


def test_the_undamaged_file_is_read():
    assert outcome(SMALL) is None


def test_every_length_but_the_full_one_is_refused():
    header = len(SMALL) - 1104
    for size in (*range(header), *range(header, len(SMALL), 16), len(SMALL) - 1):
        assert outcome(SMALL[:size]) is not None, size


@settings(max_examples=600, deadline=None)
@given(
    changes=st.lists(st.tuples(st.integers(0, len(SMALL) - 1105), st.integers(0, 255)), min_size=1, max_size=6),
    cut=st.one_of(st.just(len(SMALL)), st.integers(0, len(SMALL))),
)
def test_changed_bytes(changes, cut):
    data = bytearray(SMALL)
    for at, byte in changes:
        data[at] = byte
    outcome(bytes(data[:cut]))


INTERESTING = st.sampled_from([0, 1, 2**31, 2**32 - 1, 2**32, 2**53, 2**62, 2**63 - 1, 2**63, 2**64 - 1])


@settings(max_examples=400, deadline=None)
@given(at=st.integers(0, len(SMALL) - 1112), number=INTERESTING, width=st.sampled_from([4, 8]))
def test_changed_numbers(at, number, width):
    data = bytearray(SMALL)
    data[at : at + width] = (number % (1 << 8 * width)).to_bytes(width, "little")
    outcome(bytes(data))


@settings(max_examples=200, deadline=None)
@given(data=st.binary(max_size=200))
def test_anything_after_a_good_start(data):
    outcome(SMALL[:24] + data)


def test_reading_absurd_counts_takes_no_memory():
    """Every 8 bytes of the header in turn become 2^40; the peak of the process must not move with them."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for at in range(8, len(SMALL) - 1104, 4):
        data = bytearray(SMALL)
        data[at : at + 8] = (1 << 40).to_bytes(8, "little")
        outcome(bytes(data))
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 64 << 10, f"{grown} KiB"


@pytest.mark.parametrize("size", [1, 3, 23, 24, 40])
def test_files_of_zeros(size):
    assert outcome(bytes(size)) is not None
