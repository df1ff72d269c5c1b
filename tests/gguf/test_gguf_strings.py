"""The fast walk over an array of strings gives what a walk one by one gives."""

import pickle
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ikexplore.gguf.strings import Strings, WalkError, walk

PIECES = st.one_of(
    st.binary(max_size=3),
    st.binary(min_size=250, max_size=260),
    st.sampled_from([b"", b"\0", b"\0" * 9, b"\x05" + b"\0" * 7, b"token", "日本".encode(), b"\1\0\0\0\0\0\0\0"]),
)


def pack(items):
    return b"".join(struct.pack("<Q", len(i)) + i for i in items)


def slow_walk(blob, start, count):
    offsets, pos = [], start
    for _ in range(count):
        offsets.append(pos)
        pos += 8 + int.from_bytes(blob[pos : pos + 8], "little")
    return offsets, pos


@settings(max_examples=300, deadline=None)
@given(
    items=st.lists(PIECES, max_size=60),
    before=st.binary(max_size=5),
    after=st.binary(max_size=20),
    times=st.integers(1, 40),
)
def test_walk_equals_a_slow_walk(items, before, after, times):
    items = items * times
    blob = before + pack(items) + after
    data = np.frombuffer(blob, np.uint8)
    offsets, end = walk(data, len(before), len(items))
    assert (offsets.tolist(), end) == slow_walk(blob, len(before), len(items))
    strings = Strings(data, offsets)
    assert strings.raws() == items and strings.packed() == pack(items)
    assert [strings.raw(i) for i in range(len(items))] == items


@settings(max_examples=100, deadline=None)
@given(items=st.lists(PIECES, min_size=1, max_size=30), cut=st.integers(1, 400))
def test_a_walk_over_the_end_names_the_string(items, cut):
    items = items * 20
    blob = pack(items)
    short = blob[: max(0, len(blob) - cut)]
    with pytest.raises(WalkError) as error:
        walk(np.frombuffer(short, np.uint8), 0, len(items))
    e = error.value
    ends = np.cumsum([8 + len(i) for i in items])
    assert e.index == np.searchsorted(ends, len(short), side="right")
    assert e.offset == ends[e.index] - 8 - len(items[e.index])


def test_strings_are_a_sequence():
    items = ["a", "b", "", "日本"]
    blob = pack([i.encode() for i in items])
    strings = Strings(np.frombuffer(blob, np.uint8), walk(np.frombuffer(blob, np.uint8), 0, 4)[0])
    assert len(strings) == 4 and strings[-1] == "日本" and strings[1:] == items[1:] and list(strings) == items
    assert strings == items and strings != items[:3] and "b" in strings and strings.index("") == 2
    assert pickle.loads(pickle.dumps(strings)) == strings
    bad = pack([b"\xff"])
    assert Strings(np.frombuffer(bad, np.uint8), np.array([0]))[0] == "\ufffd"
    with pytest.raises(IndexError):
        strings[4]
